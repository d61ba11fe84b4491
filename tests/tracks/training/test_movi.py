"""Scenes of MOVi: rendered folders, and TFRecord files whose examples the protobuf package wrote."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google_crc32c import value as crc32c
from PIL import Image

from support.files import make_image
from support.question_sets import write
from tapetum.core.errors import BadInput
from tapetum.tracks.training import movi
from tapetum.tracks.training.tfrecord import count_records, mask_sum, parse_example, read_records


def encode_example(features: dict[str, list]) -> bytes:
    """Write a tf.train.Example with the protobuf package, from the published definition of its messages."""
    pytest.importorskip("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")
    kinds = {"bytes": 12, "float": 2, "int64": 3}
    for kind, number in kinds.items():
        lists = file.message_type.add(name=f"{kind}List")
        lists.field.add(name="value", number=1, type=number, label=3)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, kind in enumerate(kinds, 1):
        feature.field.add(name=f"{kind}_list", number=number, type=11, type_name=f".t.{kind}List", label=1, oneof_index=0)
    outer = file.message_type.add(name="Features")
    entry = outer.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=11, type_name=".t.Feature", label=1)
    outer.field.add(name="feature", number=1, type=11, type_name=".t.Features.FeatureEntry", label=3)
    example = file.message_type.add(name="Example")
    example.field.add(name="features", number=1, type=11, type_name=".t.Features", label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    message: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))()
    for name, values in features.items():
        kind = {bytes: "bytes", float: "float", int: "int64"}[type(values[0])]
        getattr(message.features.feature[name], f"{kind}_list").value.extend(values)
    return message.SerializeToString()


def write_records(path: Path, records: list[bytes]) -> Path:
    parts = []
    for record in records:
        length = struct.pack("<Q", len(record))
        parts += [length, struct.pack("<I", mask_sum(crc32c(length))), record, struct.pack("<I", mask_sum(crc32c(record)))]
    path.write_bytes(b"".join(parts))
    return path


def png(value: int, *shape: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full(shape, value, np.uint8)).save(file, "png")
    return file.getvalue()


def scene(frames: int = 2) -> bytes:
    return encode_example(
        {
            "video": [png(10 + k, 6, 8, 3) for k in range(frames)],
            "segmentations": [png(k, 6, 8) for k in range(frames)],
            "instances/asset_id": [b"cup", b"shoe"],
            "metadata/num_frames": [frames],
        }
    )


def test_features_are_those_that_protobuf_wrote() -> None:
    numbers = [0, 1, -1, 300, 2**62, -(2**63)]
    parsed = parse_example(encode_example({"a": [b"", b"x" * 300], "b": [0.5, -1e20, 3.0], "c": numbers}))
    assert parsed["a"] == [b"", b"x" * 300]
    assert np.array_equal(parsed["b"], np.array([0.5, -1e20, 3.0], np.float32))
    assert isinstance(parsed["c"], np.ndarray)
    assert parsed["c"].tolist() == numbers
    for damaged in (b"\x0a\x05abc", b"\xff" * 12, b"\x0a\x01\x0b"):
        with pytest.raises(BadInput, match=r"no tf.train.Example"):
            parse_example(damaged)


def test_records_are_checked_by_their_sums(tmp_path: Path) -> None:
    file = write_records(tmp_path / "a", [b"one", b"", b"three"])
    assert list(read_records(file)) == [b"one", b"", b"three"]
    assert count_records(file) == 3
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    with pytest.raises(BadInput, match="ends within the record at byte"):
        count_records(file)
    file.write_bytes(data[:13] + b"X" + data[14:])
    with pytest.raises(BadInput, match="is damaged"):
        list(read_records(file))
    file.write_bytes(b"\x01" + data[1:])
    with pytest.raises(BadInput, match="no TFRecord at byte 0"):
        count_records(file)


def test_published_scenes(tmp_path: Path) -> None:
    for k, count in enumerate((2, 1)):
        write_records(tmp_path / f"movi_e-train.tfrecord-0000{k}-of-00002", [scene()] * count)
    files = movi.list_records(tmp_path, "train")
    assert movi.count_scenes(files) == 3
    first, _ = movi.read_recorded_scenes(files[0])
    assert (first.video()[:, 0, 0, 0].tolist(), first.object_masks()[:, 0, 0].tolist(), first.objects) == ([10, 11], [0, 1], 2)
    files[1].unlink()
    with pytest.raises(BadInput, match="1 of 00002 files of train"):
        movi.list_records(tmp_path, "train")
    with pytest.raises(BadInput, match=r"-validation\.tfrecord-"):
        movi.list_records(tmp_path, "validation")


def test_rendered_scenes(tmp_path: Path) -> None:
    metadata = {"metadata": {"num_frames": 2}, "instances": [{"asset_id": "cup"}]}
    write(tmp_path, {"12/metadata.json": metadata, "12/events.json": {}, "12/data_ranges.json": {}})
    for k in range(2):
        make_image(tmp_path / "12" / f"rgba_{k:05d}.png", (9, 9, 9))
        (tmp_path / "12" / f"segmentation_{k:05d}.png").write_bytes(png(k, 12, 20))
    [folder] = movi.list_scenes(tmp_path)
    read = movi.read_scene(folder)
    assert (read.video().shape, read.object_masks().max(), read.objects) == ((2, 12, 20, 3), 1, 1)
    (folder / "rgba_00001.png").unlink()
    with pytest.raises(BadInput, match=r"lacks rgba_00001.png"):
        movi.read_scene(folder)
