"""Files of a data set before they are decoded, by path or as bytes, and images opened from them."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from PIL import Image, ImageOps

from tapetum.core.errors import BadInput, TapetumError
from tapetum.core.reading import no_pipe, read_bytes
from tapetum.video.images import ORIENTATION, SIDEWAYS, image_rgb, know_heic
from tapetum.video.types import MAX_PIXELS

if TYPE_CHECKING:
    from tapetum.data.jpegs import EncodedImage

_END, _TAIL = b"\xff\xd9", 1024
"""The marker of the end of a JPEG, and in how many bytes it is looked for: some programs write a few behind it."""


@dataclass(frozen=True)
class StoredFile:
    """A file, or bytes that stand for one."""

    name: str
    """For messages."""
    content: Path | bytes

    @property
    def place(self) -> Path | io.BytesIO:
        """Get the path, or a buffer of the bytes: what a library can open."""
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content


def stored_file(path: Path) -> StoredFile:
    """Build the record of a file from its path."""
    return StoredFile(str(path), path)


class Files(Protocol):
    """Files by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, k: int, /) -> StoredFile: ...


def opened_image(file: StoredFile, mode: str | None) -> Image.Image:
    """Open an image, upright, converted to `mode` if one is given. Raises BadInput where there is none."""
    if isinstance(file.content, Path) and mode == "RGB":
        from tapetum.video import open_video  # decodes with PyAV, which reading of listings does without

        return Image.fromarray(open_video(file.content)[0])
    try:
        if isinstance(file.content, Path):
            know_heic(file.content)
        with Image.open(no_pipe(file.content) if isinstance(file.content, Path) else file.place) as image:
            image = ImageOps.exif_transpose(image)
            if mode == "RGB" and image.mode[0] in "IF":
                return Image.fromarray(image_rgb(image, file.name))
            return image.convert(mode) if mode else image.copy()
    except TapetumError:
        raise
    except FileNotFoundError as error:
        raise BadInput(f"there is no file {file.name}; copy the data again") from error
    except Exception as error:  # Pillow's plugins raise whatever damage makes them stumble over
        raise BadInput(f"{file.name} is not an image that can be read ({' '.join(str(error).split())[:100]})") from error


def encoded_image(file: StoredFile) -> "EncodedImage | None":
    """Read a JPEG and its header; None for what is to be decoded by Pillow, which also says what is wrong with it."""
    from tapetum.data.jpegs import EncodedImage  # imports torch

    try:
        content = file.content if isinstance(file.content, bytes) else read_bytes(file.content)
        if _END not in content[-_TAIL:]:
            return None
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            # Pillow calls a JPEG with several images MPO; Adobe's transform 0 says that three channels are not YCbCr
            plain = image.format == "JPEG" and image.mode in ("RGB", "L") and image.info.get("adobe_transform") != 0
            height, width = image.height, image.width
            if not plain or height * width > MAX_PIXELS:
                return None
            orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # whatever damage makes Pillow stumble over; it is told of where the file is decoded
        return None
    orientation = orientation if orientation in range(1, 9) else 1
    return EncodedImage(content, (width, height) if orientation in SIDEWAYS else (height, width), orientation)
