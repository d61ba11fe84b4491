"""The simulated person of `evidence/web-clicks/claims.py` on the page's own functions."""

import json
from pathlib import Path

import numpy as np
import pytest

from support.networks import TAPIR_NANO, save_tapir
from support.scripts import script
from tapetum.video import write_video

clicks = script("evidence/web-clicks/claims.py")


def course(clip: str, way: str, needed: list[int], scores: list[float]) -> object:
    return clicks.Course(clip, 0, way, 2, 8, needed, scores, 1)


def session(folder: Path, truth: object) -> object:
    folder.mkdir(exist_ok=True)
    if not (folder / "clip.mp4").exists():
        write_video(folder / "clip.mp4", np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), np.uint8), 8)
    return clicks.Session(folder, "static", truth)


def test_a_point_is_dragged_or_hidden_until_it_is_seen_again(tmp_path: Path) -> None:
    xy = np.stack([np.arange(6.0)[None] + 4, np.full((1, 6), 9.0)], -1)
    seen = np.array([[False, True, True, False, False, True]])
    page = session(tmp_path / "clip", clicks.Truth(xy, seen))
    assert page.put_right(0, 2) == 1
    assert page.put_right(0, 3) == 2
    (point,) = page.projects.points(page.item).values()
    assert point.marks == {1: (5, 9, False), 2: (6, 9, False), 3: (6, 9, True), 5: (9, 9, False)}
    assert page.unmarked() == [(0, 0), (0, 4)]
    assert page.put_right(0, 4) == 1  # it is not seen again before the next mark
    assert page.put_right(0, 0) == 1
    assert next(iter(page.projects.points(page.item).values())).hidden_frames(6) == [(0, 1), (3, 4), (4, 5)]
    page.database.close()
    again = session(tmp_path / "clip", clicks.Truth(xy, seen))
    assert len(again.ids) == 1
    again.database.close()


def test_tracks_that_stay_are_scored_as_tap_vid_does(tmp_path: Path) -> None:
    xy = np.array([[[8.0, 8.0]] * 6, [[8.0, 8.0]] + [[8.0, 8.0 + 12 / 8]] * 5])  # the second is 12 of 256 pixels off
    page = session(tmp_path / "clip", clicks.Truth(xy, np.ones((2, 6), bool)))
    # one of two is hit at 1, 2, 4 and 8 pixels: Jaccard 5 / (10 + 5); both at 16
    assert page.score(page.track()) == pytest.approx((4 * 5 / 15 + 1) / 5)
    page.database.close()


def test_points_that_move_are_chosen() -> None:
    xy, seen = np.zeros((4, 6, 2)), np.ones((4, 6), bool)
    xy[1, :, 1] = np.linspace(0, 0.3, 6)
    xy[2, 0], xy[3, :, 0] = 0.5, np.linspace(0, 0.3, 6)
    seen[2, 0], seen[3, 3:] = False, False  # the one moves while it is hidden, the other is seen too shortly
    assert clicks.choose_points(xy, seen, 4, np.random.default_rng(0)).tolist() == [1]


def test_clicks_are_summed_up_by_clip() -> None:
    made = [
        *(course("a", way, each, [0.5] * (len(each) - 1) + [0.95]) for way, each in (("look", [0, 1]), ("random", [0, 1, 3]))),
        *(course("b", way, [0, 4, 9], [0.1, 0.2, 0.95]) for way in ("look", "random")),  # too late
        *(course("c", way, [0], [0.92]) for way in ("look", "random")),
    ]
    result = clicks.summarise(made)
    assert (result["clips"], result["points"], result["none"]["reached"]["mean"]) == (3, 6, 0.3333)
    assert result["look"]["clicks_a_point"]["mean"] == pytest.approx((1 / 2 + 4 + 0) / 3)
    assert result["random"]["clicks_a_point"]["mean"] == pytest.approx((3 / 2 + 4 + 0) / 3, abs=1e-4)
    assert result["look"]["reached"]["mean"] == 0.6667
    assert result["fewer_clicks_a_point_by_look"]["mean"] == 0.3333
    assert result["better_same_worse"] == [1, 2, 0]
    assert result["look"]["average_jaccard"][1]["mean"] == pytest.approx((0.95 + 0.1 + 0.92) / 3, abs=1e-4)
    assert result["random"]["average_jaccard"][1]["mean"] == pytest.approx((0.5 + 0.1 + 0.92) / 3, abs=1e-4)
    assert result["look"]["average_jaccard"][4]["mean"] == pytest.approx((0.95 + 0.2 + 0.92) / 3, abs=1e-4)
    assert result["higher_average_jaccard_by_look"][1]["mean"] == 0.15


@pytest.mark.slow
def test_a_tiny_run_ends_and_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mujoco")
    nano = save_tapir(tmp_path / "nano.safetensors", TAPIR_NANO)
    words = ["web_clicks", "--data", str(tmp_path / "data"), "--tiny", "--model", str(nano), "--out", str(tmp_path / "a.json")]
    monkeypatch.setattr("sys.argv", words)
    monkeypatch.setattr(clicks.baselines, "load_tracker", clicks.baselines.load_tracker)  # put back afterwards
    clicks.main()
    first = (tmp_path / "data" / "courses.jsonl").read_text()
    lines = [json.loads(line) for line in first.splitlines()]
    assert [each["way"] for each in lines] == ["look", "random"]
    assert all(each["scores"][0] == lines[0]["scores"][0] for each in lines)
    clicks.main()
    assert (tmp_path / "data" / "courses.jsonl").read_text() == first
    assert json.loads((tmp_path / "a.json").read_text())["clips"] == 1
