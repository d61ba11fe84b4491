"""Vibration modes of a body: frequencies, decays and strengths, from its shape, size and material.

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
"""

import zlib
from dataclasses import dataclass

import numpy as np

from tapetum.world.bodies.episode import Body, Material
from tapetum.world.bodies.shapes import Bowl, Capsule, Cone, Cup, Cylinder, Ellipsoid, RoundedBox, Shape, Sphere
from tapetum.world.types import F64

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
