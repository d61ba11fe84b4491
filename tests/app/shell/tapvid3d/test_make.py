"""`tapetum tapvid3d make`: what it prints, refuses and leaves alone."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from support.files import listed
from support.raw_adt import write_sequence
from support.raw_pstudio import write_annotation, write_studio
from support.raw_waymo import write_segment
from tapetum.app.score.tapvid3d import make as make_verb
from tapetum.app.shell.main import parse
from tapetum.app.shell.output import print_result, terminal
from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.data import read_clip


def make(*arguments: object) -> None:
    given = parse(["tapvid3d", "make", *map(str, arguments)])
    with terminal() as listener:
        result = make_verb.run(given, listener)
    print_result(result, given.json)


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_segment(tmp_path_factory.mktemp("waymo") / "training", 26).root


@pytest.mark.slow
def test_what_is_made_passes_the_check(raw: Path, drive: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]):
    few = ["--tracks", 60]
    assert run("tapvid3d", "make", "adt", raw / "adt", "--out", tmp_path / "adt", "--frames", 4, *few)[0] == 0
    assert run("tapvid3d", "make", "drivetrack", drive, "--out", tmp_path / "drivetrack", *few)[0] == 0
    studio = ["--annotations", raw / "studio", "--out", tmp_path / "pstudio"]
    assert run("tapvid3d", "make", "pstudio", raw / "pstudio", *studio)[0] == 0
    code, printed, complaint = run("tapvid3d", "check", tmp_path)
    assert (code, complaint) == (0, "")
    assert "nothing wrong was found" in printed
    code, _, complaint = run("tapvid3d", "make", "adt", tmp_path, "--out", tmp_path / "none")
    assert code == 2
    assert complaint.count("\n") == 1


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    write_sequence(folder / "adt" / "Lite_release_recognition_Cup_seq030_61283", 4)
    for camera in write_studio(folder / "pstudio", 2):
        write_annotation(folder / "studio", f"juggle_{camera}", 2)
    return folder


def test_adt(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["adt", raw / "adt", "--out", tmp_path, "--frames", 4, "--tracks", 100, "--json"]
    make(*arguments)
    printed = capsys.readouterr()
    name = "Lite_release_recognition_Cup_seq030_0"
    assert json.loads(printed.out) == {
        "source": "adt", "out": str(tmp_path), "made": [name], "kept": [], "empty": [], "failed": {},
    }  # fmt: skip
    assert "people are not filtered out" in printed.err
    assert read_clip(tmp_path / f"{name}.npz").frames == 4
    make(*arguments[:-1])
    assert capsys.readouterr().out == "made        0\nkept        1 (there already)\n"


@pytest.mark.slow
def test_another_seed_makes_other_tracks(raw: Path, tmp_path: Path):
    for seed in (0, 1):
        make("adt", raw / "adt", "--out", tmp_path / str(seed), "--frames", 4, "--tracks", 20, "--seed", seed)
    first, second = (read_clip(next((tmp_path / seed).glob("*.npz"))).queries_xyt for seed in "01")
    assert first.shape != second.shape or not np.array_equal(first, second)


def test_what_fails_is_named_and_the_rest_is_made(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    shutil.copytree(raw / "pstudio", tmp_path / "raw")
    shutil.rmtree(tmp_path / "raw" / "data" / "juggle" / "ims" / "5")
    with pytest.raises(BadInput, match="1 clips could not be made: juggle_5: "):
        make("pstudio", tmp_path / "raw", "--annotations", raw / "studio", "--out", tmp_path / "out")
    assert "made        2\nfailed      juggle_5: " in capsys.readouterr().out
    assert listed(tmp_path / "out") == ["juggle_1.npz", "juggle_12.npz"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["adt", "{raw}/adt"], "nothing was made"),  # it has no 300 frames
        (["adt", "{raw}/adt", "--tracks", "0"], "--tracks is 0"),
        (["adt", "{raw}/nowhere"], "SEQUENCE/aria_trajectory.csv"),
        (["drivetrack", "{raw}/adt"], "camera_image"),
        (["drivetrack", "{raw}/adt", "--annotations", "{raw}"], "have their images already"),
        (["pstudio", "{raw}/pstudio", "--frames", "30"], "--frames is for adt"),
        (["pstudio", "{raw}/pstudio"], "pstudio needs --annotations"),
        (["pstudio", "{raw}/pstudio", "--annotations", "{raw}"], "has no .npz"),
    ],
)
def test_bad_input_is_one_line(raw: Path, tmp_path: Path, arguments: list[str], words: str):
    with pytest.raises(BadInput) as caught:
        make(*(text.format(raw=raw) for text in arguments), "--out", tmp_path / "out")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").glob("*"))
