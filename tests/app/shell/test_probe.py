"""`tapetum probe`: folders and CIFAR's files, one line each for what cannot be."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.encoders import build, save

Run = Callable[..., tuple[int, str, str]]


def images(place: Path, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for name, channel in (("warm", 0), ("cold", 2)):
        (place / name).mkdir(parents=True)
        for k in range(count):
            x = rng.integers(0, 120, (20, 20, 3))
            x[..., channel] += 100
            Image.fromarray(x.astype(np.uint8)).save(place / name / f"{k}.png")


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    file = tmp_path / "encoder.safetensors"
    save(build("vit-nano", image_size=(16, 16), patch=4, width=16, depth=1, heads=2, mlp_width=32, pooling="mean"), file)
    return file


def test_a_folder_a_class(run: Run, encoder: Path, tmp_path: Path) -> None:
    images(tmp_path / "data" / "train", 20, 0)
    images(tmp_path / "data" / "val", 6, 1)
    words = ("probe", encoder.parent, "--data", tmp_path / "data", "--cache", tmp_path / "kept", "--neighbours", 5)
    code, out, err = run(*words)
    assert code == 0, err
    rows = dict(line.split(None, 1) for line in out.splitlines())
    assert rows["images"] == "40 to learn from, 12 scored, 2 classes"
    assert float(rows["neighbours"]) > 0.9
    assert float(rows["linear"].split()[0]) > 0.9
    assert len(list((tmp_path / "kept").iterdir())) == 2
    code, again, _ = run(*words, "--json")
    found = json.loads(again)
    assert found["knn"] == float(rows["neighbours"])
    assert len(found["tried"]) == 5
    code, out, _ = run(*words, "--most", 10, "--json")
    assert json.loads(out)["images"] == [10, 10]


def test_features_of_a_network_with_batch_norm_are_kept(run: Run, tmp_path: Path) -> None:
    images(tmp_path / "data" / "train", 3, 0)
    images(tmp_path / "data" / "val", 2, 1)
    words = ("probe", "random:resnet-nano", "--data", tmp_path / "data", "--cache", tmp_path / "kept", "--json")
    code, first, err = run(*words)
    assert code == 0, err
    kept = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "kept").iterdir()}
    assert len(kept) == 2
    code, again, _ = run(*words)
    assert again == first
    assert {file.name: file.stat().st_mtime_ns for file in (tmp_path / "kept").iterdir()} == kept


def test_files_of_cifar(run: Run, encoder: Path, tmp_path: Path) -> None:
    rng, data = np.random.default_rng(0), tmp_path / "cifar"
    data.mkdir()
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        labels = rng.integers(0, 2, 8)
        pixels = rng.integers(0, 100, (8, 3, 1024)) + 120 * (np.arange(3)[None, :, None] == labels[:, None, None])
        np.concatenate([labels[:, None], pixels.reshape(8, -1)], 1).astype(np.uint8).tofile(data / f"{name}.bin")
    (data / "batches.meta.txt").write_text("red\ngreen\n")
    code, out, err = run("probe", encoder, "--data", data, "--json", "--neighbours", 3)
    assert code == 0, err
    assert json.loads(out)["images"] == [40, 8]
    assert json.loads(out)["knn"] > 0.8


def test_what_cannot_be_probed(run: Run, encoder: Path, tmp_path: Path) -> None:
    images(tmp_path / "data" / "train", 3, 0)
    for words, said in (
        ((encoder, "--data", tmp_path / "nothing"), "there is no"),
        ((encoder, "--data", tmp_path / "data"), "val"),
        ((encoder, "--data", tmp_path / "data", "--neighbours", 0), "--neighbours is 0"),
        (("nobody", "--data", tmp_path / "data"), ""),
    ):
        code, out, err = run("probe", *words)
        assert (code, out) == (2, ""), words
        assert len(err.splitlines()) == 1
        assert said in err
