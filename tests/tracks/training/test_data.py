"""Training samples: alterations keep image and truth together; samples depend on their number alone."""

import numpy as np
import pytest
import torch

from tapetum.core.errors import BadInput
from tapetum.tracks.facets import SceneConfig
from tapetum.tracks.training.clips import TrackedClip
from tapetum.tracks.training.data import Alterations, TapSamples, _resize, augment, collate, shorten
from tapetum.tracks.training.facet_clips import SceneClips

SMALL = SceneConfig(size=(64, 64), frames=5)


def dotted(n: int = 6, size: int = 96, frames: int = 7) -> TrackedClip:
    """Black clips in which each point is a white 5x5 dot around its true place."""
    rng = np.random.default_rng(0)
    start, step = rng.uniform(10, size - 10, (n, 1, 2)), rng.uniform(-3, 3, (n, 1, 2))
    xy = np.floor(start + step * np.arange(frames)[:, None]) + 0.5
    video = np.zeros((frames, size, size, 3), np.uint8)
    for track in xy:
        for t, (x, y) in enumerate(track.astype(int)):
            video[t, max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = 255
    visible = ((xy >= 0) & (xy < size)).all(-1)
    return TrackedClip(video, xy.astype(np.float32), visible)


@pytest.mark.parametrize("seed", range(20))
def test_alterations_move_points_with_the_image(seed):
    sample = augment(dotted(), np.random.default_rng(seed), 96, 12)
    video, xy, hidden = sample.video.mean(-1), sample.xy, sample.occluded
    dark = video.flatten().median()
    for n, t in (~hidden).nonzero().tolist():
        x, y = xy[n, t].tolist()
        assert 0 <= x < 96
        assert 0 <= y < 96
        assert video[t, int(y), int(x)] > dark + 0.3
    rows = torch.arange(12)
    frames = sample.queries[:, 0].long()
    assert torch.equal(sample.queries[:, 1:], xy[rows, frames])
    assert not hidden[rows, frames].any()


@pytest.mark.parametrize("name", ["roll", "homography"])
def test_points_stay_on_their_dots_through_the_augmentations_of_tapnextpp(name: str) -> None:
    kept, cut_off = 0, 0
    for seed in range(12):
        alterations = Alterations(crop=0.5, mirror=0.5, reverse=0.5, **{name: 1.0})
        sample = augment(dotted(), np.random.default_rng(seed), 96, 12, alterations=alterations)
        video, dark = sample.video.mean(-1), sample.video.mean(-1).flatten().median()
        for n, t in (~sample.occluded).nonzero().tolist():
            x, y = sample.xy[n, t].tolist()
            around = video[t, max(0, int(y) - 1) : int(y) + 2, max(0, int(x) - 1) : int(x) + 2]
            assert float(around.max()) > dark + 0.25
            kept += 1
        cut_off += int((sample.occluded & (sample.xy >= 0).all(-1) & (sample.xy < 96).all(-1)).sum())
    assert kept > 100
    assert cut_off or name == "homography"  # cut off by the window, and shifted back into the image: still hidden


def test_short_showings_are_neighbours_or_every_second_frame():
    plain = dotted(frames=9)
    plain.visible[:, 6:] = False
    kinds = set()
    for seed in range(60):
        part = shorten(plain, np.random.default_rng(seed), 4)
        first = next(t for t in range(9) if np.array_equal(plain.xy[:, t], part.xy[:, 0]))
        step = next(t for t in range(9) if np.array_equal(plain.xy[:, t], part.xy[:, 1])) - first
        frames = first + step * np.arange(4)
        assert np.array_equal(part.xy, plain.xy[:, frames])
        assert np.array_equal(part.video, plain.video[frames])
        assert np.array_equal(part.visible, plain.visible[:, frames])
        kinds.add((first, step))
    assert kinds == {(first, 1) for first in range(6)} | {(first, 2) for first in range(3)}
    assert shorten(plain, np.random.default_rng(0), 9) is plain
    whole = [shorten(dotted(frames=9), np.random.default_rng(seed), 5) for seed in range(20)]
    assert any(np.array_equal(part.xy, dotted(frames=9).xy[:, ::2]) for part in whole)  # just enough


@pytest.mark.parametrize(("height", "width"), [(96, 96), (96, 32), (32, 96)])
def test_what_shrinks_is_the_mean_of_its_pixels(height: int, width: int):
    board = np.indices((height, width)).sum(0) % 2 * 200
    video = torch.from_numpy(np.repeat(board[None, ..., None], 3, -1).astype(np.uint8))
    frames, _ = _resize(np.random.default_rng(0), video, np.zeros((1, 1, 2), np.float32), 32, Alterations(crop=0.0))
    assert (frames - 100).abs().max() < 12  # 1/9 of 100 by a triangle of six pixels; every third pixel would be 0 or 200


def test_a_share_of_the_queries_is_on_first_frames():
    plain = dotted()
    plain.visible[:, :2] = False

    def early(first: float) -> float:
        samples = [augment(plain, np.random.default_rng(s), 96, 12, first) for s in range(30)]
        on_first = [(~s.occluded).float().argmax(1) == s.queries[:, 0] for s in samples]
        return float(torch.cat(on_first).float().mean())

    assert early(1.0) == 1
    assert 0.1 < early(0.0) < 0.4
    assert 0.5 < early(0.5) < 0.75


def test_a_clip_without_visible_points_is_refused():
    plain = dotted()
    with pytest.raises(BadInput, match="without visible points"):
        augment(TrackedClip(plain.video, plain.xy, np.zeros_like(plain.visible)), np.random.default_rng(0), 96, 4)


@pytest.mark.slow
def test_samples_are_a_function_of_their_number(tmp_path):
    cached = TapSamples(SceneClips(3, config=SMALL, cache=tmp_path), size=32, points=8, seed=5)
    fresh = TapSamples(SceneClips(3, config=SMALL), size=32, points=8, seed=5)
    for n in (7, 2, 7):
        a, b = cached[n], fresh[n]
        assert torch.equal(a.video, b.video)
        assert torch.equal(a.xy, b.xy)
        assert torch.equal(a.queries, b.queries)
    batch = collate([cached[0], cached[1]])
    assert batch.video.shape == (2, 5, 32, 32, 3)
    assert batch.occluded.dtype == torch.bool
    assert len(list(tmp_path.glob("clip-*.npz"))) == 3


def test_a_cache_of_other_clips_is_refused(tmp_path):
    SceneClips(3, config=SMALL, cache=tmp_path)
    SceneClips(9, config=SMALL, cache=tmp_path)
    with pytest.raises(BadInput, match="other settings"):
        SceneClips(3, seed=4, config=SMALL, cache=tmp_path)
