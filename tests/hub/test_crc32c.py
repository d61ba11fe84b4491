"""CRC-32C: the vectors of RFC 3720, and byte by byte as the definition has it."""

from pathlib import Path

import numpy as np
import pytest

from tapetum.hub.crc32c import crc32c, crc32c_of


def by_definition(data: bytes) -> int:
    """Bit by bit: divide by the polynomial, lowest bit first."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_vectors_of_the_rfc(data: bytes, wanted: int) -> None:
    assert crc32c(data) == wanted


@pytest.mark.parametrize("length", [1, 32_767, 32_768, 70_001])
def test_it_is_the_definition(length: int) -> None:
    data = np.random.default_rng(length).bytes(length)
    assert crc32c(data) == by_definition(data)


def test_a_file_has_the_sum_of_its_bytes(tmp_path: Path) -> None:
    data = np.random.default_rng(0).bytes((2 << 20) + 40_001)  # a whole piece of lanes, and a rest
    (tmp_path / "a").write_bytes(data)
    whole = crc32c_of(tmp_path / "a")
    assert whole == crc32c(data)
    changed = bytearray(data)
    changed[1_000_000] ^= 4
    assert crc32c(bytes(changed)) != whole
