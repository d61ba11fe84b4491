"""Boxes through time, and how tracked points carry them.

Source: Kalal, Mikolajczyk and Matas, "Forward-Backward Error" (ICPR 2010), whose median flow moves a box by the median
displacement of its points and scales it by the median ratio of their distances.

    points in the box at t0        where the tracker sees them at t        box at t
    o o o o                          o   o   o                             scaled by the median of |p q| at t / |p q| at t0,
    o o o o                 ─►       o   o   x    x: hidden, or far    ─►  its centre moved by the median of what is left:
    o o o o                          o   o   o       from the rest         p(t) - scale (p(t0) - centre)

Differs from it: points are followed from the frame of the box, not frame by frame, so errors do not accumulate; the tracker's
visibility replaces the forward-backward error; and only points count that agree with the pair of points with the most
inliers (a consensus as in RANSAC, over all pairs), since medians of pairs fail if three in ten points are wrong.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32

from tapetum.core.errors import BadInput
from tapetum.core.tables import Formats, from_csv, from_npz, load, save, to_csv, to_npz
from tapetum.types import Boxes
from tapetum.types.checks import finite, truths

SIDE = 7
"""Points along a side of the grid in a box, of which those in the ellipse that touches its sides are followed."""
LEAST, LEAST_SHARE = 4, 0.25
"""Points, and share of all, that must be seen and agree, or the box is lost."""
_FAR = 0.15
"""Share of a box's diagonal by which a point may be off where the others say it is."""
_SCALES = 0.1, 10.0
"""Changes of size beyond these are taken for errors."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxTracks:
    """n boxes through t frames. Raises BadInput for wrong shapes and numbers that are not finite."""

    xyxy: np.ndarray
    """float32 (n, t, 4): x1, y1, x2, y2 in raster pixels; where a box is not shown, its last place."""
    shown: np.ndarray
    """bool (n, t): the object is there, as far as is known."""
    detected: np.ndarray
    """bool (n, t): a detector saw it here; elsewhere it was carried."""
    scores: np.ndarray
    """float32 (n, t), 0..1: of the detector where it saw it, else times the share of points that were seen and agreed."""
    labels: Sequence[str]
    times: np.ndarray | None = None
    """float64 (t,): seconds of each frame, where they are known."""

    def __post_init__(self) -> None:
        xyxy = finite("BoxTracks", "xyxy", self.xyxy, (None, None, 4), axes="(n, t, 4)")
        n, t = xyxy.shape[:2]
        fields: dict[str, Any] = {"xyxy": xyxy, "scores": finite("BoxTracks", "scores", self.scores, (n, t))}
        for name in ("shown", "detected"):
            fields[name] = truths("BoxTracks", name, getattr(self, name))
            if fields[name].shape != (n, t):
                raise BadInput(f"{name} of BoxTracks has shape {fields[name].shape}; with xyxy {xyxy.shape} give {(n, t)}")
        fields["labels"] = tuple(map(str, self.labels))
        if len(fields["labels"]) != n:
            raise BadInput(f"BoxTracks has {len(fields['labels'])} labels for {n} boxes; give one for each")
        if self.times is not None:
            fields["times"] = finite("BoxTracks", "times", self.times, (t,), np.float64)
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.xyxy)

    @property
    def frames(self) -> int:
        """Count the frames t."""
        return self.xyxy.shape[1]

    def at(self, frame: int) -> Boxes:
        """Select the boxes that are shown in a frame, as marked by `shown[:, frame]`."""
        some = np.flatnonzero(self.shown[:, frame]).tolist()
        return Boxes(xyxy=self.xyxy[some, frame], labels=[self.labels[k] for k in some], scores=self.scores[some, frame])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write them: npz (all fields) or csv (a row per box shown in a frame), whole or not at all."""
        return save(self, path, _FORMATS, "boxes")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "BoxTracks":
        """Read an npz that `save` wrote. Raises BadInput if it is something else."""
        if Path(path).suffix == ".csv":
            raise BadInput(f"{path} is a table, which leaves out frames without boxes; give the npz beside it")
        return cls(**load(path, _FORMATS, "boxes", "tapetum detect --track"))


def points_in(box: Float[np.ndarray, "4"]) -> Float32[np.ndarray, "k 2"]:
    """Compute points of a regular grid in the ellipse inscribed in a box, where objects mostly are."""
    x1, y1, x2, y2 = np.asarray(box, np.float64)
    steps = (np.arange(SIDE) + 0.5) / SIDE
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    inside = ((2 * grid - 1) ** 2).sum(1) <= 1
    return (grid[inside] * (x2 - x1, y2 - y1) + (x1, y1)).astype(np.float32)


def carry(
    box: Float[np.ndarray, "4"],
    before: Float[np.ndarray, "k 2"],
    now: Float[np.ndarray, "k 2"],
    visible: Bool[np.ndarray, " k"],
) -> tuple[Float32[np.ndarray, "4"], float] | None:
    """Move and scale a box with its points; returns it with the fraction of points that agree, or None if it is lost."""
    box = np.asarray(box, np.float64)
    centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    before, now, visible = np.asarray(before, np.float64), np.asarray(now, np.float64), np.asarray(visible, bool)
    least, far = max(LEAST, LEAST_SHARE * len(visible)), _FAR * float(np.linalg.norm(size))
    if visible.sum() < least:
        return None
    agree = visible & _consensus(before - centre, now, visible, far)
    for _ in range(2):  # what agrees is measured, and then once more what agrees with that
        if agree.sum() < least:
            return None
        scale = _scale(before[agree], now[agree])
        middle = np.median(now[agree] - scale * (before[agree] - centre), axis=0)
        agree = visible & (np.linalg.norm(now - (middle + scale * (before - centre)), axis=1) <= far * scale)
    if agree.sum() < least:
        return None
    half = scale * size / 2
    return np.concatenate([middle - half, middle + half]).astype(np.float32), float(agree.mean())


def _consensus(before: np.ndarray, now: np.ndarray, visible: np.ndarray, far: float) -> np.ndarray:
    """The points that agree with the pair of visible points with the most inliers; `before` is relative to the centre."""
    visible_rows = np.flatnonzero(visible)
    first, second = (visible_rows[k] for k in np.triu_indices(len(visible_rows), 1))
    before_distance = np.linalg.norm(before[first] - before[second], axis=1)
    apart = before_distance > 0.25 * before_distance.max(initial=0)  # of near pairs the ratio is mostly error
    first, second, before_distance = first[apart], second[apart], before_distance[apart]
    if not len(before_distance):
        return visible
    scales = np.clip(np.linalg.norm(now[first] - now[second], axis=1) / before_distance, *_SCALES)
    middles = ((now[first] + now[second]) - scales[:, None] * (before[first] + before[second])) / 2
    off = np.linalg.norm(now - middles[:, None] - scales[:, None, None] * before, axis=2)
    near = (off <= far * scales[:, None]) & visible
    return near[near.sum(1).argmax()]


def _scale(before: np.ndarray, now: np.ndarray) -> float:
    one, other = np.triu_indices(len(before), 1)
    was = np.linalg.norm(before[one] - before[other], axis=1)
    apart = was > 0.25 * was.max(initial=0)
    if not apart.any():
        return 1.0
    ratios = np.linalg.norm(now[one] - now[other], axis=1)[apart] / was[apart]
    return float(np.clip(np.median(ratios), *_SCALES))


def _columns(boxes: BoxTracks) -> Mapping[str, np.ndarray]:
    frame, which = np.nonzero(boxes.shown.T)
    times = {} if boxes.times is None else {"time_s": boxes.times[frame]}
    corners = boxes.xyxy[which, frame]
    return {
        "frame": frame.astype(np.int64),
        **times,
        "object": which.astype(np.int64),
        "label": np.array([boxes.labels[k] for k in which.tolist()], np.str_),
        **{name: corners[:, k] for k, name in enumerate(("x1", "y1", "x2", "y2"))},
        "score": boxes.scores[which, frame],
        "found": boxes.detected[which, frame],
    }


def _to_npz(boxes: BoxTracks) -> bytes:
    arrays: dict[str, Any] = {name: getattr(boxes, name) for name in ("xyxy", "shown", "scores")}
    arrays["found"] = boxes.detected  # the name in files
    arrays["labels"] = np.array(boxes.labels, np.str_)
    return to_npz(arrays if boxes.times is None else {**arrays, "times": boxes.times})


def _from_npz(data: bytes) -> dict[str, Any]:
    content = from_npz(data, ("xyxy", "shown", "found", "scores", "labels"), ("times",))
    content["detected"] = content.pop("found")
    return {**content, "labels": content["labels"].tolist()}


_FORMATS: Formats[BoxTracks] = {
    ".npz": (_to_npz, _from_npz),
    ".csv": (lambda boxes: to_csv(_columns(boxes)), lambda data: from_csv(data, {})),
}
