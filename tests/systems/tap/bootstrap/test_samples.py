"""What teacher and student are shown of a clip, and scores without labels, by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tapetum.core.errors import BadInput
from tapetum.systems.tap.bootstrap.config import Ingredients
from tapetum.systems.tap.bootstrap.samples import CycleErrors, cycle_errors, grid, moving_queries, show_clip

BARE = Ingredients(
    stride=1,
    moving=0.0,
    shrink=False,
    spoil=False,
    requery=False,
    cycle=False,
    confident=0.0,
    proximity=False,
    rebalance=0.0,
    synthetic=False,
)
"""Settings that leave everything out."""


def test_what_the_student_sees() -> None:
    clip = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    same = show_clip(np.random.default_rng(5), clip, replace(BARE, points=4), 32, 8, 1)
    torch.testing.assert_close(same.video, same.spoilt)
    torch.testing.assert_close(same.maps, torch.eye(3).expand(8, 3, 3))
    spoilt = show_clip(np.random.default_rng(5), clip, Ingredients(points=4, stride=1, area=(0.3, 0.4)), 32, 8, 1)
    torch.testing.assert_close(spoilt.video, same.video)
    assert (spoilt.spoilt == -1).all(-1).float().mean() > 0.4  # black around the window
    seen = {show_clip(np.random.default_rng(k), clip, BARE, 32, 8, 1).video[0].sum().item() for k in range(40)}
    assert len(seen) > 15  # begins, directions and mirrors differ
    q = show_clip(np.random.default_rng(0), clip, Ingredients(points=500), 32, 8, 2).queries
    assert set(q[:, 0].tolist()) == set(range(8))
    assert (q[:, 1:] >= 0).all()
    assert (q[:, 1:] < 32).all()


@pytest.mark.parametrize(
    ("length", "between", "apart", "taught"), [(20, True, 2, 15), (20, False, 1, 8), (15, True, 2, 15), (14, True, 1, 8)]
)
def test_the_teacher_sees_the_frames_between(length: int, between: bool, apart: int, taught: int) -> None:
    clip = np.random.default_rng(0).integers(0, 256, (length, 32, 32, 3), dtype=np.uint8)
    settings = replace(BARE, stride=2, between=between, points=4)
    sample = show_clip(np.random.default_rng(5), clip, settings, 32, 8, 2)
    assert sample.frames.tolist() == list(range(0, 8 * apart, apart))
    torch.testing.assert_close(sample.spoilt, sample.video[sample.frames])
    assert len(sample.video) == settings.length(8) == 15  # so that samples make a batch
    assert (sample.video[:taught] == -1).flatten(1).all(1).sum() == 0
    assert (sample.video[taught:] == -1).all()  # nothing


def test_queries_are_drawn_where_the_image_changes() -> None:
    clip = np.full((6, 64, 64, 3), 99, np.uint8)
    clip[2, 8:16, 40:48] = 200  # there for a moment, gone before and after
    found = moving_queries(np.random.default_rng(0), clip, 300)
    here = (found[:, 1] >= 40) & (found[:, 1] < 48) & (found[:, 2] >= 8) & (found[:, 2] < 16)
    assert here.mean() > 0.9
    assert set(found[here, 0].tolist()) == {1.0, 2.0, 3.0}
    still = moving_queries(np.random.default_rng(0), clip[:1].repeat(3, 0), 500)
    assert len({tuple(cell) for cell in (still[:, 1:] // 8).tolist()}) == 64  # everywhere, if nothing does
    assert moving_queries(np.random.default_rng(0), clip[:1], 5).shape == (5, 3)
    half = show_clip(np.random.default_rng(0), clip, replace(BARE, moving=0.5, points=200), 64, 6, 1).queries
    at = (half[:, 2] >= 8) & (half[:, 2] < 16) & (half[:, 0] > 0) & (half[:, 0] < 5)
    assert 90 < at.sum() < 125


@pytest.mark.parametrize(
    "bad", [{"area": (0.0, 1.0)}, {"aspect": (2.0, 1.0)}, {"quality": (0, 10)}, {"points": 0}, {"stride": 0}, {"moving": 1.5}]
)
def test_settings_that_make_no_sense_are_refused(bad: dict) -> None:
    with pytest.raises(BadInput, match=r"give|it must be"):
        Ingredients(**bad)


def test_cycle_errors_by_hand() -> None:
    def track(video: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Everything moves right by a pixel a frame; going back it arrives a pixel too far down."""
        n, t = len(queries), len(video)
        xy = queries[:, None, 1:] + np.stack([np.arange(t) - queries[:, :1], np.zeros((n, t))], -1)
        xy[queries[:, 0] > 0, :, 1] += 1
        return xy, np.ones((n, t), bool)

    video = np.zeros((5, 128, 64, 3), np.uint8)
    queries = grid(video.shape[1:], 4)
    assert queries[0].tolist() == [0, 8, 16]
    errors = cycle_errors(track, video, queries)
    assert errors.judged.all()
    np.testing.assert_allclose(errors.error, 2.0)  # a pixel of 128 is two of 256
    edge = np.array([[0, 62.0, 5.0]], np.float32)  # leaves the image
    assert np.isnan(cycle_errors(track, video, edge).error).all()
    assert CycleErrors(np.array([np.nan, 1, 9])).summary()["back_within_4px"] == pytest.approx(1 / 3)
