"""Shared parts of the makers: seeds, queries, the depth test, clips of a given length, rigid poses, and jobs for files.

Arrays: tracks (t, n, 3) in metres in each frame's OpenCV camera, visibility (t, n), queries (n, 3) as (x, y, t); raster pixels.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tapetum.core.errors import BadInput
from tapetum.core.files import cannot_write
from tapetum.systems.tapvid3d.data import write_clip
from tapetum.systems.tapvid3d.geometry import F64, project
from tapetum.systems.tapvid3d.npz import Damage

Arrays = dict[str, Any]
"""The content of one file of the benchmark, by the keywords of `tapetum.systems.tapvid3d.data.write_clip`."""

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
Bool = NDArray[np.bool_]


def pixel_centres(mask: ArrayLike, n: int, rng: np.random.Generator) -> F64:
    """Sample seeds (m, 3) as (x, y, t): centres of n different random pixels where `mask` (t, h, w); all, if fewer."""
    mask = np.asarray(mask, bool)
    there = np.flatnonzero(mask)
    chosen = rng.choice(there, min(n, len(there)), replace=False)
    frame, row, column = np.unravel_index(chosen, mask.shape)
    return np.stack([column + 0.5, row + 0.5, frame], axis=1).astype(np.float64)


def random_queries(tracks: F64, visible: Bool, intrinsics: ArrayLike, rng: np.random.Generator) -> tuple[F64, I64]:
    """Choose queries (m, 3) as (x, y, t), one for each track, uniformly among its visible frames, and give the tracks' numbers.

    A track that is never visible gets none. Source: an author, in issue 116 of google-deepmind/tapnet.
    """
    track = np.flatnonzero(visible.any(0))
    chance = np.where(visible[:, track], rng.random((len(visible), len(track))), -1.0)
    frame = chance.argmax(0) if len(visible) else np.zeros(0, np.int64)
    xy = project(tracks[frame, track], intrinsics)
    return np.concatenate([xy, frame[:, None]], axis=1, dtype=np.float64), track


def clip_arrays(
    images: list[bytes],
    tracks: F64,
    visible: Bool,
    intrinsics: ArrayLike,
    rng: np.random.Generator,
    extrinsics_w2c: F64 | None = None,
) -> Arrays:
    """Assemble the arrays of one file, with a query for each track that is ever visible; the others are left out."""
    queries, kept = random_queries(tracks, visible, intrinsics, rng)
    arrays = {"images_jpeg_bytes": images, "queries_xyt": queries, "fx_fy_cx_cy": np.array(intrinsics)}
    arrays |= {"tracks_XYZ": tracks[:, kept], "visibility": visible[:, kept]}
    return arrays | ({} if extrinsics_w2c is None else {"extrinsics_w2c": extrinsics_w2c})


def depth_test(tracks: F64, depth: Sequence[ArrayLike], intrinsics: ArrayLike, tolerance: float) -> Bool:
    """Find where points (t, n, 3) are seen: in the image, before the camera, within `tolerance` metres of the `depth` there.

    `depth` has for each frame a map (h, w) in metres, read bilinearly; where it is infinite nothing is visible.
    """
    from scipy.ndimage import map_coordinates

    visible = np.zeros(tracks.shape[:2], bool)
    for t, here in enumerate(depth):
        here = np.asarray(here)
        h, w = here.shape
        xy = project(tracks[t], intrinsics)
        inside = ((xy > 0) & (xy < [w, h])).all(1) & (tracks[t, :, 2] > 0)
        with np.errstate(invalid="ignore"):
            at_points = map_coordinates(here, xy[inside, ::-1].T - 0.5, np.float64, order=1, mode="nearest")
            visible[t, inside] = abs(tracks[t, inside, 2] - at_points) < tolerance
    return visible


def poses(rotation: ArrayLike, shift: ArrayLike) -> F64:
    """Assemble rigid transforms (..., 4, 4) of rotations (..., 3, 3) and translations (..., 3)."""
    rotation, shift = np.asarray(rotation, np.float64), np.asarray(shift, np.float64)
    out = np.zeros((*shift.shape[:-1], 4, 4))
    out[..., :3, :3], out[..., :3, 3], out[..., 3, 3] = rotation, shift, 1
    return out


def is_rigid(matrices: ArrayLike) -> bool:
    """Check whether matrices (..., 4, 4) are rigid transforms, to about three digits.

    >>> is_rigid(np.eye(4)), is_rigid(2 * np.eye(4)), is_rigid(np.eye(3))
    (True, False, False)
    """
    matrices = np.asarray(matrices, np.float64)
    if matrices.shape[-2:] != (4, 4) or not np.isfinite(matrices).all():
        return False
    rotation = matrices[..., :3, :3]
    square = np.allclose(rotation @ rotation.swapaxes(-1, -2), np.eye(3), atol=1e-3)
    proper = bool((np.linalg.det(rotation) > 0).all())
    return square and proper and np.allclose(matrices[..., 3, :], [0, 0, 0, 1], atol=1e-6)


@dataclass(frozen=True)
class ClipJob:
    """One file that can be made."""

    name: str
    """Without .npz."""
    make: Callable[[], Arrays]
    """Raises `BadInput` where the raw data are damaged."""


@dataclass
class MakeReport:
    """Report about the files that were made."""

    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """There already, and left as they were."""
    empty: list[str] = field(default_factory=list)
    """Not written, because no point of it can be tracked."""
    failed: dict[str, str] = field(default_factory=dict)
    """What was wrong, by name."""


def run(jobs: Iterable[ClipJob], out: Path, progress: Callable[[MakeReport], None] = lambda report: None) -> MakeReport:
    """Write the files missing from `out`; a failure does not stop the others. Raises `BadInput` if `out` cannot be a folder."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    report = MakeReport()
    for job in jobs:
        path = out / f"{job.name}.npz"
        if path.exists():
            report.kept.append(job.name)
        else:
            _one(job, path, report)
        progress(report)
    return report


def _one(job: ClipJob, path: Path, report: MakeReport) -> None:
    try:
        arrays = job.make()
    except BadInput as error:
        report.failed[job.name] = str(error)
        return
    if not np.asarray(arrays["visibility"]).size:
        report.empty.append(job.name)
        return
    try:
        write_clip(path, **arrays)
        report.made.append(job.name)
    except Damage as damage:  # of what was made, such as an annotation; a full disk is another BadInput, and stops everything
        report.failed[job.name] = str(damage)


def annotated_jobs(source: str, folder: Path, make: Callable[[Path], Arrays]) -> Iterator[ClipJob]:
    """List jobs of the downloaded annotations of a source in a folder. Raises `BadInput` where there are none."""
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise BadInput(f"{folder} has no .npz; download the annotations of {source} there")
    return (ClipJob(path.stem, partial(make, path)) for path in files)


def fails(name: str, error: BadInput) -> ClipJob:
    """Make a job for a file that cannot be opened."""

    def make() -> Arrays:
        raise error

    return ClipJob(name, make)


def generator(seed: int, name: str) -> np.random.Generator:
    """Make a generator of random numbers that depend on the seed and the name of the file only."""
    return np.random.default_rng([seed, zlib.crc32(name.encode("utf-8", "surrogatepass"))])
