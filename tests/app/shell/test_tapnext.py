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
from tapetum.core.identity import fingerprint
from tapetum.hub.registry import TRACKER_FILE
from tapetum.systems.tap.tracking.cues import FEW
from tapetum.systems.tap.tracking.error_model import ErrorModel, errors_file
from tapetum.systems.tapnext import from_official
from tapetum.systems.tapnext.weights import save
from tapetum.tracks.follow import BoxTracker
from tapetum.types import Boxes
from tapetum.video import open_video, write_video

VIDEO = np.random.default_rng(0).integers(0, 255, (8, 48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    lines = [line for line in map(json.loads, out.splitlines()) if line["type"] != "event"]  # random weights lose points
    assert [line["type"] for line in lines] == ["frame"] * 8 + ["summary"]
    assert [(point["x"], point["y"]) for point in lines[0]["points"]] == [(10, 10), (30, 20)]


def test_an_error_model_beside_its_weights_is_used(folder: Path, tmp_path: Path) -> None:
    weights = tmp_path / TRACKER_FILE
    weights.write_bytes((folder / "tiny.safetensors").read_bytes())
    ErrorModel(fingerprint(weights), FEW).save(errors_file(weights))
    tracks = tapetum.load(tmp_path).track(VIDEO, np.array([[0, 10, 10], [2, 30, 20]]))
    assert tracks.chance_wrong is not None
    assert (tracks.chance_wrong > 0).sum() == tracks.chance_wrong.size - 2
    assert tapetum.load(folder / "tiny.safetensors").track(VIDEO, np.array([[0, 10, 10]])).chance_wrong is None


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


@pytest.mark.slow
def test_what_bootstrap_will_cost_is_of_its_own_network(run, folder: Path) -> None:
    model = str(folder / "tiny.safetensors")
    words = "--frames", "2", "--size", "64", "--points", "3", "--out", "b", "--dry", "--json"
    code, out, _ = run("bootstrap", "videos", "--model", model, *words)
    assert code == 0
    count = sum(p.numel() for p in tapetum.load(model).model.parameters())
    assert json.loads(out)["parameters"] == {"learning": count, "frozen": count}  # student and teacher


@pytest.mark.slow
def test_bootstrap_stops_goes_on_and_ends_in_a_tracker(run, folder: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for k in range(2):
        (videos / f"{k}.mp4").write_bytes((folder / "clip.mp4").read_bytes())
    model, small = folder / "tiny.safetensors", "--steps 2 --scenes 0 --image-clips 2 --checks 1 --scored 1 --points 4"
    words = f"{small} --frames 4 --size 64 --no-bf16 --confident 0 --workers 0 --threads 1 --json --model {model}".split()

    def bootstrap(out: str, *more: str) -> dict:
        code, told, err = run("bootstrap", str(videos), "--out", str(tmp_path / out), *words, *more)
        assert code == 0, err
        return json.loads(told)

    whole = bootstrap("whole")
    assert bootstrap("parts", "--minutes", "0")["tracker"] is None
    parts = bootstrap("parts")
    for name in ("before", "after", "last", "cycle_before", "cycle_after", "step"):
        assert whole[name] == parts[name], name
    rows = [(tmp_path / out / "run" / "log.jsonl").read_text().splitlines() for out in ("whole", "parts")]
    metrics = [[json.loads(row)["metrics"] for row in each] for each in rows]
    assert metrics[0] == metrics[1]
    assert {"footage/coordinates", "footage/frames_kept", "synthetic/visibility"} <= metrics[0][-1].keys()
    saved = [sorted((tmp_path / out / "run").rglob("*.safetensors")) for out in ("whole", "parts")]
    last = [[file for file in files if "step_00000002" in str(file)] for files in saved]
    assert [f.name for f in last[0]] == [f.name for f in last[1]] != []
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*last, strict=True))
    assert tapetum.load(tmp_path / "whole").model.config == tapetum.load(model).model.config
    out = str(tmp_path / "tracks.npz")
    assert run("track", str(folder / "clip.mp4"), "--query", "0,9,9", "--model", str(tmp_path / "whole"), "--out", out)[0] == 0
