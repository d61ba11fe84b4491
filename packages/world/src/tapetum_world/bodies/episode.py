"""Bodies and the record of an episode: the source of images, ground truth, sound and words.

Moments are finer than frames (`moments_per_frame` of them), as blur and sound require; frame i shows moment i *
moments_per_frame. Poses are stored, so ground truth never depends on the version of a simulator.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from tapetum.tracks.facets.types import F64, I64
from tapetum_world.bodies import quaternions
from tapetum_world.bodies.shapes import Shape

Material = Literal["wood", "metal", "plastic", "rubber", "ceramic", "glass", "paper", "cloth", "skin", "stone"]
"""What a body is made of: tells how it sounds, slides, bounces and shines."""
Rgb = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Surface:
    """Appearance of the outside of a body."""

    kind: Literal["plain", "pattern", "photo"] = "plain"
    """One colour; a solid pattern of two; or a photograph (or made-up image) of the textures."""
    colour: Rgb = (0.7, 0.7, 0.7)
    """Of a plain body, or the pattern's first; linear light 0..1."""
    second: Rgb = (0.3, 0.3, 0.3)
    """The pattern's other colour."""
    pattern: Literal["stripes", "checks", "dots", "noise", "marble"] = "noise"
    scale: float = 0.03
    """Metres from one stripe to the next, or across the photograph."""
    seed: int = 0
    """Of the pattern, or which photograph and which part of it."""
    shine: float = 0.0
    """0 dull to 1 polished: strength of the highlight."""
    text: str = ""
    """A short word printed on it (where: `rendering.atlas`), or nothing."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """One rigid part of the world, or one sheet."""

    name: str
    """Of this body alone, such as cup-2."""
    noun: str
    """What a person calls it: ball, cup, box, hand."""
    shape: Shape
    material: Material
    surface: Surface = Surface()
    colour_name: str = ""
    """What a person calls its main colour; empty where nobody would say one."""
    mass: float = 0.1
    """Kilograms; of fixed bodies it does not matter."""
    fixed: bool = False
    """Never moves: ground, table, wall."""
    group: str = ""
    """Name of the jointed thing that it is a part of, such as hand; its parts are one instance in masks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Contacts:
    """Contacts of two bodies, one row for each moment that they touch; sorted by time."""

    moment: I64
    """(c,) number of the moment."""
    bodies: I64
    """(c, 2) numbers of the bodies, the lower one first."""
    place: F64
    """(c, 3) in the world."""
    normal: F64
    """(c, 3) unit length, from the first body to the second."""
    impulse: F64
    """(c,) newton seconds along the normal, over this moment."""
    approach: F64
    """(c,) metres per second at which they met along the normal, where the touch begins; 0 where it goes on."""
    sliding: F64
    """(c,) metres per second of one surface along the other."""
    rolling: F64
    """(c,) radians per second of rolling of one on the other."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """One action of a hand."""

    verb: str
    """pick, place, push, put-into, take-out, cover, uncover, shuffle, spin, pour, drop, show."""
    body: int
    """Number of the body that it was done to."""
    target: int = -1
    """Number of the body that it was done with or into; -1 for none."""
    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Light:
    """A sun and a sky."""

    direction: F64
    """(3,) unit length, the way the light goes, in the world."""
    colour: F64
    """(3,) linear light of the sun."""
    sky: F64
    """(3,) linear light from all around."""
    softness: float
    """Radius of the sun as seen from below, in radians: 0 for hard shadows."""
    exposure: F64
    """(k,) factor on all light at each moment."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Camera:
    """A pinhole camera in OpenCV's axes (x right, y down, z forward), with a lens that may blur what is not in focus."""

    intrinsics: F64
    """(k, 4) fx, fy, cx, cy in raster pixels at each moment."""
    world_to_camera: F64
    """(k, 4, 4)"""
    focus: F64
    """(k,) metres at which things are sharp."""
    aperture: float = 0.0
    """Diameter of the lens in metres; 0: everything is sharp."""
    shutter: float = 0.0
    """Fraction of the time between frames that a frame is exposed, half before and half after its moment; 0: no motion blur."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Episode:
    """k moments of n bodies."""

    seed: int
    size: tuple[int, int]
    """Height and width of frames in pixels."""
    frame_rate: float
    """Frames per second."""
    frames: int
    moments_per_frame: int
    bodies: tuple[Body, ...]
    poses: F64
    """(k, n, 7) place of the origin and quaternion (w, x, y, z) of unit length, body to world; k >= (frames - 1) *
    moments_per_frame + 1."""
    sheets: Mapping[int, F64] = field(default_factory=dict)
    """By number of a body whose shape is a Sheet: (k, rows, columns, 3) its points in the world."""
    camera: Camera
    light: Light
    contacts: Contacts
    actions: tuple[Action, ...] = ()
    inside: I64
    """(k, n) number of the body that holds it, the innermost one; -1 for none."""
    energy: F64 = field(default_factory=lambda: np.zeros(0))
    """(k,) kinetic and potential energy in joules of all that moves by itself (no hands, no sheets); empty where unknown."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What made it, as JSON values: the story's name, the simulator's version."""

    @property
    def seconds(self) -> float:
        """Compute the length of the episode in seconds."""
        return self.frames / self.frame_rate

    def moment(self, frame: int) -> int:
        """Compute the moment that a frame shows."""
        return frame * self.moments_per_frame

    def time(self, moment: int) -> float:
        """Compute the time of a moment in seconds."""
        return moment / (self.frame_rate * self.moments_per_frame)

    @property
    def instance(self) -> I64:
        """Number the bodies (n,) as in masks: 0 for fixed bodies, then 1, 2, ..., one for all parts of a group."""
        ids: dict[str, int] = {}
        return np.array([0 if b.fixed else ids.setdefault(b.group or b.name, len(ids) + 1) for b in self.bodies], np.int64)

    def rotations(self, moments: I64 | slice) -> F64:
        """Compute rotation matrices (k, n, 3, 3) from bodies to the world at some moments."""
        return quaternions.matrices(self.poses[moments, :, 3:])
