"""Untrusted pickles, read without running their code.

A pickle is a program: its GLOBAL opcode names any function on the machine and its REDUCE opcode calls it. This reader
resolves only the few names that numpy arrays, dtypes, scalars and plain containers are made of, under the names of
numpy 1 and numpy 2 and for protocols 0 to 5, and rejects every other name.

Unusual: not even numpy's own functions are called while the pickle runs, and large data stays in the file until it is used
(`pickle_file.py`), so that a file of many videos is read one video at a time.

Differs from `pickle.load`: arrays may be read-only, because they are views of the data that was read.
"""

import io
import math
import os
import pickle
import struct
import tokenize
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.reading import open_file
from tapetum.hub.pickle_file import ADMITTED, PickleFile, Plain, Stored

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
    with _opened(Path(path)) as file, _named(path):
        return _load(file)


class Item:
    """A part of a pickle file, whose long strings stay in the file until `read`."""

    def __init__(self, record: Any, path: str | os.PathLike[str]):
        self._record, self._path = record, path

    def read(self) -> Any:
        """Read only this part, as `load_pickle` does; the file must still be open."""
        with _named(self._path), _refused():
            return Plain().of(self._record)


@contextmanager
def open_pickle(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a pickle file of many large items: a dict, list or tuple of `Item`s, each read from the file on demand.

    Uses memory for the short parts of the file, and for the items in use. Other content becomes a single `Item`.

    Raises:
        BadInput: as `load_pickle`; for damage within an item, when it is read.
    """
    with _opened(Path(path)) as file:
        with _named(path), _refused():
            content = _records(file)
            if isinstance(content, dict):
                items: Any = {Plain().of(key): Item(value, path) for key, value in content.items()}
            elif isinstance(content, (list, tuple)):
                items = type(content)(Item(value, path) for value in content)
            else:
                items = Item(content, path)
        yield items


def load_npy(path: str | os.PathLike[str]) -> Any:
    """Load the content of an .npy file; if it wraps a pickled object (official JAX checkpoints do), that object.

    Raises:
        BadInput: as `load_pickle`.
    """
    with _opened(Path(path)) as file, _named(path):
        return _load_npy(file)


def loads(data: bytes) -> Any:
    """Read the content of a pickle in memory, as `load_pickle`.

    >>> loads(pickle.dumps({"points": np.arange(3)}))
    {'points': array([0, 1, 2])}
    >>> loads(pickle.dumps(exec))
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: the pickle names builtins.exec; only numpy arrays and plain containers are read
    """
    return _load(io.BytesIO(data))


def _opened(path: Path) -> io.BufferedReader:
    try:
        file = open_file(path)
        if os.fstat(file.fileno()).st_size:
            return file
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}; give a pickle or npy file") from error
    file.close()
    raise BadInput(f"{path} is empty; give a pickle or npy file")


@contextmanager
def _named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Adds the file's name to errors about its damage."""
    try:
        yield
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}; give a pickle or npy file") from error


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        raise BadInput(f"not a whole pickle of arrays and plain containers ({_line(error)})") from error


def _load_npy(file: io.BufferedIOBase) -> Any:
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (*_FAILURES, SyntaxError, tokenize.TokenError) as error:
        raise BadInput(f"not an npy file ({_line(error)})") from error
    if dtype.hasobject:
        content = _load(file)
        alone = isinstance(content, np.ndarray) and content.dtype == object and content.ndim == 0
        return content.item() if alone else content
    size, start = math.prod(shape) * dtype.itemsize, file.tell()
    if file.seek(0, io.SEEK_END) - start < size:
        raise BadInput(f"the npy file ends before the {size} bytes of its array of shape {shape}")
    file.seek(start)
    return np.frombuffer(file.read(size), dtype).reshape(shape, order="F" if fortran else "C")


def _load(file: io.BufferedIOBase) -> Any:
    with _refused():
        return Plain().of(_records(file))


def _records(file: io.BufferedIOBase) -> Any:
    """The content of a pickle, with arrays as records and long strings still in the file."""
    outline, strings = PickleFile(file).outline()
    return _Unpickler(outline, strings).load()


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


class _Unpickler(pickle.Unpickler):
    def __init__(self, outline: bytes, strings: list[Stored]):
        super().__init__(io.BytesIO(outline), encoding="latin1")
        self._strings = strings

    def persistent_load(self, pid: Any, /) -> Stored:
        return self._strings[pid]

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return ADMITTED[f"{module_name}.{global_name}"]
        except KeyError:
            foreign = ascii(f"{module_name}.{global_name}")[1:-1][:200]
            raise BadInput(f"the pickle names {foreign}; only numpy arrays and plain containers are read") from None
