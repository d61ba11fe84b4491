"""Flexible sheets: a net of points with distance constraints, draped over bodies without acting on them.

Bodies are simulated first; the sheet then follows their recorded poses and the hand's script. Per moment: points fall, held
ones follow the hand, then distances between neighbours (along rows, columns, diagonals, and more distant ones against bending)
are restored in turn, and points and cell centres are pushed out of bodies, with friction. A sheet at rest sleeps.

Müller et al., "Position based dynamics" (2007). Differs from the paper: bodies move sheets but not vice versa, which is
accurate enough for light cloth over objects of a hundred grams, and sheets do not collide with themselves.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from tapetum.tracks.facets.types import F64
from tapetum_world.bodies import quaternions
from tapetum_world.bodies.episode import Body
from tapetum_world.bodies.shapes import Ground, RoundedBox, Shape, Sheet
from tapetum_world.physics.hand_model import HandParts, HandScript, pinch_point
from tapetum_world.physics.model import GRAVITY

THICK = 0.0025
"""Metres that points keep from bodies."""
SWEEPS = 7
FRICTION = 0.5
STIFF = ((2, 0.25), (4, 0.12))
"""Against bending: how many points apart, and which share of what is missing to their distance is restored."""
DRAG = 1.2
"""Per second: air."""


def flat(shape: Sheet, pose: F64) -> F64:
    """Compute a flat sheet at a pose (7,): points (rows, columns, 3)."""
    return quaternions.place(pose[None, None], np.pad(shape.flat_places, ((0, 0), (0, 0), (0, 1))))


def drape(
    bodies: Sequence[Body],
    poses: F64,
    script: HandScript | None,
    hand: HandParts | None,
    *,
    per_moment: int,
    step: float,
    start: Mapping[int, F64],
) -> dict[int, F64]:
    """Simulate all sheets over the moments of poses (k, n, 7); returns points (k, rows, columns, 3) by body.

    `start`: points (rows, columns, 3) at the first moment, by body; a sheet that is not there starts flat.
    """
    made = {}
    for j, body in enumerate(bodies):
        if isinstance(body.shape, Sheet):
            points = start[j] if j in start else flat(body.shape, poses[0, j])
            made[j] = _ClothSimulation(body.shape, j, points, bodies, poses, script, hand, per_moment, step).run()
    return made


class _ClothSimulation:
    """The simulation of one sheet."""

    def __init__(
        self,
        shape: Sheet,
        number: int,
        points: F64,
        bodies: Sequence[Body],
        poses: F64,
        script: HandScript | None,
        hand: HandParts | None,
        per_moment: int,
        step: float,
    ):
        self.shape, self.bodies, self.poses, self.hand = shape, bodies, poses, hand
        self.dt = per_moment * step
        self.x = np.array(points, float)
        self.groups = _groups(shape)
        grips = script.grips if script else []
        name = bodies[number].name
        self.holds = [(g.on // per_moment, g.off // per_moment if g.off >= 0 else len(poses), g.points) for g in grips
                      if g.body == name and g.points]  # fmt: skip
        self.solid = [
            (j, isinstance(b.shape, Ground) or b.noun == "table", float(np.linalg.norm(b.shape.outline, axis=1).max()))
            for j, b in enumerate(bodies)
            if b.group != "hand" and not isinstance(b.shape, Sheet)
        ]

    def run(self) -> F64:
        count = len(self.poses)
        track = np.empty((count, *self.x.shape))
        track[0] = self.x
        v, quiet, asleep = np.zeros_like(self.x), 0, False
        offsets: dict[int, F64] = {}
        for k in range(1, count):
            active = [(i, points) for i, (on, off, points) in enumerate(self.holds) if on <= k < off]
            if asleep and (active or self._stirred(k)):
                asleep, quiet = False, 0
            if asleep:
                track[k] = self.x
                continue
            before = self.x.copy()
            v[..., 2] -= GRAVITY * self.dt
            v *= 1 - DRAG * self.dt
            self.x = before + v * self.dt
            pins = self._pins(k, active, offsets, before)
            for sweep in range(SWEEPS):
                self._restore(pins, bend=sweep % 2 == 0)
                if sweep in (SWEEPS // 2, SWEEPS - 1):
                    self._push_out(k, before)
            v = (self.x - before) / self.dt
            fastest = float(np.abs(v).max())
            quiet = quiet + 1 if fastest < 0.02 and not active else 0
            asleep = quiet > 30
            track[k] = self.x
        return track

    def _pins(self, k: int, active: list[tuple[int, list[int]]], offsets: dict[int, F64], before: F64) -> dict[int, F64]:
        """Compute target positions of held points; they keep their place in the palm, drawn to the pinch within 0.1 s."""
        pins: dict[int, F64] = {}
        if not active or self.hand is None:
            return pins
        palm = self.poses[k, self.hand.palm]
        for i, points in active:
            if i not in offsets:
                last = self.poses[k - 1, self.hand.palm]
                offsets[i] = quaternions.unplace(last[None], before.reshape(-1, 3)[points])
            middle = offsets[i].mean(0)
            offsets[i] = offsets[i] + (pinch_point() - middle) * 0.08
            pins |= dict(zip(points, quaternions.place(palm[None], offsets[i]), strict=True))
        return pins

    def _restore(self, pins: dict[int, F64], *, bend: bool) -> None:
        if pins:
            self.x.reshape(-1, 3)[list(pins)] = np.stack(list(pins.values()))
        for a, b, rest, strength in self.groups if bend else self.groups[:8]:
            first, second = self.x[a], self.x[b]
            way = second - first
            length = np.sqrt((way * way).sum(-1, keepdims=True))
            move = (0.5 * strength) * (1 - rest / np.maximum(length, 1e-9)) * way
            self.x[a] = first + move
            self.x[b] = second - move
        if pins:
            self.x.reshape(-1, 3)[list(pins)] = np.stack(list(pins.values()))

    def _push_out(self, k: int, before: F64) -> None:
        x = self.x
        middles = (x[:-1, :-1] + x[1:, :-1] + x[:-1, 1:] + x[1:, 1:]) / 4
        old = (before[:-1, :-1] + before[1:, :-1] + before[:-1, 1:] + before[1:, 1:]) / 4
        points = np.concatenate([x.reshape(-1, 3), middles.reshape(-1, 3)])
        were = np.concatenate([before.reshape(-1, 3), old.reshape(-1, 3)])
        low, high = points.min(0) - THICK, points.max(0) + THICK
        total = np.zeros_like(points)
        for j, support, reach in self.solid:
            pose = self.poses[k, j]
            if not support and ((pose[:3] + reach < low) | (pose[:3] - reach > high)).any():
                continue
            now = points + total
            near = np.arange(len(points))
            if not support:
                near = np.flatnonzero(((now - pose[:3]) ** 2).sum(1) < (reach + THICK) ** 2)
            rotation, back = self._rotation(k, j), self._rotation(k - 1, j)
            local = (now[near] - pose[:3]) @ rotation
            d, normal = _outward(self.bodies[j].shape, local)
            hit = np.flatnonzero(d < THICK)
            if not len(hit):
                continue
            which, depth, local = near[hit], (THICK - d[hit])[:, None], local[hit]
            normal = normal[hit] @ rotation.T
            carried = local @ (rotation - back).T + pose[:3] - self.poses[k - 1, j, :3]
            moved = now[which] - were[which] - carried
            along = moved - (moved * normal).sum(1, keepdims=True) * normal
            length = np.sqrt((along**2).sum(1, keepdims=True))
            total[which] += depth * normal - along * np.minimum(1.0, FRICTION * depth / np.maximum(length, 1e-9))
        count = x.shape[0] * x.shape[1]
        x += total[:count].reshape(x.shape)
        share = total[count:].reshape(middles.shape)
        # What pushes a cell's middle out moves its four corners.
        for rows in (slice(0, -1), slice(1, None)):
            for columns in (slice(0, -1), slice(1, None)):
                x[rows, columns] += 0.5 * share

    def _rotation(self, k: int, j: int) -> F64:
        return quaternions.rotate(self.poses[k, j, 3:][None], np.eye(3)).T

    def _stirred(self, k: int) -> bool:
        """Check whether a body near the sheet moves."""
        low, high = self.x.reshape(-1, 3).min(0) - 0.01, self.x.reshape(-1, 3).max(0) + 0.01
        for j, support, reach in self.solid:
            if support:
                continue
            here = self.poses[k, j]
            if ((here[:3] + reach < low) | (here[:3] - reach > high)).any():
                continue
            if np.abs(here - self.poses[k - 1, j]).max() > 4e-4:
                return True
        return False


def _outward(shape: Shape, points: F64) -> tuple[F64, F64]:
    """Compute distances and directions away from a shape; with a shortcut above the ground or a table's flat top."""
    plain = isinstance(shape, Ground)
    if isinstance(shape, RoundedBox) and shape.size[0] > 0.5:
        half = np.array(shape.size) / 2
        plain = bool((np.abs(points[:, :2]) < half[:2] - 0.02).all() and (points[:, 2] > half[2] - 0.01).all())
    if plain:
        top = shape.size[2] / 2 if isinstance(shape, RoundedBox) else 0.0
        return points[:, 2] - top, np.broadcast_to(np.array([0.0, 0.0, 1.0]), points.shape)
    # four samples in a tetrahedron around each point
    corners = np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]], float)
    samples = np.concatenate([points[None], points + 2e-5 * corners[:, None]])
    near = shape.distance(np.moveaxis(samples, -1, 0), filled=True)
    way = near[1:].T @ corners
    return near[0], way / np.maximum(np.sqrt((way * way).sum(-1, keepdims=True)), 1e-12)


_Index = tuple[slice, slice]


def _groups(shape: Sheet) -> list[tuple[_Index, _Index, float, float]]:
    """List sets of disjoint pairs: index of first points, of second points, distance at rest, strength; bending last."""
    rows, columns = shape.grid
    dx, dy = shape.size[0] / (columns - 1), shape.size[1] / (rows - 1)
    every = slice(None)
    made: list[tuple[_Index, _Index, float, float]] = []

    def pairs(count: int, start: int, hop: int, stride: int) -> tuple[slice, slice]:
        number = len(range(start, count - hop, stride))
        return slice(start, start + stride * number, stride), slice(start + hop, start + hop + stride * number, stride)

    for start in (0, 1):
        a, b = pairs(columns, start, 1, 2)
        made.append(((every, a), (every, b), dx, 1.0))
        a, b = pairs(rows, start, 1, 2)
        made.append(((a, every), (b, every), dy, 1.0))
    for start in (0, 1):
        a, b = pairs(rows, start, 1, 2)
        made.append(((a, slice(0, -1)), (b, slice(1, None)), float(np.hypot(dx, dy)), 0.4))
        made.append(((a, slice(1, None)), (b, slice(0, -1)), float(np.hypot(dx, dy)), 0.4))
    for hop, strength in STIFF:
        # Pairs (i, i + hop) whose firsts lie in every other run of `hop` points are disjoint.
        for phase in (0, 1):
            first = np.array([i for i in range(columns - hop) if i // hop % 2 == phase])
            if len(first):
                made.append(((every, first), (every, first + hop), hop * dx, strength))  # pyright: ignore[reportArgumentType]
            first = np.array([i for i in range(rows - hop) if i // hop % 2 == phase])
            if len(first):
                made.append(((first, every), (first + hop, every), hop * dy, strength))  # pyright: ignore[reportArgumentType]
    return made
