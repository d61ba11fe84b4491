"""Parsing of H.264 packets: whether decoding may begin at one.

Containers mark two kinds of packets as key frames: images coded on their own, and the beginning of an intra refresh,
where a band of intra blocks wanders over several predicted images. Decoding from the second kind gives frames that
are almost right. ITU-T H.264, sections 7.3.1 (NAL unit), 7.3.3 (slice header) and annex B (start codes).
"""

from collections.abc import Iterator

_SLICE, _IDR = 1, 5
_INTRA = (2, 4, 7, 9)
"""Slice types I and SI."""


def begins_clean(packet: bytes, extradata: bytes | None) -> bool:
    """Check whether the first slice of a packet is intra coded.

    Args:
        packet: one access unit, with start codes or, where `extradata` is an avcC box, with lengths before each unit.

    >>> begins_clean(bytes([0, 0, 1, 0x65, 0x88]), None), begins_clean(bytes([0, 0, 1, 0x41, 0x9A]), None)
    (True, False)
    """
    for unit in _units(packet, extradata):
        kind = unit[0] & 31 if unit else 0
        if kind == _IDR:
            return True
        if kind == _SLICE:
            bits = "".join(f"{byte:08b}" for byte in unit[1:17])
            _first_block, bits = _exp_golomb(bits)
            return _exp_golomb(bits)[0] in _INTRA
    return False


def _units(packet: bytes, extradata: bytes | None) -> Iterator[bytes]:
    """NAL units; only their beginnings matter here, so trailing zeros are left on."""
    if not extradata or len(extradata) < 5 or extradata[0] != 1:
        yield from packet.split(b"\0\0\1")[1:]
        return
    size, place = (extradata[4] & 3) + 1, 0
    while place + size < len(packet):
        length = int.from_bytes(packet[place : place + size], "big")
        yield packet[place + size : place + size + min(length, 32)]
        place += size + length


def _exp_golomb(bits: str) -> tuple[int, str]:
    """An unsigned Exp-Golomb number and the bits after it.

    >>> _exp_golomb("00111" + "010")
    (6, '010')
    """
    zeros = len(bits) - len(bits.lstrip("0"))
    end = 2 * zeros + 1
    return int(bits[zeros:end] or "1", 2) - 1, bits[end:]
