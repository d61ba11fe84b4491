"""Untrusted pickles, read without running their code and without calling numpy.

A pickle is a program: its GLOBAL opcode names any function on the machine and its REDUCE opcode calls it. This reader
resolves only the few names that numpy arrays, dtypes, scalars and plain containers are made of, under the names of
numpy 1 and numpy 2 and for protocols 0 to 5, and rejects every other name.

A pickle builds an array by calling numpy functions and then passing the result its state. Here each allowed name stands for
a small recorder instead (`_ADMITTED`); a record is checked (dtype, shape, amount of data) and only then converted to an
array (`_Plain`). So a dtype cannot have forged flags, and an array cannot claim a size that its data does not have.

Differs from `pickle.load`: arrays may be read-only, because they are views of the data that was read. The standard library's
reader in Python is used: the one in C allocates memory for any memo index that a pickle asks for.
"""

import io
import math
import os
import pickle
import struct
import tokenize
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.reading import open_file

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
    """A part of a pickle file, converted to arrays when it is `read`."""

    def __init__(self, record: Any, path: str | os.PathLike[str]):
        self._record, self._path = record, path

    def read(self) -> Any:
        with _named(self._path), _refused():
            return _Plain().of(self._record)


def load_items(path: str | os.PathLike[str]) -> Any:
    """Load a pickle file of many large items: a dict, list or tuple of `Item`s. Other content becomes a single `Item`.

    Raises:
        BadInput: as `load_pickle`; for damage within an item, when it is read.
    """
    with _opened(Path(path)) as file, _named(path), _refused():
        content = _Unpickler(file).load()
        if isinstance(content, dict):
            return {_Plain().of(key): Item(value, path) for key, value in content.items()}
        if isinstance(content, (list, tuple)):
            return type(content)(Item(value, path) for value in content)
        return Item(content, path)


def load_npy(path: str | os.PathLike[str]) -> Any:
    """Load the content of an .npy file; if it wraps a pickled object (official JAX checkpoints do), that object.

    Raises:
        BadInput: as `load_pickle`.
    """
    with _opened(Path(path)) as file, _named(path):
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(file)
        except (*_FAILURES, SyntaxError, tokenize.TokenError) as error:
            raise BadInput(f"not an npy file ({error_line(error)})") from error
        if dtype.hasobject:
            content = _load(file)
            alone = isinstance(content, np.ndarray) and content.dtype == object and content.ndim == 0
            return content.item() if alone else content
        size, start = math.prod(shape) * dtype.itemsize, file.tell()
        if file.seek(0, io.SEEK_END) - start < size:
            raise BadInput(f"the npy file ends before the {size} bytes of its array of shape {shape}")
        file.seek(start)
        return np.frombuffer(file.read(size), dtype).reshape(shape, order="F" if fortran else "C")


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
        raise BadInput(f"not a whole pickle of arrays and plain containers ({error_line(error)})") from error


def _load(file: io.BufferedIOBase) -> Any:
    with _refused():
        return _Plain().of(_Unpickler(file).load())


def error_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


class _Unpickler(pickle._Unpickler):  # pyright: ignore[reportAttributeAccessIssue]
    def __init__(self, file: io.BufferedIOBase):
        super().__init__(file, encoding="latin1")

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _ADMITTED[f"{module_name}.{global_name}"]
        except KeyError:
            foreign = ascii(f"{module_name}.{global_name}")[1:-1][:200]
            raise BadInput(f"the pickle names {foreign}; only numpy arrays and plain containers are read") from None


class _Recorder:
    """An allowed name: callable, and protected from the BUILD opcode, which could otherwise set its attributes."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]):
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, state: Any) -> None:
        raise BadInput("the pickle changes one of its own building blocks; the file is hostile")


class _Dtype:
    """A recorded dtype: the name of a plain numeric or text type, and a byte order."""

    def __init__(self, spec: Any = None, *_: Any):
        if not isinstance(spec, str) or spec.lstrip("<>|=")[:1] not in tuple("biufcSUO"):
            raise BadInput(f"the pickle holds an array of dtype {str(spec)[:60]!r}; only numbers, text and objects are read")
        self.dtype = np.dtype("O" if "O" in spec else spec)

    def __setstate__(self, state: Any) -> None:
        order, fields = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in fields):
            raise BadInput("the pickle holds an array of a compound dtype; only numbers, text and objects are read")
        if self.dtype.kind in "SU":
            self.dtype = np.dtype(f"{self.dtype.kind}{_size(state[5]) // (4 if self.dtype.kind == 'U' else 1)}")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """A recorded array: only its state, which is checked before numpy sees it."""

    __slots__ = ("_state", "scalar")

    def __init__(self) -> None:
        self._state: tuple[tuple[int, ...], np.dtype, Literal["C", "F"], Any] | None = None
        self.scalar = False

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran, data = state[-4:]
        self.fill(shape, dtype, "F" if fortran else "C", data)

    def fill(self, shape: Any, dtype: Any, order: Literal["C", "F"], data: Any) -> None:
        shape = tuple(_size(length) for length in shape)
        if not isinstance(dtype, _Dtype):
            raise BadInput("the pickle holds an array without a dtype; the file is damaged")
        self._state = shape, dtype.dtype, order, data

    def array(self) -> tuple[np.ndarray, list[Any]]:
        """Make the array, and the objects that belong in it."""
        if self._state is None:
            raise BadInput("the pickle holds an unfinished array; the file is damaged")
        shape, kind, order, data = self._state
        if isinstance(data, str):
            data = data.encode("latin1")
        objects = kind.kind == "O"
        given, needed = len(data), math.prod(shape) * (1 if objects else kind.itemsize)
        if given != needed or isinstance(data, list) != objects:
            raise BadInput(f"the pickle holds {given} bytes or items for an array of shape {shape} that needs {needed}")
        if isinstance(data, list):
            return np.empty(shape, kind), data
        if not needed:
            return np.zeros(shape, kind), []
        if kind.kind == "b":
            return (np.frombuffer(data, np.uint8) != 0).reshape(shape, order=order), []
        return np.frombuffer(data, kind).reshape(shape, order=order), []


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise BadInput(f"the pickle holds an array of size {str(value)[:40]}; a size is a whole number, 0 or more")
    return value


def _reconstruct(kind: Any, *_: Any) -> _Array:
    if kind is not _Array:
        raise BadInput("the pickle holds a subclass of a numpy array; only plain arrays are read")
    return _Array()


def _scalar(dtype: Any, data: Any = b"") -> _Array:
    array = _Array()
    array.fill((), dtype, "C", data)
    array.scalar = True
    return array


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> _Array:
    array = _Array()
    array.fill(shape, dtype, "F" if order == "F" else "C", data)
    return array


def _bytes(kind: type) -> Callable[..., Any]:
    def make(data: Any = b"", encoding: str = "latin1") -> Any:
        if isinstance(data, str):
            data = data.encode("latin1" if encoding in ("latin1", "latin-1") else "ascii")
        if not isinstance(data, (bytes, bytearray)):
            raise BadInput("the pickle makes bytes from something that is no text; the file is damaged or hostile")
        return kind(data)

    return make


_ADMITTED: dict[str, Any] = {
    **{f"{core}.multiarray._reconstruct": _Recorder(_reconstruct) for core in ("numpy.core", "numpy._core")},
    **{f"{core}.multiarray.scalar": _Recorder(_scalar) for core in ("numpy.core", "numpy._core")},
    **{f"{core}.numeric._frombuffer": _Recorder(_from_buffer) for core in ("numpy.core", "numpy._core")},
    "numpy.ndarray": _Array,
    "numpy.dtype": _Recorder(_Dtype),
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": _Recorder(_bytes(bytes)),
    **{
        f"{builtins}.{kind.__name__}": _Recorder(_bytes(kind) if kind in (bytes, bytearray) else kind)
        for builtins in ("builtins", "__builtin__")
        for kind in (set, frozenset, complex, bytes, bytearray)
    },
}
"""Every name that a pickle may use, and what stands for it."""


class _Plain:
    """Turns records into arrays and scalars, inside containers too; a part that occurs twice stays a single object."""

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}

    def of(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes, bytearray)):
            return value
        if id(value) not in self._done:
            self._done[id(value)] = self._convert(value)
        return self._done[id(value)]

    def _convert(self, value: Any) -> Any:
        if isinstance(value, list):
            self._done[id(value)] = result = []
            result.extend(self.of(item) for item in value)
            return result
        if isinstance(value, dict):
            self._done[id(value)] = result = type(value)()
            result.update((self.of(key), self.of(item)) for key, item in value.items())
            return result
        if isinstance(value, (tuple, set, frozenset)):
            return type(value)(self.of(item) for item in value)
        if isinstance(value, _Dtype):
            return value.dtype
        if isinstance(value, _Array):
            return self._array(*value.array())[() if value.scalar else ...]
        raise BadInput(f"the pickle holds an unfinished {type(value).__name__.strip('_').lower()}; the file is damaged")

    def _array(self, array: np.ndarray, items: list[Any]) -> np.ndarray:
        for index, item in zip(np.ndindex(array.shape), items, strict=False):
            array[index] = self.of(item)
        return array
