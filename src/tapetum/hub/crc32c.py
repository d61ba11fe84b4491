"""CRC-32C (Castagnoli; RFC 3720, appendix B.4), the sum that Google's store gives of files that were uploaded in parts.

A CRC is linear over GF(2), so a piece is cut into lanes that numpy takes through side by side, two bytes of each at a time, and
neighbours are joined in pairs: crc(a b) = crc(a 0...0) ^ crc(b), where "followed by n zero bytes" is a 32 x 32 matrix of bits,
kept as four tables of 256.
"""

from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt32

from tapetum.core.reading import open_file

_POLYNOMIAL = 0x82F63B78
_LANES, _LANE = 4096, 512
_PIECE = _LANES * _LANE


def crc32c_of(path: Path) -> int:
    """Compute the CRC-32C of a file."""
    value = 0xFFFFFFFF
    with open_file(path) as file:
        while piece := file.read(_PIECE):
            value = _shifted(value, len(piece)) ^ _raw(piece)
    return value ^ 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """Compute the CRC-32C of bytes.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    return _shifted(0xFFFFFFFF, len(data)) ^ _raw(data) ^ 0xFFFFFFFF


@cache
def _bytewise() -> UInt32[np.ndarray, " 256"]:
    """Table of what a byte does."""
    value = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        value = np.where(value & 1, (value >> np.uint32(1)) ^ np.uint32(_POLYNOMIAL), value >> np.uint32(1))
    return value


@cache
def _pairwise() -> UInt32[np.ndarray, " 65536"]:
    """Table of what two bytes do, the first being the lower."""
    numbers, table = np.arange(1 << 16, dtype=np.uint32), _bytewise()
    first = table[numbers & np.uint32(255)] ^ (numbers >> np.uint32(8))
    return (first >> np.uint32(8)) ^ table[first & np.uint32(255)]


def _raw(data: bytes) -> int:
    """CRC that begins and ends with zero; leading zero bytes do not matter, so the piece is filled up in front."""
    if len(data) < _PIECE // 64:
        value, table = 0, _bytewise().tolist()
        for byte in data:
            value = (value >> 8) ^ table[(value ^ byte) & 255]
        return value
    filled = np.zeros(_PIECE * -(-len(data) // _PIECE), np.uint8)
    filled[len(filled) - len(data) :] = np.frombuffer(data, np.uint8)
    value = 0
    for piece in filled.reshape(-1, _LANES, _LANE):
        value = _shifted(value, _PIECE) ^ _piece(piece)
    return value


def _piece(lanes: np.ndarray) -> int:
    table, columns = _pairwise(), np.ascontiguousarray(lanes.view("<u2").T)
    value = np.zeros(_LANES, np.uint32)
    for column in columns:
        value = (value >> np.uint32(16)) ^ table.take(value.astype(np.uint16) ^ column)
    length = _LANE
    while len(value) > 1:
        value = _times(_zeros(length), value[0::2]) ^ value[1::2]
        length *= 2
    return int(value[0])


def _shifted(value: int, length: int) -> int:
    """CRC of what had `value`, followed by zero bytes."""
    column, power = np.array([value], np.uint32), 0
    while length >> power:
        if length >> power & 1:
            column = _times(_zeros(1 << power), column)
        power += 1
    return int(column[0])


@cache
def _zeros(length: int) -> UInt32[np.ndarray, "4 256"]:
    """Tables of "followed by `length` zero bytes", a power of two, one for each byte of the value."""
    if length > 1:
        half = _zeros(length // 2)
        return np.stack([_times(half, row) for row in half])
    numbers = np.arange(256, dtype=np.uint32)
    values = np.stack([numbers << np.uint32(8 * place) for place in range(4)])
    return (values >> np.uint32(8)) ^ _bytewise()[values & np.uint32(255)]


def _times(tables: np.ndarray, value: np.ndarray) -> np.ndarray:
    parts = [tables[place][(value >> np.uint32(8 * place)) & np.uint32(255)] for place in range(4)]
    return parts[0] ^ parts[1] ^ parts[2] ^ parts[3]
