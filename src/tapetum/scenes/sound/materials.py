"""How materials sound: how fast waves run in them, how soon they die away, how hard and how rough they are.

Speeds and losses are rounded handbook values for typical kinds (Fletcher and Rossing, "The Physics of Musical Instruments",
table 3.1, for wood and metal); hardness and roughness were set by ear and eye.
"""

from dataclasses import dataclass

from tapetum.scenes.bodies.body import Material


@dataclass(frozen=True, kw_only=True)
class Timbre:
    """How one material sounds."""

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
