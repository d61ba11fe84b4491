"""Objects by name, with shapes, materials and colours that people expect; density, friction and bounce of materials.

At a contact, the rougher body determines the friction (MuJoCo's rule for geoms) and the less bouncy one the bounce; for a hand,
only its skin counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import atan2, exp, pi, sqrt

import numpy as np

from tapetum_world.bodies.episode import Body, Material, Rgb, Surface
from tapetum_world.bodies.shapes import Bowl, Capsule, Cone, Cup, Cylinder, Ellipsoid, RoundedBox, Shape, Sheet, Sphere

TOUCH_S = 0.010
"""Seconds that a lively bounce lasts; short beside a frame, long beside a step."""


@dataclass(frozen=True, kw_only=True)
class PhysicsMaterial:
    """Numbers of one material."""

    density: float
    """Kilograms per cubic metre."""
    friction: float
    """Coulomb's coefficient."""
    bounce: float
    """Speed after over speed before a hit on something livelier."""
    rolling: float = 0.0004
    """Metres: torque of rolling resistance over normal force."""
    twist: float = 0.001
    """Metres: torque against spinning on the spot over normal force."""


PHYSICS_MATERIALS: dict[Material, PhysicsMaterial] = {
    "wood": PhysicsMaterial(density=650, friction=0.4, bounce=0.5),
    "metal": PhysicsMaterial(density=5000, friction=0.25, bounce=0.6, rolling=0.0002),
    "plastic": PhysicsMaterial(density=950, friction=0.35, bounce=0.6),
    "rubber": PhysicsMaterial(density=1100, friction=0.85, bounce=0.75, rolling=0.0008),
    "ceramic": PhysicsMaterial(density=2200, friction=0.35, bounce=0.35),
    "glass": PhysicsMaterial(density=2500, friction=0.25, bounce=0.55, rolling=0.0002),
    "paper": PhysicsMaterial(density=250, friction=0.4, bounce=0.25, rolling=0.001),
    "cloth": PhysicsMaterial(density=200, friction=0.6, bounce=0.2, rolling=0.0015),
    "skin": PhysicsMaterial(density=1000, friction=0.35, bounce=0.2, rolling=0.001),
    "stone": PhysicsMaterial(density=2600, friction=0.5, bounce=0.7),
}
"""By material."""


@lru_cache(maxsize=64)
def spring(bounce: float, touch_s: float = TOUCH_S) -> tuple[float, float]:
    """Compute stiffness (1/s^2) and damping (1/s), both per unit mass, of a contact with duration `touch_s` and this bounce.

    A mass on a damped spring that pushes but never pulls leaves when its force is zero, with `rebound(ratio)` of its speed.
    Both numbers are independent of mass, as in MuJoCo's solref with negative numbers.
    """
    low, high = 0.0, 0.75  # more damping in a step of 1/720 s would throw back instead
    for _ in range(40):
        ratio = (low + high) / 2
        low, high = (ratio, high) if rebound(ratio) > bounce else (low, ratio)
    natural = pi / touch_s
    return natural**2, 2 * low * natural


def rebound(ratio: float) -> float:
    """Compute the ratio of the speeds after and before a contact from the damping ratio (below 1).

    >>> round(rebound(1e-6), 3), round(rebound(0.5), 2)
    (1.0, 0.3)
    """
    root = sqrt(1 - ratio**2)
    return exp(-ratio / root * atan2(2 * ratio * root, 2 * ratio**2 - 1))


Rng = np.random.Generator

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 35, 38),
    "green": (40, 145, 62),
    "blue": (38, 84, 200),
    "yellow": (240, 205, 35),
    "orange": (238, 126, 28),
    "purple": (128, 52, 158),
    "pink": (240, 130, 175),
    "brown": (118, 74, 40),
    "black": (28, 28, 30),
    "white": (240, 240, 236),
    "grey": (134, 136, 140),
    "turquoise": (44, 188, 190),
}
"""Display values 0..255 (sRGB) by name."""

WORDS = ("A", "B", "C", "7", "42", "TEA", "MILK", "SALT", "RICE", "TOY", "HI", "SUN", "BOX", "NO 5", "EGGS", "OPEN")
SHINE: dict[Material, float] = {"metal": 0.7, "glass": 0.8, "ceramic": 0.6, "plastic": 0.4, "stone": 0.15, "wood": 0.1}


def linear(colour: tuple[int, int, int]) -> Rgb:
    """Convert display values to linear light."""
    v = np.array(colour) / 255
    low, high = v / 12.92, ((v + 0.055) / 1.055) ** 2.4
    r, g, b = (float(x) for x in np.where(v <= 0.04045, low, high))
    return (r, g, b)


@dataclass(frozen=True, kw_only=True)
class Prop:
    """One noun."""

    shape: Callable[[Rng], Shape]
    materials: tuple[Material, ...]
    colours: tuple[str, ...] = ()
    """Allowed names; all if empty."""
    printed: bool = False
    """May carry a word."""
    rolls: bool = False
    tall: bool = False


def _u(rng: Rng, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _cube(rng: Rng, low: float, high: float, rounding: float) -> RoundedBox:
    side = _u(rng, low, high)
    return RoundedBox(size=(side, side, side), rounding=side * rounding)


def _box(rng: Rng) -> RoundedBox:
    return RoundedBox(size=(_u(rng, 0.05, 0.08), _u(rng, 0.04, 0.065), _u(rng, 0.04, 0.09)), rounding=0.002)


def _brick(rng: Rng) -> RoundedBox:
    s = _u(rng, 0.85, 1.15)
    return RoundedBox(size=(0.09 * s, 0.045 * s, 0.032 * s), rounding=0.0025)


def _can(rng: Rng) -> Cylinder:
    return Cylinder(radius=_u(rng, 0.024, 0.031), height=_u(rng, 0.075, 0.11))


def _cup(rng: Rng) -> Cup:
    top = _u(rng, 0.036, 0.042)
    return Cup(radius_bottom=top * _u(rng, 0.74, 0.9), radius_top=top, height=_u(rng, 0.085, 0.105), wall=0.004)


def _bucket(rng: Rng) -> Cup:
    top = _u(rng, 0.065, 0.08)
    return Cup(radius_bottom=top * _u(rng, 0.75, 0.9), radius_top=top, height=_u(rng, 0.08, 0.1), wall=0.005)


def _ellipsoid(a: float, b: float) -> Callable[[Rng], Shape]:
    def make(rng: Rng) -> Shape:
        s = _u(rng, 0.9, 1.15)
        return Ellipsoid(radii=(a * s, a * s, b * s))

    return make


PROPS: dict[str, Prop] = {
    "ball": Prop(shape=lambda r: Sphere(radius=_u(r, 0.018, 0.032)), materials=("rubber", "plastic", "wood"), rolls=True),
    "marble": Prop(shape=lambda r: Sphere(radius=_u(r, 0.009, 0.012)), materials=("glass", "metal", "stone"), rolls=True),
    "egg": Prop(shape=_ellipsoid(0.021, 0.027), materials=("ceramic", "wood"), colours=("white", "brown"), rolls=True),
    "lemon": Prop(shape=_ellipsoid(0.024, 0.032), materials=("rubber",), colours=("yellow", "green"), rolls=True),
    "box": Prop(shape=_box, materials=("paper", "wood", "plastic"), printed=True),
    "block": Prop(shape=lambda r: _cube(r, 0.03, 0.05, 0.06), materials=("wood", "plastic", "stone"), printed=True),
    "brick": Prop(shape=_brick, materials=("stone", "wood", "plastic")),
    "dice": Prop(shape=lambda r: _cube(r, 0.022, 0.03, 0.16), materials=("plastic", "wood")),
    "book": Prop(
        shape=lambda r: RoundedBox(size=(_u(r, 0.1, 0.13), _u(r, 0.07, 0.09), _u(r, 0.014, 0.025))),
        materials=("paper",),
        printed=True,
    ),
    "can": Prop(shape=_can, materials=("metal",), tall=True, rolls=True),
    "candle": Prop(
        shape=lambda r: Cylinder(radius=_u(r, 0.012, 0.018), height=_u(r, 0.07, 0.11)), materials=("plastic",), tall=True
    ),
    "puck": Prop(
        shape=lambda r: Cylinder(radius=_u(r, 0.024, 0.034), height=_u(r, 0.018, 0.026)), materials=("plastic", "metal", "wood")
    ),
    "cone": Prop(
        shape=lambda r: Cone(radius=_u(r, 0.026, 0.038), height=_u(r, 0.06, 0.1)),
        materials=("plastic", "wood", "paper"),
        tall=True,
    ),
    "stick": Prop(shape=lambda r: Capsule(radius=_u(r, 0.007, 0.011), length=_u(r, 0.06, 0.12)), materials=("wood", "plastic")),
    "cup": Prop(shape=_cup, materials=("plastic", "ceramic", "metal", "paper"), tall=True),
    "bucket": Prop(shape=_bucket, materials=("plastic", "metal")),
    "bowl": Prop(shape=lambda r: Bowl(radius=_u(r, 0.068, 0.088), wall=0.005), materials=("ceramic", "wood", "metal")),
    "cloth": Prop(shape=lambda r: Sheet(size=(0.26, 0.26), grid=(14, 14)), materials=("cloth",)),
    "board": Prop(
        shape=lambda r: RoundedBox(size=(_u(r, 0.18, 0.28), 0.03, _u(r, 0.12, 0.17)), rounding=0.002), materials=("wood",)
    ),
}
"""By noun."""
SMALL = ("ball", "egg", "lemon", "block", "dice", "puck")
"""Nouns that go into a bowl or a bucket and that a hand takes well."""
TALL = tuple(noun for noun, prop in PROPS.items() if prop.tall and noun != "cup")
COMMON = ("ball", "egg", "lemon", "box", "block", "brick", "dice", "can", "candle", "puck", "cone", "cup", "stick", "book")


def make_body(
    rng: Rng,
    noun: str,
    *,
    number: int,
    used: Sequence[tuple[str, str]] = (),
    shape: Shape | None = None,
    material: Material | None = None,
    colour: str | None = None,
) -> Body:
    """Draw a body called `noun`; `used`: (noun, colour) pairs in use, avoided while other colours remain."""
    prop = PROPS[noun]
    names = [c for c in (prop.colours or tuple(COLOURS)) if (noun, c) not in used] or list(prop.colours or COLOURS)
    name = str(rng.choice(names)) if colour is None else colour
    made: Material = material or prop.materials[int(rng.integers(len(prop.materials)))]
    form = shape or prop.shape(rng)
    jitter = rng.uniform(0.9, 1.1, 3)
    r, g, b = (float(min(v * j, 1.0)) for v, j in zip(linear(COLOURS[name]), jitter, strict=True))
    kind = str(rng.choice(["plain", "pattern", "photo"], p=[0.55, 0.33, 0.12]))
    if isinstance(form, Sheet) and kind == "plain":
        kind = "pattern"
    other = str(rng.choice([c for c in COLOURS if c != name]))
    surface = Surface(
        kind=kind,  # pyright: ignore[reportArgumentType]
        colour=(r, g, b),
        second=_mixed((r, g, b), linear(COLOURS[other])),
        pattern=str(rng.choice(["stripes", "checks", "dots", "noise", "marble"])),  # pyright: ignore[reportArgumentType]
        scale=_u(rng, 0.008, 0.03),
        seed=int(rng.integers(2**31)),
        shine=SHINE.get(made, 0.0) * _u(rng, 0.6, 1.0),
        text=str(rng.choice(WORDS)) if prop.printed and rng.random() < 0.75 else "",
    )
    return Body(
        name=f"{noun}-{number}",
        noun=noun,
        shape=form,
        material=made,
        surface=surface,
        colour_name="" if kind == "photo" else name,
        mass=PHYSICS_MATERIALS[made].density * form.mass_properties[0],
    )


def _mixed(first: Rgb, second: Rgb) -> Rgb:
    r, g, b = (0.55 * x + 0.45 * y for x, y in zip(first, second, strict=True))
    return (r, g, b)
