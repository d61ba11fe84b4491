"""ModelNet40 as clouds of points, in both of its layouts, and points on meshes: small official files, and broken ones."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from tapetum.core.errors import BadInput
from tapetum.data.layouts import hint
from tapetum.data.point_clouds import list_point_clouds
from tapetum.systems.hip.config import Sizes
from tapetum.systems.hip.data import TARGET, HipSplit, data_set


def data(place: Path, part: Any = "train") -> HipSplit:
    return data_set("modelnet40", place, part, Sizes(points=64))


def resampled(place: Path, clouds: dict[str, np.ndarray]) -> Path:
    """modelnet40_normal_resampled, with one cloud of each class in both parts."""
    kinds = sorted({name.rpartition("_")[0] for name in clouds})
    place.mkdir()
    (place / "modelnet40_shape_names.txt").write_text("\n".join(kinds) + "\n")
    for part in ("train", "test"):
        (place / f"modelnet40_{part}.txt").write_text("\n".join(clouds) + "\n")
    for name, points in clouds.items():
        file = place / name.rpartition("_")[0] / f"{name}.txt"
        file.parent.mkdir(exist_ok=True)
        np.savetxt(file, np.concatenate([points, points], 1), fmt="%.6f", delimiter=",")
    return place


def hdf5(place: Path, clouds: dict[str, np.ndarray]) -> Path:
    """modelnet40_ply_hdf5_2048: two files to train on, each with some of the clouds, one to test."""
    kinds = sorted({name.rpartition("_")[0] for name in clouds})
    place.mkdir()
    (place / "shape_names.txt").write_text("\n".join(kinds) + "\n")
    names = list(clouds)
    parts = {part: own for part, own in (("train0", names[:1]), ("train1", names[1:]), ("test0", names)) if own}
    for part, own in parts.items():
        with h5py.File(place / f"ply_data_{part}.h5", "w") as file:
            file["data"] = np.stack([clouds[name] for name in own]).astype(np.float32)
            file["label"] = np.array([[kinds.index(name.rpartition("_")[0])] for name in own], np.uint8)
    for split in ("train", "test"):
        lines = [f"data/modelnet40_ply_hdf5_2048/ply_data_{part}.h5" for part in parts if part.startswith(split)]
        (place / f"{split}_files.txt").write_text("\n".join(lines) + "\n")
    return place


@pytest.mark.parametrize("write", [resampled, hdf5])
def test_modelnet40_as_clouds_of_points(write: Any, tmp_path: Path) -> None:
    """The first 64 of 80 points about the middle of their box, in the unit ball, by height, which is the second axis."""
    rng = np.random.default_rng(0)
    clouds = {name: rng.uniform(-3, 5, (80, 3)).round(6) for name in ("night_stand_0001", "bench_0002", "bench_0010")}
    place = write(tmp_path / "clouds", clouds)
    found, checks = (data(place, part) for part in ("train", "val"))
    assert found.classes == checks.classes == ("bench", "night_stand")
    batch = found.examples.plain(0, 3)
    assert batch[TARGET].tolist() == [1, 0, 0]
    for points, cloud in zip(batch["points"].numpy(), clouds.values(), strict=True):
        moved = cloud[:64] - (cloud[:64].min(0) + cloud[:64].max(0)) / 2
        moved = moved / max(np.sqrt((row**2).sum()) for row in moved)
        assert points == pytest.approx(np.array(sorted(moved.tolist(), key=lambda row: row[1])), abs=1e-5)
    shown = found.examples[0]["points"]
    assert not torch.equal(shown, found.examples[3]["points"])  # others are drawn in another epoch
    assert torch.equal(checks.examples.plain(1, 2)["points"], batch["points"][1:2])
    with pytest.raises(BadInput, match="has 80 points and 2048 are wanted; give --points 80"):
        data_set("modelnet40", place, "train").examples.plain(0, 1)
    assert "give --layout modelnet40" in hint(place, "voc")
    assert len(list_point_clouds(place, "train")) == 3


def test_broken_clouds(tmp_path: Path) -> None:
    cloud = {"bench_0001": np.ones((80, 3))}
    place = resampled(tmp_path / "text", cloud)
    file = place / "bench" / "bench_0001.txt"
    for text, message in (("1,2\n", "a line has x,y,z"), ("a,b,c,d,e,f\n", "is no cloud"), ("nan,1,2\n" * 80, "not finite")):
        file.write_text(text)
        with pytest.raises(BadInput, match=message):
            data(place).examples.plain(0, 1)
    file.unlink()
    with pytest.raises(BadInput, match="there is no file"):
        data(place).examples.plain(0, 1)
    (place / "modelnet40_train.txt").write_text("sofa_0001\n")
    with pytest.raises(BadInput, match="lists sofa_0001"):
        data(place)
    place = hdf5(tmp_path / "hdf5", cloud)
    (place / "shape_names.txt").write_text("")
    with pytest.raises(BadInput, match=r"labels up to 0, and shape_names\.txt names 0"):
        data(place, "val")
    (place / "ply_data_test0.h5").write_bytes(b"no such thing")
    with pytest.raises(BadInput, match="cannot be read as HDF5"):
        data(place, "val")
