"""A body: a shape with a name, a material and a surface."""

from dataclasses import dataclass
from typing import Literal

from tapetum.scenes.bodies.shapes import Shape

Material = Literal["wood", "metal", "plastic", "rubber", "ceramic", "glass", "paper", "cloth", "skin", "stone"]
"""What a body is made of: tells how it sounds, slides, bounces and shines."""
Rgb = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Surface:
    """What is on the outside of a body."""

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
    """A short word printed on it (where: `filming.printing`), or nothing."""


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
