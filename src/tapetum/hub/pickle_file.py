"""Pickle files without their long strings: what is large stays in the file until it is used.

A pickle is a list of opcodes, and nearly all of its bytes are arguments of a few: the data of arrays, encoded images. They are
passed over, and each is replaced by a reference (a persistent identifier, for which the unpickler calls us):

    BINBYTES8 4,000,000 <data>  MEMOIZE  ...      ->      BININT 0  BINPERSID  MEMOIZE  ...        Stored(place, 4,000,000)

The short pickle that is left is what runs. Reading takes the memory of what is short, and later of what is used.

Unusual: frames (protocol 4) are dropped, since their lengths no longer hold; the standard unpickler takes pickles without.
"""

import io
import pickletools
import struct
from collections.abc import Callable
from typing import Any

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
    """A string of a pickle that stays in its file until `read`; closed to the BUILD opcode."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], Any]):
        self._read = read

    def read(self) -> Any:
        """Read the bytes, bytearray or text."""
        return self._read()

    def then(self, convert: Callable[[Any], Any]) -> "Stored":
        """Convert the string, once it is read."""
        return Stored(lambda: convert(self._read()))

    def __setstate__(self, state: Any) -> None:
        raise BadInput("the pickle changes one of its own building blocks; the file is hostile")


class PickleFile:
    """A pickle in an open file, from the place on at which the file is."""

    def __init__(self, file: io.BufferedIOBase):
        self._file, self._position = file, file.tell()
        self._end = file.seek(0, io.SEEK_END)
        file.seek(self._position)

    def outline(self) -> tuple[bytes, list[Stored]]:
        """Compute the pickle without its long strings, and those, in the order in which that pickle numbers them.

        Raises:
            BadInput: a string is cut off, the pickle has references of its own, or it asks for a larger memo index than any
                honest one could reach, up to which the C unpickler would allocate.
            ValueError: it ends too early, or is no pickle.
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
        """Bytes of the argument that follow, less than 0 for lines of text; and the length that stood before it."""
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
        """A string of the file; the file is then behind it."""
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
