"""TAPNext wherever a tracker may be named: it works, or is refused in one line."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tapetum
from support.tapnext import TINY, public_state
from tapetum.bench.baselines import load_tracker3d
from tapetum.systems.tapnext import from_official
from tapetum.systems.tapnext.weights import save
from tapetum.tracks.follow import BoxTracker
from tapetum.types import Boxes
from tapetum.video import open_video, write_video

VIDEO = np.random.default_rng(0).integers(0, 255, (8, 48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights and a clip."""
    made = tmp_path_factory.mktemp("tapnext")
    config = replace(TINY, image_size=(64, 64), video_size=(64, 64))
    save(from_official(public_state(config)), made / "tiny.safetensors")
    write_video(made / "clip.mp4", VIDEO, 8)
    return made


def test_frames_one_by_one_on_the_command_line(run, folder: Path, tmp_path: Path) -> None:
    model = "--model", str(folder / "tiny.safetensors")
    queries = "--query", "0,10,10", "--query", "0,30,20"
    code, out, _ = run("track", str(folder / "clip.mp4"), *queries, "--online", *model, "--json", "--out", str(tmp_path / "o"))
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["type"] for line in lines] == ["frame"] * 8 + ["summary"]
    assert [(point["x"], point["y"]) for point in lines[0]["points"]] == [(10, 10), (30, 20)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("track clip.mp4 --tracks t.npz --correct 0,3,12,12 --model tiny.safetensors", "TAPNext knows points by their place"),
        ("track clip.mp4 --query 0,1,1 --polish yes --model tiny.safetensors", "--polish is of TAPIR"),
        ("bootstrap clip.mp4 --model tiny.safetensors --out b", "holds a TAPNext network, and TAPIR is wanted here"),
        ("train tap-nano --weights tiny.safetensors --out b", "holds a TAPNext network, and TAPIR is wanted here"),
        ("export tiny.safetensors x.onnx --size 32x32", "was trained for 64x64"),
    ],
)
def test_what_is_of_tapir_alone_is_refused(
    run, folder: Path, words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("clip.mp4", "tiny.safetensors"):
        (tmp_path / name).symlink_to(folder / name)
    if "t.npz" in words:
        tapetum.load(folder / "tiny.safetensors").track(VIDEO, [[0, 10, 10]]).save(tmp_path / "t.npz")
    code, out, err = run(*words.split())
    assert code == 2
    assert not out
    assert message in err
    assert err.count("\n") == 1


def test_benchmarks_take_it(run, folder: Path, tmp_path: Path) -> None:
    model, rng = str(folder / "tiny.safetensors"), np.random.default_rng(1)
    entry = {
        "video": VIDEO[:, :, :48],
        "points": rng.random((4, 8, 2)).astype(np.float32),
        "occluded": rng.random((4, 8)) < 0.2,
    }
    (tmp_path / "data.pkl").write_bytes(pickle.dumps({"a": entry}))
    code, out, _ = run("eval", "tapvid", "--data", str(tmp_path / "data.pkl"), "--model", model, "--json")
    assert code == 0
    assert 0 <= json.loads(out)["average_jaccard"] <= 1
    maps = np.full((8, 48, 64), 2.0, np.float32)
    lifted = load_tracker3d(model).track(VIDEO, np.array([[10, 12, 0]], np.float32), np.array([50.0, 50, 32, 24]), maps)
    assert lifted.xyz.shape == (1, 8, 3)
    assert lifted.xyz[0, 0] == pytest.approx([(10 - 32) / 50 * 2, (12 - 24) / 50 * 2, 2])


def test_boxes_are_carried_by_it(folder: Path) -> None:
    box = Boxes(xyxy=np.array([[5, 5, 30, 30]], np.float32), labels=("ball",), scores=np.ones(1, np.float32))
    carried = BoxTracker(open_video(folder / "clip.mp4"), tapetum.load(folder / "tiny.safetensors"), lambda frame: box, 8).run()
    assert carried[0].xyxy[0].tolist() == [5, 5, 30, 30]


def test_its_cost_is_counted(run, folder: Path) -> None:
    code, out, _ = run("account", str(folder / "tiny.safetensors"))
    assert code == 0
    assert "1 frame of 64x64, 64 points" in out
