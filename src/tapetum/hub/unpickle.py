"""Pickles from strangers, read without running what they say.

A pickle is a program: its GLOBAL opcode names any function on the machine and its REDUCE opcode calls it. This reader
resolves only the few names that numpy arrays, dtypes, scalars and plain containers are made of, under the names of
numpy 1 and numpy 2 and for protocols 0 to 5, and refuses every other name.

Unusual: not even numpy's own functions are called while the pickle runs. Each admitted name stands for a small recorder
here; a record is checked (kind of number, shape, amount of data) and only then made into an array. So a dtype cannot
arrive with forged flags, and an array cannot claim a size that its data does not have.

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
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tapetum.errors import BadInput

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
    """The content of a pickle file: numpy arrays, numpy scalars, numbers, text, bytes and plain containers.

    Raises:
        BadInput: the file is missing, damaged, or names a class or function other than those; the message names it.
    """
    data = _mapped(Path(path))
    try:
        return _load(data, 0)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error


def load_npy(path: str | os.PathLike[str]) -> Any:
    """The content of an .npy file; where it wraps a pickled object (official JAX checkpoints do), that object.

    Raises:
        BadInput: as `load_pickle`.
    """
    data = _mapped(Path(path))
    try:
        return _load_npy(data)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error


def loads(data: bytes) -> Any:
    """The content of a pickle in memory, as `load_pickle`.

    >>> loads(pickle.dumps({"points": np.arange(3)}))
    {'points': array([0, 1, 2])}
    >>> loads(pickle.dumps(print))
    Traceback (most recent call last):
    tapetum.errors.BadInput: the pickle names builtins.print; only numpy arrays and plain containers are read
    """
    return _load(data, 0)


def _mapped(path: Path) -> "mmap.mmap | bytes":
    """The file without reading it yet; a read past its end stays short instead of allocating what was promised."""
    try:
        with open(path, "rb") as file:
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
        return _Plain().of(_Unpickler(_Window(data, start), encoding="latin1").load())
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
            return _ADMITTED[f"{module_name}.{global_name}"]
        except KeyError:
            foreign = ascii(f"{module_name}.{global_name}")[1:-1][:200]
            raise BadInput(f"the pickle names {foreign}; only numpy arrays and plain containers are read") from None


class _Recorder:
    """An admitted name: callable, and closed to the BUILD opcode, which could otherwise set its attributes."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]):
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, state: Any) -> None:
        raise BadInput("the pickle changes one of its own building blocks; the file is hostile")


class _Dtype:
    """A recorded dtype: the name of a plain kind of number or text, and a byte order."""

    def __init__(self, spec: Any = None, *_: Any):
        if not isinstance(spec, str) or spec.lstrip("<>|=")[:1] not in tuple("biufcSUO"):
            raise BadInput(f"the pickle holds an array of dtype {str(spec)[:60]!r}; only numbers, text and objects are read")
        self.dtype = np.dtype("O" if spec in ("O8", "O4") else spec)

    def __setstate__(self, state: Any) -> None:
        order, fields = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in fields):
            raise BadInput("the pickle holds an array of a compound dtype; only numbers, text and objects are read")
        if self.dtype.kind in "SU":
            self.dtype = np.dtype(f"{self.dtype.kind}{_size(state[5]) // (4 if self.dtype.kind == 'U' else 1)}")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """A recorded array: nothing but its state, which is checked before numpy sees it."""

    __slots__ = ("array", "items", "scalar")

    def __init__(self) -> None:
        self.array: np.ndarray | None = None
        self.items: list[Any] | None = None
        self.scalar = False

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran, data = state[-4:]
        self.fill(shape, dtype, "F" if fortran else "C", data)

    def fill(self, shape: Any, dtype: Any, order: Literal["C", "F"], data: Any) -> None:
        shape = tuple(_size(length) for length in shape)
        if not isinstance(dtype, _Dtype):
            raise BadInput("the pickle holds an array without a dtype; the file is damaged")
        if isinstance(data, str):
            data = data.encode("latin1")
        kind = dtype.dtype
        objects = kind.kind == "O"
        given, wanted = len(data), math.prod(shape) * (1 if objects else kind.itemsize)
        if given != wanted or isinstance(data, list) != objects:
            raise BadInput(f"the pickle holds {given} bytes or items for an array of shape {shape} that needs {wanted}")
        if objects:
            self.array, self.items = np.empty(shape, kind), data
        elif not wanted:
            self.array = np.zeros(shape, kind)
        elif kind.kind == "b":
            self.array = (np.frombuffer(data, np.uint8) != 0).reshape(shape, order=order)
        else:
            self.array = np.frombuffer(data, kind).reshape(shape, order=order)


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
        f"{builtins}.{kind.__name__}": _Recorder(call)
        for builtins in ("builtins", "__builtin__")
        for kind, call in (
            (set, set),
            (frozenset, frozenset),
            (complex, complex),
            (bytes, _bytes(bytes)),
            (bytearray, _bytes(bytearray)),
        )
    },
}
"""Every name that a pickle may use, and what stands for it."""


class _Plain:
    """Turns records into arrays and scalars, through containers; a part that occurs twice stays one part."""

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
        if isinstance(value, _Array) and value.array is not None:
            return self._array(value.array, value.items or [])[() if value.scalar else ...]
        raise BadInput(f"the pickle holds an unfinished {type(value).__name__.strip('_').lower()}; the file is damaged")

    def _array(self, array: np.ndarray, items: list[Any]) -> np.ndarray:
        for index, item in zip(np.ndindex(array.shape), items, strict=False):
            array[index] = self.of(item)
        return array
