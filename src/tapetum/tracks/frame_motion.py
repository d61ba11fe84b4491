"""How the camera and things move through a short passage of film, from tracks: in the image's plane, with turn and growth.

    camera    the similarity of most points from each frame to the next, turned round: the image goes right, the camera left
    a thing   the points of its region, beyond what the camera does to them
    moving    the points that move against the others, whatever they are
    a pass    what changes in the middle of a still camera's film is tracked, and comes from one side and goes to the other

Positions are complex, z = x + iy, so that a similarity is z' = scale z + offset: |scale| is the zoom, its angle the turn. Two
points determine it, where a homography (`camera`) needs four, so that few and noisy points will do. That is enough to say
which way something moves, and too little to stabilise a video.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex128, Float64, UInt8
from PIL import Image

from tapetum.tracks.tracker import Tracker
from tapetum.video import Video

CAMERA, MOVING = "camera", "moving"
"""Keys of the result of `measure_paths`, beside those of the regions."""
SIDE = 384
"""Pixels of the longer side of the tracked frames, at most."""
GRID, INSIDE = 14, 36
"""Points of the grid along the longer side, and points in a region."""
WITHIN = 0.006
"""Diagonals by which a point may deviate from the motion of others in a step."""
MOVES = 0.04
"""Diagonals from which on a point moves against the background."""
PARALLAX = 0.5
"""Share of the camera's way that it must go, too."""
TRIES = 200
"""Pairs of points that are tried for two frames (RANSAC)."""
MOST_FRAMES, MOST_PASSES, TOGETHER = 1200, 20, 20
"""Frames of a film, and passes, beyond which none are counted; and frames through which something that passes is tracked."""
BESIDE = 5
"""Frames before and after something is in the middle, through which it is tracked, too."""
STRIP = 12, 4
"""Cells of the strip in the middle of an image in which something passes, down and across."""
HALF = 0.1
"""Half the width of the strip, in widths of the image."""
POINTS = 16
"""Points that are tracked of what passes."""
CHANGED = 12
"""Levels of 255 by which a cell of the strip is unlike its median over the film where something is before it."""


@dataclass(frozen=True, eq=False)
class MotionPath:
    """Motion through a passage, by frame; 0 in the first."""

    place: Complex128[np.ndarray, " t"]
    """Diagonals of the image, x + iy."""
    growth: Float64[np.ndarray, " t"]
    """Logarithm of the size; of the camera, of what it sees."""
    turn: Float64[np.ndarray, " t"]
    """Radians in the image's plane."""
    known: bool
    """Whether most steps are."""
    together: bool = True
    """Whether most of the points go the same way."""

    @property
    def least(self) -> float:
        """Compute how far a thing must go beyond this path, the camera's, to move by itself, in diagonals.

        Less may come of its distance (parallax). A turn or a zoom moves points a quarter of a diagonal from the centre.
        """
        way = float(np.abs(self.place).max() + (np.ptp(self.turn) + np.ptp(self.growth)) / 4)
        return max(MOVES, PARALLAX * way)


def fit_steps(
    z: Complex128[np.ndarray, "n t"],
    visible: Bool[np.ndarray, "n t"],
    *,
    within: float,
    least: int = 12,
    share: float = 0.4,
    seed: int = 0,
) -> tuple[Complex128[np.ndarray, " s"], Complex128[np.ndarray, " s"]]:
    """Fit the similarity of most points from each frame to the next; returns scales and offsets, NaN where there is none.

    Args:
        z: positions of the points.
        visible: where they are to be trusted.
        within: distance by which a point may deviate, in the unit of `z`.
        least, share: points, and part of those visible in both frames, that must agree.
        seed: of the random pairs.

    >>> z = np.array([[0, 5], [1, 5 + 2j], [1j, 3]])  # twice as large, turned by a quarter, shifted by 5
    >>> scale, offset = fit_steps(z, np.ones((3, 2), bool), within=0.1, least=3)
    >>> scale.imag.round(6).tolist(), offset.real.round(6).tolist()
    ([2.0], [5.0])
    """
    rng = np.random.default_rng(seed)
    scale, offset = np.full((2, z.shape[1] - 1), np.nan + 0j)
    for k in range(len(scale)):
        both = visible[:, k] & visible[:, k + 1]
        a, b = z[both, k], z[both, k + 1]
        needed = max(least, share * len(a), 2)
        if len(a) < needed:
            continue
        first, second = rng.integers(len(a), size=(2, TRIES))
        apart = a[first] != a[second]
        first, second = first[apart], second[apart]
        factors = (b[second] - b[first]) / (a[second] - a[first])
        agree = np.abs(b - factors[:, None] * (a - a[first, None]) - b[first, None]) < within
        best = max(agree, key=np.sum, default=np.zeros(0, bool))
        for _ in range(2):
            if best.sum() >= needed:
                mean = a[best].mean()
                apart = a[best] - mean
                scale[k] = (apart.conj() * b[best]).sum() / (np.abs(apart) ** 2).sum()
                offset[k] = b[best].mean() - scale[k] * mean
                best = np.abs(b - scale[k] * a - offset[k]) < within
        if best.sum() < needed:
            scale[k] = offset[k] = np.nan
    return scale, offset


def measure_paths(
    frames: UInt8[np.ndarray, "t h w 3"],
    tracker: Tracker,
    regions: Mapping[Hashable, tuple[int, Bool[np.ndarray, "_r _c"]]],
) -> dict[Hashable, MotionPath]:
    """Track a grid of points, and more in each region, through a passage of two frames or more, and measure what moves how.

    Args:
        frames: of the passage, evenly spaced.
        tracker: any tracker of points.
        regions: of things, each in the frame of a number, as cells of a grid over it.

    Returns:
        The paths of `CAMERA`, of `MOVING`, and of each region; without those of which too few points are seen.
    """
    small, size = _shrunk(frames)
    every = np.ones([max(4, round(GRID * n / max(size))) for n in size[::-1]], bool)
    groups: dict[Hashable, np.ndarray] = {}
    queries = np.zeros((0, 3), np.float32)
    for key, (number, region) in {MOVING: (len(frames) // 2, every), **regions}.items():
        cells = np.argwhere(region)[:: 1 if region is every else -(-int(region.sum()) // INSIDE)] + 0.5
        groups[key] = np.arange(len(queries), len(queries) + len(cells))
        xy = cells[:, ::-1] * size / region.shape[::-1]
        queries = np.concatenate([queries, np.insert(xy, 0, number, 1).astype(np.float32)])
    tracks = tracker.track(small, queries)
    z, diagonal = (tracks.xy[..., 0] + 1j * tracks.xy[..., 1]).astype(np.complex128), float(np.hypot(*size))
    z /= diagonal
    grid = groups[MOVING]
    scale, offset = fit_steps(z[grid], tracks.visible[grid], within=WITHIN)
    known = bool(np.isfinite(scale).mean() > 0.6)
    centre = complex(*size) / (2 * diagonal)
    paths: dict[Hashable, MotionPath] = {
        CAMERA: MotionPath(-_sums((scale - 1) * centre + offset), *_size_and_turn(scale), known)
    }
    both = tracks.visible[:, 1:] & tracks.visible[:, :-1] & np.isfinite(scale)
    moved = np.where(both, z[:, 1:] - scale * z[:, :-1] - offset, 0)
    least = paths[CAMERA].least
    for key, group in groups.items():
        trusted = group[both[group].mean(1) >= 0.5]
        movers = trusted[np.abs(moved[trusted].cumsum(1)).max(1, initial=0) >= least]
        if key == MOVING and len(movers) < 3:
            none = np.zeros(len(frames))
            paths[key] = MotionPath(none + 0j, none, none, known)
            continue
        chosen = movers if key == MOVING or len(movers) >= 0.3 * len(trusted) else trusted
        if len(chosen) >= 3:
            own, _ = fit_steps(z[chosen], tracks.visible[chosen], within=WITHIN, least=4, share=0.5)
            steps = np.nanmedian(np.where(both[chosen] | ~both[chosen].any(0), moved[chosen], np.nan), axis=0)
            ways = moved[chosen].sum(1)
            together = abs((ways / np.maximum(np.abs(ways), 1e-12)).mean()) > 0.7
            with np.errstate(invalid="ignore"):  # unknown steps
                size_and_turn = _size_and_turn(own / scale)
            paths[key] = MotionPath(_sums(steps), *size_and_turn, known, bool(together))
    return paths


def count_passes(
    video: Video, numbers: Sequence[int], tracker: Tracker, find: Callable[[np.ndarray], object] | None = None
) -> int | None:
    """Count how often something goes through the middle of a still camera's image; None where that is not clear.

    Args:
        numbers: of the frames that are looked at, evenly spaced.
        find: returns whether a thing is in a frame, or None if it is not; without it whatever moves counts.
    """
    if not 3 <= len(numbers) <= MOST_FRAMES:
        return None
    visits, changed = find_visits(np.stack([middle_strip(video[number]) for number in numbers]))
    if len(visits) > MOST_PASSES or 2 * changed.any((1, 2)).sum() >= len(numbers):
        return None
    passed = []
    for first, stop in visits:
        middle, around = (first + stop) // 2, range(max(first - BESIDE, 0), min(stop + BESIDE, len(numbers)))
        step = -(-len(around) // TOGETHER)  # of long visits not all frames
        chosen = [k for k in around if not (k - middle) % step]
        frames, place = video[[numbers[k] for k in chosen]], chosen.index(middle)
        unseen = find is not None and find(frames[place]) is None
        passed.append(None if unseen else passes_by(frames, tracker, place, changed[middle]))
    return None if None in passed else sum(map(bool, passed))


def middle_strip(frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "r c 3"]:
    """Average the colours of the cells of `STRIP` in an image."""
    height, width = frame.shape[:2]
    box = width * (0.5 - HALF), 0, width * (0.5 + HALF), height
    return np.asarray(Image.fromarray(frame).resize((STRIP[1], STRIP[0]), Image.Resampling.BOX, box=box))


def find_visits(strips: UInt8[np.ndarray, "t r c 3"]) -> tuple[list[tuple[int, int]], Bool[np.ndarray, "t r c"]]:
    """Find when something is in the strip of a still camera, as first frame and the one after the last; and in which cells."""
    changed = np.abs(strips - np.median(strips, axis=0)).max(3) > CHANGED
    edges = np.flatnonzero(np.diff(changed.any((1, 2)), prepend=False, append=False)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True)), changed


def passes_by(
    frames: UInt8[np.ndarray, "t h w 3"], tracker: Tracker, number: int, changed: Bool[np.ndarray, "r c"]
) -> bool | None:
    """Track what is in the strip in a frame, and decide whether it comes from one side and goes to the other; None: not clear.

    Points that stay where they are, as where the light changes, do not pass.
    """
    small, size = _shrunk(frames)
    cells = np.argwhere(changed)[:, ::-1]
    xy = (cells[:: -(-len(cells) // POINTS)] + 0.5) / STRIP[::-1] * (2 * HALF, 1) + (0.5 - HALF, 0)
    tracks = tracker.track(small, np.insert(xy * size, 0, number, 1).astype(np.float32))
    x = (tracks.xy[..., 0] - size[0] / 2) / np.hypot(*size)
    ways = []
    for across, visible in zip(x, tracks.visible, strict=True):
        if np.abs(across[visible] - across[number]).max(initial=0) >= MOVES:
            beyond = visible & (np.abs(across) > HALF / 4)
            before, after = (np.sign(across[part][beyond[part]]) for part in (slice(number), slice(number, None)))
            ways.append(after[-1] - before[0] if len(before) and len(after) else np.nan)
    if not ways:
        return False
    share = [float((np.array(ways) == way).mean()) for way in (-2, 0, 2)]
    return share[1] < 0.5 if max(share) >= 0.6 else None


def _shrunk(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Resize frames to `SIDE`; returns width and height, too."""
    shrink = min(1.0, SIDE / max(frames.shape[1:3]))
    size = np.array([max(8, round(n * shrink)) for n in frames.shape[2:0:-1]])
    return np.stack([np.asarray(Image.fromarray(frame).resize(tuple(size), Image.Resampling.BOX)) for frame in frames]), size


def _size_and_turn(scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _sums(np.log(np.abs(scale))), _sums(np.angle(scale))


def _sums(steps: np.ndarray) -> np.ndarray:
    """Sum steps from 0; unknown ones count as none."""
    return np.concatenate([[0], np.nan_to_num(steps).cumsum()])
