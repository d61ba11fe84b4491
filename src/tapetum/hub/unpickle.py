"""Pickles from strangers, read without running what they say.

A pickle is a program: its GLOBAL opcode names any function on the machine and its REDUCE opcode calls it. This reader
resolves only the few names that numpy arrays, dtypes, scalars and plain containers are made of, under the names of
numpy 1 and numpy 2 and for protocols 0 to 5, and refuses every other name.

Unusual: not even numpy's own functions are called while the pickle runs, see `records.py`.

Differs from `pickle.load`: arrays may be read-only, being views of the data that was read.
"""

import io
import math
import mmap
import os
import pickle
import pickletools
import struct
import tokenize
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.reading import open_file
from tapetum.hub.records import ADMITTED, Plain

_FAILURES = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    MemoryError,
    BufferError,
    OverflowError,
    RecursionError,
    struct.error,
)
"""What the standard unpickler raises on damaged data, depending on where the damage is."""


def load_pickle(path: str | os.PathLike[str]) -> Any:
    """Load the content of a pickle file: numpy arrays, numpy scalars, numbers, text, bytes and plain containers.

    Raises:
        BadInput: the file is missing, damaged, or names a class or function other than those; the message names it.
    """
    data = _mapped(Path(path))
    try:
        return _load(data, 0)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error


def load_npy(path: str | os.PathLike[str]) -> Any:
    """Load the content of an .npy file; where it wraps a pickled object (official JAX checkpoints do), that object.

    Raises:
        BadInput: as `load_pickle`.
    """
    data = _mapped(Path(path))
    try:
        return _load_npy(data)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error


def loads(data: bytes) -> Any:
    """Read the content of a pickle in memory, as `load_pickle`.

    >>> loads(pickle.dumps({"points": np.arange(3)}))
    {'points': array([0, 1, 2])}
    >>> loads(pickle.dumps(print))
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: the pickle names builtins.print; only numpy arrays and plain containers are read
    """
    return _load(data, 0)


def _mapped(path: Path) -> "mmap.mmap | bytes":
    """The file without reading it yet; a read past its end stays short instead of allocating what was promised."""
    try:
        with open_file(path) as file:
            if not os.fstat(file.fileno()).st_size:
                raise BadInput(f"{path} is empty; give a pickle or npy file")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}; give a pickle or npy file") from error


def _load_npy(data: "mmap.mmap | bytes") -> Any:
    file = io.BytesIO(data[:65536])
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (*_FAILURES, SyntaxError, tokenize.TokenError) as error:
        raise BadInput(f"not an npy file ({_line(error)})") from error
    if dtype.hasobject:
        content = _load(data, file.tell())
        alone = isinstance(content, np.ndarray) and content.dtype == object and content.ndim == 0
        return content.item() if alone else content
    size = math.prod(shape) * dtype.itemsize
    if len(data) - file.tell() < size:
        raise BadInput(f"the npy file ends before the {size} bytes of its array of shape {shape}")
    raw = data[file.tell() : file.tell() + size]
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")


def _load(data: "mmap.mmap | bytes", start: int) -> Any:
    try:
        _check_memo(_Window(data, start))
        return Plain().of(_Unpickler(_Window(data, start), encoding="latin1").load())
    except _FAILURES as error:
        raise BadInput(f"not a whole pickle of arrays and plain containers ({_line(error)})") from error


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


class _Window:
    """The reading half of a file over memory that another may share, starting at an offset."""

    def __init__(self, data: "mmap.mmap | bytes", position: int):
        self._data, self._position = data, position

    def read(self, size: int = -1) -> bytes:
        end = len(self._data) if size < 0 else min(self._position + size, len(self._data))
        piece = self._data[self._position : end]
        self._position = end
        return piece

    def readline(self) -> bytes:
        end = self._data.find(b"\n", self._position)
        return self.read(len(self._data) - self._position if end < 0 else end + 1 - self._position)

    def tell(self) -> int:
        return self._position


def _check_memo(file: _Window) -> None:
    """Refuse a memo index larger than any honest pickle could reach: the C unpickler would allocate up to it."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):  # pyright: ignore[reportArgumentType]
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= int(argument or 0) <= count + 1:
            raise BadInput(f"the pickle asks for memo slot {argument} after {count} steps; the file is damaged or hostile")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return ADMITTED[f"{module_name}.{global_name}"]
        except KeyError:
            foreign = ascii(f"{module_name}.{global_name}")[1:-1][:200]
            raise BadInput(f"the pickle names {foreign}; only numpy arrays and plain containers are read") from None
