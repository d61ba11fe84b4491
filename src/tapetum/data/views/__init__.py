"""Views of images: random crops and colours for training. Imports no torch itself.

Sources: SimCLR (arXiv 2002.05709, appendix A), BYOL (2006.07733, table 6), DINO (2104.14294, section 3; strengths as in its
public code), MAE (2111.06377, table 8), CLIP, which SigLIP takes too (2103.00020, section 2.4, the crop as in OpenCLIP);
supervised crops as in Inception (1409.4842).

>>> import numpy as np
>>> from tapetum.data.views import Views, simclr
>>> views = Views(simclr(32), seed=0)
>>> first, second = views([np.zeros((48, 64, 3), np.uint8)], numbers=[7])
>>> first.shape
torch.Size([1, 3, 32, 32])
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.core.lazy import lazy_attributes

if TYPE_CHECKING:
    from tapetum.data.views.make import Views


@dataclass(frozen=True, kw_only=True)
class View:
    """Augmentations of one view: crop, mirror, colours, grey, blur, solarise, in this order, each with its probability.

    >>> View(size=32, grey=1.5)
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: grey is 1.5; it must be 0 to 1
    """

    size: int
    """Side of the view, in pixels."""
    area: tuple[float, float] = (0.08, 1.0)
    """Least and greatest part of the image's area that a crop has."""
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    """Least and greatest width / height of a crop, before it is made a square."""
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    mirror: float = 0.5
    """Probability that left and right are swapped."""
    jitter: float = 0.0
    """Probability that brightness, contrast, saturation and hue are changed, in a random order."""
    brightness: float = 0.0
    """The factor is drawn from 1 - this (0 at least) to 1 + this; contrast and saturation likewise."""
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    """The turn is drawn from minus to plus this; a whole turn is 1."""
    grey: float = 0.0
    """Probability that all colour is taken away."""
    blur: float = 0.0
    """Probability of a Gaussian blur."""
    sigma: tuple[float, float] = (0.1, 2.0)
    """Least and greatest deviation of the blur, in pixels of the view."""
    solarise: float = 0.0
    """Probability that values of a half and more are turned round, x to 1 - x."""

    def __post_init__(self) -> None:
        probabilities = dict.fromkeys(("mirror", "jitter", "grey", "blur", "solarise"), "[0, 1]")
        strengths = dict.fromkeys(("brightness", "contrast", "saturation"), "[0, inf)")
        check_fields(self, size="[1, inf)", hue="[0, 0.5]", **probabilities, **strengths)
        for name, most in (("area", 1.0), ("aspect", float("inf")), ("sigma", float("inf"))):
            low, high = getattr(self, name)
            if not 0 < low <= high <= most:
                raise BadInput(f"{name} of a view is from {low} to {high}; wanted two numbers above 0, the smaller first")


def coloured(view: View, strength: float, saturation: float, hue: float) -> View:
    """Add the jitter that most methods use: with probability 0.8, with equal brightness and contrast."""
    return replace(view, jitter=0.8, brightness=strength, contrast=strength, saturation=saturation, hue=hue, grey=0.2)


def simclr(size: int, strength: float = 1.0) -> tuple[View, View]:
    """Make SimCLR's two views; its strength for CIFAR is 0.5, where it also leaves out the blur."""
    view = coloured(View(size=size), 0.8 * strength, 0.8 * strength, 0.2 * strength)
    view = replace(view, blur=_blurred(0.5, size))
    return view, view


def byol(size: int) -> tuple[View, View]:
    """Make BYOL's two views: one always blurred, the other rarely, and sometimes solarised."""
    view = coloured(View(size=size), 0.4, 0.2, 0.1)
    return replace(view, blur=_blurred(1.0, size)), replace(view, blur=_blurred(0.1, size), solarise=0.2)


def dino(
    size: int,
    local_size: int,
    local: int = 8,
    *,
    global_area: tuple[float, float] = (0.4, 1.0),
    local_area: tuple[float, float] = (0.05, 0.4),
) -> tuple[View, ...]:
    """Make DINO's crops: two global ones, of which the second is sometimes solarised, and `local` small ones."""
    first, second = (replace(view, area=global_area) for view in byol(size))
    small = replace(first, size=local_size, area=local_area, blur=_blurred(0.5, size))
    return first, second, *(small,) * local


def lejepa(size: int, local_size: int, local: int = 6) -> tuple[View, ...]:
    """Make LeJEPA's crops: two global ones and `local` small ones, with the same colours."""
    view = replace(coloured(View(size=size, area=(0.3, 1.0)), 0.4, 0.2, 0.1), blur=_blurred(0.5, size), solarise=0.2)
    return view, view, *(replace(view, size=local_size, area=(0.05, 0.3)),) * local


def mae(size: int) -> tuple[View]:
    """Make MAE's one view: a crop that may be mirrored."""
    return (View(size=size, area=(0.2, 1.0)),)


def supervised(size: int) -> tuple[View]:
    """Make the one view of supervised learning: a crop that may be mirrored."""
    return (View(size=size),)


def clip(size: int) -> tuple[View]:
    """Make CLIP's one view: a large crop, never mirrored, because captions mention left and right."""
    return (View(size=size, area=(0.9, 1.0), mirror=0.0),)


SMALL = 64
"""Views of this many pixels or fewer are not blurred: a blur of 2 pixels is made for 224 (SimCLR, appendix B.9, on CIFAR)."""


def _blurred(probability: float, size: int) -> float:
    return probability if size > SMALL else 0.0


__all__ = ["View", "Views", "byol", "clip", "dino", "mae", "simclr", "supervised"]

__getattr__ = lazy_attributes(__name__, {"make": ("Views",)})
