"""Training samples for point tracking: a clip, query points, and the truth about their tracks.

Every sample is a pure function of (seed, index), so that a run can stop and go on anywhere with any number of workers.

Clips come from `scenes` (here) or from Kubric folders (`kubric`). Drawing a scene costs as much as a small network's step, so a
folder may keep them (`cache`), and each is shown many times under other crops and colours. These are those of TAPIR's training
(arXiv 2306.08637 and its public configuration): window area 0.3 to 1, aspect 0.5 to 2, the same in all frames; with probability
0.8 brightness +-32/255, contrast and saturation x 0.6..1.4, hue +-0.2; then grey with probability 0.2.

Differs from the paper: a showing may be a part of a longer clip (`shorten`), a crop is filtered when it is shrunk, and every
track is as likely to be asked for as any other, at any moment at which it is seen; the paper balances objects, of which a clip
here says nothing. The synthetic scenes, which are few, are also mirrored and reversed in time, not always cropped, and may
prefer queries on first frames.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from tapetum.data.samples import Shuffle
from tapetum.errors import BadInput
from tapetum.files import whole_file
from tapetum.scenes import SceneConfig, make_clip
from tapetum.scenes.textures import Textures, from_pictures, procedural
from tapetum.tap.training.warping import journey, move_points, warp_frames

POINTS_PER_CLIP = 384
"""Tracks kept with a cached clip; each showing picks some of them."""


class Frames(Protocol):
    """The frames of a clip, uint8 (t, h, w, 3): an array, or what reads them when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Tracked:
    """A clip as it is stored: frames, xy float32 (n, t, 2) raster pixels, visible bool (n, t)."""

    video: Frames
    xy: np.ndarray
    visible: np.ndarray


class Clips(Protocol):
    """A finite collection of clips by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, k: int, /) -> Tracked: ...


@dataclass(frozen=True, kw_only=True)
class Alterations:
    """Probabilities of what a showing does to a clip, besides its colours."""

    crop: float = 1.0
    """A random window instead of the whole frame; where it is not taken, the scale is that at which the network is used."""
    mirror: float = 0.0
    """Left and right change places."""
    reverse: float = 0.0
    """Time runs backwards."""
    journey: float = 0.0
    """The picture turns, grows or shrinks and drifts in the course of the clip, as `journey` says."""


PAPER = Alterations()
"""What TAPIR's training does (arXiv 2306.08637 and its public configuration)."""
FEW_CLIPS = Alterations(crop=0.6, mirror=0.5, reverse=0.5)
"""For clips that are shown often."""


@dataclass(frozen=True)
class TapSample:
    """One training sample; batches have a leading axis b."""

    video: Float[Tensor, "*b t h w 3"]
    """-1..1"""
    queries: Float[Tensor, "*b n 3"]
    """(t, x, y) raster pixels"""
    xy: Float[Tensor, "*b n t 2"]
    occluded: Bool[Tensor, "*b n t"]


class SceneClips:
    """`count` clips of synthetic scenes, by number; drawn when first asked for, then kept in `cache` if one is given."""

    def __init__(
        self,
        count: int,
        *,
        seed: int = 0,
        config: SceneConfig | None = None,
        textures: str | Path | None = None,
        part: str = "all",
        cache: str | Path | None = None,
    ):
        self.count, self.seed = count, seed
        self.config = config or SceneConfig()
        self.textures, self.part = textures, part
        self.cache = None if cache is None else Path(cache)
        if self.cache is not None:
            label = {
                "seed": seed,
                "scene": asdict(self.config),
                "textures": str(textures and Path(textures).name),
                "part": part,
            }
            _claim(self.cache, json.loads(json.dumps(label)))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> Tracked:
        file = None if self.cache is None else self.cache / f"clip-{k:06d}.npz"
        if file is not None and file.exists():
            with np.load(file) as stored:
                return Tracked(stored["video"], stored["xy"], stored["visible"])
        clip = make_clip((self.seed, k), self.config, opened(self.textures, self.part), POINTS_PER_CLIP)
        tracked = Tracked(clip.video, clip.truth.xy, clip.truth.visible)
        if file is not None:
            with whole_file(file) as temporary:
                np.savez(temporary, video=clip.video, xy=tracked.xy, visible=tracked.visible)
        return tracked


class Joined:
    """The clips of several collections, one after the other."""

    def __init__(self, *parts: Clips):
        self.parts = parts

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, k: int) -> Tracked:
        for part in self.parts:
            if k < len(part):
                return part[k]
            k -= len(part)
        raise IndexError(k)


@lru_cache
def opened(textures: str | Path | None, part: str) -> Textures:
    """A source of pictures, procedural ones for None, opened once in every process."""
    return procedural if textures is None else from_pictures(textures, part)


def _claim(folder: Path, label: dict) -> None:
    """Make `folder` the cache of clips described by `label`, or refuse if it holds others."""
    file = folder / "clips.json"
    if file.exists():
        found = json.loads(file.read_text())
        if found != label:
            raise BadInput(f"{folder} keeps clips of other settings ({found}): choose another cache folder")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as temporary:
        temporary.write_text(json.dumps(label, indent=1))


class TapSamples(torch.utils.data.Dataset[TapSample]):
    """Endless training samples: sample number `index` shows a clip chosen and altered by (seed, index).

    `frames`, `first` and `alterations` are those of `shorten` and `augment`.
    """

    def __init__(
        self,
        clips: Clips,
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
    """Samples to a batch."""
    return TapSample(*(torch.stack([getattr(s, f.name) for s in samples]) for f in fields(TapSample)))


def shorten(clip: Tracked, rng: np.random.Generator, frames: int) -> Tracked:
    """A part of `frames` frames: neighbours, or as often every second frame if there are enough."""
    have = len(clip.video)
    if frames >= have:
        return clip
    step = 2 if rng.random() < 0.5 and 2 * frames - 1 <= have else 1
    begin = int(rng.integers(have - step * (frames - 1)))
    part = slice(begin, begin + step * (frames - 1) + 1, step)
    if not clip.visible[:, part].any():
        return shorten(clip, rng, frames)  # nothing to see in that part: take another
    return Tracked(clip.video[part], clip.xy[:, part], clip.visible[:, part])


def augment(
    clip: Tracked,
    rng: np.random.Generator,
    size: int,
    points: int,
    first: float = 0.0,
    alterations: Alterations = FEW_CLIPS,
) -> TapSample:
    """One showing of a clip at size x size pixels, with `points` queries on frames where their points are visible.

    A share `first` of the queries is on the first such frame, as most evaluations ask; the others are on any.

    Raises BadInput if no point of the clip is ever visible.
    """
    if not clip.visible.any():
        raise BadInput("a clip without visible points cannot be used for training: leave it out")
    video, xy, visible = torch.from_numpy(clip.video[:]), clip.xy.astype(np.float32), clip.visible
    if rng.random() < alterations.reverse:
        video, xy, visible = video.flip(0), xy[:, ::-1], visible[:, ::-1]
    h, w = video.shape[1:3]
    x0, y0, cw, ch = _window(rng, h, w) if rng.random() < alterations.crop else (0, 0, w, h)
    if alterations.journey and rng.random() < alterations.journey:
        window = np.array([[size / cw, 0, -x0 * size / cw], [0, size / ch, -y0 * size / ch], [0, 0, 1]])
        maps = journey(rng, len(video), size) @ window
        video = warp_frames(video.permute(0, 3, 1, 2).float(), torch.from_numpy(maps), (size, size))
        xy = move_points(maps, xy)
    else:
        video = video[:, y0 : y0 + ch, x0 : x0 + cw].permute(0, 3, 1, 2).float()
        video = F.interpolate(video, (size, size), mode="bilinear", antialias=cw > size or ch > size)
        xy = (xy - np.array([x0, y0], np.float32)) * np.array([size / cw, size / ch], np.float32)
    if rng.random() < alterations.mirror:
        video, xy = video.flip(3), np.stack([size - xy[..., 0], xy[..., 1]], axis=-1)
    visible = visible & (xy >= 0).all(-1) & (xy < size).all(-1)
    mix, shift = _colour(rng)
    red, green, blue = (video / 255).unbind(1)
    # written out: a matrix product may round differently from one call to the next, and samples must repeat bit for bit
    recoloured = [m[0] * red + m[1] * green + m[2] * blue + s for m, s in zip(mix.tolist(), shift.tolist(), strict=True)]
    seen = np.flatnonzero(visible.any(1))
    if len(seen) == 0:
        return augment(clip, rng, size, points, first, alterations)  # the window missed all points: take another
    rows = rng.choice(seen, points, replace=len(seen) < points)
    chance = rng.random(visible[rows].shape) * visible[rows]
    frames = chance.argmax(1)
    if first > 0:
        frames = np.where(rng.random(points) < first, visible[rows].argmax(1), frames)
    queries = np.concatenate([frames[:, None], xy[rows, frames]], axis=1)
    return TapSample(
        torch.stack(recoloured, -1).clamp(0, 1) * 2 - 1,
        torch.from_numpy(queries.astype(np.float32)),
        torch.from_numpy(np.ascontiguousarray(xy[rows])),
        torch.from_numpy(np.ascontiguousarray(~visible[rows])),
    )


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
