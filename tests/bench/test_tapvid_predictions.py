"""Predictions on TAP-Vid as files: the same numbers as the tracker that made them, and what is wrong with others."""

import errno
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tapetum.bench.tapvid import TapVidPredictions, write_predictions
from tapetum.core.errors import BadInput

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    videos = {
        name: {
            "video": rng.integers(0, 255, (8, 32, 32, 3), dtype=np.uint8),
            "points": np.clip(0.5 + rng.normal(0, 0.01, (4, 8, 2)).cumsum(axis=1), 0, 1),
            "occluded": rng.random((4, 8)) < share,
        }
        for name, share in (("bear", 0.2), ("swan", 0.3), ("hidden", 1.0))
    }
    path = tmp_path / "tapvid.pkl"
    path.write_bytes(pickle.dumps(videos))
    return path


@pytest.mark.parametrize("form", ["pred.npz", "pred.pkl", "pred"])
@pytest.mark.parametrize("mode", ["first", "strided"])
def test_saved_predictions_have_the_scores_of_their_tracker(run: Run, data: Path, tmp_path: Path, form: str, mode: str) -> None:
    command = ["eval", "tapvid", "--data", data, "--mode", mode, "--json"]
    code, out, _ = run(*command, "--model", "static", "--size", 96, "--save-predictions", tmp_path / form)
    assert code == 0
    tracked = json.loads(out)
    code, out, _ = run(*command, "--predictions", tmp_path / form)
    assert code == 0
    scored = json.loads(out)
    assert 0 < scored["average_jaccard"] < 1
    for told in (tracked, scored):
        del told["model"], told["seconds"], told["size"]
    assert scored == tracked


def test_truth_as_prediction_is_perfect(run: Run, data: Path, tmp_path: Path) -> None:
    """Made by hand, as another program would: no queries, points in pixels of 256x256."""
    videos = {}
    for name, video in pickle.loads(data.read_bytes()).items():
        seen = ~video["occluded"].all(axis=1)
        videos[name] = {"tracks": video["points"][seen] * 256, "occluded": video["occluded"][seen]}
    write_predictions(tmp_path / "p.pkl", videos)
    code, out, _ = run("eval", "tapvid", "--data", data, "--predictions", tmp_path / "p.pkl", "--json")
    assert (code, json.loads(out)["average_jaccard"]) == (0, 1.0)
    assert "predictions of a file" in run("eval", "tapvid", "--data", data, "--predictions", tmp_path / "p.pkl")[1]


def test_scores_are_told_where_predictions_cannot_be_kept(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["eval", "tapvid", "--data", data, "--model", "static"]
    score = json.loads(run(*command, "--json")[1])["average_jaccard"]

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    code, out, err = run(*command, "--save-predictions", tmp_path / "p.npz")
    assert (code, out, len(list(tmp_path.iterdir()))) == (2, "", 1)
    assert "the disk is full" in err
    assert f"the scores are average_jaccard {score:.4f}" in err


def good() -> dict[str, np.ndarray]:
    return {"tracks": np.ones((2, 3, 2)), "occluded": np.zeros((2, 3), bool), "queries": np.zeros((2, 3))}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tracks": np.ones((2, 4, 2))}, r"tracks float64 \(2, 4, 2\)"),
        ({"tracks": np.full((2, 3, 2), np.nan)}, "NaN or infinite"),
        ({"occluded": np.full((2, 3), 2)}, "not of 0 and 1 alone"),
        ({"queries": np.ones((2, 3))}, "its queries are not those"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    file = write_predictions(tmp_path / "p.npz", {"a": {**good(), **changes}})
    with pytest.raises(BadInput, match=message):
        TapVidPredictions(file).of("a", np.zeros((2, 3)), 3)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    for form in ("p.npz", "p.pkl", "p"):
        with pytest.raises(BadInput, match=r"has no .*b"):
            TapVidPredictions(write_predictions(tmp_path / form, {"a": good()})).of("b", np.zeros((2, 3)), 3)
    short = good()
    del short["occluded"]
    with pytest.raises(BadInput, match="occluded are missing"):
        TapVidPredictions(write_predictions(tmp_path / "q.npz", {"a": short})).of("a", np.zeros((2, 3)), 3)
    for content in (b"", b"PK\x03\x04", b"x" * 100):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(BadInput, match="no npz file"):
            TapVidPredictions(tmp_path / "bad.npz")
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(BadInput, match="no dict of videos"):
        TapVidPredictions(tmp_path / "bad.pkl")
    with pytest.raises(BadInput, match="there is no file or folder"):
        TapVidPredictions(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--predictions", "p.npz", "--model", "static"], "--model is for a tracker"),
        (["--predictions", "p.npz", "--save-predictions", "q.npz"], "--save-predictions is for a tracker"),
        (["--save-predictions", "q.csv"], "predictions are a .npz"),
    ],
)
def test_options_that_do_not_fit(run: Run, data: Path, options: list[str], message: str) -> None:
    code, out, err = run("eval", "tapvid", "--data", data, *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
