"""`tapetum show VIDEO --frame N`: saves one frame of a video as an image, to read pixel coordinates of points from."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.app.verb import Listener, Result, count_frames
from tapetum.core.copies import place_name
from tapetum.core.errors import BadInput
from tapetum.core.files import plain_name, whole_file
from tapetum.core.provenance import check

if TYPE_CHECKING:
    from tapetum.video.types import Frame

_STEPS = 1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000
"""Pixels from one number of a ruler to the next."""
_NUMBERS = 10
"""Numbers along a side, about."""
_WIDTH = 34
"""Of a ruler, in pixels."""
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@dataclass(frozen=True, kw_only=True)
class ShownFrame(Result):
    """A frame of a video as an image."""

    video: str
    frame: int
    width: int
    """Of the video in pixels."""
    height: int
    image: Path

    def as_text(self) -> str:
        size, command = f"{self.width}x{self.height}", f"tapetum track {self.video} --query {self.frame},X,Y"
        return f"image    {self.image} ({size})\ntrack a point of it: {command}"


def show_frame(source: Any, number: int, out: Path | None, ruler: bool, listener: Listener) -> ShownFrame:
    """Write frame `number` of a video as an image, in pixels of the video; a ruler adds pixel coordinates around it.

    The image is `out`, by default the name of the video with -NUMBER.png. Raises BadInput if there is no such frame, or the
    image cannot be written.
    """
    from PIL import Image

    from tapetum.video import open_video

    name = source if isinstance(source, str | Path) else None
    if name is None and out is None:
        raise BadInput("the video is in memory and has no name to call the image by; give out, such as out='frame.png'")
    out = out or Path(f"{plain_name(name or '')}-{number}.png")
    kind = _FORMATS.get(out.suffix.lower())
    if kind is None:
        raise BadInput(f"--out {out}: a frame is written as an image; give a name that ends in .png or .jpg")
    check(out)
    with open_video(source) as video:
        if not 0 <= number < len(video):
            count_frames(video, source, listener)  # as many as can be decoded
        if not 0 <= number < len(video):
            raise BadInput(f"there is no frame {number} in {video.name}; give one from 0 to {len(video) - 1}")
        frame, width, height, label = video[number], video.width, video.height, video.name if name is None else place_name(name)
    with whole_file(out) as temporary:
        Image.fromarray(add_ruler(frame) if ruler else frame).save(temporary, kind)
    return ShownFrame(video=label, frame=number, width=width, height=height, image=out)


def add_ruler(frame: "Frame") -> "Frame":
    """Add rulers above and to the left of a frame: each number marks where x, or y, is that many raster pixels."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    height, width = frame.shape[:2]
    image = Image.new("RGB", (width + _WIDTH, height + _WIDTH), (255, 255, 255))
    image.paste(Image.fromarray(frame), (_WIDTH, _WIDTH))
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(10)
    step = next((each for each in _STEPS if each * _NUMBERS >= max(width, height)), _STEPS[-1])
    for pixel in range(0, max(width, height) + 1, step):
        text = str(pixel)
        half = pen.textlength(text, font=font) / 2
        if pixel <= width:
            pen.line([(_WIDTH + pixel, _WIDTH - 6), (_WIDTH + pixel, _WIDTH - 1)], fill=(0, 0, 0))
            pen.text((_WIDTH + pixel - half, 12), text, fill=(0, 0, 0), font=font)
        if pixel <= height:
            pen.line([(_WIDTH - 6, _WIDTH + pixel), (_WIDTH - 1, _WIDTH + pixel)], fill=(0, 0, 0))
            pen.text((_WIDTH - 8 - 2 * half, _WIDTH + pixel - 6), text, fill=(0, 0, 0), font=font)
    return np.asarray(image)
