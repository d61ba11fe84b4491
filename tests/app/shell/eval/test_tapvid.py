"""`tapetum eval tapvid`: the same numbers as the library, as text and as JSON."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tapetum.bench.baselines import Static
from tapetum.bench.tapvid import evaluate

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
        for name, share in (("bear", 0.2), ("hidden", 1.0))
    }
    path = tmp_path / "tapvid.pkl"
    path.write_bytes(pickle.dumps(videos))
    return path


@pytest.mark.parametrize("mode", ["first", "strided"])
def test_json_holds_the_numbers(run: Run, data: Path, mode: str) -> None:
    code, out, err = run("eval", "tapvid", "--data", data, "--mode", mode, "--model", "static", "--json")
    assert code == 0
    assert err == (
        "tapetum: videos in which nothing could be counted, left out of the mean: "
        "average_jaccard 1, average_pts_within_thresh 1, occlusion_accuracy 1\n"
    )
    result, direct = json.loads(out), evaluate(Static(), data, mode)
    for name in ("average_jaccard", "average_pts_within_thresh", "occlusion_accuracy", "jaccard_4", "videos", "queries"):
        assert result[name] == direct[name]
    assert 0 < result["average_jaccard"] < 1
    assert [row["name"] for row in result["per_video"]] == ["bear", "hidden"]
    assert result["per_video"][1]["average_jaccard"] is None


def test_text_is_a_table(run: Run, data: Path) -> None:
    code, out, _ = run("eval", "tapvid", "--data", data, "--model", "static")
    direct = evaluate(Static(), data, "first")
    assert code == 0
    mean = next(line for line in out.splitlines() if line.startswith("mean"))
    assert [float(cell) for cell in mean.split()[1:]] == pytest.approx(
        [direct["average_jaccard"], direct["average_pts_within_thresh"], direct["occlusion_accuracy"]], abs=6e-4
    )
    assert "2 videos, 4 queries, mode first" in out


def test_another_beside_it_and_points_that_come_back(run: Run, data: Path, tmp_path: Path) -> None:
    saved = tmp_path / "static.npz"
    asked = ["eval", "tapvid", "--data", data, "--model", "static", "--redetection", "published"]
    code, out, _ = run(*asked, "--save-predictions", saved, "--beside", "static", "--json")
    content = json.loads(out)
    assert code == 0
    assert content["differences"]["average_jaccard"]["difference"] == 0
    assert set(content["intervals"]) <= {"average_jaccard", "average_pts_within_thresh", "occlusion_accuracy", "aj_rd"}
    code, out, _ = run(*asked, "--beside", saved)
    assert code == 0
    assert "AJ_RD" in out
    assert "95 % at least" in out
    assert "beside: predictions of a file" in out
    assert "+0.000 (+0.000 to +0.000)" in out
