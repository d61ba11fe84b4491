"""Checks of a folder of TAPVid-3D clips: missing, damaged or inconsistent data.

Besides reading the clip (`data.py`), it checks:

    images           every frame has the first one's size, and the first and the last can be decoded
    query-off        the point, projected at its query's frame, lies half a pixel or more from the query
    query-hidden     a query at a frame where its point is not visible
    never-visible    a point that is visible in no frame (met in released clips of adt)
    outside, behind  visible points that do not land in the image, or lie behind the camera
    intrinsics       a principal point outside the middle half of the image
    poses            camera poses that are not rigid

Points are compared in the frame of their query, where they are exact in all three sources, and never in the world, since
released camera poses of drivetrack are known to be off by half a metre (issue 115 of the public code).
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tapetum.systems.tapvid3d.data import Clip3D, read_clip
from tapetum.systems.tapvid3d.folders import Split, find_clips
from tapetum.systems.tapvid3d.geometry import project
from tapetum.systems.tapvid3d.npz import Damage, Kind, decode, jpeg_size

QUERY_TOLERANCE = 0.5
"""Pixels by which a query may lie beside its projected point."""

EDGE_TOLERANCE = 1.0
"""Pixels by which a visible point may lie outside the image."""


class ClipProblem(NamedTuple):
    file: str
    """The file, from the folder that was checked."""
    kind: Kind
    text: str


def check(
    folder: str | os.PathLike[str], split: Split | None = None, progress: Callable[[int, int], None] = lambda done, all: None
) -> dict[str, Any]:
    """Check every clip of a folder, or those of a split.

    Returns `files` (how many were looked at), `findings` (a list of dicts of file, kind and text) and `sources`: for each,
    `clips` that could be read, `with_frames`, `frames`, `tracks`, `visible` (fraction of points and frames), and `wanted`, the
    number of clips of the split or of files.

    Raises BadInput: as `find_clips`.
    """
    folder = Path(folder)
    places = find_clips(folder, split)
    findings: list[ClipProblem] = []
    sources: dict[str, dict[str, Any]] = {}
    for number, place in enumerate(places, 1):
        counts = sources.setdefault(
            place.source, {"wanted": 0, "clips": 0, "with_frames": 0, "frames": 0, "tracks": 0, "seen": 0, "all": 0}
        )
        counts["wanted"] += 1
        name = str(place.path.relative_to(folder))
        try:
            clip = read_clip(place.path)
        except Damage as damage:
            findings.append(ClipProblem(name, damage.kind, str(damage)))
        else:
            findings.extend(ClipProblem(name, kind, text) for kind, text in check_clip(clip))
            counts["clips"] += 1
            counts["with_frames"] += clip.images is not None
            counts["frames"] += clip.frames
            counts["tracks"] += clip.points
            counts["seen"] += int(clip.visibility.sum())
            counts["all"] += clip.visibility.size
        progress(number, len(places))
    for counts in sources.values():
        visible, every = counts.pop("seen"), counts.pop("all")
        counts["visible"] = visible / every if every else None
    return {"files": len(places), "sources": sources, "findings": [finding._asdict() for finding in findings]}


def check_clip(clip: Clip3D) -> Iterator[tuple[Kind, str]]:
    """List the problems of a readable clip, as kinds and lines."""
    yield from _images(clip)
    never = ~clip.visibility.any(axis=0)
    if never.any():
        yield "never-visible", f"{_count_of(never, 'points')} visible in no frame"
    frame, point = np.round(clip.queries_xyt[:, 2]).astype(int), np.arange(clip.points)
    hidden = ~clip.visibility[frame, point] & ~never
    if hidden.any():
        yield "query-hidden", f"{_count_of(hidden, 'queries')} at a frame where the point is not visible"
    query_points = clip.tracks_XYZ[frame, point]
    off = np.linalg.norm(project(query_points, clip.fx_fy_cx_cy) - clip.queries_xyt[:, :2], axis=-1)
    off = np.nan_to_num(off, nan=np.inf)  # where there is no projection
    beside = off >= QUERY_TOLERANCE
    if beside.any():
        yield "query-off", f"{_count_of(beside, 'queries')} beside the projected point, by up to {off.max():.3g} pixels"
    yield from _image(clip)
    if clip.extrinsics_w2c is not None:
        rotation = clip.extrinsics_w2c[:, :3, :3]
        rigid = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2)) < 1e-3
        rigid &= (np.linalg.det(rotation) > 0) & (np.abs(clip.extrinsics_w2c[:, 3] - [0, 0, 0, 1]).max(axis=1) < 1e-6)
        if not rigid.all():
            yield (
                "poses",
                f"{_count_of(~rigid, 'poses of extrinsics_w2c')} not rigid: a rotation and a shift, the last row 0 0 0 1",
            )


def _images(clip: Clip3D) -> Iterator[tuple[Kind, str]]:
    if clip.images is None:
        return
    try:
        for index, data in enumerate(clip.images):
            where = f"frame {index}"
            size = decode(data, where).shape[:2] if index in (0, clip.frames - 1) else jpeg_size(data, where)
            if size != clip.size:
                raise Damage("images", f"{where} is {size}, but the first {clip.size}")
    except Damage as damage:
        yield damage.kind, str(damage)


def _image(clip: Clip3D) -> Iterator[tuple[Kind, str]]:
    """Whether visible points lie in front of the camera and in the image, and the principal point near its middle."""
    behind = clip.visibility & (clip.tracks_XYZ[..., 2] <= 0)
    if behind.any():
        yield "behind", f"{_count_of(behind, 'visible positions')} behind the camera or in it: Z is 0 or less"
    if clip.size is None:
        return
    size = np.array(clip.size[::-1])
    shown = clip.visibility & ~behind
    xy = project(clip.tracks_XYZ[shown], clip.fx_fy_cx_cy)
    outside = ((xy < -EDGE_TOLERANCE) | (xy > size + EDGE_TOLERANCE)).any(axis=-1)
    if outside.any():
        yield "outside", f"{_count_of(outside, 'visible positions')} outside the image of {size[0]}x{size[1]}"
    centre = clip.fx_fy_cx_cy[2:]
    if (np.abs(centre - size / 2) > size / 4).any():
        problem = f"the principal point is at {centre[0]:g}, {centre[1]:g} of an image of {size[0]}x{size[1]}"
        yield "intrinsics", f"{problem}; fx_fy_cx_cy must be in pixels of that image, in that order"


def _count_of(which: ArrayLike, what: str) -> str:
    """How many of how many.

    >>> _count_of([True, False, True], "points")
    '2 of 3 points are'
    """
    count = int(np.count_nonzero(which))
    return f"{count} of {np.size(which)} {what} {'is' if count == 1 else 'are'}"
