"""`tapetum data check`: a data set by its name, and the data sets of a published preset."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.files import make_image
from support.question_sets import write
from tapetum.app.make import check_data

Run = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True)
class Preset:
    data_sets: tuple[str, ...]


def write_vsr(folder: Path) -> None:
    make_image(folder / "images" / "1.jpg", (1, 2, 3))
    row = json.dumps({"image": "1.jpg", "caption": "A cup is on a table.", "label": 1, "relation": "on"})
    write(folder, {f"{split}.jsonl": row + "\n" for split in ("train", "dev", "test")})


def test_a_data_set(run: Run, tmp_path: Path) -> None:
    write_vsr(tmp_path)
    code, said, err = run("data", "check", "vsr", tmp_path)
    assert (code, err) == (0, "")
    assert said.splitlines()[1].split(maxsplit=2)[:2] == ["train", "complete"]
    (tmp_path / "test.jsonl").unlink()
    code, said, err = run("data", "check", "vsr", tmp_path, "--json")
    assert (code, err) == (2, f"tapetum: not complete: vsr in {tmp_path}\n")
    report = json.loads(said)
    assert not report["complete"]
    assert [split["items"] for split in report["data_sets"][0]["splits"]] == [1, 1, None]
    assert run("data", "check", "vsr", tmp_path, "--splits", "train", "dev")[0] == 0


def test_what_is_refused(run: Run, tmp_path: Path) -> None:
    assert run("data", "check", "vqa-v2", tmp_path)[::2] == (
        2,
        "tapetum: there is no data set 'vqa-v2'; did you mean vqav2?\n",
    )
    assert "never published" in run("data", "check", "jft-300m", tmp_path)[2]
    assert "has no split 'x'" in run("data", "check", "vsr", tmp_path, "--splits", "x")[2]
    assert "give 1 or more" in run("data", "check", "vsr", tmp_path, "--samples", 0)[2]
    assert "there is no folder" in run("data", "check", "vsr", tmp_path / "none")[2]


def test_a_preset_with_several_data_sets(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_data, "published_presets", lambda: {"ours": Preset(("vsr", "vtp"))})
    write_vsr(tmp_path / "vsr")
    code, said, _ = run("data", "check", "ours", tmp_path)
    assert code == 0
    assert "unchecked  it was never published" in said
    assert "--splits is for one data set" in run("data", "check", "ours", tmp_path, "--splits", "train")[2]
    (tmp_path / "vsr").rename(tmp_path / "elsewhere")
    assert run("data", "check", "ours", tmp_path)[2] == f"tapetum: not complete: vsr in {tmp_path / 'vsr'}\n"


def test_every_preset_has_data_sets_that_are_known() -> None:
    from tapetum.bench.data_sets import DATA_SETS

    for name, preset in check_data.published_presets().items():
        assert set(preset.data_sets) <= set(DATA_SETS), name
