"""Clips of footage as samples: views for teacher and student, each a function of (seed, index), and scores without labels.

    clip --every frame of a part--> the teacher's
         --every n-th of these, JPEG, shrunk into a window that moves--> the student's, with the maps from one to the other

Source: BootsTAP (arXiv 2402.00847, section 3); strides, and queries placed where something moves, are ours.

A tracker is scored by clips made from the footage's own frames by known warps (`check_clips`), and by the cycle error on the
real motion (`cycle_errors`), which needs no ground truth but forgives a tracker that gets lost and finds its way back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.data.samples import Shuffle
from tapetum.systems.tap.bootstrap.config import Ingredients
from tapetum.systems.tap.bootstrap.footage import FootageDataset
from tapetum.tracks.tracker import Tracker
from tapetum.tracks.training.clips import TrackedClip
from tapetum.tracks.training.data import TapSample
from tapetum.tracks.training.image_clips import image_clip
from tapetum.tracks.training.warping import jpeg, moving_window, warp_frames

CELL = 8
"""Side in pixels of the squares in which change is measured."""
NOISE = 2.0
"""Levels of 255 by which a square changes where nothing moves."""


@dataclass(frozen=True)
class FootageSample:
    """A clip twice, as the teacher and as the student see it; batches have a leading axis b."""

    video: Float[Tensor, "*b d h w 3"]
    """-1..1; what comes after the student's last frame does not count."""
    frames: Int[Tensor, "*b t"]
    """Numbers of the frames of `video` that the student sees, rising from 0."""
    spoilt: Float[Tensor, "*b t h w 3"]
    """What the student sees, -1..1."""
    maps: Float[Tensor, "*b t 3 3"]
    """From raster pixels of the student's frames in `video` to those in `spoilt`."""
    queries: Float[Tensor, "*b n 3"]
    """Queries of the teacher: (t, x, y), t one of the student's frames by its number there, raster pixels of `video`."""
    draw: Float[Tensor, "*b n"]
    """A number in 0..1: which of the frames in which the teacher sees a point is the student's."""
    lengths: tuple[int, ...]
    """How many frames of each clip's `video` count: up to the student's last one. Shapes depend on it, so the host knows it."""


class FootageSamples(torch.utils.data.Dataset[FootageSample]):
    """Endless samples of footage clips: sample `index` depends only on (seed, index)."""

    def __init__(
        self, footage: FootageDataset, numbers: Sequence[int], settings: Ingredients, *, size: int, frames: int, seed: int
    ):
        """`numbers` are the clips of `footage` to sample from, `frames` of each."""
        self.footage, self.numbers, self.settings = footage, list(numbers), settings
        self.size, self.frames, self.seed = size, frames, seed
        self.order = Shuffle(len(self.numbers), seed)

    def __getitem__(self, index: int) -> FootageSample:
        rng = np.random.default_rng((self.seed, 2, index))
        clip = self.footage[self.numbers[self.order(index)]]
        return show_clip(rng, clip, self.settings, self.size, self.frames, self.stride(index))

    def stride(self, index: int) -> int:
        """Draw a stride; every second sample offsets the one before it, so that every pair costs the teacher the same."""
        drawn = int(np.random.default_rng((self.seed, 3, index // 2)).integers(self.settings.stride))
        return self.settings.stride - drawn if index % 2 else drawn + 1


def show_clip(
    rng: np.random.Generator, clip: np.ndarray, settings: Ingredients, size: int, frames: int, stride: int
) -> FootageSample:
    """Make a sample of a clip, uint8 (t, size, size, 3): every `stride`-th frame, `frames` of them, for the student, and those
    between as well for the teacher; maybe reversed and mirrored."""
    stride = max(1, min(stride, (len(clip) - 1) // max(frames - 1, 1)))
    count = stride * (frames - 1) + 1
    begin = int(rng.integers(len(clip) - count + 1))
    clip = clip[begin : begin + count]
    clip = clip[::-1] if rng.random() < 0.5 else clip
    whole = np.ascontiguousarray(clip[:, :, ::-1] if rng.random() < 0.5 else clip)
    clip = np.ascontiguousarray(whole[::stride])
    if not settings.between:
        whole, stride = clip, 1
    taught = np.zeros((settings.length(frames), *whole.shape[1:]), np.uint8)  # of the same length in all samples
    taught[: len(whole)] = whole
    spoilt, maps = _spoil(rng, clip, settings)
    queries = np.column_stack([rng.integers(frames, size=settings.points), rng.uniform(0, size, (settings.points, 2))])
    moving = round(settings.moving * settings.points)
    queries[:moving] = moving_queries(rng, clip, moving)
    return FootageSample(
        torch.from_numpy(taught).float() / 127.5 - 1,
        torch.arange(frames) * stride,
        spoilt,
        maps,
        torch.from_numpy(queries.astype(np.float32)),
        torch.from_numpy(rng.random(settings.points, np.float32)),
        (len(whole),),
    )


def _spoil(
    rng: np.random.Generator, clip: UInt8[np.ndarray, "t s s 3"], settings: Ingredients
) -> tuple[Float[Tensor, "t s s 3"], Float[Tensor, "t 3 3"]]:
    (frames, size), maps = clip.shape[:2], np.tile(np.eye(3), (len(clip), 1, 1))
    spoilt = jpeg(clip, int(rng.integers(settings.quality[0], settings.quality[1] + 1))) if settings.spoil else clip
    images = torch.from_numpy(spoilt).permute(0, 3, 1, 2).float() / 255
    if settings.shrink:
        maps = moving_window(rng, frames, size, settings.area, settings.aspect)
        images = warp_frames(images, torch.from_numpy(maps), (size, size))
    return images.permute(0, 2, 3, 1).contiguous() * 2 - 1, torch.from_numpy(maps.astype(np.float32))


def moving_queries(rng: np.random.Generator, clip: UInt8[np.ndarray, "t s s 3"], count: int) -> Float[np.ndarray, "n 3"]:
    """Draw queries (t, x, y), more often where the image changes from the query's frame to the next or the previous one."""
    steps = np.abs(np.diff(clip.astype(np.int16), axis=0)).mean(-1) if len(clip) > 1 else np.zeros((1, *clip.shape[1:3]))
    change = np.maximum(np.concatenate([steps, steps[-1:]]), np.concatenate([steps[:1], steps]))[-len(clip) :]
    cells = F.avg_pool2d(torch.from_numpy(change), CELL).numpy()
    weight = np.maximum(cells - NOISE, 1e-3).ravel()
    frame, row, column = np.unravel_index(rng.choice(weight.size, count, p=weight / weight.sum()), cells.shape)
    return np.stack([frame, *((np.stack([column, row]) + rng.random((2, count))) * CELL)], 1)


def collate_footage(samples: Sequence[FootageSample]) -> FootageSample:
    lengths = tuple(length for sample in samples for length in sample.lengths)
    tensors = [f.name for f in fields(FootageSample) if f.name != "lengths"]
    return FootageSample(**{name: torch.stack([getattr(s, name) for s in samples]) for name in tensors}, lengths=lengths)


class PairedSamples(torch.utils.data.Dataset[dict[str, TapSample | FootageSample]]):
    """Footage samples and synthetic samples of the same number, by name."""

    def __init__(self, footage: FootageSamples, synthetic: torch.utils.data.Dataset[TapSample] | None):
        self.footage, self.synthetic = footage, synthetic

    def __getitem__(self, index: int) -> dict[str, TapSample | FootageSample]:
        footage = self.footage[index]
        return {"footage": footage} if self.synthetic is None else {"synthetic": self.synthetic[index], "footage": footage}


Track = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Video (t, h, w, 3) and queries (n, 3), as (t, x, y), to xy (n, t, 2) and visible (n, t)."""


def split(footage: FootageDataset) -> tuple[list[int], list[int]]:
    """Split clip numbers into training clips and held-out ones: every eighth, or the last of at least two; a single clip is
    used for both."""
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
        """Compute median, mean and fraction of judged points, and the fraction of all points that came back within 4 pixels."""
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
