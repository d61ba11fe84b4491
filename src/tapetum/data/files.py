"""Files of a data set before they are decoded, by path or as bytes, and images opened from them."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image, ImageOps

from tapetum.core.errors import BadInput, TapetumError
from tapetum.core.reading import no_pipe
from tapetum.video.images import image_rgb, know_heic


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
