"""Views of images: random crops and colours for training. Does not import torch itself.

>>> import numpy as np
>>> from tapetum.data.views import Views, simclr
>>> views = Views(simclr(32), seed=0)
>>> first, second = views([np.zeros((48, 64, 3), np.uint8)], numbers=[7])
>>> first.shape
torch.Size([1, 3, 32, 32])
"""

from typing import TYPE_CHECKING

from tapetum.core.lazy import lazy_attributes
from tapetum.data.views.config import View, byol, clip, dino, mae, simclr, supervised

if TYPE_CHECKING:
    from tapetum.data.views.make import Views

__all__ = ["View", "Views", "byol", "clip", "dino", "mae", "simclr", "supervised"]

__getattr__ = lazy_attributes(__name__, {"make": ("Views",)})
