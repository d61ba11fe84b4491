"""`tapetum.track_things`: objects detected by text prompts in some frames of a video, tracked as boxes through all of it."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.see.settings import Request, SeeSettings, load_answerer, prompt_for
from tapetum.app.verb import Listener, Result, count_frames, verb
from tapetum.bench.word_models import describe_model, next_step
from tapetum.core.devices import choose_device
from tapetum.core.errors import BadInput
from tapetum.core.fields import check_options
from tapetum.core.files import check_place, results
from tapetum.report import check_report
from tapetum.systems.paligemma import prompts

if TYPE_CHECKING:
    from tapetum.tracks.boxes import BoxTracks
    from tapetum.types import Boxes
    from tapetum.video import Video
    from tapetum.video.types import Frame

BOXES, TABLE, OVERLAY = "boxes.npz", "boxes.csv", "overlay.mp4"
"""What lies in a folder of results."""
VIDEOS = (".mp4", ".webm", ".gif")
"""Endings of an overlay that is written alone."""


@dataclass(frozen=True, kw_only=True)
class FollowSettings:
    """Settings of the tracking of objects."""

    tracker: Annotated[str, tyro.conf.arg(metavar="NAME|FILE")] = "tapir-nano"
    """With --track, what follows points: name or file of a tracker's weights, or static."""
    look_every: Annotated[int | None, tyro.conf.arg(metavar="FRAMES")] = None
    """With --track, frames between two looks of the model for what is lost, at least; by default half a second."""


@dataclass(frozen=True, kw_only=True)
class ThingsOptions(FollowSettings, SeeSettings):
    """Options of `track_things`."""

    video: Any = field(kw_only=False)
    """Video file, folder of images, npy/npz array, or the address of one; an array (t, h, w, 3); or an open `Video`."""
    things: str = field(kw_only=False)
    """What to look for, such as "red cup", or "cup ; ball"."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Things(Result):
    """Things through a video."""

    video: str
    """What was given, or the name of an array."""
    width: int
    height: int
    frame_rate: float
    model: str
    tracker: str
    boxes: "BoxTracks"
    looked: tuple[int, ...]
    """Frames in which the model looked for them."""
    malformed: int
    """Boxes in its answers that followed no grammar and were left out."""
    seconds: float
    out: Path | None
    """Folder of boxes.npz, boxes.csv and overlay.mp4, or else one `file`: .csv or .npz of boxes, or an overlay."""
    file: Path | None = None
    report: Path | None = None

    def as_json(self) -> dict[str, Any]:
        shown, detected = self.boxes.shown, self.boxes.detected
        objects = zip(self.boxes.labels, shown.sum(1).tolist(), detected.sum(1).tolist(), strict=True)
        content: dict[str, Any] = {
            "video": self.video,
            "frames": self.boxes.frames,
            "width": self.width,
            "height": self.height,
            "rate": self.frame_rate,
            "model": self.model,
            "tracker": self.tracker,
            "things": [{"label": label, "frames_shown": n, "times_found": k} for label, n, k in objects],
            "frames_looked_at": list(self.looked),
            "malformed": self.malformed,
            "seconds": self.seconds,
        }
        if self.out is not None:
            content |= {name: str(self.out / file) for name, file in (("boxes", BOXES), ("table", TABLE), ("overlay", OVERLAY))}
        if self.file is not None:
            suffix = self.file.suffix.lower()
            content["overlay" if suffix in VIDEOS else "table" if suffix == ".csv" else "boxes"] = str(self.file)
        return content if self.report is None else {**content, "report": str(self.report)}

    def as_text(self) -> str:
        content = self.as_json()
        lines = [
            f"{row['label']}: in {row['frames_shown']} of {content['frames']} frames, found {row['times_found']} times"
            for row in content["things"]
        ] or ["(nothing)"]
        lines += filter(None, (describe_model(self.model), next_step(self.model)))
        return "\n".join([*lines, *(f"{k:8} {content[k]}" for k in ("overlay", "boxes", "table", "report") if k in content)])


@verb(ThingsOptions, data=("video",))
def track_things(options: ThingsOptions, listener: Listener) -> Things:
    """Detect objects by text prompts in frames of a video, and track them through all of it.

    The model detects in the first frame, and again where an object was lost; in between, points in its box carry it. Raises
    BadInput for sources that cannot be opened, a missing model or tracker, and prompts that name nothing.
    """
    from tapetum.bench.baselines import load_tracker
    from tapetum.layers.generate import SamplingConfig
    from tapetum.systems.paligemma.locations import requested_objects
    from tapetum.tracks.follow import BoxTracker, to_box_tracks
    from tapetum.video import open_video

    options.check()
    if options.frames is not None:
        raise BadInput("--frames does not go with --track, which follows things through all frames; leave it out")
    check_options(options, look_every="[1, inf)")
    report = check_report(options.report)
    request = Request(prompt=prompts.detect(options.things), kind="boxes", task="detect", text=options.things)
    began = time.perf_counter()
    with ExitStack() as cleanup:
        video = cleanup.enter_context(open_video(options.video))
        if len(video) < 2:
            raise BadInput(f"{video.name} is one image; --track follows things through a video, leave it out for an image")
        file = _one_file(options)
        out = None if options.out is None or file is not None else Path(options.out)
        written = None if out is None else cleanup.enter_context(results(out, (BOXES, TABLE, OVERLAY)))
        count_frames(video, options.video, listener)
        answerer = load_answerer(options)
        prompt, tokens = prompt_for(answerer, request), options.tokens or 256
        answerer.prefix(prompt, max_new_tokens=tokens)
        malformed, unasked = 0, list[str]()

        def look(frame: int) -> "Boxes":
            nonlocal malformed
            sampling = SamplingConfig(beams=options.beams)
            [reply] = answerer.ask([video[[frame]]], [prompt], tokens, resize=options.resize, sampling=sampling)
            regions = answerer.find(reply, video.width, video.height, masks=False, things=requested_objects(request.prompt))
            malformed += regions.malformed
            unasked.extend(regions.unasked)
            return regions.boxes

        tracker = load_tracker(options.tracker, choose_device(options.device), "float32")
        every = options.look_every or max(1, round(video.frame_rate / 2))
        follower = BoxTracker(video, tracker, look, every, progress=listener.counting("following"))
        boxes = to_box_tracks(follower.run(), video)
        if malformed:
            listener.note(f"{malformed} boxes in the model's answers were malformed and left out")
        if unasked:
            listener.note(f"the model boxed what was not asked for ({', '.join(dict.fromkeys(unasked))}), which is left out")
        if file is not None and file.suffix.lower() in VIDEOS:
            _draw(file, video, boxes, listener)
        elif file is not None:
            boxes.save(file)
        if written is not None:
            boxes.save(written.folder / BOXES)
            boxes.save(written.folder / TABLE)
            written.commit()
            _draw(written.folder / OVERLAY, video, boxes, listener)
            written.commit()
        things = Things(
            video=str(options.video) if isinstance(options.video, str | Path) else video.name,
            width=video.width,
            height=video.height,
            frame_rate=video.frame_rate,
            model=options.model,
            tracker=options.tracker,
            boxes=boxes,
            looked=tuple(follower.detector_frames),
            malformed=malformed,
            seconds=time.perf_counter() - began,
            out=out,
            file=file,
            report=report,
        )
        if report is not None:
            _write_report(report, things, video, listener)
        return things


def _one_file(options: ThingsOptions) -> Path | None:
    """The single file to write, if any. Raises BadInput, before any work, if it cannot be written."""
    path = None if options.out is None else Path(options.out)
    if path is None or path.is_dir() or path.suffix.lower() not in (".csv", ".npz", *VIDEOS):
        return None
    check_place(path, (options.video,))
    return path


def _write_report(path: Path, things: Things, video: "Video", listener: Listener) -> None:
    """Write a page with a row for each thing, in the frame where it is least sure."""
    import numpy as np

    from tapetum.app.see.report import ReplyRow, write_rows
    from tapetum.types import Boxes
    from tapetum.video.draw_regions import draw_regions

    boxes, rows = things.boxes, []
    for thing, label in enumerate(boxes.labels):
        shown = np.flatnonzero(boxes.shown[thing])
        least = int(shown[boxes.scores[thing, shown].argmin()]) if len(shown) else 0

        def drawn(thing: int = thing, frame: int = least) -> "Frame":
            return draw_regions(video[frame], Boxes(xyxy=boxes.xyxy[thing, frame][None], labels=[boxes.labels[thing]]))

        text = (
            f"in {len(shown)} of {boxes.frames} frames, found {boxes.detected[thing].sum()} times; least sure in frame {least}"
        )
        rows.append(ReplyRow(label, text, float(boxes.scores[thing, least]), drawn))
    write_rows(path, f"Things in {video.name}", (), rows, (), listener)


def _draw(path: Path, video: "Video", boxes: "BoxTracks", listener: Listener) -> None:
    """Draws the boxes on the video; each object keeps its colour."""
    import numpy as np

    from tapetum.video import write_video
    from tapetum.video.draw import APART
    from tapetum.video.draw_regions import draw_regions

    def drawn() -> Iterator["Frame"]:
        for number, frame in enumerate(video):
            which = np.flatnonzero(boxes.shown[:, number])
            yield draw_regions(frame, boxes.at(number), colours=APART[which % len(APART)])
            listener.progress("drawing", number + 1, boxes.frames)

    write_video(path, drawn(), video.frame_rate)
