"""Finds where tracks of alike bodies have exchanged points, by the distances within each body, and exchanges them back.

Points are named PART@BODY, such as nose@mouse1 and nose@mouse2. Within a body the distances between parts stay alike; where two
bodies cross, a tracker may go on with the other's nose. For each part the most likely assignment of its tracks to the bodies is
computed in every frame by dynamic programming (Viterbi 1967). A track costs how unlike its distances to the body's other parts
are to those of the first frames, in robust standard deviations, up to the cost of a track that is lost; a change costs as much
as some frames of clear evidence. A track that is lost for some frames, as where two of them follow the same nose, counts as
hidden there.

What distances cannot tell: if all points of two bodies are exchanged together, nothing is found.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
from jaxtyping import Bool, Float, Int

from tapetum.core.errors import BadInput
from tapetum.types import Tracks

MOST_BODIES = 5
"""Of which assignments are compared: there are 120 of five."""
_LEAST_PARTS = 3
"""Of a body whose distances are compared."""
_LOST = 3.0
"""Cost of a track in a frame in which its distances fit no body: those of 2.4 standard deviations."""
_CHANGE = 10.0
"""Cost of each track that is assigned to another body: for two, of some frames in which both are clearly on each other's."""
_FRAMES = 3
"""Frames for which a track is lost at least, where it counts as hidden."""
_FLOOR = 0.06
"""Least standard deviation of a distance, as a share of the median distance within bodies."""
_ROUNDS = 3


@dataclass(frozen=True)
class Swap:
    """An exchange of points between bodies."""

    frame: int
    """The first frame, counted among the frames of the tracks, from which the points are exchanged."""
    points: tuple[str, ...]
    """Names of the points; from `frame` on the track of each follows the next one, and that of the last the first."""


@dataclass(frozen=True, eq=False)
class _Bodies:
    parts: list[str]
    bodies: list[str]
    rows: Int[np.ndarray, "p b"]
    """Row of the tracks for each part of each body; -1 where there is none."""


def find_swaps(tracks: Tracks) -> list[Swap]:
    """Find where points of alike bodies were exchanged, in the order of frames.

    Raises BadInput if no two bodies have at least three parts in common, named PART@BODY, or there are more than five bodies.
    """
    return _swaps(named := _bodies_of(tracks), _assign(tracks, named)[0])


def undo_swaps(tracks: Tracks) -> tuple[Tracks, list[Swap]]:
    """Exchange points back where `find_swaps` finds them exchanged, and hide those that are lost; returns the tracks, and what
    was found.

    Queries and frames that somebody clicked keep their points. Raises BadInput as `find_swaps`.
    """
    orders, lost = _assign(tracks, named := _bodies_of(tracks))
    names = ("xy", "visible", "confidence", *(("error_px", "chance_wrong") if tracks.error_px is not None else ()))
    arrays = {name: getattr(tracks, name).copy() for name in names}
    for rows, order, away in zip(named.rows, orders, lost, strict=True):
        here = rows >= 0
        followed = rows[order[here]]  # (bodies, t)
        for name, array in arrays.items():
            array[rows[here]] = getattr(tracks, name)[followed, np.arange(tracks.frames)]
        arrays["visible"][rows[here]] &= ~away[here]
    return replace(tracks, **arrays), _swaps(named, orders)


def _swaps(named: _Bodies, assigned: Sequence[Int[np.ndarray, "b t"]]) -> list[Swap]:
    swaps = []
    for part, order in zip(named.parts, assigned, strict=True):
        for frame in 1 + np.flatnonzero((order[:, 1:] != order[:, :-1]).any(0)):
            # Whose track follows a body before the frame, and whose from it on.
            step = {int(before): int(after) for before, after in zip(order[:, frame - 1], order[:, frame], strict=True)}
            swaps += [Swap(int(frame), tuple(f"{part}@{named.bodies[body]}" for body in cycle)) for cycle in _cycles(step)]
    return sorted(swaps, key=lambda swap: (swap.frame, swap.points))


def _bodies_of(tracks: Tracks) -> _Bodies:
    split = [name.rpartition("@") for name in tracks.names or ()]
    places = {(part, body): row for row, (part, at, body) in enumerate(split) if at and part and body}
    bodies = sorted({body for _, body in places})
    counts = {part: sum((part, body) in places for body in bodies) for part, _ in places}
    parts = [part for part, count in counts.items() if count > 1]
    rows = np.array([[places.get((part, body), -1) for body in bodies] for part in parts]).reshape(len(parts), len(bodies))
    if ((rows >= 0).sum(0) >= _LEAST_PARTS).sum() < 2:
        raise BadInput(
            f"no two bodies have {_LEAST_PARTS} parts in common; name points PART@BODY, such as nose@mouse1 and nose@mouse2"
        )
    if len(bodies) > MOST_BODIES:
        raise BadInput(f"there are {len(bodies)} bodies ({', '.join(bodies[:6])}, ...); compare at most {MOST_BODIES}")
    return _Bodies(parts, bodies, rows)


def _assign(tracks: Tracks, named: _Bodies) -> tuple[list[Int[np.ndarray, "b t"]], Bool[np.ndarray, "p b t"]]:
    """For each part and body, whose track follows it in each frame, and whether that one is lost."""
    here = named.rows >= 0
    xy, every = tracks.xy[named.rows], tracks.visible[named.rows] & here[..., None]
    frames = np.arange(tracks.frames)
    certain = np.equal(frames, tracks.queries[named.rows, :1])  # (p, b, t)
    if tracks.clicked is not None:
        certain |= tracks.clicked[named.rows]
    begin = int(tracks.queries[named.rows[here], 0].max())
    used = every & (frames >= begin) & (frames < begin + max(5, (tracks.frames - begin) // 10))
    if not np.asarray(used.any(-1))[here].all():
        used = every
    orders = np.broadcast_to(np.arange(len(named.bodies))[:, None], every.shape).copy()
    current, visible, lost = xy.copy(), every.copy(), np.zeros_like(every)
    middle, spread = _distances(current, used)
    for _ in range(_ROUNDS * len(named.parts)):
        candidates = []
        for part in range(len(named.parts)):
            cost = _costs(part, xy[part], every[part], current, visible & ~lost, middle, spread)
            order, total = _cheapest(cost, np.flatnonzero(here[part]), certain[part])
            own = cost[orders[part], np.arange(len(here[part]))[:, None], frames]
            lost[part] = _long_runs((own >= _LOST) & visible[part] & ~certain[part])
            changes = _CHANGE * (orders[part][:, 1:] != orders[part][:, :-1]).sum()
            candidates.append((own.sum() + changes - total, part, order))
        gain, part, order = max(candidates, key=lambda each: each[0])
        if gain <= 1e-6:
            break
        orders[part] = order  # the largest gain first: what the exchange of another part seems to gain may follow from this one
        current[part], visible[part] = xy[part][order, frames], every[part][order, frames]
    return list(orders), lost


def _long_runs(there: Bool[np.ndarray, "b t"]) -> Bool[np.ndarray, "b t"]:
    """Keep the runs of at least `_FRAMES` frames."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(there, ((0, 0), (_FRAMES - 1,) * 2)), _FRAMES, 1).all(-1)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(windows, _FRAMES, 1).any(-1))


def _distances(
    xy: Float[np.ndarray, "p b t 2"], visible: Bool[np.ndarray, "p b t"]
) -> tuple[Float[np.ndarray, "p p b"], Float[np.ndarray, "p p b"]]:
    """The median distance between two parts of each body, and its robust standard deviation; NaN where never seen together."""
    away = np.linalg.norm(xy[:, None] - xy[None], axis=-1)
    away = np.where(visible[:, None] & visible[None], away, np.nan)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # means of nothing are NaN
        middle = np.nanmedian(away, -1)
        spread = 1.4826 * np.nanmedian(np.abs(away - middle[..., None]), -1)
        least = _FLOOR * np.nanmedian(middle[middle > 0])
    return middle, np.maximum(spread, least)


def _costs(
    part: int,
    own: Float[np.ndarray, "b t 2"],
    own_visible: Bool[np.ndarray, "b t"],
    xy: Float[np.ndarray, "p b t 2"],
    visible: Bool[np.ndarray, "p b t"],
    middle: Float[np.ndarray, "p p b"],
    spread: Float[np.ndarray, "p p b"],
) -> Float[np.ndarray, "b b t"]:
    """The cost of each track of a part for each body: half the squared deviation of the median distance, at most `_LOST`."""
    others = [q for q in range(len(xy)) if q != part]
    away = np.linalg.norm(own[None, :, None] - xy[others][:, None], axis=-1)  # (q, a, b, t)
    z = (away - middle[part, others][:, None, :, None]) / spread[part, others][:, None, :, None]
    known = visible[others][:, None] & own_visible[:, None] & np.isfinite(z)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # the median of nothing is NaN
        return np.minimum(np.nan_to_num(np.nanmedian(np.where(known, z**2 / 2, np.nan), 0)), _LOST)


def _cheapest(
    cost: Float[np.ndarray, "b b t"], bodies: Int[np.ndarray, " k"], certain: Bool[np.ndarray, "b t"]
) -> tuple[Int[np.ndarray, "b t"], float]:
    """The cheapest sequence of assignments of tracks to bodies, and its cost; in certain frames a body has its own."""
    states = [np.array(state) for state in permutations(bodies)]
    emission = np.stack([cost[state, bodies].sum(0) for state in states])  # (s, t)
    for state, row in zip(states, emission, strict=True):
        row[certain[bodies[state != bodies]].any(0)] = np.inf
    change = _CHANGE * (np.array(states)[:, None] != np.array(states)[None]).sum(-1)  # from, to
    total, back = np.zeros(len(states)), np.zeros(emission.shape, int)
    for t, here in enumerate(emission.T):
        arriving = total[:, None] + change
        back[:, t] = arriving.argmin(0)
        total = arriving.min(0) + here
    order = np.repeat(np.arange(len(cost))[:, None], cost.shape[-1], 1)
    state = int(total.argmin())
    least = float(total[state])
    for t in reversed(range(cost.shape[-1])):
        order[bodies, t] = states[state]
        state = int(back[state, t])
    return order, least


def _cycles(step: dict[int, int]) -> Sequence[list[int]]:
    """The cycles of a permutation that are longer than one."""
    left, cycles = dict(step), []
    while left:
        start, follows = left.popitem()
        cycle = [start]
        while follows != start:
            cycle.append(follows)
            follows = left.pop(follows)
        if len(cycle) > 1:
            cycles.append(sorted(cycle) if len(cycle) == 2 else cycle)
    return cycles
