"""Files of images and of videos in folders, by extension and in order; and videos made of images: of a folder, or of one."""

import io
import os
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from tapetum.core.errors import BadInput, MissingExtra
from tapetum.core.provenance import protect
from tapetum.core.reading import no_pipe, open_file
from tapetum.video.arrays import as_rgb, from_floats
from tapetum.video.types import FRAME_CACHE_BYTES, MAX_PIXELS, DecodeReport, Frame, FrameCache, Video, refuse_huge

HEIC = frozenset((".heic", ".heif"))
"""File extensions of images for which Pillow needs the package pillow-heif (`tapetum[heic]`)."""
IMAGES = HEIC | {".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm"}
"""File extensions that are taken as images."""
VIDEOS = {
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".3gp"),
    *(".ogv", ".gif", ".mxf", ".mjpeg", ".mjpg", ".y4m", ".dv", ".asf"),
}
"""File extensions that are taken as videos."""
OVERLAY, TRACKS = "overlay.mp4", "tracks.npz"
"""What `tapetum track` leaves in a folder of results, which may lie among the videos."""


def folder_of_images(folder: Path) -> list[Path]:
    """List the images of a folder in natural order; hidden files and subfolders are skipped."""
    names = [entry.name for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith(".")]
    names = [name for name in names if Path(name).suffix.lower() in IMAGES]
    if not names:
        raise BadInput(f"the folder {folder} holds no images (png, jpg, ...); give a folder of frames or a video file")
    return [folder / name for name in sorted(names, key=natural_key)]


def images_below(folder: Path) -> list[Path]:
    """List the images in a folder and in those below it, in natural order; hidden ones and links to folders are skipped."""
    images: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        names = [name for name in names if not name.startswith(".") and Path(name).suffix.lower() in IMAGES]
        images += [path for name in sorted(names, key=natural_key) if (path := Path(place, name)).is_file()]
    if not images:
        raise BadInput(f"the folder {folder} and those below hold no images (png, jpg, ...); give images, or a folder of some")
    protect(images)
    return images


def natural_key(name: str) -> tuple:
    """Make a key that sorts numbers in names by value."""
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if place % 2 else part.lower() for place, part in enumerate(parts)), name


def find_videos(source: Path) -> list[Path]:
    """List all files below the folder `source` with a video extension, sorted, but for hidden ones and overlays beside their
    tracks; or `source` itself, if it is a file. Raises BadInput if there are none."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise BadInput(f"there is no folder {source}; give one with videos in it")
    videos = videos_below(source)
    if not videos:
        others = sum(p.is_file() for p in source.rglob("*"))
        raise BadInput(f"{source} has no video in it ({others} other files); give a folder with mp4, mov, mkv, webm or avi")
    return videos


def videos_below(folder: Path) -> list[Path]:
    """List what `find_videos` finds, possibly nothing."""
    videos, visited = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:  # a link that leads back
            folders.clear()
            continue
        visited.add(real)
        folders.sort()  # the same way goes first each time
        files = (Path(place, name) for name in names if not name.startswith(".") and Path(name).suffix.lower() in VIDEOS)
        videos += [file for file in files if file.is_file() and not (file.name == OVERLAY and TRACKS in names)]
    return sorted(videos)


_TURNED = frozenset(("JPEG", "MPO", "TIFF", "WEBP", "PNG"))
"""Formats whose header may say that the image is turned."""
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
"""EXIF's tag, and its values for images whose rows are stored as columns."""
_METADATA = frozenset(("exif", "Raw profile type exif", "XML:com.adobe.xmp"))
"""Where Pillow looks for it in a PNG."""


class ImageVideo(Video):
    """A video whose frames are image files of one size, rotated upright according to their EXIF data.

    A single image may have pages, like TIFF stacks and animated WebP and PNG: each is a frame.
    """

    clocked = False

    def __init__(self, paths: list[Path], *, name: str, frame_rate: float):
        self.name = name
        self._rate = float(frame_rate)
        self._decoded: set[int] = set()
        self._cache: FrameCache[Frame] | None = None
        pages, self.width, self.height = image_size(paths[0])
        self._pages = [(path, 0) for path in paths] if len(paths) > 1 else [(paths[0], k) for k in range(pages)]
        for path in paths[1:]:
            _, width, height = image_size(path)
            if (width, height) != (self.width, self.height):
                raise BadInput(
                    f"{path} is {width}x{height}, but {paths[0].name} is {self.width}x{self.height}: "
                    "frames of one video have one size; resize it or take it out of the folder"
                )
        self._first: Frame | None = None
        for frame in self._read([0]):
            self._first = frame if len(self._pages) == 1 else None  # the next read has it, and need not decode it again

    def __len__(self) -> int:
        return len(self._pages)

    @property
    def report(self) -> DecodeReport:
        count, decoded = len(self), len(self._decoded)
        return DecodeReport(promised=count, decoded=decoded, damaged=0, complete=decoded == count)

    def cache_frames(self, max_bytes: int = FRAME_CACHE_BYTES) -> None:
        self._cache = FrameCache(max_bytes)

    def close(self) -> None:
        self._cache = self._first = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_cache": None, "_first": None}

    def _read(self, indices: Sequence[int]) -> Iterator[Frame]:
        first, self._first = self._first, None
        if first is not None and len(indices):
            yield first
            indices = indices[1:]
        cache = FrameCache[Frame](0) if self._cache is None else self._cache
        for path, group in groupby(indices, key=lambda index: None if index in cache else self._pages[index][0]):
            if path is None:
                yield from (cache[index].copy() for index in group)
                continue
            with _opened(path) as image:
                for index in group:
                    frame = _upright(image, self._pages[index][1], path)
                    if frame.shape[:2] != (self.height, self.width):
                        size = f"{frame.shape[1]}x{frame.shape[0]}"
                        raise BadInput(
                            f"frame {index} ({path.name}) is {size}, but the first is {self.width}x{self.height}: "
                            "frames of one video have one size"
                        )
                    self._decoded.add(index)
                    cache.put(index, frame, frame.nbytes)
                    yield frame.copy() if index in cache else frame


def read_reduced(path: Path, least: int) -> Frame:
    """Read the first page of an image, upright, uint8 (h, w, 3); a JPEG at a half, quarter or eighth of its size where both
    sides keep `least` pixels. Raises BadInput if it is no image, or damaged."""
    with _opened(path) as image:
        image.draft("RGB", (least, least))
        return _upright(image, 0, path)


def know_heic(path: str | Path) -> None:
    """Register Pillow's reader of HEIC if `path` is such a file. Raises MissingExtra if the package is not installed."""
    if Path(path).suffix.lower() not in HEIC:
        return
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise MissingExtra("pillow-heif", "heic", f"reading {path}") from error
    register_heif_opener()


def _opened(path: Path) -> Image.Image:
    know_heic(path)
    try:
        return Image.open(no_pipe(path))
    except Image.DecompressionBombError as error:
        raise BadInput(f"{path} is too large: more than {MAX_PIXELS} pixels are refused; make it smaller") from error
    except Exception as error:  # Pillow's plugins raise whatever damage makes them stumble over: TypeError, struct.error, ...
        if isinstance(error, OSError) and error.strerror:
            raise BadInput(f"cannot read {path}: {error.strerror}; give an image that may be read") from error
        raise BadInput(f"{path} is not an image that can be read; give png, jpg or another common format") from error


def image_size(path: Path) -> tuple[int, int, int]:
    """Read the number of frames of an image file (several in a stack or an animation), and width and height of the upright
    image, from its header. Raises BadInput for what is no image, too large, or damaged."""
    with _opened(path) as image:
        width, height = image.size
        refuse_huge(path, width, height)
        if _is_sideways(image, path):
            width, height = height, width
        try:
            return getattr(image, "n_frames", 1) if image.format in ("TIFF", "WEBP", "PNG") else 1, width, height
        except Exception as error:
            raise BadInput(f"{path} is damaged ({_reason(error)}); copy it again") from error


def _is_sideways(image: Image.Image, path: Path) -> bool:
    """Check whether `image.size` is the size before the image is rotated upright; usually no pixels are decoded."""
    if image.format not in _TURNED:
        return False
    if image.format == "PNG" and not _METADATA.intersection(image.info) and not _metadata_follows(path):
        return False  # else Pillow decodes all pixels to look for it
    stored = image.size
    if image.format == "TIFF":  # whose size some versions of Pillow give as stored, and others upright
        tags = getattr(image, "tag_v2", {})
        stored = tags.get(256), tags.get(257)
    return image.size == stored and image.getexif().get(ORIENTATION, 1) in SIDEWAYS


def _metadata_follows(path: Path) -> bool:
    """Check whether a PNG has metadata after its pixels; chunks are skipped, not read."""
    with open_file(path) as file:
        file.seek(8)
        pixels = False
        while len(head := file.read(8)) == 8:
            pixels |= head[4:] == b"IDAT"
            if pixels and head[4:] in (b"eXIf", b"iTXt", b"tEXt", b"zTXt"):
                return True
            file.seek(int.from_bytes(head[:4]) + 4, os.SEEK_CUR)
    return False


def _upright(image: Image.Image, page: int, path: Path) -> Frame:
    try:
        if page or image.tell():
            image.seek(page)
        refuse_huge(path, *image.size)
        return image_rgb(ImageOps.exif_transpose(image) if image.format in _TURNED else image, str(path))
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{path} is damaged ({_reason(error)}); replace it or take it out of the folder") from error


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())


def image_rgb(image: Image.Image, name: str) -> Frame:
    """Convert an image of any mode to uint8 RGB: alpha is composited on black, 16 bits are reduced to 8, floats are 0..1.
    Raises BadInput, naming `name`, for floats outside 0..1, NaN, and integers outside 0..65535."""
    if image.mode == "F":
        return as_rgb(from_floats(np.asarray(image), name))
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        if wide.min() < 0 or wide.max() > 65535:
            raise BadInput(
                f"{name} has numbers from {wide.min()} to {wide.max()}; give 8 or 16 bits (to 65535), or floats 0..1"
            )
        return as_rgb((wide >> 8).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return as_rgb(np.asarray(image.convert("RGBA")))
    return as_rgb(np.asarray(image.convert("RGB")))


def encode_jpeg(image: Frame, quality: int = 95) -> bytes:
    """Encode an image as a JPEG file."""
    data = io.BytesIO()
    Image.fromarray(image).save(data, "JPEG", quality=quality)
    return data.getvalue()
