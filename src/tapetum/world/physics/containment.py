"""Containment: a body is inside a hollow one while its origin is in the cavity, below the rim (above it, if upturned).

An upturned cup holds what it covers, by the same rule. A sheet holds what is under it: it must be above the body and most of a
ring around it, with its hem down beside it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from tapetum.world.bodies import quaternions
from tapetum.world.bodies.episode import Body
from tapetum.world.bodies.shapes import Sheet
from tapetum.world.types import F64, I64, Bool


def containment(bodies: Sequence[Body], poses: F64, sheets: Mapping[int, F64] | None = None) -> I64:
    """Find for each moment and body (k, n) the innermost body that contains it; -1 for none.

    Poses (k, n, 7); sheets: (k, rows, columns, 3) by body. Fixed bodies and hands are never inside.
    """
    room = {j: b.shape.filled_volume for j, b in enumerate(bodies) if b.shape.opening}
    holders = sorted(room, key=lambda j: -room[j])
    movable = [j for j, b in enumerate(bodies) if not b.fixed and b.group != "hand" and not isinstance(b.shape, Sheet)]
    holder_of = np.full(poses.shape[:2], -1, np.int64)
    for sheet, points in (sheets or {}).items():
        for j in movable:
            holder_of[_under(points, poses[:, j], bodies[j]), j] = sheet
    for holder in holders:
        for j in movable:
            if j == holder or (j in holders and room[j] > room[holder]):
                continue
            place = quaternions.unplace(poses[:, holder], poses[:, j, :3])
            inside = bodies[holder].shape.in_cavity(place.T)
            if j in holders and room[j] == room[holder]:
                inside &= place[:, 2] > 0
            holder_of[inside, j] = holder
    return holder_of


def _under(points: F64, pose: F64, body: Body, chunk: int = 240) -> Bool:
    """Check for each moment (k,) whether a sheet's points (k, r, c, 3) cover a body at poses (k, 7)."""
    size = float(np.linalg.norm(body.shape.outline, axis=1).max())
    spacing = float(np.linalg.norm(points[0, 0, 1] - points[0, 0, 0])) * 1.1
    angles = np.arange(8) * (np.pi / 4)
    ring = np.concatenate([[[0, 0]], np.stack([np.cos(angles), np.sin(angles)], 1) * size * 0.8])
    return np.concatenate([_covers(points[i : i + chunk], pose[i : i + chunk], ring, size, spacing)
                           for i in range(0, len(points), chunk)])  # fmt: skip


def _covers(points: F64, pose: F64, ring: F64, size: float, spacing: float) -> Bool:
    flat = points.reshape(len(points), -1, 3)
    apart = flat[..., :2] - pose[:, None, :2]
    near = ((apart[:, :, None] - ring) ** 2).sum(-1) < spacing**2
    covered = (near & (flat[:, :, 2] > pose[:, None, 2])[..., None]).any(1)
    beside = (apart**2).sum(-1) < (size * 2 + 0.1) ** 2
    hem = np.where(beside, flat[..., 2], np.inf).min(1)
    return covered[:, 0] & (covered[:, 1:].sum(1) >= 6) & (hem < pose[:, 2])
