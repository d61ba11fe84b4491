"""`tapetum segment --click`: masks of what is clicked or boxed, in an image or through a video, by SAM 2.

DIR/masks.json     COCO's instances: an image a frame, an annotation a mask that is not empty, with the number of its object
DIR/00000.png ...  with --format png or davis: pixels have the number of their object, in grey or in DAVIS' palette
DIR/overlay.mp4    the video with the masks
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.app.verb import File, Listener, Result, count_frames, one_text, verb
from tapetum.core.devices import choose_device
from tapetum.core.errors import BadInput
from tapetum.core.files import results, whole_file
from tapetum.core.tables import cells_of

if TYPE_CHECKING:
    from tapetum.systems.sam2.segmenter import MaskPrompt
    from tapetum.video import Video
    from tapetum.video.types import Frame

MASKS, OVERLAY, SEGMENTER = "masks.json", "overlay.mp4", "sam2-tiny"
_PNG = "[0-9][0-9][0-9][0-9][0-9].png"
Runs = dict[int, dict[int, dict[str, Any]]]
"""Run-length text of the masks that are not empty, by frame and object."""


@dataclass(frozen=True, kw_only=True)
class ClickSettings:
    """Clicks on objects and boxes around them, and the files of their masks."""

    click: tyro.conf.UseAppendAction[tuple[Annotated[Any, one_text("frame,x,y[,out][,OBJECT]")], ...]] = ()
    """Outline the object at this place, through a whole video; with ,out, a place beside it; with a number, that object (1).
    May be repeated, on any frame: clicks on further frames correct the mask there."""
    box: tyro.conf.UseAppendAction[tuple[Annotated[Any, one_text("frame,x1,y1,x2,y2[,OBJECT]")], ...]] = ()
    """A box around an object, with clicks or in their place."""
    format: Literal["coco", "png", "davis"] = "coco"
    """With clicks, what is written beside overlay.mp4: masks.json for pycocotools; or 00000.png and so on, whose pixels have
    the number of their object, plain or with the palette of DAVIS."""


@dataclass(frozen=True, kw_only=True)
class SegmentClicksOptions(ClickSettings):
    """Options of `segment_clicks`."""

    video: Any
    model: str = SEGMENTER
    out: File
    device: str | None = "auto"


@dataclass(frozen=True, kw_only=True)
class SegmentedVideo(Result):
    """Masks of objects through a video."""

    video: str
    model: str
    frames: int
    width: int
    height: int
    frames_shown: dict[int, int]
    """Frames in which each object has a mask."""
    seconds: float
    masks: Path
    overlay: Path

    def as_text(self) -> str:
        size = f"{self.frames} frames of {self.video} ({self.width}x{self.height}) in {self.seconds:.1f} s by {self.model}"
        lines = [f"object {name}: in {count} of {size}" for name, count in self.frames_shown.items()]
        return "\n".join([*lines, f"overlay  {self.overlay}", f"masks    {self.masks}"])


@verb(SegmentClicksOptions, data=("video",))
def segment_clicks(options: SegmentClicksOptions, listener: Listener) -> SegmentedVideo:
    """Compute masks of objects in every frame of a video, or in an image, from clicks and boxes in some frames.

    Raises BadInput for sources that cannot be opened, a missing model, and places outside the image or the video.
    """
    from tapetum.data.rle import encode_mask
    from tapetum.systems.sam2.segmenter import VideoSegmenter, check_prompts
    from tapetum.video import open_video, write_video

    prompts, began = read_prompts(options.click, options.box), time.perf_counter()
    with ExitStack() as cleanup:
        video = cleanup.enter_context(open_video(options.video))
        out = Path(options.out)
        written = cleanup.enter_context(results(out, (MASKS, OVERLAY)))
        count_frames(video, options.video, listener)
        check_prompts(prompts, video)
        segmenter = VideoSegmenter.load(options.model, choose_device(options.device))
        objects = sorted({each.object for each in prompts})
        runs: Runs = {frame: {} for frame in range(len(video))}
        total = len(objects) * len(video)
        for done, (frame, name, mask) in enumerate(segmenter.segment(video, prompts), 1):
            listener.progress("outlining", done, total)
            if mask.any():
                runs[frame][name] = encode_mask(mask)
        stale = {path.name for path in out.glob(_PNG)} if out.is_dir() else set[str]()
        _WRITERS[options.format](written.folder, runs, video)
        write_video(written.folder / OVERLAY, _drawn(video, runs, objects), video.frame_rate)
        written.commit(instead_of=stale | {MASKS})
        return SegmentedVideo(
            video=str(options.video) if isinstance(options.video, str | Path) else video.name,
            model=options.model,
            frames=len(video),
            width=video.width,
            height=video.height,
            frames_shown={name: sum(name in each for each in runs.values()) for name in objects},
            seconds=time.perf_counter() - began,
            masks=out / MASKS if options.format == "coco" else out,
            overlay=out / OVERLAY,
        )


def _write_coco(folder: Path, runs: Runs, video: "Video") -> None:
    from tapetum.data.coco import CocoImage, instance, write_instances

    def images() -> Iterator[CocoImage]:
        for frame, masks in runs.items():
            entries = [instance(name, mask, track_id=name) for name, mask in masks.items()]
            yield CocoImage(id=frame, file_name=f"{frame:05d}.png", height=video.height, width=video.width, instances=entries)

    names = {name: f"object {name}" for masks in runs.values() for name in masks}
    write_instances(folder / MASKS, images, names)


def _numbers(folder: Path, runs: Runs, video: "Video") -> "Iterator[tuple[Path, Any]]":
    """Yield the file of each frame with the number of the object at each pixel; a later object lies above."""
    import numpy as np

    from tapetum.data.rle import decode_mask

    for frame, masks in runs.items():
        numbers = np.zeros((video.height, video.width), np.uint8)
        for name, mask in sorted(masks.items()):
            numbers[decode_mask(mask)] = name
        yield folder / f"{frame:05d}.png", numbers


def _write_pngs(folder: Path, runs: Runs, video: "Video") -> None:
    from PIL import Image

    for path, numbers in _numbers(folder, runs, video):
        with whole_file(path) as temporary:
            Image.fromarray(numbers).save(temporary, format="PNG")


def _write_davis(folder: Path, runs: Runs, video: "Video") -> None:
    from tapetum.data.segmentation import write_numbers

    for path, numbers in _numbers(folder, runs, video):
        write_numbers(path, numbers)


_WRITERS = {"coco": _write_coco, "png": _write_pngs, "davis": _write_davis}


def _drawn(video: "Video", runs: Runs, objects: list[int]) -> "Iterator[Frame]":
    """Draw the masks on the frames; each object keeps its colour."""
    import numpy as np

    from tapetum.data.rle import decode_mask
    from tapetum.types import Masks
    from tapetum.video.draw_regions import draw_regions

    empty = np.zeros((video.height, video.width), bool)
    for number, frame in enumerate(video):
        masks = [decode_mask(runs[number][name]) if name in runs[number] else empty for name in objects]
        yield draw_regions(frame, masks=Masks(masks=np.stack(masks)))


def read_prompts(clicks: tuple[Any, ...], boxes: tuple[Any, ...]) -> "list[MaskPrompt]":
    """Read clicks "frame,x,y[,in|out][,OBJECT]" and boxes "frame,x1,y1,x2,y2[,OBJECT]", as text or values.

    Raises BadInput for what is neither.

    >>> read_prompts(("3,20,30,out,2",), ())
    [MaskPrompt(frame=3, object=2, point=(20.0, 30.0), inside=False, box=None)]
    """
    from tapetum.systems.sam2.segmenter import MaskPrompt

    prompts = []
    for given in boxes:
        frame, (x1, y1, x2, y2), name = _place(given, 4, "--box", "frame,x1,y1,x2,y2[,OBJECT], such as 0,40,30,200,160")
        prompts.append(MaskPrompt(frame=frame, object=name, box=(x1, y1, x2, y2)))
    for given in clicks:
        cells = [str(cell).strip() for cell in (cells_of(given) if isinstance(given, str) else given)]
        side = cells.pop(3) if len(cells) > 3 and cells[3] in ("in", "out") else "in"
        frame, (x, y), name = _place(cells, 2, "--click", "frame,x,y[,out][,OBJECT], such as 0,120,80", given)
        prompts.append(MaskPrompt(frame=frame, object=name, point=(x, y), inside=side == "in"))
    return prompts


def _place(given: Any, count: int, option: str, form: str, shown: Any = None) -> tuple[int, list[float], int]:
    """Read a frame, `count` numbers, and the number of an object, 1 if it is not there."""
    cells = cells_of(given) if isinstance(given, str) else list(given)
    try:
        frame, *numbers = (float(cell) for cell in cells)
        name = numbers.pop() if len(numbers) == count + 1 else 1.0
        if len(numbers) != count or frame != int(frame) or name not in range(1, 256):
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        raise BadInput(f"{option} is {str(shown or given)[:80]}; give {form}, objects being 1 to 255") from None
    return int(frame), numbers, int(name)
