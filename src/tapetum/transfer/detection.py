"""Detectors with a feature pyramid (arXiv 1612.03144) on any encoder; heads and boxes come from torchvision.

    Mask R-CNN (arXiv 1703.06870)
    images --encoder--> maps --pyramid--> levels of strides 4, 8, 16, 32, 64 --> regions --> boxes, classes, masks
    FCOS (arXiv 1904.01355, 2006.09214)
    images --encoder--> maps --pyramid--> levels of strides 8, 16, 32, 64, 128 --> class, box and centerness of every cell

For an encoder with one map, the pyramid gets up to four, of 4, 2, 1 and 1/2 times its size, as for ViTs with UperNet.

FCOS has the improvements of its later version: group norms in the heads, only cells near an object's centre learn its box,
GIoU as the box loss, centerness in the box branch. Differs from Odin's "FCOS*" (arXiv 2203.08777, section 4), as far as
documented: cells are assigned to objects by FCOS's ranges of sizes, not by ATSS (arXiv 1912.02424).

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

from tapetum.core.errors import BadInput, install_line
from tapetum.encoders.architectures import as_json, from_json
from tapetum.encoders.factory import describe, make
from tapetum.encoders.features import Encoder
from tapetum.encoders.fpn import FeaturePyramid
from tapetum.hub.headed import load_headed, save_headed
from tapetum.transfer.recipes import CocoRun

DETECTOR_FILE = "detector.safetensors"
"""Name of the network in the folder of a run."""
_OF_ONE = 4.0, 2.0, 1.0, 0.5
_FCOS_LEVELS = 3
"""Levels of FCOS that are made of an encoder's maps; two more are convolutions of the coarsest."""
_SMALLEST = 32
"""Sides are multiples of this at least, so that all levels of the pyramid fit one another."""


class PyramidBackbone(nn.Module):
    """An encoder and a pyramid in the form expected by torchvision's detectors."""

    def __init__(self, encoder: Encoder, width: int = 256, levels: int | None = None, coarser: nn.Module | None = None):
        """Use all maps of the encoder, or the `levels` coarsest. `coarser` adds levels (torchvision's `ExtraFPNBlock`); by
        default one is added, every second cell of the last.
        """
        super().__init__()
        self.encoder, self.out_channels, self.coarser = encoder, width, coarser
        self.one = len(encoder.map_channels) == 1
        strides = [round(encoder.strides[0] / scale) for scale in _OF_ONE] if self.one else encoder.strides
        self.levels = levels or len(strides)
        self.strides = list(strides[-self.levels :])
        """Pixels to a cell of each level, without what is added."""
        channels = (encoder.map_channels * (4 if self.one else 1))[-self.levels :]
        self.pyramid = FeaturePyramid(channels, width, extra_level=coarser is None)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> "OrderedDict[str, Tensor]":
        """Compute the levels by name: 0, 1 and so on, then pool, or those of `coarser`."""
        maps: Sequence[Tensor] = self.encoder(images).maps
        if self.one:
            scales = _OF_ONE[-self.levels :]
            maps = [F.interpolate(maps[0], scale_factor=scale, mode="bilinear", align_corners=False) for scale in scales]
        maps = maps[-self.levels :]
        levels = list(self.pyramid(maps))
        names = [str(k) for k in range(len(maps))]
        if self.coarser is None:
            names.append("pool")
        else:
            levels, names = self.coarser(levels, list(maps), names)
        return OrderedDict(zip(names, levels, strict=True))


class OneStageDetector(nn.Module):
    """torchvision's FCOS, with classes from 1 on like its two-stage detectors; it needs no background class."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    @property
    def backbone(self) -> PyramidBackbone:
        """Get encoder and pyramid."""
        return self.network.backbone  # pyright: ignore[reportReturnType]

    @property
    def transform(self) -> Any:
        """Get the transform that scales and normalises images."""
        return self.network.transform

    def forward(self, images: Sequence[Tensor], targets: Sequence[dict[str, Tensor]] | None = None) -> Any:
        """Compute the losses by name in training, otherwise the detections in each image."""
        if targets is not None:
            targets = [{**each, "labels": each["labels"] - 1} for each in targets]
        outputs = self.network(list(images), targets)
        return outputs if self.training else [{**each, "labels": each["labels"] + 1} for each in outputs]


def detector(encoder: Encoder, classes: int, run: CocoRun) -> nn.Module:
    """Put torchvision's heads, with random weights, on an encoder; `classes` excludes background. BadInput without it."""
    ops, detection = _torchvision()
    how = encoder.preprocessing
    settings: dict[str, Any] = {
        "min_size": run.short_sides,
        "max_size": run.long_side,
        "image_mean": [value / 255 for value in how.mean],
        "image_std": [value / 255 for value in how.std],
    }
    made = (_fcos if run.detector == "fcos" else _mask_rcnn)(encoder, classes, run, settings, ops, detection)
    made.transform.size_divisible = lcm(_SMALLEST, max(encoder.strides))
    return made


def _mask_rcnn(encoder: Encoder, classes: int, run: CocoRun, settings: dict[str, Any], ops: Any, detection: Any) -> Any:
    backbone = PyramidBackbone(encoder, run.width)
    levels = len(backbone.strides)
    sizes = tuple((32 * 2**k,) for k in range(levels + 1))
    settings |= {
        "rpn_anchor_generator": detection.anchor_utils.AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes)),
        "box_roi_pool": ops.MultiScaleRoIAlign([str(k) for k in range(levels)], 7, 2),
    }
    if run.masks:
        settings["mask_roi_pool"] = ops.MultiScaleRoIAlign([str(k) for k in range(levels)], 14, 2)
    return (detection.MaskRCNN if run.masks else detection.FasterRCNN)(backbone, classes + 1, **settings)


def _fcos(encoder: Encoder, classes: int, run: CocoRun, settings: dict[str, Any], ops: Any, detection: Any) -> Any:
    coarser = ops.feature_pyramid_network.LastLevelP6P7(run.width, run.width)
    backbone = PyramidBackbone(encoder, run.width, levels=_FCOS_LEVELS, coarser=coarser)
    strides = [*backbone.strides, 2 * backbone.strides[-1], 4 * backbone.strides[-1]]
    points = detection.anchor_utils.AnchorGenerator(tuple((stride,) for stride in strides), ((1.0,),) * len(strides))
    network = detection.FCOS(
        backbone, classes, anchor_generator=points, score_thresh=0.05, nms_thresh=0.6, detections_per_img=100, **settings
    )
    return OneStageDetector(network)


def _torchvision() -> tuple[Any, Any]:
    try:
        from torchvision import ops
        from torchvision.models import detection
    except ImportError:
        raise BadInput(f"detectors need torchvision: {install_line('coco')}") from None
    return ops, detection


def save_detector(model: Any, run: CocoRun, categories: Sequence[tuple[int, str]], path: Path) -> None:
    """Write a complete detector: weights, description of its encoder, settings, and numbers and names of its categories."""
    about = {
        "encoder": as_json(describe(model.backbone.encoder)),
        "categories": [list(pair) for pair in categories],
        "run": {
            "detector": run.detector,
            "masks": run.masks,
            "short_sides": list(run.short_sides),
            "long_side": run.long_side,
            "width": run.width,
        },
    }
    save_headed(model, path, "detector", about)


def load_detector(path: Path) -> tuple[nn.Module, list[tuple[int, str]]]:
    """Load a file that `save_detector` wrote, with its categories; the model takes images like torchvision's.

    Raises BadInput for anything else.
    """
    categories: list[tuple[int, str]] = []

    def maker(about: Any) -> Callable[[], nn.Module]:
        architecture = from_json(about["encoder"])
        categories[:] = [(int(number), str(name)) for number, name in about["categories"]]
        run = CocoRun(**{**about["run"], "short_sides": tuple(about["run"]["short_sides"])})
        return lambda: detector(make(architecture), len(categories), run)

    return load_headed(path, "detector", "detector of tapetum train coco", maker), categories
