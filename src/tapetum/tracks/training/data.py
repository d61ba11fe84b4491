"""Training samples for point tracking: a clip, query points, and their true tracks, a pure function of (seed, index).

Clips come from scenes (`clips`), single images (`image_clips`) or Kubric folders (`kubric`), with the crops and colours of
TAPIR's training (arXiv 2306.08637 and its public configuration): window area 0.3 to 1, aspect 0.5 to 2, the same in all frames;
with probability 0.8 brightness +-32/255, contrast and saturation x 0.6..1.4, hue +-0.2; then grey with probability 0.2.

Differs from the paper: a sample may be a part of a longer clip (`shorten`), a crop is filtered when it is shrunk, and every
track is equally likely to be queried, at any moment at which it is visible; the paper balances objects. The synthetic scenes
are also mirrored and reversed in time, not always cropped, and may prefer queries on first frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.data.samples import Shuffle
from tapetum.tracks.training.clips import ClipDataset, TrackedClip
from tapetum.tracks.training.warping import random_motion, roll, shaken_corners, warp_frames, warp_points


@dataclass(frozen=True, kw_only=True)
class Alterations:
    """Probabilities of what a showing does to a clip, besides its colours."""

    crop: float = 1.0
    """A random window instead of the whole frame; where it is not taken, the scale is that at which the network is used."""
    mirror: float = 0.0
    reverse: float = 0.0
    motion: float = 0.0
    """The image rotates, grows or shrinks and drifts in the course of the clip, as `random_motion` says."""
    roll: float = 0.0
    """Frames are shifted cyclically and rotated, so that points leave and come back (`warping.roll`)."""
    homography: float = 0.0
    """The corners of the image sway (`warping.shaken_corners`)."""


PAPER = Alterations()
"""What TAPIR's training does (arXiv 2306.08637 and its public configuration)."""
FEW_CLIPS = Alterations(crop=0.6, mirror=0.5, reverse=0.5)
"""For clips that are shown often."""


@dataclass(frozen=True)
class TapSample:
    """One training sample; batches have a leading axis b."""

    video: Float[Tensor, "*b t h w 3"]
    queries: Float[Tensor, "*b n 3"]
    """(t, x, y) raster pixels"""
    xy: Float[Tensor, "*b n t 2"]
    occluded: Bool[Tensor, "*b n t"]


def empty_clips(clips: int, frames: int, size: int, points: int) -> TapSample:
    """Make a batch of clips of which only the shapes matter, on torch's default device."""
    return TapSample(
        video=torch.zeros(clips, frames, size, size, 3),
        queries=torch.zeros(clips, points, 3),
        xy=torch.zeros(clips, points, frames, 2),
        occluded=torch.zeros(clips, points, frames, dtype=torch.bool),
    )


class TapSamples(torch.utils.data.Dataset[TapSample]):
    """Endless training samples: sample `index` is a clip chosen and augmented by (seed, index).

    `frames`, `first` and `alterations` are those of `shorten` and `augment`.
    """

    def __init__(
        self,
        clips: ClipDataset,
        *,
        size: int,
        points: int,
        seed: int,
        frames: int | None = None,
        first: float = 0.0,
        alterations: Alterations = FEW_CLIPS,
    ):
        self.clips, self.size, self.points, self.seed, self.frames, self.first = clips, size, points, seed, frames, first
        self.alterations = alterations
        self.order = Shuffle(len(clips), seed)

    def __getitem__(self, index: int) -> TapSample:
        rng = np.random.default_rng((self.seed, 1, index))
        clip = self.clips[self.order(index)]
        part = clip if self.frames is None else shorten(clip, rng, self.frames)
        return augment(part, rng, self.size, self.points, self.first, self.alterations)


def collate(samples: Sequence[TapSample]) -> TapSample:
    """Collate samples to a batch."""
    return TapSample(*(torch.stack([getattr(s, f.name) for s in samples]) for f in fields(TapSample)))


def shorten(clip: TrackedClip, rng: np.random.Generator, frames: int) -> TrackedClip:
    """Cut out a part of `frames` frames: consecutive, or equally often every second frame if there are enough."""
    have = len(clip.video)
    if frames >= have:
        return clip
    step = 2 if rng.random() < 0.5 and 2 * frames - 1 <= have else 1
    begin = int(rng.integers(have - step * (frames - 1)))
    part = slice(begin, begin + step * (frames - 1) + 1, step)
    if not clip.visible[:, part].any():
        return shorten(clip, rng, frames)  # nothing to see in that part: take another
    return TrackedClip(clip.video[part], clip.xy[:, part], clip.visible[:, part])


def augment(
    clip: TrackedClip,
    rng: np.random.Generator,
    size: int,
    points: int,
    first: float = 0.0,
    alterations: Alterations = FEW_CLIPS,
) -> TapSample:
    """Augment a clip to size x size pixels, with `points` queries on frames where their points are visible, a fraction `first`
    of them on the first such frame. Raises BadInput if no point of the clip is ever visible."""
    if not clip.visible.any():
        raise BadInput("a clip without visible points cannot be used for training: leave it out")
    video, xy, visible = torch.from_numpy(clip.video[:]), clip.xy.astype(np.float32), clip.visible
    if rng.random() < alterations.reverse:
        video, xy, visible = video.flip(0), xy[:, ::-1], visible[:, ::-1]
    video, xy = _resize(rng, video, xy, size, alterations)
    if alterations.roll and rng.random() < alterations.roll:
        visible = visible & _inside(xy, size)  # what was cut off does not come back
        video, xy = roll(rng, video, xy)
    if alterations.homography and rng.random() < alterations.homography:
        visible, maps = visible & _inside(xy, size), shaken_corners(rng, len(video), size)
        video, xy = warp_frames(video, torch.from_numpy(maps), (size, size)), warp_points(maps, xy)
    if rng.random() < alterations.mirror:
        video, xy = video.flip(3), np.stack([size - xy[..., 0], xy[..., 1]], axis=-1)
    visible = visible & _inside(xy, size)
    video = _recolour(video / 255, *_colour(rng))
    visible_rows = np.flatnonzero(visible.any(1))
    if len(visible_rows) == 0:
        return augment(clip, rng, size, points, first, alterations)  # the window missed all points: take another
    rows = rng.choice(visible_rows, points, replace=len(visible_rows) < points)
    xy, visible = xy[rows], visible[rows]
    frames = (rng.random(visible.shape) * visible).argmax(1)
    if first > 0:
        frames = np.where(rng.random(points) < first, visible.argmax(1), frames)
    queries = np.concatenate([frames[:, None], xy[range(points), frames]], axis=1)
    return TapSample(
        video.clamp(0, 1) * 2 - 1,
        torch.from_numpy(queries.astype(np.float32)),
        torch.from_numpy(np.ascontiguousarray(xy)),
        torch.from_numpy(np.ascontiguousarray(~visible)),
    )


def _inside(xy: np.ndarray, size: int) -> np.ndarray:
    return np.array(((xy >= 0) & (xy < size)).all(-1))


def _resize(
    rng: np.random.Generator, video: Tensor, xy: np.ndarray, size: int, alterations: Alterations
) -> tuple[Float[Tensor, "t 3 size size"], np.ndarray]:
    """A window of the frames (t, h, w, 3) at size x size pixels, possibly moving, and the points in it."""
    h, w = video.shape[1:3]
    x0, y0, cw, ch = _window(rng, h, w) if rng.random() < alterations.crop else (0, 0, w, h)
    if alterations.motion and rng.random() < alterations.motion:
        window = np.array([[size / cw, 0, -x0 * size / cw], [0, size / ch, -y0 * size / ch], [0, 0, 1]])
        maps = random_motion(rng, len(video), size) @ window
        frames = warp_frames(video.permute(0, 3, 1, 2).float(), torch.from_numpy(maps), (size, size))
        return frames, warp_points(maps, xy)
    video = video[:, y0 : y0 + ch, x0 : x0 + cw].permute(0, 3, 1, 2).float()
    frames = F.interpolate(video, (size, size), mode="bilinear", antialias=cw > size or ch > size)
    return frames, (xy - np.array([x0, y0], np.float32)) * np.array([size / cw, size / ch], np.float32)


def _recolour(video: Float[Tensor, "t 3 h w"], mix: np.ndarray, shift: np.ndarray) -> Float[Tensor, "t h w 3"]:
    """Change the colours without a matrix product, which may round differently on each call; samples must be bit-identical."""
    red, green, blue = video.unbind(1)
    channels = zip(mix.tolist(), shift.tolist(), strict=True)
    return torch.stack([m[0] * red + m[1] * green + m[2] * blue + s for m, s in channels], -1)


def _window(rng: np.random.Generator, h: int, w: int) -> tuple[int, int, int, int]:
    """A crop (x0, y0, width, height): area 0.3 to 1 of the frame, aspect 0.5 to 2."""
    for _ in range(10):
        area, aspect = rng.uniform(0.3, 1.0) * h * w, np.exp(rng.uniform(np.log(0.5), np.log(2.0)))
        cw, ch = round(float(np.sqrt(area * aspect))), round(float(np.sqrt(area / aspect)))
        if cw <= w and ch <= h:
            return int(rng.integers(w - cw + 1)), int(rng.integers(h - ch + 1)), cw, ch
    return 0, 0, w, h


LUMA = np.array([0.299, 0.587, 0.114])


def _colour(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Colour change as a matrix (3, 3) and a shift (3,) on RGB in 0..1; hue turns in the plane orthogonal to grey."""
    grey = np.tile(LUMA, (3, 1))
    mix, shift = np.eye(3), np.zeros(3)
    if rng.random() < 0.8:
        brightness, contrast, saturation = rng.uniform(-32 / 255, 32 / 255), rng.uniform(0.6, 1.4), rng.uniform(0.6, 1.4)
        angle = 2 * np.pi * rng.uniform(-0.2, 0.2)
        axis = np.ones(3) / np.sqrt(3)
        cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
        hue = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
        mix = contrast * (grey + saturation * (np.eye(3) - grey)) @ hue
        shift = np.full(3, brightness + 0.5 * (1 - contrast))
    if rng.random() < 0.2:
        mix, shift = grey @ mix, grey @ shift
    return mix, shift
