"""Measures of how well a tracker knows its errors, against values made by hand; the page has the table of the results."""

import json

import numpy as np
import pytest

from support.docs_pages import DOCS
from support.scripts import script
from tapetum.tracks.training.clips import TrackedClip
from tapetum.types import Tracks

tap_doubt = script("benchmarks/tap_doubt.py")


def test_the_wrong_places_among_the_most_doubted_tenth() -> None:
    doubt = np.arange(20.0)
    wrong = np.zeros(20, bool)
    wrong[[0, 18, 19]] = True
    assert tap_doubt.caught(doubt, wrong) == pytest.approx(2 / 3)
    assert tap_doubt.caught(-doubt, wrong) == pytest.approx(1 / 3)


def test_the_area_is_least_where_errors_come_last() -> None:
    wrong = np.array([True, False, False, True])
    assert tap_doubt.risks(np.array([4.0, 1, 2, 3]), wrong).tolist() == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert tap_doubt.risks(np.array([1.0, 3, 4, 2]), wrong).tolist() == pytest.approx([1, 1, 2 / 3, 1 / 2])


def test_the_calibration_error_weighs_bins_by_their_places() -> None:
    chance = np.array([0.05, 0.05, 0.05, 0.95])
    assert tap_doubt.calibration_error(chance, np.array([False, False, False, True])) == pytest.approx((0.15 + 0.05) / 4)
    assert tap_doubt.calibration_error(chance, np.array([True, True, True, True])) == pytest.approx((2.85 + 0.05) / 4)


class Drifting:
    """A tracker whose third point is `off` by 20 pixels in some frames; a click repairs the frames within 6."""

    def __init__(self, xy: np.ndarray, off: list[int], chance: list[float]):
        self.xy, self.off, self.chance = xy, off, np.tile(np.float32(chance), (len(xy), 1))

    def track(self, video: np.ndarray, queries: np.ndarray) -> Tracks:
        assert queries[:, 0].tolist() == [0, 0, 0]
        return self.correct(video, None, [])

    def correct(self, video: np.ndarray, tracks: Tracks | None, corrections: list[tuple[int, int, float, float]]) -> Tracks:
        for row, frame, x, y in corrections:
            assert row == 2
            np.testing.assert_array_equal(self.xy[row, frame], (x, y))
            self.off = [t for t in self.off if abs(t - frame) > 6]
        found = self.xy.copy()
        found[2, self.off] += 20
        seen = np.ones(found.shape[:2], bool)
        return Tracks(found, seen, seen, self.xy[:, 0, [0, 0, 1]] * (0, 1, 1), error_px=self.chance, chance_wrong=self.chance)


@pytest.mark.parametrize(
    ("off", "chances", "clicks", "looks"),
    [([5, 10], {10: 0.9}, 1, 1), ([5, 10], {0: 0.9, 5: 0.5}, 1, 2), ([5, 15], {15: 0.8, 5: 0.5}, 2, 3), ([7], {}, 0, 0)],
)
def test_a_person_clicks_the_most_doubted_mark_that_is_wrong(off: list, chances: dict, clicks: int, looks: int) -> None:
    xy = np.full((3, 16, 2), 50, np.float32)
    marked = np.zeros((3, 16), bool)
    marked[:, ::5] = True
    tracker = Drifting(xy, off, [chances.get(t, 0.1) for t in range(16)])
    clip = TrackedClip(np.zeros((16, 8, 8, 3), np.uint8), np.where(marked[..., None], xy, np.nan), marked)
    counted, looked, right = tap_doubt.clicks_needed(tracker, clip, np.arange(3), np.zeros(3, int))
    assert counted.tolist() == [0, 0, clicks]
    assert looked.tolist() == [0, 0, looks]
    assert right.all()


def test_the_jaccard_counts_frames_with_marks_alone() -> None:
    xy = np.full((2, 6, 2), 50, np.float32)
    marked = np.zeros((2, 6), bool)
    marked[:, [0, 2, 5]] = True
    off = xy + np.float32([[0], [99], [0], [99], [99], [20]])
    clip = TrackedClip(np.zeros((6, 8, 8, 3), np.uint8), np.where(marked[..., None], xy, np.nan), marked)
    shown = np.ones((2, 6), bool)
    assert tap_doubt.average_jaccard(Tracks(xy, shown, shown, xy[:, 0, [0, 0, 1]] * (0, 1, 1)), clip) == 1
    queries = xy[:, 0, [0, 0, 1]] * (0, 1, 1) + (2, 0, 0)
    assert tap_doubt.average_jaccard(Tracks(off, shown, shown, queries), clip) == pytest.approx(2 / 6)


def test_the_coarsest_errors_are_clicked_first_and_the_most_doubted_of_them() -> None:
    xy = np.full((3, 8, 2), 50, np.float32)
    off, shown, chance = xy.copy(), np.ones((3, 8), bool), np.full((3, 8), 0.5, np.float32)
    off[0, 3] += 2
    off[1, [4, 6]] += 20
    chance[0, 3], chance[1, 6], shown[2, 5] = 0.99, 0.6, False
    clip = TrackedClip(np.zeros((8, 8, 8, 3), np.uint8), xy, np.ones((3, 8), bool))
    tracks = Tracks(off, shown, chance, xy[:, 0, [0, 0, 1]] * (0, 1, 1), error_px=chance, chance_wrong=chance)
    clicked = np.arange(8) == np.zeros((3, 1))
    assert tap_doubt.next_clicks(tracks, clip, clicked, 3) == [(1, 6, 50, 50), (2, 5, 50, 50)]
    assert tap_doubt.next_clicks(tracks, clip, clicked, 1) == [(1, 6, 50, 50)]
    clicked[1, [4, 6]] = clicked[2, 5] = True
    assert tap_doubt.next_clicks(tracks, clip, clicked, 3) == [(0, 3, 50, 50)]


def test_clicks_go_on_until_the_goal() -> None:
    xy = np.full((3, 16, 2), 50, np.float32)
    clip = TrackedClip(np.zeros((16, 8, 8, 3), np.uint8), xy, np.ones((3, 16), bool))
    for goal, scores in ((0.9, (36 / 54, 41 / 49, 1)), (0.8, (36 / 54, 41 / 49)), (0.6, (36 / 54,))):
        tracker = Drifting(xy, [*range(1, 5), *range(11, 16)], [0.9 if t == 13 else 0.1 for t in range(16)])
        clicks, jaccard = zip(*tap_doubt.clicks_until(clip, [0, 0, 0], tracker.track, tracker.correct, goal), strict=True)
        assert clicks == tuple(range(len(scores)))
        assert jaccard == pytest.approx(scores)


def test_ways_of_correcting_are_compared_clip_by_clip() -> None:
    ways = [
        {"plain": [(0, 0.5), (4, 0.8)], "taught": [(0, 0.5), (4, 0.8), (8, 0.9)]},
        {"plain": [(0, 0.8), (2, 0.95)], "taught": [(0, 0.8), (4, 0.95)]},
    ]
    summary = tap_doubt.teach_summary({str(k): {"points": 4, "ways": each} for k, each in enumerate(ways)})
    assert summary["plain"]["clicks a point"]["mean"] == pytest.approx((tap_doubt.CLICKS_A_POINT + 0.5) / 2)
    taught = {"mean": 1.5, "beyond": 0.25, "interval": [0, 0.5], "signs": [0, 1, 1]}
    for key, value in taught.items():
        assert summary["taught"]["clicks a point"][key] == pytest.approx(value)
    plain = np.mean([0.575, 0.65, 0.725, *[0.8] * 5, 0.875, *[0.95] * 7])
    assert summary["plain"]["jaccard"]["mean"] == pytest.approx(plain)
    assert [summary[way][f"share with at most {tap_doubt.CLICKS_A_POINT}"] for way in ways[0]] == [0.5, 1]


def test_the_page_has_the_tables_of_the_results() -> None:
    page = (DOCS / "evidence" / "tap-doubt.md").read_text()
    tables = {"results": tap_doubt.table, "causal": tap_doubt.table, "live": tap_doubt.table, "teach": tap_doubt.teach_table}
    for name, table in {**tables, "labels": tap_doubt.label_table}.items():
        assert table(json.loads((tap_doubt.EVIDENCE / "tap-doubt" / f"{name}.json").read_text())) in page
