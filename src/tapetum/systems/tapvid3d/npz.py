"""npz files of clips, and the JPEG frames in them: read in bounded memory, without executing pickles.

An npz is a zip of npy files. numpy itself would either refuse every array of Python objects or, with `allow_pickle`, run their
code; JPEG frames are sometimes stored as such an array. Here an array of objects is read by `tapetum.hub.unpickle`, which
accepts only plain content, and headers are checked against the actual size before memory is allocated.
"""

import io
import lzma
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.hub.unpickle import error_line, loads

Kind = Literal[
    "missing", "unreadable", "large", "pickled", "key", "dtype", "shape", "nan", "images", "intrinsics", "poses", "query-frame",
    "query-hidden", "query-off", "never-visible", "outside", "behind",
]  # fmt: skip
"""What can be wrong with a file, in a word; `docs/systems/tapvid3d.md` lists them."""

LIMIT = 2**30
"""Most bytes that one array may have when unpacked; the largest of the benchmark has about a tenth."""

_FAILURES = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, KeyError, TypeError, RuntimeError, OverflowError,
    SyntaxError, tokenize.TokenError, struct.error,
)  # fmt: skip
"""What zipfile and numpy raise on damaged files, depending on where the damage is."""


class Damage(BadInput):
    """Error about a damaged file; `kind` says what in a word."""

    def __init__(self, kind: Kind, message: str):
        super().__init__(message)
        self.kind: Kind = kind

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.kind, str(self))


class Npz:
    """The arrays of one npz file, each read on demand; a context manager.

    Raises Damage: from the constructor and every method, with the file's name in the message.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        try:
            self._zip = zipfile.ZipFile(no_pipe(self.path))
        except FileNotFoundError as error:
            raise Damage("missing", f"there is no file {self.path}") from error
        except OSError as error:
            raise Damage("unreadable", f"cannot read {self.path}: {error.strerror or error}") from error
        except _FAILURES as error:
            raise self.damage("unreadable", f"is cut off or no npz file ({error_line(error)})") from error
        self.names = {name.removesuffix(".npy") for name in self._zip.namelist() if name.endswith(".npy")}

    def __enter__(self) -> "Npz":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def damage(self, kind: Kind, text: str) -> Damage:
        return Damage(kind, f"{self.path} {text}")

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Read shape and dtype of an array, without reading it."""
        with self._open(name) as file:
            return self._header(name, file)[:2]

    def head(self, name: str, size: int) -> bytes:
        """Read the first bytes of an array's data, as they are stored: a dump of memory, or a pickle."""
        with self._open(name) as file:
            self._header(name, file)
            return file.read(size)

    def numbers(self, name: str) -> np.ndarray:
        data, shape, dtype, fortran = self._data(name)
        if dtype.hasobject:
            raise self.damage("pickled", f"holds {name} as pickled objects, which are not read; store it as numbers")
        if dtype.kind not in "biuf":
            raise self.damage("dtype", f"holds {name} as {dtype}; it must be numbers")
        array = np.frombuffer(data, dtype) if data else np.empty(0, dtype)
        return array.reshape(shape, order="F" if fortran else "C")

    def byte_strings(self, name: str) -> list[bytes]:
        """Read an array (t,) of byte strings, stored with a fixed width or as pickled objects."""
        data, shape, dtype, _ = self._data(name)
        if len(shape) != 1 or not (dtype.hasobject or (dtype.kind == "S" and dtype.itemsize)):
            raise self.damage("dtype", f"holds {name} as {dtype} {shape}; it must be byte strings (t,)")
        if dtype.kind == "S":
            return np.frombuffer(data, dtype).tolist() if data else []
        try:
            content = loads(data)
        except BadInput as error:
            raise self.damage("pickled", f"holds foreign objects in {name}: {error}") from error
        if not isinstance(content, np.ndarray) or content.shape != shape:
            raise self.damage("pickled", f"holds a pickled {type(content).__name__} in {name}, not an array of shape {shape}")
        wrong = next((index for index, item in enumerate(content) if not isinstance(item, bytes)), None)
        if wrong is not None:
            raise self.damage("pickled", f"holds a {type(content[wrong]).__name__} as item {wrong} of {name}; it must be bytes")
        return content.tolist()

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with self._zip.open(f"{name}.npy") as file:
                yield file
        except (*_FAILURES, OSError) as error:
            raise self.damage("unreadable", f"is damaged at {name} ({error_line(error)})") from error

    def _header(self, name: str, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype, bool, int]:
        """Shape, dtype, Fortran order and number of bytes that follow; for numbers, exactly as many as the shape needs."""
        old = np.lib.format.read_magic(file) == (1, 0)
        read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
        left = self._zip.getinfo(f"{name}.npy").file_size - file.tell()
        if left > LIMIT:
            raise self.damage("large", f"holds {left} bytes in {name}; an array may have up to {LIMIT}")
        if not dtype.hasobject and (left != math.prod(shape) * dtype.itemsize or min(shape, default=0) < 0):
            raise self.damage("unreadable", f"promises {name} of {dtype} {shape}, but holds {left} bytes for it")
        return shape, dtype, fortran, left

    def _data(self, name: str) -> tuple[bytes, tuple[int, ...], np.dtype, bool]:
        with self._open(name) as file:
            shape, dtype, fortran, left = self._header(name, file)
            data = file.read()
        if len(data) != left:
            raise self.damage("unreadable", f"ends in the middle of {name}")
        return data, shape, dtype, fortran


KEY = "images_jpeg_bytes"
"""Name of the array of frames."""

PIXELS = 2**26
"""Most pixels of an image that is decoded."""

_START = b"\xff\xd8\xff"


def jpeg_size(data: bytes, where: str) -> tuple[int, int]:
    """Read height and width from the header of a JPEG, which may be truncated. Raises `Damage`."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            w, h = image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Damage("images", f"{where} is no JPEG") from error
    if h * w > PIXELS:
        raise Damage("images", f"{where} is an image of {w}x{h}; it may have up to {PIXELS} pixels")
    return h, w


def decode(data: bytes, where: str) -> UInt8[np.ndarray, "h w 3"]:
    """Decode a JPEG as an image. Raises `Damage`."""
    jpeg_size(data, where)
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise Damage("images", f"{where} is no whole JPEG ({' '.join(str(error).split())})") from error


class StoredJpegs(Sequence[bytes]):
    """The frames of a file, read on demand; `size` is (height, width). Raises `Damage`."""

    def __init__(self, path: Path, file: Npz):
        shape, dtype = file.header(KEY)
        if len(shape) != 1 or not shape[0] or not (dtype.hasobject or dtype.kind == "S"):
            raise file.damage("images", f"holds {KEY} as {dtype} {shape}; it must be JPEG files as bytes (t,)")
        self._path, self._length = path, shape[0]
        beginning = file.head(KEY, 2**20)
        first = beginning.find(_START)
        self.size = jpeg_size(beginning[first:] if first >= 0 else self[0], f"{path}: frame 0")

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        return self._frames[index]

    @cached_property
    def _frames(self) -> list[bytes]:
        with Npz(self._path) as file:
            return file.byte_strings(KEY)
