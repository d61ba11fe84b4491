"""HOTA beside TrackEval (golden), the vector of the Perception Test, tracks that lack frames."""

import json

import numpy as np
import pytest

from support.scripts import GOLDEN, script
from tapetum.core.errors import BadInput
from tapetum.metrics.boxes import box_iou
from tapetum.metrics.hota import box_hota, hota

CASES = json.loads((GOLDEN / "benchmark_metrics.json").read_text())["hota"]


@pytest.mark.parametrize("seed", range(len(CASES)))
def test_numbers_are_those_of_trackeval(seed: int) -> None:
    scores = hota(script("tests/golden/make_benchmark_metrics_golden.py").tracks(seed))
    for name, theirs in CASES[seed].items():
        np.testing.assert_allclose(scores.by_alpha[name], theirs, rtol=0, atol=1e-9, err_msg=name)
    assert scores.hota == pytest.approx(np.mean(CASES[seed]["hota"]), abs=1e-9)


def example() -> tuple[dict, dict]:
    frames = np.arange(6)
    start = np.array([[0.1, 0.2, 0.3, 0.45], [0.4, 0.3, 0.6, 0.55]])
    true = {i: (frames, start[i] + np.outer(frames, [0.02, 0.01, 0.02, 0.01])) for i in (0, 1)}
    shift = np.outer(0.03 * (frames % 3), [1, 0, 1, 0])
    said = {f"p{i}": (frames, boxes + shift) for i, (_, boxes) in true.items()}
    return true, said | {"still": (frames, np.tile([0.5, 0.5, 0.9, 0.9], (6, 1)))}


def frames_of(true: dict, said: dict) -> list:
    """Frame by frame, those in which a true track has a box, for `hota`."""

    def boxes_at(tracks: dict, frame: int) -> dict:
        return {key: boxes[list(numbers).index(frame)] for key, (numbers, boxes) in tracks.items() if frame in numbers}

    sides = [
        (boxes_at(true, frame), boxes_at(said, frame))
        for frame in sorted({int(f) for numbers, _ in true.values() for f in numbers})
    ]
    return [(list(a), list(b), box_iou(np.array(list(a.values())), np.array(list(b.values())))) for a, b in sides]


@pytest.mark.parametrize("twentieths", range(1, 20))
def test_an_overlap_that_is_just_alpha_is_a_hit(twentieths: int) -> None:
    scores = box_hota({0: ([0], [[0, 0, 20, 1]])}, {0: ([0], [[0, 0, twentieths, 1]])})
    assert scores.by_alpha["det_a"].tolist() == [1] * twentieths + [0] * (19 - twentieths)


def test_tracks_may_lack_frames_and_order_says_nothing() -> None:
    true, said = example()
    said["p0"] = said["p0"][0][1::2], said["p0"][1][1::2]
    frames = frames_of(true, said)
    assert [len(ids) for _, ids, _ in frames] == [2, 3, 2, 3, 2, 3]
    assert hota(frames).hota == pytest.approx(hota(frames[::-1]).hota)
    assert hota(frames).hota < hota(frames_of(*example())).hota
    lone = {0: ([2], [[0, 0, 1, 1]])}, {0: ([2, 7], [[0, 0, 1, 1]] * 2)}
    assert box_hota(*lone).det_a == pytest.approx(1)  # a frame without a true box does not count
    false = hota([*frames_of(*lone), ([], [0], np.zeros((0, 1)))])
    assert false.det_a == pytest.approx(0.5)  # where it does, it holds a false one


def test_nothing_at_all() -> None:
    for frames in ([], [([], [], np.zeros((0, 0)))], [([], ["a"], np.zeros((0, 1)))], [([], ["a"], [])]):
        scores = hota(frames)
        assert (scores.hota, scores.loc_a) == (0, 1)


def test_bad_input() -> None:
    for frames, words in [
        ([(["a", "a"], [], np.zeros((2, 0)))], "twice"),
        ([(["a"], ["b"], [[np.nan]])], "NaN"),
        ([(["a"], ["b"], [[2.0]])], r"0\.\.1"),
        ([(["a"], ["b"], [[0.1, 0.2]])], r"give \(1, 1\)"),
    ]:
        with pytest.raises(BadInput, match=words):
            hota(frames)
    with pytest.raises(BadInput, match="predicted track 'x' has 1 boxes"):
        box_hota({0: ([2], [[0, 0, 1, 1]])}, {"x": ([1, 2], [[0, 0, 1, 1]])})


def test_boxes_score_as_frame_by_frame() -> None:
    rng = np.random.default_rng(0)

    def track() -> tuple[np.ndarray, np.ndarray]:
        frames = np.flatnonzero(rng.random(9) < 0.7)
        corner = rng.random((len(frames), 2)) * 0.4
        return frames, np.concatenate([corner, corner + 0.4], 1)

    for case in range(20):
        true, said = ({k: track() for k in range(int(rng.integers(0, 4)))} for _ in range(2))
        one, other = box_hota(true, said), hota(frames_of(true, said))
        for name, values in other.by_alpha.items():
            np.testing.assert_allclose(one.by_alpha[name], values, atol=1e-12, err_msg=f"{name} of case {case}")
    with pytest.raises(BadInput, match="the true track 3 has 2 boxes"):
        box_hota({3: ([2, 2], np.zeros((2, 4)))}, {})
