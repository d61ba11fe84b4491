"""Sound sources among the contacts (impacts, stretches of rubbing, their strength at the microphone), and vibration modes of a
body: frequencies, decays and strengths, from its shape, size and material.

    bars, boxes, sticks   bending of a free bar: (b L)^2 t c / (2 pi sqrt(12) L^2), b L = 4.730, 7.853, 10.996, 14.137
    cups and bowls        bending of a ring: n (n^2 - 1) / sqrt(n^2 + 1) * t c / (2 pi sqrt(12) R^2), n = 2, 3, ...
    tables                bending of a plate held at its edges: (pi / 2) t c / sqrt(12 (1 - 0.09)) * (m^2 / a^2 + n^2 / b^2)
    balls                 multiples of 0.26 c / R, about the lowest of a solid ball (0.27 for steel)

with c the speed of sound in a bar, t a thickness. Speeds and losses of materials are rounded handbook values (Fletcher and
Rossing, "The Physics of Musical Instruments", table 3.1, for wood and metal); hardness and roughness were set by ear and eye.
Bars and rings: Rayleigh, "The Theory of Sound" (1877), sections 170 and 233. A mode loses exp(-pi f loss t), plus some more to
what the body stands on.

Differs from nature: small hard bodies ring above the audible range, and only the table is heard. Here their frequencies are
compressed into it, f / (1 + f / 7000 Hz), so that size and material remain audible: smaller and stiffer is still higher.

The microphone is at the camera. Strength falls with distance; the propagation delay (3 ms a metre) is ignored, so that sounds
are heard when they are seen.
"""

import zlib
from dataclasses import dataclass

import numpy as np

from tapetum.tracks.facets.types import F64, I64, Bool
from tapetum_world.bodies.episode import Body, Episode, Material
from tapetum_world.bodies.shapes import Bowl, Capsule, Cone, Cup, Cylinder, Ellipsoid, RoundedBox, Shape, Sphere

BAR = np.array([4.730, 7.853, 10.996, 14.137]) ** 2
CEILING = 7000.0
"""Hertz that no mode reaches."""
STANDING = 4.0
"""Per second: what a body loses to what it stands on."""


@dataclass(frozen=True, eq=False)
class Modes:
    """m damped sinusoids."""

    frequency: F64
    """(m,) hertz."""
    decay: F64
    """(m,) per second: amplitude goes as exp(-decay t)."""
    strength: F64
    """(m,) their share of a blow; the sum of squares is 1."""


def modes(body: Body, sample_rate: float) -> Modes:
    """Compute the modes of a body that fit a recording at `sample_rate`; none for sheets and the ground."""
    timbre = TIMBRES[body.material]
    natural = np.sort(frequencies(body.shape, timbre.speed))
    heard = natural / (1 + natural / CEILING)
    rng = np.random.default_rng(zlib.crc32(body.name.encode()))
    heard = heard * rng.uniform(0.98, 1.02, len(heard))
    strength = rng.uniform(0.5, 1.0, len(heard)) / np.sqrt(1 + np.arange(len(heard)))
    kept = (heard > 40) & (heard < 0.45 * sample_rate)
    heard, strength = heard[kept], strength[kept]
    loss = timbre.loss + (0.03 if body.fixed else 0.0)
    return Modes(heard, np.pi * heard * loss + STANDING, strength / max(np.sqrt((strength**2).sum()), 1e-12))


def frequencies(shape: Shape, speed: float) -> F64:
    """Compute the natural frequencies (m,) in hertz of a shape whose material carries sound at `speed` along a bar."""
    match shape:
        case Sphere(radius=r):
            return _ball(r, speed)
        case Ellipsoid(radii=radii):
            return np.concatenate([_ball(r, speed)[:3] for r in (radii[0], radii[2])])
        case Cup():
            return _ring((shape.radius_bottom + shape.radius_top) / 2, shape.wall, speed)
        case Bowl(radius=r, wall=wall):
            return _ring(0.8 * r, wall, speed)
        case RoundedBox(size=size):
            long, middle, short = sorted(size, reverse=True)
            if long > 0.5:
                return _plate(long, middle, short, speed)
            return np.concatenate([_bar(long, short, speed), _bar(middle, short, speed)])
        case Cylinder(radius=r, height=h) | Cone(radius=r, height=h):
            return np.concatenate([_bar(max(h, 2 * r), 0.87 * min(h, 2 * r), speed), _bar(2 * r, 0.87 * min(h, 2 * r), speed)])
        case Capsule(radius=r, length=length):
            return _bar(length + 2 * r, 1.73 * r, speed)
    return np.zeros(0)


def _bar(length: float, thickness: float, speed: float) -> F64:
    return BAR * thickness * speed / (2 * np.pi * np.sqrt(12) * length**2)


def _ring(radius: float, wall: float, speed: float) -> F64:
    n = np.arange(2, 9)
    around = n * (n**2 - 1) / np.sqrt(n**2 + 1) * wall * speed / (2 * np.pi * np.sqrt(12) * radius**2)
    return np.concatenate([around, 1.32 * around[:3]])


def _plate(a: float, b: float, thickness: float, speed: float) -> F64:
    m, n = (g.ravel() for g in np.mgrid[1:6, 1:6])
    frequencies = np.pi / 2 * thickness * speed / np.sqrt(12 * 0.91) * (m**2 / a**2 + n**2 / b**2)
    return np.sort(frequencies)[:14]


def _ball(radius: float, speed: float) -> F64:
    return 0.26 * speed / radius * np.array([1.0, 1.31, 1.57, 1.93, 2.24])


@dataclass(frozen=True, kw_only=True)
class Timbre:
    """Sound properties of one material."""

    speed: float
    """Metres per second of sound along a bar of it: root of stiffness over density."""
    loss: float
    """Share of a vibration's energy lost per radian: 1 over the quality factor."""
    contact_s: float
    """Seconds that it stays in touch with an equal in a blow of 1 m/s; short for hard materials, which sound bright."""
    rough: float
    """0 smooth to 1 rough: how loudly things slide on it."""


TIMBRES: dict[Material, Timbre] = {
    "wood": Timbre(speed=4000.0, loss=0.02, contact_s=0.0005, rough=0.6),
    "metal": Timbre(speed=5000.0, loss=0.0008, contact_s=0.00012, rough=0.3),
    "plastic": Timbre(speed=1800.0, loss=0.03, contact_s=0.0006, rough=0.35),
    "rubber": Timbre(speed=150.0, loss=0.6, contact_s=0.003, rough=0.8),
    "ceramic": Timbre(speed=4600.0, loss=0.003, contact_s=0.00015, rough=0.3),
    "glass": Timbre(speed=5200.0, loss=0.0015, contact_s=0.00013, rough=0.15),
    "paper": Timbre(speed=1500.0, loss=0.08, contact_s=0.0012, rough=0.5),
    "cloth": Timbre(speed=100.0, loss=0.4, contact_s=0.005, rough=0.5),
    "skin": Timbre(speed=60.0, loss=0.4, contact_s=0.006, rough=0.4),
    "stone": Timbre(speed=4000.0, loss=0.01, contact_s=0.0002, rough=0.7),
}


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


def find_impacts(episode: Episode) -> Impacts:
    """Find potentially audible impacts; parts of one group (a hand) and fixed bodies make none among themselves."""
    contacts, step = episode.contacts, episode.time(1)
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
    contacts, step = episode.contacts, episode.time(1)
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


def at_microphone(episode: Episode, time: F64, place: F64) -> tuple[F64, Bool]:
    """Compute for points (c, 3) at times (c,) in seconds: gain by distance, whether in view."""
    moment = np.clip((time * episode.frame_rate * episode.moments_per_frame).astype(np.int64), 0, episode.poses.shape[0] - 1)
    matrix = episode.camera.world_to_camera[moment]
    here = np.einsum("cij,cj->ci", matrix[:, :3, :3], place) + matrix[:, :3, 3]
    far = np.maximum(np.linalg.norm(here, axis=1), NEAREST)
    fx, fy, cx, cy = episode.camera.intrinsics[moment].T
    depth = np.maximum(here[:, 2], 1e-9)
    x, y = fx * here[:, 0] / depth + cx, fy * here[:, 1] / depth + cy
    h, w = episode.size
    return 1 / far, (here[:, 2] > 1e-9) & (x >= 0) & (x < w) & (y >= 0) & (y < h)


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
