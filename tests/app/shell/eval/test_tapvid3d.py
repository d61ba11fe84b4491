"""`tapetum eval tapvid3d` and `tapetum tapvid3d`: the library's numbers as text, JSON and files."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from support.tapvid3d_clips import example, prediction, save
from tapetum.bench.tapvid3d import evaluate
from tapetum.systems.tapvid3d.baselines import Static3D

Run = Callable[..., tuple[int, str, str]]
COMMAND = ["eval", "tapvid3d"]


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Path]:
    """Two sources, three clips, of which one has no prediction."""
    for source, seed in (("adt", 0), ("adt", 1), ("pstudio", 2)):
        arrays = example(seed)
        save(tmp_path / "gt" / source / f"{seed}.npz", arrays)
        if seed != 1:
            save(tmp_path / "pred" / source / f"{seed}.npz", prediction(arrays, 0.02))
    return tmp_path / "gt", tmp_path / "pred"


def test_predictions_as_json_and_text(run: Run, data: tuple[Path, Path]) -> None:
    gt, pred = data
    code, out, err = run(*COMMAND, "--gt", gt, "--predictions", pred, "--scaling", "median", "none", "--json")
    assert code == 0
    assert err.splitlines()[0].startswith(f"tapetum: adt/1 counts as 0: there is no file {pred}")
    assert err.splitlines()[1:] == ["tapetum: 1 of 3 clips without a prediction that can be scored count as 0"]
    direct = evaluate(gt, pred, scalings=("median", "none"))
    result = json.loads(out)
    assert (result["benchmark"], result["model"], result["clips"]) == ("tapvid3d", None, 3)
    assert result["scalings"] == direct["scalings"]
    assert [row["name"] for row in result["per_clip"]] == ["0", "1", "2"]
    code, out, _ = run(*COMMAND, "--gt", gt, "--predictions", pred)
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line}
    assert lines["scaling"] == ["median", "3D-AJ", "APD", "OA", "clips", "failed"]
    assert lines["adt"][3:] == ["2", "1"]
    average = direct["scalings"]["median"]["average"]
    shown = [average[name] for name in ("average_jaccard", "average_pts_within_thresh", "occlusion_accuracy")]
    assert [float(cell) for cell in lines["average"]] == pytest.approx(shown, abs=6e-4)


@pytest.mark.slow
def test_a_model_and_files_of_results(run: Run, data: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    arguments = [*COMMAND, "--gt", data[0], "--model", "static", "--workers", 2, "--out", out]
    code, text, _ = run(*arguments)
    assert code == 0
    result = json.loads(out.read_text())
    assert result["model"] == "static"
    assert result["scalings"] == evaluate(data[0], load=Static3D)["scalings"]
    rows = (tmp_path / "result.clips.jsonl").read_text()
    assert len(rows.splitlines()) == 4
    assert run(*arguments)[1] == text
    assert (tmp_path / "result.clips.jsonl").read_text() == rows
    code, _, err = run(*arguments, "--scaling", "none")
    assert code == 0
    assert "differ in scalings; they are computed again" in err


@pytest.mark.slow
def test_a_killed_command_goes_on(data: tuple[Path, Path], tmp_path: Path) -> None:
    """Killed outright while it works; what was finished before is not done again."""
    gt = data[0]
    for path in gt.rglob("*.npz"):
        if path.stem != "2":
            save(path.with_suffix(".depth.npz"), {"depth": np.ones((6, 48, 64))})
    save(gt / "pstudio" / "2.depth.npz", {"depth": np.ones((6, 48, 64))})
    for number in range(3, 200):
        for kind in ("npz", "depth.npz"):
            os.link(gt / "pstudio" / f"2.{kind}", gt / "pstudio" / f"{number}.{kind}")
    rows = tmp_path / "r.clips.jsonl"
    arguments = [*COMMAND, "--gt", str(gt), "--model", "static", "--depth", "true", "--out", str(tmp_path / "r.json")]
    process = subprocess.Popen([sys.executable, "-m", "tapetum.app.shell.main", *arguments])
    try:
        for _ in range(60_000):
            if rows.exists() and rows.read_text().count("\n") >= 4:
                break
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = [line for line in rows.read_text().splitlines(keepends=True) if line.endswith("\n")]
    assert 4 <= len(before) < 200
    result = subprocess.run(
        [sys.executable, "-m", "tapetum.app.shell.main", *arguments], capture_output=True, text=True, check=True
    )
    after = rows.read_text().splitlines(keepends=True)
    assert after[: len(before)] == before
    assert len(after) == 201
    assert "200 clips" in result.stdout


def test_options_that_do_not_fit(run: Run, data: tuple[Path, Path], tmp_path: Path) -> None:
    gt, pred = data
    for arguments, message in (
        ([], "give --predictions DIR or --model NAME"),
        (["--predictions", pred, "--depth", "true"], "--depth is for the tracker"),
        (["--predictions", pred, "--out", tmp_path / "none" / "a.json"], "cannot write"),
        (["--model", "static", "--depth", "true"], "there is no file"),
        (["--model", "static", "--depth", "zoedepth"], "static cannot make depth by 'zoedepth'"),
    ):
        code, out, err = run(*COMMAND, "--gt", gt, *arguments)
        assert (code, out) == (2, ""), arguments
        assert message in err
        assert err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"gt", "pred"}


def test_scenes_are_made_checked_and_scored(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    make = ["tapvid3d", "scenes", folder, "--n", 1, "--size", 48, "--frames", 4, "--points", 16, "--depth"]
    code, out, _ = run(*make)
    assert code == 0
    assert f"wrote 1 clips of 4 frames and 16 tracks into {folder}" in out
    code, out, err = run("tapvid3d", "check", folder)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "nothing wrong was found"
    code, out, _ = run(*COMMAND, "--gt", folder, "--model", "static", "--depth", "true", "--json")
    assert code == 0
    assert json.loads(out)["per_clip"][0]["tracks"] == 16
    code, _, err = run(*make)
    assert code == 2
    assert "already holds scenes" in err


def test_findings_end_with_2(run: Run, data: tuple[Path, Path]) -> None:
    gt = data[0]
    assert run("tapvid3d", "check", gt)[0] == 0
    path = gt / "adt" / "0.npz"
    path.write_bytes(path.read_bytes()[:700])
    code, out, err = run("tapvid3d", "check", gt)
    assert code == 2
    assert out.splitlines()[-1].startswith(f"unreadable  adt/0.npz: {path} is cut off or no npz file")
    assert err == "tapetum: findings: 1, in 3 files; mend these, or fetch them again\n"
    code, out, err = run("tapvid3d", "check", gt, "--json")
    assert code == 2
    report = json.loads(out)
    assert [finding["kind"] for finding in report["findings"]] == ["unreadable"]
    assert report["sources"]["adt"]["clips"] == 1
    code, out, _ = run("tapvid3d", "check", gt, "--split", "minival", "--json")
    assert code == 2
    assert {finding["kind"] for finding in json.loads(out)["findings"]} == {"missing"}
