"""Scenes of Kubric's MOVi sets (Greff et al., arXiv 2203.03570), as its renderer writes them and as published.

    rendered     DIR/SCENE/rgba_00000.png, segmentation_00000.png, depth_00000.tiff, forward_flow_00000.png,
                 backward_flow_..., normal_..., object_coordinates_...: one file per frame
                 DIR/SCENE/metadata.json      {metadata: {num_frames, resolution, num_instances}, camera, instances: [...]}
                 DIR/SCENE/events.json, data_ranges.json    collisions; minimum and maximum of depth and flow
    published    gs://kubric-public/tfds/movi_e/256x256/1.0.0/movi_e-train.tfrecord-00000-of-01024: examples of TensorFlow
                 Datasets, whose features are video and segmentations (a PNG per frame), metadata/num_frames,
                 instances/asset_id and so on; validation, and test if it exists

    TFRecord     length uint64, masked CRC-32C of it uint32, the bytes, masked CRC-32C of them uint32; all little-endian
    bytes        a tf.train.Example as a protocol buffer: Example.features (1) . feature (1), a map of name (1) to Feature (2);
                 Feature is one of bytes_list (1), float_list (2), int64_list (3), whose values (1) are packed or not

TFRecords are read without TensorFlow (tensorflow.org/tutorials/load_data/tfrecord; protobuf.dev/programming-guides/encoding).
Frames, object masks and instance data are read. Point tracks are computed from published records by
`tapetum.tracks.training.movi_tracks`; `tapetum.tracks.training.kubric` reads tracks that others computed.
"""

import struct
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tapetum.core.errors import BadInput, Remark, install_line
from tapetum.core.reading import open_file
from tapetum.data.entries import JsonEntry, one_of, read_json
from tapetum.data.files import StoredFile, opened_image, stored_file

LAYERS = ("rgba", "segmentation", "depth", "forward_flow", "backward_flow", "normal", "object_coordinates")
"""Names of the files that the renderer writes for each frame."""
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class MoviScene:
    """A scene: frames, and a mask of each."""

    name: str
    frames: Sequence[StoredFile]
    masks: Sequence[StoredFile]
    """Of each frame: 0 nothing, k + 1 the object k."""
    objects: int
    """How many there are."""

    def video(self) -> UInt8[np.ndarray, "t h w 3"]:
        """Decode the frames. Raises BadInput for one that is damaged or of another size."""
        return _stack([np.asarray(opened_image(file, "RGB")) for file in self.frames], self.name)

    def object_masks(self) -> UInt8[np.ndarray, "t h w"]:
        """Decode the object number of each pixel, as in `masks`. Raises BadInput for a damaged file."""
        masks = [np.asarray(opened_image(file, None)).astype(np.uint8) for file in self.masks]
        return _stack([mask if mask.ndim == 2 else mask[..., 0] for mask in masks], self.name)


def _stack(images: list[np.ndarray], name: str) -> np.ndarray:
    if len({image.shape for image in images}) != 1:
        raise BadInput(f"the scene {name} has images of {len({image.shape for image in images})} sizes; get it again")
    return np.stack(images)


def list_scenes(folder: Path) -> list[Path]:
    """List the folders of rendered scenes. Raises BadInput if there are none."""
    scenes = sorted(path.parent for path in Path(folder).glob("*/metadata.json"))
    if not scenes:
        raise BadInput(f"{folder} has no SCENE/metadata.json; give a folder of scenes that Kubric rendered")
    return scenes


def read_scene(folder: Path) -> MoviScene:
    """Read a rendered scene. Raises BadInput if a file is missing, or metadata.json is not Kubric's."""
    file = folder / "metadata.json"
    entry = JsonEntry(read_json(file), str(file))
    metadata = JsonEntry(entry.fields.get("metadata"), f"metadata of {file}")
    count = metadata.whole("num_frames")
    names = [f"{layer}_{k:05d}" for layer in LAYERS[:2] for k in range(count)]
    lacking = [f"{name}.png" for name in names if not (folder / f"{name}.png").is_file()]
    lacking += [name for name in ("events.json", "data_ranges.json") if not (folder / name).is_file()]
    if lacking or not count:
        raise BadInput(f"the scene {folder} lacks {lacking[0] if lacking else 'frames'}; get it again, or take it out")
    frames, masks = names[:count], names[count:]
    return MoviScene(
        name=folder.name,
        frames=[stored_file(folder / f"{name}.png") for name in frames],
        masks=[stored_file(folder / f"{name}.png") for name in masks],
        objects=len(entry.entries("instances")),
    )


def list_records(folder: Path, split: str) -> list[Path]:
    """List the TFRecord files of a split, in order. Raises BadInput if there are none, or some are missing."""
    one_of(split, SPLITS)
    files = sorted(Path(folder).glob(f"*-{split}.tfrecord-*-of-*"))
    if not files:
        raise BadInput(f"{folder} has no *-{split}.tfrecord-*; give the folder of a resolution, such as movi_e/256x256/1.0.0")
    of = files[0].name.rpartition("-of-")[2]
    if not of.isdecimal() or len(files) != int(of):
        raise BadInput(f"{folder} has {len(files)} of {of} files of {split}; fetch the others")
    return files


def count_scenes(files: Sequence[Path]) -> int:
    """Count the scenes in TFRecord files. Raises BadInput for a damaged file."""
    return sum(map(count_records, files))


def read_recorded_scenes(file: Path) -> Iterator[MoviScene]:
    """Yield the scenes of a TFRecord file. Raises BadInput for a damaged file, or one of another set."""
    for k, record in enumerate(read_records(file)):
        yield scene_of(parse_example(record), f"{file.name}/{k}")


def scene_of(features: Mapping[str, Any], name: str) -> MoviScene:
    """Make a scene from a record's features. Raises BadInput for a scene of another set."""
    frames, masks = (_images(features.get(key), f"{key} of {name}") for key in ("video", "segmentations"))
    if not frames or len(frames) != len(masks):
        raise BadInput(f"{name} has {len(frames)} frames and {len(masks)} masks; give files of MOVi")
    return MoviScene(name=name, frames=frames, masks=masks, objects=len(features.get("instances/asset_id", ())))


def _images(values: Any, what: str) -> list[StoredFile]:
    if not isinstance(values, list):
        raise BadInput(f"there are no images in {what}; give files of MOVi")
    return [StoredFile(f"frame {k} of {what}", data) for k, data in enumerate(values)]


_LARGEST = 1 << 31
"""Bytes of a record beyond which its length is taken for damage."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
Feature = list[bytes] | np.ndarray
"""Values of a feature: byte strings, float32 (n,) or int64 (n,)."""


def count_records(path: Path) -> int:
    """Count the records of a file from their lengths alone. Raises BadInput if it is truncated or damaged."""
    return sum(1 for _ in _records(path, read=False))


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the records of a file, verifying their checksums. Raises BadInput if it is truncated or damaged."""
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
                    raise BadInput(f"{path} is no TFRecord at byte {at:,}; copy it again")
                if at + 16 + length > size:
                    raise BadInput(f"{path} ends within the record at byte {at:,}; copy it again")
                at += 16 + length
                if not read:
                    file.seek(at)
                    yield b""
                    continue
                data, tail = file.read(length), file.read(4)
                if not _has_sum(data, tail):
                    raise BadInput(f"the record of {path} that ends at byte {at:,} is damaged; copy the file again")
                yield data
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}; copy it again") from error


def _has_sum(data: bytes, stored: bytes) -> bool:
    crc32c = _crc32c_of()
    return crc32c is None or mask_sum(crc32c(data)) == struct.unpack("<I", stored)[0]


@cache
def _crc32c_of() -> Callable[[bytes], int] | None:
    """The CRC-32C of google-crc32c; None, with one remark, if it is not installed."""
    try:
        from google_crc32c import value
    except ImportError:
        text = f"CRC-32C sums are not checked, for google-crc32c is not installed: {install_line('addresses')}"
        warnings.warn(text, Remark, stacklevel=3)
        return None
    return value


def mask_sum(crc: int) -> int:
    """Compute the masked form of a CRC-32C.

    >>> hex(mask_sum(0xE3069283))
    '0xc78ab0e5'
    """
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def parse_example(data: bytes) -> Mapping[str, Feature]:
    """Parse the features of an example, by name. Raises BadInput if the bytes are not an example."""
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
    """Number, wire type and content of each field; a varint is left as its bytes."""
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
    """The end of the varint that begins at `at`; it has ten bytes at most."""
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
