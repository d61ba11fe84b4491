"""Key-value recall: a video shows pairs of signs in passing, and asks at its end which value was paired with one key.

    segment 0          segment 1          ...   last segment
    |..k7......|       |......k2..|             |....k7....|
    |..v1......|       |......v3..|             |.. empty .|      label: 1

Each pair fills one patch of one tubelet: its upper half is one of 32 keys, each used at most once, its lower half one of four
values. The rest is a still, low-contrast texture under noise, one of three per segment: many similar tokens, few that matter.

The task requires memory. All values are equally frequent among the pairs of a video, so counting values, or summing the
contents of the video and the query, gives no information (a bag model is right exactly one time in four); and in every block of
four samples, from a multiple of four on, the labels differ. An encoder that forgets earlier segments has not seen the pair.

A benchmark of this project for MC-ViT (arXiv 2402.05861), whose paper has only real videos. Imports no torch.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.tracks.facets.types import F32, U8
from tapetum_world.balanced import balanced_choice

_LABEL, _SAMPLE, _SIGNS, _TEXTURES = range(0x6B76, 0x6B7A)
_INK = 0.8


@dataclass(frozen=True, kw_only=True)
class RecallConfig:
    """Config of the recall task, and its difficulty."""

    segments: int = 8
    """Of a video; the last one asks."""
    segment_frames: int = 16
    """Frames of a segment."""
    size: int = 64
    """Rows and columns of a frame."""
    patch: int = 16
    """Rows and columns that a pair fills."""
    tubelet: int = 2
    """Frames that a pair is there."""
    pairs: int = 2
    """In a segment at most; there are fewer where they would be more than keys, or no multiple of `values`."""
    keys: int = 32
    """Kinds of keys."""
    values: int = 4
    """Kinds of values, and so of labels."""
    textures: int = 3
    """Kinds of backgrounds: the fewer, the more tokens are alike."""
    noise: float = 0.1
    """Standard deviation of the noise of pixels, where black is -1 and white 1."""
    gap: int | None = None
    """Segments from the pair that is asked for to the question, 1 being next to it; None: any."""
    recent: int | None = None
    """All pairs are in so many segments before the question; None: in all."""

    def __post_init__(self) -> None:
        at_least_1 = dict.fromkeys(("pairs", "values", "textures", "tubelet"), "[1, inf)")
        check_fields(self, segments="[2, inf)", noise="[0, inf)", **at_least_1)
        if self.size % self.patch or self.patch % 4 or self.segment_frames % self.tubelet:
            raise BadInput(
                f"patches of {self.patch} and pairs of {self.tubelet} frames do not divide frames of {self.size} and "
                f"segments of {self.segment_frames}, or patches are no multiple of 4"
            )
        if self.pairs > self.places:
            raise BadInput(f"{self.pairs} pairs have no room in a segment of {self.places} patches; take fewer")
        for name in ("gap", "recent"):
            segments = getattr(self, name)
            if segments is not None and not 1 <= segments < self.segments:
                raise BadInput(f"{name} is {segments}; of {self.segments} segments give 1 to {self.segments - 1}")
        if self.gap is not None and self.recent is not None and self.gap > self.recent:
            raise BadInput(f"the pair asked for is {self.gap} segments back, and all are in the last {self.recent}; mend one")
        if self.count < self.values:
            raise BadInput(
                f"there is room for {self.count} pairs, and {self.values} values are to come equally often; take more pairs"
            )

    @property
    def places(self) -> int:
        """Count the patches of a segment that can hold a pair."""
        return self.segment_frames // self.tubelet * (self.size // self.patch) ** 2

    @property
    def count(self) -> int:
        """Count the pairs of a video."""
        return min(self.pairs * (self.recent or self.segments - 1), self.keys) // self.values * self.values

    @property
    def frames(self) -> int:
        """Count the frames of a video."""
        return self.segments * self.segment_frames


@dataclass(frozen=True)
class KeyValuePair:
    """A key and a value in passing."""

    segment: int
    place: int
    """Number of the patch in its segment: rows within columns within moments."""
    key: int
    value: int | None
    """None: it asks."""


@dataclass(frozen=True)
class Recall:
    """One video."""

    video: U8
    """(t, h, w, 3), grey."""
    label: int
    """The value of the pair that is asked for."""
    pairs: tuple[KeyValuePair, ...]
    """In the order of their segments."""
    query: KeyValuePair
    target: int
    """Number of the pair that is asked for."""


def make_recall(seed: int, number: int, config: RecallConfig | None = None) -> Recall:
    """Make sample `number`: a pure function of the arguments."""
    config = config or RecallConfig()
    rng = np.random.default_rng([seed, _SAMPLE, number])
    label = balanced_choice(seed, _LABEL, number, config.values)
    segments = _segments(config, rng)
    near = config.gap is None or segments == config.segments - 1 - config.gap
    target = int(rng.choice(np.flatnonzero(np.broadcast_to(near, segments.shape))))
    rest = np.repeat(np.arange(config.values), config.count // config.values)
    rest = rng.permutation(np.delete(rest, int(np.flatnonzero(rest == label)[0])))
    values = np.insert(rest, target, label)
    keys = rng.permutation(config.keys)[: config.count]
    pairs = []
    for segment in range(config.segments - 1):
        there = np.flatnonzero(segments == segment)
        places = rng.permutation(config.places)[: len(there)]
        pairs += [KeyValuePair(segment, int(p), int(keys[k]), int(values[k])) for k, p in zip(there, places, strict=True)]
    query = KeyValuePair(config.segments - 1, int(rng.integers(config.places)), int(keys[target]), None)
    return Recall(_drawn(config, rng, (*pairs, query)), label, tuple(pairs), query, target)


def _segments(config: RecallConfig, rng: np.random.Generator) -> np.ndarray:
    """The segments of all pairs, sorted: spread evenly, with a random one fewer where they do not divide evenly."""
    last = config.segments - 1
    first = last - (config.recent or last)
    room = np.repeat(np.arange(first, last), config.pairs)
    if config.gap is None:
        return np.sort(rng.permutation(room)[: config.count])
    one = last - config.gap  # where one must be
    others = rng.permutation(np.delete(room, int(np.flatnonzero(room == one)[0])))
    return np.sort(np.append(others[: config.count - 1], one))


def _drawn(config: RecallConfig, rng: np.random.Generator, pairs: tuple[KeyValuePair, ...]) -> U8:
    """Draw the frames."""
    textures = _textures(config.textures, config.size)
    kinds = np.repeat(rng.integers(config.textures, size=config.segments), config.segment_frames)
    frames = textures[kinds].copy()
    keys, values = _signs(config.keys, config.patch, 0), _signs(config.values, config.patch, 1)
    across = config.size // config.patch
    for pair in pairs:
        moment, cell = divmod(pair.place, across**2)
        first = pair.segment * config.segment_frames + moment * config.tubelet
        row, column = (config.patch * k for k in divmod(cell, across))
        blank = np.zeros_like(values[0])
        sign = np.concatenate([keys[pair.key], blank if pair.value is None else values[pair.value]])
        frames[first : first + config.tubelet, row : row + config.patch, column : column + config.patch] = sign
    if config.noise:
        frames += config.noise * rng.standard_normal(frames.shape, dtype=np.float32)
    grey = np.clip((frames + 1) * 127.5, 0, 255).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


@lru_cache(maxsize=8)
def _signs(count: int, patch: int, kind: int) -> F32:
    """Signs of half a patch, (count, patch / 2, patch): cells of 2 pixels, half of them light; all distinct."""
    rng = np.random.default_rng([_SIGNS, patch, kind])
    rows, columns = patch // 4, patch // 2
    cells = np.repeat(np.array([-_INK, _INK], np.float32), [rows * columns // 2, rows * columns - rows * columns // 2])
    signs_by_bytes: dict[bytes, F32] = {}
    for _ in range(1000 * count):
        sign = rng.permutation(cells)
        signs_by_bytes.setdefault(sign.tobytes(), sign)
        if len(signs_by_bytes) == count:
            break
    else:
        raise BadInput(f"patches of {patch} pixels have not room for {count} signs; take fewer, or larger patches")
    signs = np.stack([*signs_by_bytes.values()]).reshape(count, rows, columns)
    return signs.repeat(2, axis=1).repeat(2, axis=2)


@lru_cache(maxsize=8)
def _textures(count: int, size: int) -> F32:
    """Low-contrast waves, (count, size, size)."""
    rng = np.random.default_rng([_TEXTURES, size])
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    waves = []
    for _ in range(count):
        angle, cycles, phase = rng.uniform(0, np.pi), rng.uniform(2, 6), rng.uniform(0, 2 * np.pi)
        waves.append(0.2 * np.sin(2 * np.pi * cycles * (np.cos(angle) * x + np.sin(angle) * y) + phase))
    return np.stack(waves).astype(np.float32)
