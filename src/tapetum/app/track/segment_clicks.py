"""`tapetum.segment_clicks`: the mask of an object that is clicked on, through a video."""

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.app.track.track_things import TRACKER
from tapetum.app.verb import File, Listener, Result, count_frames, one_text, verb
from tapetum.core.devices import choose_device
from tapetum.core.errors import BadInput
from tapetum.core.files import plain_name, results
from tapetum.core.tables import cells_of

if TYPE_CHECKING:
    from tapetum.tracks.masks import ClipMasks, Prompt

COCO, OVERLAY = "masks.json", "overlay.mp4"
"""What lies in a folder of results, beside 00000.png, 00001.png, ... of the other formats."""


@dataclass(frozen=True, kw_only=True)
class ClickSettings:
    """Clicks on one object, and the files of its masks."""

    click: tyro.conf.UseAppendAction[tuple[Annotated[Any, one_text("frame,x,y[,out]")], ...]] = ()
    """Outline the object at this place, through a whole video; with ,out, a place that is not the object. May be repeated, on
    any frame: clicks on further frames correct the mask there."""
    box: tyro.conf.UseAppendAction[tuple[Annotated[Any, one_text("frame,x1,y1,x2,y2")], ...]] = ()
    """A box around the object, with clicks or in their place."""
    format: Literal["coco", "png", "davis"] = "coco"
    """With clicks, what is written beside overlay.mp4: masks.json for pycocotools; 00000.png and so on, the object white; or
    the same with the palette of DAVIS, where the object is 1, in a folder named as the video."""
    tracker: Annotated[str, tyro.conf.arg(metavar="NAME|FILE")] = TRACKER
    """With clicks, what follows points: name or file of a tracker's weights, or static."""


@dataclass(frozen=True, kw_only=True)
class SegmentClicksOptions(ClickSettings):
    """Options of `segment_clicks`."""

    video: Any = field(kw_only=False)
    """Video file, folder of images, npy/npz array, one image, or the address of one; an array (t, h, w, 3); an open `Video`."""
    out: File | None = None
    """Folder of the masks and overlay.mp4; None writes nothing."""
    device: str | None = "auto"


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentedClip(Result):
    """An object's masks through a video."""

    video: str
    """What was given, or the name of an array."""
    tracker: str
    masks: "ClipMasks"
    seconds: float
    """That all of it took."""
    out: Path | None
    """Folder of what was written."""
    format: str

    def as_json(self) -> dict[str, Any]:
        content: dict[str, Any] = {
            "video": self.video,
            "frames": len(self.masks),
            "width": self.masks.width,
            "height": self.masks.height,
            "tracker": self.tracker,
            "frames_shown": sum(bool(self.masks[frame].any()) for frame in range(len(self.masks))),
            "seconds": self.seconds,
        }
        if self.out is not None:
            place = self.out / COCO if self.format == "coco" else self.out
            content |= {"masks": str(place), "overlay": str(self.out / OVERLAY)}
        return content

    def as_text(self) -> str:
        content = self.as_json()
        lines = [
            f"outlined the object in {content['frames_shown']} of {content['frames']} frames of {self.video}"
            f" ({self.masks.width}x{self.masks.height}) in {self.seconds:.1f} s"
        ]
        return "\n".join([*lines, *(f"{key:8} {content[key]}" for key in ("overlay", "masks") if key in content)])


@verb(SegmentClicksOptions, data=("video",))
def segment_clicks(options: SegmentClicksOptions, listener: Listener) -> SegmentedClip:
    """Compute the mask of one object in every frame of a video, from clicks and boxes in some of them.

    The first frame that has a click or a box begins, as they were given; those of other frames correct. Raises BadInput for
    sources that cannot be opened, places outside the image or the video, and clicks outside the object alone.
    """
    from tapetum.bench.baselines import load_tracker
    from tapetum.tracks.masks import check_prompts, segment_clip
    from tapetum.tracks.masks.files import draw_masks, write_coco, write_davis, write_pngs
    from tapetum.video import open_video, write_video

    prompts = read_prompts(options.click, options.box)
    began = time.perf_counter()
    with ExitStack() as cleanup:
        video = cleanup.enter_context(open_video(options.video))
        name = str(options.video) if isinstance(options.video, str | Path) else video.name
        out = None if options.out is None else Path(options.out)
        if out is not None and options.format == "davis":
            out = out / plain_name(name)
        written = None if out is None else cleanup.enter_context(results(out, (COCO, OVERLAY)))
        count_frames(video, options.video, listener)
        check_prompts(prompts, len(video), video.width, video.height)
        tracker = load_tracker(options.tracker, choose_device(options.device)) if len(video) > 1 else None
        masks = segment_clip(video, prompts, tracker, progress=listener.progress)
        if written is not None:
            if options.format == "coco":
                write_coco(written.folder / COCO, {1: masks})
            elif options.format == "png":
                write_pngs(written.folder, masks)
            else:
                write_davis(written.folder, {1: masks})
            listener.status("drawing")
            write_video(written.folder / OVERLAY, draw_masks(video, {1: masks}), video.frame_rate)
            listener.status("")
            written.commit()
        return SegmentedClip(
            video=name,
            tracker=options.tracker,
            masks=masks,
            seconds=time.perf_counter() - began,
            out=out,
            format=options.format,
        )


def read_prompts(clicks: tuple[Any, ...], boxes: tuple[Any, ...]) -> "list[Prompt]":
    """Read clicks "frame,x,y[,in|out]" and boxes "frame,x1,y1,x2,y2", as text or values, into one prompt a frame.

    Frames come in the order of their first mention, boxes first. Raises BadInput for what is neither.

    >>> read_prompts(("3,20,30", "3,5,5,out"), ())
    [Prompt(frame=3, box=None, inside=((20.0, 30.0),), outside=((5.0, 5.0),))]
    """
    from tapetum.tracks.masks import Prompt

    frames: dict[int, dict[str, Any]] = {}
    for text in boxes:
        frame, box = _numbers(text, 4, "--box", "frame,x1,y1,x2,y2, such as 0,40,30,200,160")
        if "box" in frames.setdefault(frame, {}):
            raise BadInput(f"frame {frame} has two boxes; one is enough for one object")
        frames[frame]["box"] = box
    for text in clicks:
        cells = cells_of(text) if isinstance(text, str) else list(text)
        side = cells.pop() if len(cells) == 4 and str(cells[3]) in ("in", "out") else "in"
        frame, place = _numbers(cells, 2, "--click", "frame,x,y or frame,x,y,out, such as 0,120,80", text)
        frames.setdefault(frame, {}).setdefault("inside" if side == "in" else "outside", []).append(place)
    return [Prompt(frame=n, **{k: v if k == "box" else tuple(v) for k, v in each.items()}) for n, each in frames.items()]


def _numbers(value: Any, count: int, option: str, needed: str, shown: Any = None) -> tuple[int, tuple[float, ...]]:
    """A frame and `count` numbers."""
    cells = cells_of(value) if isinstance(value, str) else list(value)
    try:
        frame, *numbers = (float(cell) for cell in cells)
        if len(numbers) != count or frame != int(frame):
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        raise BadInput(f"{option} is {shown or value!s}; give {needed}") from None
    return int(frame), tuple(numbers)
