"""Sound sources among the contacts: impacts and stretches of rubbing, and their strength at the microphone.

The microphone is at the camera. Strength falls with distance; the propagation delay (3 ms a metre) is ignored, so that sounds
are heard when they are seen.
"""

from dataclasses import dataclass

import numpy as np

from tapetum.world.bodies.episode import Body, Episode
from tapetum.world.sound.modes import TIMBRES, Modes
from tapetum.world.types import F64, I64, Bool

BLOW_S = 0.0125
"""Seconds over which the impulse of a blow is added up."""
GRAVITY = 9.81
LEAST_APPROACH = 0.02
"""Metres per second: slower meetings are not heard."""
LEAST_SLIDING = 0.015
"""Metres per second of the surfaces."""
LEAST_ROLLING = 0.03
"""Metres per second of a rolling body's middle."""
PAUSE_S = 0.1
"""Seconds without rubbing that end a stretch."""


@dataclass(frozen=True, eq=False)
class Impacts:
    """c meetings of two bodies."""

    time: F64
    """(c,) seconds: the middle of the moment in which they met."""
    bodies: I64
    """(c, 2)"""
    place: F64
    """(c, 3)"""
    impulse: F64
    """(c,) newton seconds of the blow, without what the resting weight adds."""
    speed: F64
    """(c,) metres per second of meeting."""


@dataclass(frozen=True, eq=False)
class RubbingInterval:
    """A stretch of time in which one body slides or rolls on another."""

    kind: str
    """sliding or rolling."""
    bodies: tuple[int, int]
    time: F64
    """(m,) seconds, rising."""
    force: F64
    """(m,) newtons along the normal."""
    speed: F64
    """(m,) metres per second of sliding, or of the rolling body's middle."""
    place: F64
    """(m, 3)"""


def moment_s(episode: Episode) -> float:
    """Compute the duration of one moment in seconds."""
    return 1.0 / (episode.frame_rate * episode.moments_per_frame)


def find_impacts(episode: Episode) -> Impacts:
    """Find potentially audible impacts; parts of one group (a hand) and fixed bodies make none among themselves."""
    contacts, step = episode.contacts, moment_s(episode)
    mass = np.array([np.inf if b.fixed else b.mass for b in episode.bodies])
    pair = contacts.bodies[:, 0] * len(mass) + contacts.bodies[:, 1]
    order = np.lexsort((contacts.moment, pair))
    moment, impulse, sorted_pair = contacts.moment[order], contacts.impulse[order], pair[order]
    total = np.concatenate([[0.0], np.cumsum(impulse)])
    key = sorted_pair * (episode.poses.shape[0] + 1000) + moment
    span = max(1, round(BLOW_S / step))
    until = np.searchsorted(key, key + span)
    summed = np.empty(len(order))
    summed[order] = total[until] - total[:-1]
    first, second = contacts.bodies.T
    shared = 1 / np.maximum(1 / mass[first] + 1 / mass[second], 1e-9)
    weight = np.where(np.isfinite(mass), mass, 0.0)
    resting = np.maximum(weight[first], weight[second]) * GRAVITY * span * step
    size = np.maximum(summed - resting, shared * contacts.approach)
    heard = (contacts.approach > LEAST_APPROACH) & ~_together(episode, first, second)
    return Impacts(
        step * (contacts.moment[heard] + 0.5).astype(np.float64),
        contacts.bodies[heard],
        contacts.place[heard],
        size[heard],
        contacts.approach[heard],
    )


def find_rubbing(episode: Episode) -> list[RubbingInterval]:
    """Find the stretches of sliding and rolling, sorted by start."""
    contacts, step = episode.contacts, moment_s(episode)
    reach = np.array([_radius(episode, j) for j in range(len(episode.bodies))])
    first, second = contacts.bodies.T
    rolled = contacts.rolling * np.minimum(reach[first], reach[second])
    rolls = (rolled > LEAST_ROLLING) & (contacts.sliding < 0.4 * rolled)
    slides = (contacts.sliding > LEAST_SLIDING) & ~rolls
    apart = ~_together(episode, first, second)
    intervals: list[RubbingInterval] = []
    for kind, which, speed in (("sliding", slides & apart, contacts.sliding), ("rolling", rolls & apart, rolled)):
        rows = np.flatnonzero(which)
        pair = first[rows] * len(reach) + second[rows]
        rows = rows[np.argsort(pair, kind="stable")]
        if not len(rows):
            continue
        pair = first[rows] * len(reach) + second[rows]
        gap = np.diff(contacts.moment[rows]) * step > PAUSE_S
        for part in np.split(rows, np.flatnonzero((np.diff(pair) != 0) | gap) + 1):
            if len(part) * step < 0.03:
                continue
            bodies = (int(first[part[0]]), int(second[part[0]]))
            time, force = step * (contacts.moment[part] + 0.5).astype(np.float64), contacts.impulse[part] / step
            intervals.append(RubbingInterval(kind, bodies, time, force, speed[part], contacts.place[part]))
    return sorted(intervals, key=lambda r: (float(r.time[0]), r.bodies, r.kind))


def _together(episode: Episode, first: I64, second: I64) -> np.ndarray:
    """Check whether two bodies are parts of one object, or neither moves."""
    names: dict[str, int] = {"": -1}
    group = np.array([names.setdefault(b.group, len(names)) for b in episode.bodies])
    fixed = np.array([b.fixed for b in episode.bodies])
    return ((group[first] >= 0) & (group[first] == group[second])) | (fixed[first] & fixed[second])


def _radius(episode: Episode, body: int) -> float:
    """Half the second largest extent of a body: about its rolling radius; none for fixed bodies."""
    if episode.bodies[body].fixed:
        return np.inf
    return float(np.sort(np.ptp(episode.bodies[body].shape.outline, axis=0))[1]) / 2


GAIN = 1.1
"""Amplitude of a blow of 1 newton second, 1 m away; 1 is full scale."""
POWER = 0.7
"""Amplitude goes with the impulse to this power: ears and cameras press loud and soft together."""
DIRECT = 0.4
"""Share of a blow that is heard as a click, before anything rings."""
RUBBING = {"sliding": 0.05, "rolling": 0.02}
"""Amplitude at 1 newton and 1 m/s, 1 m away."""
NEAREST = 0.3
"""Metres: nothing is heard as if it were nearer."""


def at_microphone(episode: Episode, time: F64, place: F64) -> tuple[F64, F64, Bool]:
    """Compute for points (c, 3) at times (c,) in seconds: gain by distance, side (-1 left to 1 right), whether in view."""
    moment = np.clip((time * episode.frame_rate * episode.moments_per_frame).astype(np.int64), 0, episode.poses.shape[0] - 1)
    matrix = episode.camera.world_to_camera[moment]
    here = np.einsum("cij,cj->ci", matrix[:, :3, :3], place) + matrix[:, :3, 3]
    far = np.maximum(np.linalg.norm(here, axis=1), NEAREST)
    fx, fy, cx, cy = episode.camera.intrinsics[moment].T
    depth = np.maximum(here[:, 2], 1e-9)
    x, y = fx * here[:, 0] / depth + cx, fy * here[:, 1] / depth + cy
    h, w = episode.size
    return 1 / far, here[:, 0] / far, (here[:, 2] > 1e-9) & (x >= 0) & (x < w) & (y >= 0) & (y < h)


def panned(side: F64, channels: int) -> F64:
    """Compute gains (channels, c) for one channel, or for left and right with constant total power."""
    if channels == 1:
        return np.ones((1, len(side)))
    angle = (np.clip(side, -1, 1) + 1) * np.pi / 4
    return np.sqrt(2) * np.stack([np.cos(angle), np.sin(angle)])


def contact_s(bodies: tuple[Body, ...], pairs: I64, speed: F64) -> F64:
    """Compute how long (c,) two bodies touch in an impact: the softer one decides; slower impacts last longer (Hertz, 1882)."""
    each = np.array([TIMBRES[b.material].contact_s for b in bodies])
    return each[pairs].max(1) * np.clip(speed, 0.05, 5.0) ** -0.2


def excited(modes: Modes, touch_s: F64) -> F64:
    """Compute how strongly (c, m) impacts that last `touch_s` (c,) excite modes: high modes need short impacts."""
    return modes.strength / (1 + (2 * modes.frequency * touch_s[:, None]) ** 2)


def rub_amplitude(episode: Episode, rub: RubbingInterval) -> F64:
    """Compute the amplitude (m,) of a stretch of rubbing 1 m away."""
    rough = np.mean([TIMBRES[episode.bodies[j].material].rough for j in rub.bodies])
    return RUBBING[rub.kind] * rough * np.sqrt(np.minimum(rub.force, 5.0)) * np.minimum(rub.speed, 3.0) ** 0.7
