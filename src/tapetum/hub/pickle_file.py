"""Pickle files with long strings left in the file until they are used, and without calling numpy.

A pickle is a list of opcodes, and nearly all of its bytes are arguments of a few: the data of arrays, encoded images. These
are skipped, and each is replaced by a reference (a persistent identifier, for which the unpickler calls us):

    BINBYTES8 4,000,000 <data>  MEMOIZE  ...      ->      BININT 0  BINPERSID  MEMOIZE  ...        Stored(place, 4,000,000)

Only the short pickle that remains is run. Reading uses memory for the short parts, and later for the parts used.

A pickle builds an array by calling numpy functions and then passing the result its state. Here each allowed name stands for
a small recorder instead (`ADMITTED`); a record is checked (dtype, shape, amount of data) and only then converted to an
array (`Plain`). So a dtype cannot have forged flags, and an array cannot claim a size that its data does not have.

Unusual: frames (protocol 4) are dropped, since their lengths no longer match; the standard unpickler accepts pickles without.
"""

import io
import math
import pickletools
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from tapetum.core.errors import BadInput

LONG = 1024
"""Bytes from which on a string stays in the file."""

_OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}
_LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
"""Bytes of the length that stands before a string, by what `pickletools` says of its opcode."""
_KINDS: dict[str, Callable[[bytes], Any]] = {
    "BINBYTES": bytes,
    "BINBYTES8": bytes,
    "BYTEARRAY8": bytearray,
    "BINUNICODE": lambda data: data.decode("utf-8", "surrogatepass"),
    "BINUNICODE8": lambda data: data.decode("utf-8", "surrogatepass"),
    "BINSTRING": lambda data: data.decode("latin1"),
}
"""Opcodes whose strings may be long, and what they make of the bytes."""


class Stored:
    """A string of a pickle that stays in its file until `read`; protected from the BUILD opcode."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], Any]):
        self._read = read

    def read(self) -> Any:
        """Read the bytes, bytearray or text."""
        return self._read()

    def then(self, convert: Callable[[Any], Any]) -> "Stored":
        """Convert the string after reading it."""
        return Stored(lambda: convert(self._read()))

    def __setstate__(self, state: Any) -> None:
        raise BadInput("the pickle changes one of its own building blocks; the file is hostile")


class PickleFile:
    """A pickle in an open file, from the file's current position."""

    def __init__(self, file: io.BufferedIOBase):
        self._file, self._position = file, file.tell()
        self._end = file.seek(0, io.SEEK_END)
        file.seek(self._position)

    def outline(self) -> tuple[bytes, list[Stored]]:
        """Compute the pickle without its long strings, and those strings, in the order in which that pickle numbers them.

        Raises:
            BadInput: a string is truncated, the pickle has references of its own, or it requests a memo index larger than any
                legitimate one, for which the C unpickler would allocate memory.
            ValueError: it ends too early, or is not a pickle.
        """
        short, stored, count = bytearray(), [], 0
        while True:
            code = self._read(1)
            opcode = _OPCODES.get(code)
            if opcode is None or opcode.name in ("PERSID", "BINPERSID"):
                raise ValueError(f"opcode {code!r} is unknown" if code else "pickle exhausted before its end")
            size, length = self._size(opcode)
            if opcode.name in _KINDS and size >= LONG:
                stored.append(self._stored(size, _KINDS[opcode.name]))
                short += b"J" + struct.pack("<i", len(stored) - 1) + b"Q"  # BININT, BINPERSID
            else:
                argument = b"".join(self._file.readline() for _ in range(-size)) if size < 0 else self._read(size)
                if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
                    _check_slot(int(argument) if size < 0 else int.from_bytes(argument, "little"), count)
                if opcode.name != "FRAME":
                    short += code + length + argument
            count += 1
            if opcode.name == "STOP":
                return bytes(short), stored

    def _size(self, opcode: pickletools.OpcodeInfo) -> tuple[int, bytes]:
        """Length of the argument that follows, less than 0 for lines of text; and the size of the length field before it."""
        if opcode.arg is None:
            return 0, b""
        if opcode.arg.n >= 0:
            return opcode.arg.n, b""
        if opcode.arg.n == pickletools.UP_TO_NEWLINE:
            return -2 if opcode.name in ("GLOBAL", "INST") else -1, b""
        length = self._read(_LENGTHS[opcode.arg.n])
        size = int.from_bytes(length, "little", signed=opcode.arg.n == pickletools.TAKEN_FROM_ARGUMENT4)
        if size < 0:
            raise ValueError(f"the pickle has a string of {size} bytes")
        return size, length

    def _read(self, size: int) -> bytes:
        data = self._file.read(min(size, self._end))  # no more than there is, or that would be allocated first
        if len(data) < size and size > 1:
            raise EOFError("the pickle ends within a string")
        return data

    def _stored(self, size: int, convert: Callable[[bytes], Any]) -> Stored:
        """A string of the file; the file is then positioned after it."""
        place = self._file.tell()
        if place + size > self._end:
            raise EOFError(f"the pickle ends within a string of {size} bytes")

        def read() -> Any:
            self._file.seek(place)
            if convert is not bytearray:
                return convert(self._file.read(size))
            data = bytearray(size)
            self._file.readinto(data)
            return data

        self._file.seek(size, io.SEEK_CUR)
        return Stored(read)


def _check_slot(slot: int, count: int) -> None:
    if not 0 <= slot <= count + 1:
        raise BadInput(f"the pickle asks for memo slot {slot} after {count} steps; the file is damaged or hostile")


class Recorder:
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
        """Record the state; `data` may still be in the file."""
        shape = tuple(_size(length) for length in shape)
        if not isinstance(dtype, _Dtype):
            raise BadInput("the pickle holds an array without a dtype; the file is damaged")
        self._state = shape, dtype.dtype, order, data

    def array(self) -> tuple[np.ndarray, list[Any]]:
        """Make the array, and the objects that belong in it."""
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
        if isinstance(value, Stored):
            return value.read()
        if isinstance(value, _Array):
            return self._array(*value.array())[() if value.scalar else ...]
        raise BadInput(f"the pickle holds an unfinished {type(value).__name__.strip('_').lower()}; the file is damaged")

    def _array(self, array: np.ndarray, items: list[Any]) -> np.ndarray:
        for index, item in zip(np.ndindex(array.shape), items, strict=False):
            array[index] = self.of(item)
        return array
