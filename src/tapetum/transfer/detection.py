"""Mask R-CNN (arXiv 1703.06870) with a feature pyramid (arXiv 1612.03144) on any encoder; heads and boxes are torchvision's.

    images --encoder--> maps --pyramid--> levels of strides 4, 8, 16, 32, 64 --> regions --> boxes, classes, masks

Of an encoder with one map the pyramid gets four, of 4, 2, 1 and 1/2 times its size, as ViTs are given to UperNet.

Needs the extra [coco] (torchvision). Images are lists of float (3, h, w), 0..1; boxes x1, y1, x2, y2 in raster pixels.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from math import lcm
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.encoders.architectures import as_json, from_json
from tapetum.encoders.factory import describe, make
from tapetum.encoders.features import Encoder
from tapetum.encoders.fpn import FeaturePyramid
from tapetum.hub.headed import load_headed, save_headed
from tapetum.transfer.recipes import CocoRun

DETECTOR_FILE = "detector.safetensors"
"""Name of the network in the folder of a run."""
_OF_ONE = 4.0, 2.0, 1.0, 0.5
_SMALLEST = 32
"""Sides are multiples of this at least, so that all levels of the pyramid fit one another."""


class PyramidBackbone(nn.Module):
    """An encoder and a pyramid as torchvision's detectors take them."""

    def __init__(self, encoder: Encoder, width: int = 256):
        super().__init__()
        self.encoder, self.out_channels = encoder, width
        self.one = len(encoder.map_channels) == 1
        self.pyramid = FeaturePyramid(encoder.map_channels * (4 if self.one else 1), width, extra_level=True)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> "OrderedDict[str, Tensor]":
        """Compute the levels by name: 0 to 3, then pool."""
        maps: Sequence[Tensor] = self.encoder(images).maps
        if self.one:
            maps = [F.interpolate(maps[0], scale_factor=scale, mode="bilinear", align_corners=False) for scale in _OF_ONE]
        levels = self.pyramid(maps)
        names = [*(str(k) for k in range(len(levels) - 1)), "pool"]
        return OrderedDict(zip(names, levels, strict=True))


def detector(encoder: Encoder, classes: int, run: CocoRun) -> nn.Module:
    """Put torchvision's heads, with random weights, on an encoder; `classes` without the ground. Raises BadInput without it."""
    ops, detection = _torchvision()
    how = encoder.preprocessing
    backbone = PyramidBackbone(encoder, run.width)
    levels = len(encoder.map_channels) if not backbone.one else 4
    sizes = tuple((32 * 2**k,) for k in range(levels + 1))
    settings: dict[str, Any] = {
        "min_size": run.short_sides,
        "max_size": run.long_side,
        "image_mean": [value / 255 for value in how.mean],
        "image_std": [value / 255 for value in how.std],
        "rpn_anchor_generator": detection.anchor_utils.AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes)),
        "box_roi_pool": ops.MultiScaleRoIAlign([str(k) for k in range(levels)], 7, 2),
    }
    if run.masks:
        settings["mask_roi_pool"] = ops.MultiScaleRoIAlign([str(k) for k in range(levels)], 14, 2)
    made = (detection.MaskRCNN if run.masks else detection.FasterRCNN)(backbone, classes + 1, **settings)
    made.transform.size_divisible = lcm(_SMALLEST, max(encoder.strides))
    return made


def _torchvision() -> tuple[Any, Any]:
    try:
        from torchvision import ops
        from torchvision.models import detection
    except ImportError:
        raise BadInput("Mask R-CNN needs torchvision: pip install 'tapetum[coco]'") from None
    return ops, detection


def save_detector(model: Any, run: CocoRun, categories: Sequence[tuple[int, str]], path: Path) -> None:
    """Write a detector whole: weights, what its encoder is, settings, and numbers and names of its categories."""
    about = {
        "encoder": as_json(describe(model.backbone.encoder)),
        "categories": [list(pair) for pair in categories],
        "run": {"masks": run.masks, "short_sides": list(run.short_sides), "long_side": run.long_side, "width": run.width},
    }
    save_headed(model, path, "detector", about)


def load_detector(path: Path) -> tuple[nn.Module, list[tuple[int, str]]]:
    """Load what `save_detector` wrote, and its categories; the model takes images as torchvision's do.

    Raises BadInput for anything else.
    """
    categories: list[tuple[int, str]] = []

    def maker(about: Any) -> Callable[[], nn.Module]:
        architecture = from_json(about["encoder"])
        categories[:] = [(int(number), str(name)) for number, name in about["categories"]]
        run = CocoRun(**{**about["run"], "short_sides": tuple(about["run"]["short_sides"])})
        return lambda: detector(make(architecture), len(categories), run)

    return load_headed(path, "detector", "detector of tapetum train coco", maker), categories
