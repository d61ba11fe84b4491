"""Stand-ins for numpy's names while a foreign pickle runs.

A pickle builds an array by calling functions of numpy and then handing the result its state. Here each admitted name
stands for a small recorder instead; a record is checked (kind of number, shape, amount of data) and only then made
into an array. So a dtype cannot arrive with forged flags, and an array cannot claim a size that its data does not have.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.hub.pickle_file import Stored


class Recorder:
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
        self.dtype = np.dtype("O" if "O" in spec else spec)

    def __setstate__(self, state: Any) -> None:
        order, fields = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in fields):
            raise BadInput("the pickle holds an array of a compound dtype; only numbers, text and objects are read")
        if self.dtype.kind in "SU":
            self.dtype = np.dtype(f"{self.dtype.kind}{_size(state[5]) // (4 if self.dtype.kind == 'U' else 1)}")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """A recorded array: nothing but its state, which is checked before numpy sees it."""

    __slots__ = ("_state", "scalar")

    def __init__(self) -> None:
        self._state: tuple[tuple[int, ...], np.dtype, Literal["C", "F"], Any] | None = None
        self.scalar = False

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran, data = state[-4:]
        self.fill(shape, dtype, "F" if fortran else "C", data)

    def fill(self, shape: Any, dtype: Any, order: Literal["C", "F"], data: Any) -> None:
        """Record the state; `data` may still be in the file."""
        shape = tuple(_size(length) for length in shape)
        if not isinstance(dtype, _Dtype):
            raise BadInput("the pickle holds an array without a dtype; the file is damaged")
        self._state = shape, dtype.dtype, order, data

    def array(self) -> tuple[np.ndarray, list[Any]]:
        """Make the array, and the objects that belong into it."""
        if self._state is None:
            raise BadInput("the pickle holds an unfinished array; the file is damaged")
        shape, kind, order, data = self._state
        if isinstance(data, Stored):
            data = data.read()
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
        if isinstance(data, Stored):
            return data.then(lambda string: make(string, encoding))
        if isinstance(data, str):
            data = data.encode("latin1" if encoding in ("latin1", "latin-1") else "ascii")
        if not isinstance(data, (bytes, bytearray)):
            raise BadInput("the pickle makes bytes from something that is no text; the file is damaged or hostile")
        return kind(data)

    return make


ADMITTED: dict[str, Any] = {
    **{f"{core}.multiarray._reconstruct": Recorder(_reconstruct) for core in ("numpy.core", "numpy._core")},
    **{f"{core}.multiarray.scalar": Recorder(_scalar) for core in ("numpy.core", "numpy._core")},
    **{f"{core}.numeric._frombuffer": Recorder(_from_buffer) for core in ("numpy.core", "numpy._core")},
    "numpy.ndarray": _Array,
    "numpy.dtype": Recorder(_Dtype),
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": Recorder(_bytes(bytes)),
    **{
        f"{builtins}.{kind.__name__}": Recorder(call)
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


class Plain:
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
        if isinstance(value, Stored):
            return value.read()
        if isinstance(value, _Array):
            return self._array(*value.array())[() if value.scalar else ...]
        raise BadInput(f"the pickle holds an unfinished {type(value).__name__.strip('_').lower()}; the file is damaged")

    def _array(self, array: np.ndarray, items: list[Any]) -> np.ndarray:
        for index, item in zip(np.ndindex(array.shape), items, strict=False):
            array[index] = self.of(item)
        return array
