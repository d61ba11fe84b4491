"""`tapetum.app.make.annotate`: adds tracks, captions and flags as columns to a copy of a LeRobot data set."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.track.track import MODEL as TRACKER
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    import numpy as np

    from tapetum.data.lerobot import FrameFeature
    from tapetum.tracks.tracker import Tracker
    from tapetum.video import Video


@dataclass(frozen=True)
class AnnotateOptions:
    """Write a copy of a LeRobot data set (version 3) with tracks, captions or flags of one camera as columns.

    The set itself is not changed, and LeRobot opens the copy as it opens the set.
    """

    data: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="SET")]
    """Folder of the data set; SET#camera=wrist for another camera than the first."""
    _: KW_ONLY
    out: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """Folder for the copy, new or empty."""
    grid: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Track N x N points of each episode's first frame: columns tracks.CAMERA.xy (pixels) and tracks.CAMERA.visible."""
    captions: bool = False
    """Write a sentence for each episode: column caption.CAMERA, the same in all of its frames."""
    flags: bool = False
    """Mark frames in which nothing moves, that are blurred, or with which another scene begins: columns flags.CAMERA.static,
    .blurred and .cut."""
    gripper: Annotated[str | None, tyro.conf.arg(metavar="X,Y")] = None
    """Where the gripper is in the first frame of each episode, in pixels; it is tracked, and frames in which it is hidden are
    marked: column flags.CAMERA.gripper_occluded."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|FILE")] = TRACKER
    """What tracks, as for tapetum track."""
    captioner: Annotated[str, tyro.conf.arg(metavar="NAME|FILE")] = "paligemma-nano-2"
    """What writes captions, as for tapetum caption --model; the default knows synthetic scenes alone."""
    frames: Annotated[int, tyro.conf.arg(metavar="N")] = 4
    """Frames of an episode that a caption is about."""
    device: Annotated[str | None, tyro.conf.arg(metavar="DEVICE")] = "auto"
    """Where to compute: auto takes an accelerator if there is one, else cpu; or cpu, cuda, cuda:1, xpu, mps."""

    def check(self) -> None:
        """Raise BadInput if nothing is requested, or numbers make no sense."""
        if self.grid is None and not self.captions and not self.flags and self.gripper is None:
            raise BadInput("nothing is to be added; give --grid 5, --captions, --flags or --gripper X,Y")
        if (self.grid is not None and self.grid < 1) or self.frames < 1:
            raise BadInput(f"--grid is {self.grid} and --frames {self.frames}; they must be 1 or more")

    @property
    def place(self) -> tuple[float, float] | None:
        """Get the initial position of the gripper. Raises BadInput for an invalid position."""
        if self.gripper is None:
            return None
        try:
            x, y = map(float, self.gripper.split(","))
        except ValueError:
            raise BadInput(f"--gripper is {self.gripper!r}; give x and y in pixels, as in --gripper 320,180") from None
        return x, y


@dataclass(frozen=True, kw_only=True)
class AnnotatedSet(Result):
    """A copy of a data set with more columns."""

    out: Path
    episodes: int
    frames: int
    features: tuple[str, ...]
    """Names of the columns that were added."""
    flagged: Mapping[str, int]
    """Frames that are marked, by flag."""

    def as_text(self) -> str:
        lines = [f"{self.out}: {self.episodes} episodes, {self.frames:,} frames, with {', '.join(self.features)}"]
        return "\n".join([*lines, *(f"{name}  {count:,} frames" for name, count in self.flagged.items())])


@verb(AnnotateOptions, data=("data",))
def annotate(options: AnnotateOptions, listener: Listener) -> AnnotatedSet:
    """Write a copy of a LeRobot data set with tracks, captions or flags of one camera as columns; see `tapetum.data.lerobot`.

    Raises BadInput if nothing is to be added, the folder is not such a data set, or a folder `out` is not empty.
    """
    options.check()
    place = options.place
    from tapetum.data.lerobot import FLAGS, FrameFeature, copy_with_features, flag_frames
    from tapetum.video.episodes import EpisodeVideo, parse_episode_address
    from tapetum.video.lerobot import open_lerobot

    address = parse_episode_address(options.data)
    if address is None:
        raise BadInput(f"{options.data} is no data set of LeRobot, version 3; give its folder, or SET#camera=NAME")
    if address.first is not None:
        raise BadInput(f"{options.data} names episodes, and a copy has all of them; give {address.folder} or SET#camera=NAME")
    data = open_lerobot(address.folder)
    camera = data.camera(address.camera)
    short = camera.rsplit(".", 1)[-1]
    features = [FrameFeature(name=f"flags.{short}.{flag}", dtype="bool") for flag in (FLAGS if options.flags else ())]
    if options.grid is not None:
        features += _track_features(f"tracks.{short}", options.grid**2)
    if place is not None:
        features.append(FrameFeature(name=f"flags.{short}.gripper_occluded", dtype="bool"))
    captions = _captions(options, [f"{data.folder}#episode={n},camera={camera}" for n in data.select()], listener)
    if captions:
        features.append(FrameFeature(name=f"caption.{short}", dtype="string"))
    tracker = _tracker(options) if options.grid is not None or place is not None else None
    flagged = {feature.name: 0 for feature in features if feature.name.startswith("flags.")}

    def compute(number: int) -> dict[str, "np.ndarray"]:
        import numpy as np

        values: dict[str, np.ndarray] = {}
        with EpisodeVideo(data, number, camera) as video:
            if options.flags:
                values |= {f"flags.{short}.{flag}": marked for flag, marked in flag_frames(video).items()}
            if options.grid is not None:
                xy, visible = _track(options, video, tracker, listener, grid=options.grid)
                names = [f"tracks.{short}.{what}" for what in ("xy", "visible")]
                values |= dict(zip(names, (xy, visible[:, 0] if options.grid == 1 else visible), strict=True))
            if place is not None:
                _, visible = _track(options, video, tracker, listener, query=((0, *place),))
                values[f"flags.{short}.gripper_occluded"] = ~visible[:, 0]
            if captions:
                values[f"caption.{short}"] = np.array([captions[number]] * len(video), object)
        for name in flagged:
            flagged[name] += int(values[name].sum())
        listener.progress("annotating", number + 1, len(data.episodes))
        return values

    copy_with_features(data, Path(options.out), features, compute)
    return AnnotatedSet(
        out=Path(options.out),
        episodes=len(data.episodes),
        frames=sum(episode.length for episode in data.episodes),
        features=tuple(feature.name for feature in features),
        flagged=flagged,
    )


def _track_features(name: str, points: int) -> "list[FrameFeature]":
    from tapetum.data.lerobot import FrameFeature

    names = tuple(f"{axis}{k}" for k in range(points) for axis in "xy")
    visible = FrameFeature(name=f"{name}.visible", dtype="bool", size=points)
    return [FrameFeature(name=f"{name}.xy", dtype="float32", size=2 * points, names=names), visible]


def _tracker(options: AnnotateOptions) -> "Tracker":
    from tapetum.app.track.track import TrackSettings, make_tracker

    return make_tracker(TrackSettings(model=options.model, device=options.device), TRACKER)


def _track(
    options: AnnotateOptions, video: "Video", tracker: "Tracker | None", listener: Listener, **points: Any
) -> "tuple[np.ndarray, np.ndarray]":
    """Positions (t, 2 n) in pixels, and visibility (t, n)."""
    from tapetum.app.track.track import TrackOptions, track_into

    assert tracker is not None
    given = TrackOptions(video=video, model=options.model, device=options.device, **points)
    tracks = track_into(given, listener, None, partial(lambda there: there, tracker)).tracks
    return tracks.xy.transpose(1, 0, 2).reshape(tracks.frames, -1), tracks.visible.T


def _captions(options: AnnotateOptions, episodes: list[str], listener: Listener) -> tuple[str, ...]:
    """A sentence for each episode; empty if not requested."""
    if not options.captions:
        return ()
    from tapetum.app.see.caption import CaptionOptions, caption

    given = CaptionOptions(images=tuple(episodes), model=options.captioner, frames=options.frames, device=options.device)
    replies = caption.run(given, listener)
    if replies.failed:
        raise BadInput(f"{replies.failed[0]['path']} has no caption: {replies.failed[0]['trouble']}")
    return tuple(reply.answer.text for reply in replies.images)
