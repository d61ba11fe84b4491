"""TFRecord files and the examples in them, read without TensorFlow.

    record     length uint64, masked CRC-32C of it uint32, the bytes, masked CRC-32C of them uint32; all little-endian
    bytes      a tf.train.Example as a protocol buffer: Example.features (1) . feature (1), a map of name (1) to Feature (2);
               Feature is one of bytes_list (1), float_list (2), int64_list (3), whose values (1) are packed or not

Sources: tensorflow.org/tutorials/load_data/tfrecord; protobuf.dev/programming-guides/encoding. The sums are masked as
TensorFlow's: turned right by 15 bits, and 0xA282EAD8 added.
"""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.reading import open_file
from tapetum.hub.download import crc32c

_LARGEST = 1 << 31
"""Bytes of a record beyond which its length is taken for damage."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
Feature = list[bytes] | np.ndarray
"""Values of a feature: byte strings, float32 (n,) or int64 (n,)."""


def count_records(path: Path) -> int:
    """Count the records of a file from their lengths alone. Raises BadInput where it is cut short or damaged."""
    return sum(1 for _ in _records(path, read=False))


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the records of a file, each checked by its sum. Raises BadInput where it is cut short or damaged."""
    return _records(path, read=True)


def _records(path: Path, read: bool) -> Iterator[bytes]:
    try:
        size = path.stat().st_size
        with open_file(path) as file:
            at = 0
            while at < size:
                head = file.read(12)
                length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else 0
                if len(head) < 12 or not _has_sum(head[:8], head[8:]) or length > _LARGEST:
                    raise BadInput(f"{path} is no TFRecord at byte {at:,}; copy it anew")
                if at + 16 + length > size:
                    raise BadInput(f"{path} ends within the record at byte {at:,}; copy it anew")
                at += 16 + length
                if not read:
                    file.seek(at)
                    yield b""
                    continue
                data, tail = file.read(length), file.read(4)
                if not _has_sum(data, tail):
                    raise BadInput(f"the record of {path} that ends at byte {at:,} is damaged; copy the file anew")
                yield data
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}; copy it anew") from error


def _has_sum(data: bytes, stored: bytes) -> bool:
    crc = crc32c([data])
    return crc is None or mask_sum(crc) == struct.unpack("<I", stored)[0]


def mask_sum(crc: int) -> int:
    """Compute the masked form of a CRC-32C.

    >>> hex(mask_sum(0xE3069283))
    '0xc78ab0e5'
    """
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def parse_example(data: bytes) -> Mapping[str, Feature]:
    """Parse the features of an example, by name. Raises BadInput where the bytes are no example."""
    try:
        features: dict[str, Feature] = {}
        for part in _messages(data, 1):
            for entry in _messages(part, 1):
                (name,) = _messages(entry, 1)
                features[name.decode()] = next((_values(value) for value in _messages(entry, 2)), [])
        return features
    except (ValueError, IndexError, struct.error) as error:
        raise BadInput(f"a record is no tf.train.Example ({error}); give files that TensorFlow Datasets wrote") from error


def _values(feature: bytes) -> Feature:
    for number, kind, content in _fields(feature):
        if kind != _BYTES or number not in (1, 2, 3):
            raise ValueError(f"a feature has the field {number}")
        values = list(_fields(content))
        if number == 1:
            return [value for _, _, value in values]
        if number == 2:
            return np.frombuffer(b"".join(value for _, _, value in values), "<f4").astype(np.float32)
        packed = [_varints(value) if kind == _BYTES else [_number(value)] for _, kind, value in values]
        return np.array([value for part in packed for value in part], np.uint64).astype(np.int64)
    return []


def _messages(data: bytes, number: int) -> list[bytes]:
    return [content for field, kind, content in _fields(data) if field == number and kind == _BYTES]


def _fields(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Number, wire type and content of each field; a varint stays as its bytes."""
    at = 0
    while at < len(data):
        begin, at = at, _end(data, at)
        key = _number(data[begin:at])
        kind = key & 7
        begin = at
        if kind == _BYTES:
            begin = _end(data, at)
            at = begin + _number(data[at:begin])
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        elif kind == _VARINT:
            at = _end(data, at)
        else:
            raise ValueError(f"a field has the wire type {kind}")
        if at > len(data):
            raise ValueError("it ends within a field")
        yield key >> 3, kind, data[begin:at]


def _end(data: bytes, at: int) -> int:
    """Where the varint that begins at `at` ends; of ten bytes at most."""
    for end in range(at, at + 10):
        if data[end] < 0x80:
            return end + 1
    raise ValueError("a number has more than ten bytes")


def _number(varint: bytes) -> int:
    return sum((byte & 0x7F) << 7 * k for k, byte in enumerate(varint)) & 0xFFFFFFFFFFFFFFFF


def _varints(data: bytes) -> list[int]:
    at, numbers = 0, []
    while at < len(data):
        begin, at = at, _end(data, at)
        numbers.append(_number(data[begin:at]))
    return numbers
