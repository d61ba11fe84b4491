"""Scores of a tracker on unlabelled footage.

Two measures, which fail differently: clips made from the footage's own frames by known warps (`check_clips`), with exact tracks
but artificial motion; and the cycle error on the real motion (`cycle_errors`), which needs no ground truth but forgives a
tracker that gets lost and still finds its way back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from tapetum.core.errors import BadInput
from tapetum.systems.tap.bootstrap.footage import FootageDataset
from tapetum.tracks.tracker import Tracker
from tapetum.tracks.training.clips import TrackedClip
from tapetum.tracks.training.image_clips import image_clip

Track = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Video (t, h, w, 3) and queries (n, 3), as (t, x, y), to xy (n, t, 2) and visible (n, t)."""


def split(footage: FootageDataset) -> tuple[list[int], list[int]]:
    """Split clip numbers into training clips and held-out clips: every eighth, or the last of at least two.

    A single clip is used for both.
    """
    every = list(range(len(footage)))
    if len(every) == 1:
        return every, every
    holdout = every[7::8] or every[-1:]
    return [k for k in every if k not in set(holdout)], holdout


def check_clips(
    footage: FootageDataset, numbers: Sequence[int], count: int, *, size: int, frames: int, seed: int
) -> list[TrackedClip]:
    """Make `count` clips with known tracks, from frames of the clips `numbers`; the same seed gives the same clips."""
    images = []
    for number in numbers:
        clip = footage[number]
        images += [clip[at] for at in (0, len(clip) // 2, len(clip) - 1)]
    if not images:
        raise BadInput("there is no clip to make check clips of: give numbers of clips")
    made = []
    for k in range(count):
        rng = np.random.default_rng((seed, 3, k))
        chosen = rng.integers(len(images), size=int(rng.integers(3, 6)))
        made.append(image_clip(rng, [images[n] for n in chosen], size=size, frames=frames))
    return made


@dataclass(frozen=True)
class CycleErrors:
    """Distances of points tracked to the end of a clip and back."""

    error: Float[np.ndarray, " n"]
    """Pixels of an image 256 high, from where a point began; NaN for one that is not seen at the end."""

    @property
    def judged(self) -> Bool[np.ndarray, " n"]:
        """Check which points were visible at the end."""
        return np.isfinite(self.error)

    def summary(self) -> dict[str, float]:
        """Compute median, mean and fraction of judged points, and the fraction of all points that came back within 4 pixels.

        >>> CycleErrors(np.array([1.0, 3.0, 8.0, np.nan])).summary()
        {'median_px': 3.0, 'mean_px': 4.0, 'judged': 0.75, 'back_within_4px': 0.5}
        """
        judged = self.error[self.judged]
        return {
            "median_px": float(np.median(judged)) if len(judged) else float("nan"),
            "mean_px": float(judged.mean()) if len(judged) else float("nan"),
            "judged": float(self.judged.mean()),
            "back_within_4px": float((judged < 4).sum() / len(self.error)),
        }


def grid(frame_shape: Sequence[int], n: int) -> Float[np.ndarray, "n*n 3"]:
    """Compute queries (0, x, y) at the centres of n x n even cells of an image of (height, width, ...)."""
    h, w = frame_shape[:2]
    y, x = (np.mgrid[:n, :n] + 0.5) / n
    return np.stack([np.zeros(n * n), x.ravel() * w, y.ravel() * h], 1).astype(np.float32)


def cycle_errors(track: Track, video: np.ndarray, queries: Float[np.ndarray, "n 3"]) -> CycleErrors:
    """Track points from the first frame to the last, and each one visible there back from its estimated position."""
    xy, visible = track(video, queries)
    last, (h, w) = len(video) - 1, video.shape[1:3]
    ends = xy[:, last]
    kept = np.flatnonzero(visible[:, last] & (ends >= 0).all(1) & (ends < [w, h]).all(1))
    error = np.full(len(queries), np.nan)
    if len(kept):
        back, _ = track(video, np.concatenate([np.full((len(kept), 1), last), ends[kept]], 1).astype(np.float32))
        error[kept] = np.linalg.norm((back[:, 0] - queries[kept, 1:]) * 256 / h, axis=1)
    return CycleErrors(error)


def cycle_summary(tracker: Tracker, footage: FootageDataset, numbers: Sequence[int]) -> dict[str, float | None]:
    """Measure the cycle error of a tracker on some clips, with a grid of 8x8 points each; NaN becomes None."""

    def track(video: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tracks = tracker.track(video, queries)
        return tracks.xy, tracks.visible

    errors = [cycle_errors(track, (clip := footage[k]), grid(clip.shape[1:], 8)) for k in numbers]
    summary = CycleErrors(np.concatenate([e.error for e in errors])).summary()
    return {name: value if np.isfinite(value) else None for name, value in summary.items()}
