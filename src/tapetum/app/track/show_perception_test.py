"""`tapetum.show_perception_test`: a page with one video of the Perception Test, its ground truth and predictions."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from tapetum.app.commands import Group
from tapetum.app.track.show import _show
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput
from tapetum.core.files import refuse_folder

_SOUND_RATE = 16000
"""Samples a second that the waveform is drawn of."""


@dataclass(frozen=True)
class ShowPerceptionTestOptions:
    """Write a video of the Perception Test as one HTML page: boxes, points, a time line, questions, predictions beside them."""

    video: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="VIDEO_ID")]
    """Which video of the annotations, such as video_1234."""
    _: KW_ONLY
    annotations: Annotated[File, tyro.conf.arg(metavar="FILE.json")]
    """Annotations of the benchmark, or of tapetum scenes episodes."""
    videos: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of VIDEO_ID.mp4, or of videos/ and audios/; by default that of the annotations, or the one above it."""
    predictions: Annotated[tuple[File, ...], tyro.conf.arg(metavar="FILE.json ...")] = ()
    """Predictions of any tasks in the form of the benchmark's servers, shown beside the truth."""
    out: Annotated[File | None, tyro.conf.arg(metavar="FILE.html")] = None
    """Where to write the page; by default VIDEO_ID.html."""


@dataclass(frozen=True, kw_only=True)
class ShownVideo(Result):
    """A page of a video."""

    video: str
    page: Path
    bytes: int
    scores: Mapping[str, Mapping[str, Any]]
    """Of predictions, by task, for this video alone."""
    remarks: tuple[str, ...]
    """What is wrong with predictions about it."""

    def as_json(self) -> dict[str, Any]:
        scores = {
            task: {key: value for key, value in numbers.items() if value == value} for task, numbers in self.scores.items()
        }
        known = {"video": self.video, "page": str(self.page), "bytes": self.bytes}
        return {**known, "scores": scores, "remarks": list(self.remarks)}

    def as_text(self) -> str:
        remarks = f"; {len(self.remarks)} remarks on predictions are in it" if self.remarks else ""
        return f"page  {self.page} ({self.bytes / 1e6:.1f} MB){remarks}"


@verb(ShowPerceptionTestOptions, data=("annotations", "videos", "predictions"))
def show_perception_test(options: ShowPerceptionTestOptions, listener: Listener) -> ShownVideo:
    """Write one HTML page with a video of the Perception Test, its ground truth and predictions for any tasks.

    Raises BadInput if the annotations have no such video, its file is missing, predictions belong to no task, or the page
    cannot be written. Predictions that a server would refuse are marked on the page.
    """
    from tapetum.systems.perception_test.annotations import read_json, read_one
    from tapetum.systems.perception_test.footage import footage_sound
    from tapetum.systems.perception_test.views.contents import gather
    from tapetum.systems.perception_test.views.page import film_uri, write_page

    name = options.video
    out = Path(options.out or f"{Path(name).name or 'video'}.html")
    if out.suffix.lower() not in (".html", ".htm"):
        raise BadInput(f"the page would be called {out}; give --out a name that ends in .html")
    refuse_folder(out)
    video, labels = read_one(options.annotations, name)
    path, recording = _find_video(options, name)
    contents = gather(name, video, {str(file): read_json(file) for file in options.predictions}, labels)
    film = film_uri(path, recording, video.metadata, listener.counting("coding the video"))
    sound = footage_sound(path, recording, video.metadata, _SOUND_RATE)
    write_page(out, contents, film, sound)
    remarks = tuple(str(finding) for finding in contents.findings)
    return ShownVideo(video=name, page=out, bytes=out.stat().st_size, scores=contents.scores, remarks=remarks)


def _find_video(options: ShowPerceptionTestOptions, name: str) -> tuple[Path, Path | None]:
    from tapetum.systems.perception_test.footage import find_videos

    if options.videos is not None:
        return find_videos(Path(options.videos), [name])[name]
    folder = Path(options.annotations).absolute().parent
    try:
        return find_videos(folder, [name])[name]
    except BadInput:
        return find_videos(folder.parent, [name])[name]


COMMANDS = Group(
    """Draw saved tracks on their video, or plot them; write a frame of a video, or a video of a benchmark as a page.

    `tapetum show TRACKS VIDEO` is short for `tapetum show tracks TRACKS VIDEO`.
    """,
    {"tracks": _show, "perception-test": show_perception_test},
    default="tracks",
)
