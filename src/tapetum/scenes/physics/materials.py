"""What materials do to motion: how heavy, how rough, how lively.

Where two bodies touch, the rougher of the two gives the friction (MuJoCo's rule for geoms) and the less lively one the bounce;
a hand's skin counts alone.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import atan2, exp, pi, sqrt

from tapetum.scenes.bodies.body import Material

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
    """Compute stiffness (1/s^2) and damping (1/s), both per unit mass, of a contact that lasts `touch_s` and bounces so.

    A mass on a damped spring that pushes but never pulls leaves when its force is zero, with `rebound(ratio)` of its speed.
    Both numbers are independent of mass, as MuJoCo's solref with negative numbers is.
    """
    low, high = 0.0, 0.75  # more damping in a step of 1/720 s would throw back instead
    for _ in range(40):
        ratio = (low + high) / 2
        low, high = (ratio, high) if rebound(ratio) > bounce else (low, ratio)
    natural = pi / touch_s
    return natural**2, 2 * low * natural


def rebound(ratio: float) -> float:
    """Compute the speed after over the speed before a touch from the damping ratio (below 1).

    >>> round(rebound(1e-6), 3), round(rebound(0.5), 2)
    (1.0, 0.3)
    """
    root = sqrt(1 - ratio**2)
    return exp(-ratio / root * atan2(2 * ratio * root, 2 * ratio**2 - 1))
