"""Camera motion estimated from tracks: most points share the camera's motion, the others move independently.

From each frame to the next, a homography is fitted robustly to the points visible in both. It is exact for a camera that only
rotates, and for a flat background; near objects that a moving camera passes appear to move. Points that follow the camera in
most frames are background; by these alone every frame is aligned to a reference frame, directly if enough of them are visible
in both, otherwise through the frames between.

The rainbow view: moving points draw coloured paths, mapped to each frame through the camera's motion, as if the camera had not
moved. Background points are small and grey.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from tapetum.core.errors import BadInput
from tapetum.types import Tracks
from tapetum.video import TrackPainter, colour_wheel
from tapetum.video.draw import draw_paths
from tapetum.video.types import Frame

Homographies = Float64[np.ndarray, "t 3 3"]

LEAST = 8
"""Minimum number of inliers of a homography; with fewer the camera is taken to stand still."""
TRIES = 200
"""Samples of four points drawn for a pair of frames."""
AT_ONCE = 20


@dataclass(frozen=True)
class CameraMotion:
    """Motion of the camera."""

    to_reference: Homographies
    """From raster pixels of each frame to those of the reference frame."""
    background: Bool[np.ndarray, " n"]
    """Points that moved with the camera alone."""

    def stabilised(self, xy: Float64[np.ndarray, "n t 2"], frame: int) -> Float64[np.ndarray, "n t 2"]:
        """Map positions in the first frames to where they would be in `frame` if the camera had not moved."""
        return through((np.linalg.inv(self.to_reference[frame]) @ self.to_reference)[: xy.shape[1]], xy)


def through(maps: Homographies, xy: Float64[np.ndarray, "n t 2"]) -> Float64[np.ndarray, "n t 2"]:
    """Map positions by the homography of their frame; NaN if that sends them behind the camera."""
    ones = np.concatenate([xy, np.ones((*xy.shape[:2], 1))], -1)
    moved = np.einsum("tij,ntj->nti", maps, ones)
    ahead = moved[..., 2:] > 1e-9
    return np.where(ahead, moved[..., :2] / np.where(ahead, moved[..., 2:], 1.0), np.nan)


def fit_homography(a: Float64[np.ndarray, "n 2"], b: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "3 3"] | None:
    """Fit the homography from `a` to `b` by least squares on the normalised linear system (Hartley 1997); None for fewer than
    four points, or collinear ones."""
    fitted = _fits(a[None], b[None])[0] if len(a) >= 4 else None
    return fitted if fitted is not None and np.isfinite(fitted).all() else None


def _fits(a: Float64[np.ndarray, "k n 2"], b: Float64[np.ndarray, "k n 2"]) -> Homographies:
    """Fit the best homography to each of `k` sets of points; NaN if they do not determine one."""
    (na, norm_a), (nb, norm_b) = _normalised(a), _normalised(b)
    (x, y), (u, v) = np.moveaxis(na, -1, 0), np.moveaxis(nb, -1, 0)
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows = np.concatenate(
        [
            np.stack([x, y, one, zero, zero, zero, -u * x, -u * y, -u], -1),
            np.stack([zero, zero, zero, x, y, one, -v * x, -v * y, -v], -1),
        ],
        axis=1,
    )
    _, values, right = np.linalg.svd(rows.transpose(0, 2, 1) @ rows)
    fitted = np.linalg.inv(norm_b) @ right[:, 8].reshape(-1, 3, 3) @ norm_a
    last = fitted[:, 2:, 2:]
    known = (values[:, 7] >= 1e-9 * values[:, 0])[:, None, None] & (np.abs(last) > 1e-12)
    return np.where(known, fitted / np.where(known, last, 1.0), np.nan)


def _normalised(points: Float64[np.ndarray, "k n 2"]) -> tuple[np.ndarray, np.ndarray]:
    """The points of each set, centred at zero with a mean distance of one, and the matrices that normalise them."""
    centre = points.mean(1, keepdims=True)
    scale = 1 / np.maximum(np.linalg.norm(points - centre, axis=-1).mean(1), 1e-9)
    matrices = np.zeros((len(points), 3, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = scale
    matrices[:, :2, 2] = -scale[:, None] * centre[:, 0]
    matrices[:, 2, 2] = 1
    return (points - centre) * scale[:, None, None], matrices


def robust_homography(
    a: Float64[np.ndarray, "n 2"], b: Float64[np.ndarray, "n 2"], within: float, rng: np.random.Generator
) -> tuple[Float64[np.ndarray, "3 3"], Bool[np.ndarray, " n"]] | None:
    """Find the homography with the most inliers within `within` pixels, and the inliers; None if fewer than `LEAST`."""
    best = np.zeros(len(a), bool)
    if len(a) < LEAST:
        return None
    for _ in range(TRIES // AT_ONCE):
        four = rng.random((AT_ONCE, len(a))).argpartition(4)[:, :4]
        agree = _distance(_fits(a[four], b[four]), a, b) < within
        most = agree[agree.sum(1).argmax()]
        if most.sum() > best.sum():
            best = most
            if best.sum() > 0.95 * len(a):
                break
    fitted = None
    for _ in range(3):
        if best.sum() < LEAST or (fitted := fit_homography(a[best], b[best])) is None:
            return None
        best = _distance(fitted[None], a, b)[0] < within
    return (fitted, best) if fitted is not None and best.sum() >= LEAST else None


def _distance(maps: Homographies, a: np.ndarray, b: np.ndarray) -> Float64[np.ndarray, "k n"]:
    """The distance from `b` of the points `a` under each of the maps, infinite if it sends them behind the camera."""
    moved = through(maps, np.broadcast_to(a[:, None], (len(a), len(maps), 2)))
    return np.nan_to_num(np.linalg.norm(moved - b[:, None], axis=-1), nan=np.inf).T


def camera_motion(tracks: Tracks, *, within: float = 2.0) -> CameraMotion:
    """Estimate the camera's motion and the points that belong to the background.

    `within` is by how many pixels a background point may deviate between two frames. The middle frame is the reference.
    """
    rng = np.random.default_rng(0)
    xy, visible = tracks.xy.astype(np.float64), tracks.visible
    n, t = visible.shape
    onto = t // 2
    steps = np.tile(np.eye(3), (max(t - 1, 0), 1, 1))
    judged, agreed = np.zeros(n), np.zeros(n)
    for k in range(t - 1):
        both = np.flatnonzero(visible[:, k] & visible[:, k + 1])
        fitted = robust_homography(xy[both, k], xy[both, k + 1], within, rng)
        judged[both] += 1
        if fitted is None:
            agreed[both] += np.linalg.norm(xy[both, k + 1] - xy[both, k], axis=1) < within
        else:
            steps[k] = fitted[0]
            agreed[both] += fitted[1]
    background = (judged > 0) & (agreed >= 0.8 * judged)
    chained = np.tile(np.eye(3), (len(steps) + 1, 1, 1))  # to the reference, through the frames between
    for k in range(onto - 1, -1, -1):
        chained[k] = chained[k + 1] @ steps[k]
    for k in range(onto + 1, len(chained)):
        chained[k] = chained[k - 1] @ np.linalg.inv(steps[k - 1])
    return CameraMotion(*_direct(xy, visible, chained, onto, background, within, rng))


def _direct(
    xy: np.ndarray,
    visible: np.ndarray,
    chained: Homographies,
    reference: int,
    background: np.ndarray,
    within: float,
    rng: np.random.Generator,
) -> tuple[Homographies, Bool[np.ndarray, " n"]]:
    """Homographies straight to the reference, if the background allows, and the background without points that drift from it.

    Slow motion is invisible between neighbouring frames; over the whole clip it shows.
    """
    maps = chained.copy()
    for k in range(len(maps)):
        both = np.flatnonzero(background & visible[:, k] & visible[:, reference])
        fitted = robust_homography(xy[both, k], xy[both, reference], 2 * within, rng) if k != reference else None
        if fitted is not None and fitted[1].sum() >= max(LEAST, len(both) // 2):
            maps[k] = fitted[0]
    places = np.where(visible[..., None], through(maps, xy), np.nan)
    counts: Int64[np.ndarray, " n"] = visible.sum(1)
    known = np.flatnonzero(background & (counts > 0))
    kept = background.copy()
    if len(known):
        middle = np.nanmedian(places[known], axis=1)
        off = np.nanpercentile(np.linalg.norm(places[known] - middle[:, None], axis=-1), 80, axis=1)
        kept[known] = off < 2 * within
    return maps, kept


def draw_rainbow(
    frames: Iterable[Frame], tracks: Tracks, *, radius: float | None = None, labels: Sequence[str] | None = None
) -> Iterator[Frame]:
    """Draw frames, darkened, with the rainbow view on them, one by one; hues follow the height of the first positions.
    `radius`, in pixels, and `labels` are as in `draw_tracks`. Raises BadInput for more or fewer frames than the tracks have."""
    xy, visible = tracks.xy.astype(np.float64), tracks.visible
    colours = np.empty((tracks.points, 3), np.uint8)
    colours[np.argsort(xy[np.arange(tracks.points), visible.argmax(1), 1], kind="stable")] = colour_wheel(tracks.points)
    grey = np.full_like(colours, 170)
    number, motion = -1, None
    for number, frame in enumerate(frames):
        if number >= tracks.frames:
            raise BadInput(f"the tracks have {tracks.frames} frames but the video has more; draw them on their own video")
        height, width = frame.shape[:2]
        diagonal = float(np.hypot(height, width))
        motion = motion or camera_motion(tracks, within=max(2.0, 0.004 * diagonal))
        moving, size = ~motion.background, radius or 0.8 + 0.004 * diagonal
        paths = np.where(visible[:, : number + 1, None], motion.stabilised(xy[:, : number + 1], number), np.nan)
        canvas = np.rint(0.75 * frame).astype(np.uint8)
        for chosen, shade, large in ((motion.background, grey, size / 2), (moving, colours, size)):
            if chosen is moving:
                canvas = draw_paths(canvas, paths[moving], colours[moving])
            shown = np.flatnonzero(chosen & visible[:, number])
            texts = None if labels is None else [labels[point] for point in shown.tolist()]
            painter = TrackPainter(height, width, shade[shown], trail=0, radius=large, labels=texts)
            canvas = painter.paint(canvas, tracks.xy[shown, number], np.ones(len(shown), bool))
        yield canvas
    if number + 1 != tracks.frames:
        raise BadInput(f"the tracks have {tracks.frames} frames but the video has {number + 1}; draw them on their own video")
