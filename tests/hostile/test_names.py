"""File names that are no UTF-8 go into every kind of file, and to the screen, and what is written can be read."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tapetum.core import tables
from tapetum.core.files import writable, write_text
from tapetum.data.entries import read_lines, write_lines

Run = Callable[..., tuple[int, str, str]]

ODD = os.fsdecode(b"caf\xe9")
"""A name in Latin-1."""


@pytest.fixture
def odd(tmp_path: Path, clip: Path) -> Path:
    """A folder of an odd name with images, a clip and its tracks, of odd names."""
    from PIL import Image

    folder = tmp_path / ODD
    try:
        (folder / "images").mkdir(parents=True)
    except OSError:
        pytest.skip("this file system has no names but UTF-8")
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "images" / f"{ODD}{number}.png")
    shutil.copy(clip, folder / f"{ODD}.mp4")
    return folder


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_vectors_of_images_with_odd_names(run: Run, odd: Path, ending: str) -> None:
    code, _, err = run("embed", odd / "images", "--out", odd / f"vectors.{ending}")
    assert (code, err) == (0, "")
    if ending == "npz":
        paths = np.load(odd / "vectors.npz")["path"].tolist()
        assert all(Path(path).is_file() for path in paths)
    else:
        paths = tables.from_parquet((odd / "vectors.parquet").read_bytes())["path"].tolist()
        assert all(path.endswith(f"caf\\xe9{number}.png") for number, path in enumerate(paths))
    assert len(paths) == 3


@pytest.mark.slow
def test_verbs_that_write_names(run: Run, odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(odd)
    video = f"{ODD}.mp4"
    for words in (
        ["track", video, "--model", "static", "--grid", "2", "--out", "out"],
        ["track", video, "--model", "static", "--grid", "2", "--json", "--out", ODD + "out"],
        ["show", "out/tracks.npz", video, "--out", f"{ODD}2.mp4"],
        ["convert", "out/tracks.npz", f"{ODD}.json"],
        ["convert", "out/tracks.npz", f"{ODD}.csv"],
        ["convert", "out/tracks.npz", f"{ODD}.parquet"],
        ["convert", f"{ODD}.parquet", "tracks.csv"],
        ["classify", "images", "--top", "1"],
        ["classify", "images", "--top", "1", "--json"],
        ["data", "shards", "images", "--out", "shards", "--layout", "stems"],
    ):
        code, _, err = run(*words)
        assert code == 0, (words, err)
    for words in (
        ["track", ODD, "--model", "static"],
        ["embed", ODD + "no", "--out", "e.npz"],
        ["ledger", ODD],
        ["weights", "show", ODD],
        ["account", ODD],
        ["probe", ODD, "--data", ODD],
        ["eval", "tapvid", "--data", ODD, "--model", "static"],
        ["data", "perception-test", "--source", ODD, "--out", ODD],
    ):
        code, _, err = run(*words)
        assert code == 2, (words, err)
        assert "unforeseen" not in err, (words, err)


def test_tables_of_odd_words() -> None:
    columns = {"name": np.array([ODD]), "x": np.zeros(1)}
    assert tables.from_csv(tables.to_csv(columns), {"name": np.str_})["name"].tolist() == ["caf\\udce9"]
    assert tables.from_parquet(tables.to_parquet(columns))["name"].tolist() == ["caf\\xe9"]


def test_text_of_any_name(tmp_path: Path) -> None:
    assert writable("日本 é") == "日本 é"
    assert writable(ODD) == "caf\\xe9"
    assert writable("\ud800x") == "\\ud800x"
    write_text(tmp_path / "a.json", json.dumps({"name": ODD}, ensure_ascii=False))
    assert json.loads((tmp_path / "a.json").read_text()) == {"name": ODD}
    write_lines(tmp_path / "b.jsonl", [{"name": ODD}])
    assert list(read_lines(tmp_path / "b.jsonl")) == [{"name": ODD}]
