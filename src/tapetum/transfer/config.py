"""Settings of probes and of fine-tuning, and of whole runs: `tapetum train fcn` and `coco`. Imports no torch.

Every checkpoint gets the same sweep: the same settings are tried, the best on a held-out part of the training data is selected,
and only that one is scored on the test part. The number of settings tried is part of the result.

Values of runs are those used for comparison in pre-training papers (MoCo, arXiv 1911.05722, appendix; DetCon, arXiv
2103.10957; Odin, arXiv 2203.08777, section 4), as far as documented; `small` is for a core or two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields


@dataclass(frozen=True, kw_only=True)
class NeighboursConfig:
    """k nearest neighbours, as in DINO (arXiv 2104.14294, appendix F)."""

    neighbours: int = 20
    """Features that vote."""
    temperature: float | None = 0.07
    """A vote weighs exp(cosine / temperature); None: all weigh the same."""

    def __post_init__(self) -> None:
        check_fields(self, neighbours="[1, inf)", temperature="(0, inf)")


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """A classifier on features that stay as they are."""

    optimizer: Literal["lbfgs", "sgd"] = "lbfgs"
    """lbfgs: logistic regression to its minimum (linear probe alone); sgd: epochs over the features, any head."""
    decays: tuple[float, ...] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
    """lbfgs: strengths of half the squared norm of the weights beside the mean cross entropy; all are tried."""
    learning_rates: tuple[float, ...] = (0.01, 0.1, 1.0)
    """sgd: learning rates; all are tried."""
    epochs: int = 30
    """sgd: how often each feature is seen."""
    batch_size: int = 256
    """sgd: features of a step."""
    standardise: bool = True
    """Bring each channel to mean 0 and deviation 1 over what is learned from."""
    validation_share: float = 0.1
    """Share of what is learned from on which the best setting is found."""
    seed: int = 0
    """Of the split, the order and first weights."""

    def __post_init__(self) -> None:
        bounds = {"epochs": "[1, inf)", "batch_size": "[1, inf)", "validation_share": "(0, 1)"}
        check_fields(self, decays="[0, inf)", learning_rates="[0, inf)", **bounds)
        if not self.tried:
            raise BadInput(f"a probe by {self.optimizer} has no settings to try; give one or more")

    @property
    def tried(self) -> tuple[float, ...]:
        """The settings to try."""
        return self.decays if self.optimizer == "lbfgs" else self.learning_rates


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """The whole network learns on."""

    learning_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    """Learning rates; all are tried."""
    layer_decay: float = 0.75
    """Factor on the rate for each layer between a weight and the output (BEiT, arXiv 2106.08254)."""
    weight_decay: float = 0.05
    """AdamW's."""
    steps: int = 1000
    """Of each run."""
    batch_size: int = 32
    """Images of a step."""
    warmup: float = 0.1
    """Share of the steps over which the rate rises."""
    size: tuple[int, int] | None = None
    """Rows and columns of the images; None: as the encoder prepares them."""
    seed: int = 0
    """Of order, crops and heads."""

    def __post_init__(self) -> None:
        check_fields(self, learning_rates="(0, inf)", steps="[1, inf)", batch_size="[1, inf)", warmup="[0, 1)")
        if not self.learning_rates:
            raise BadInput("fine-tuning has no learning rate to try; give one or more")


@dataclass(frozen=True, kw_only=True)
class PropagationConfig:
    """How a first mask is carried through a video by features (DINO's script, after arXiv 2006.14613)."""

    short_side: int = 480
    """Pixels of the shorter side of the frames that the encoder sees."""
    context: int = 7
    """Frames before the present one that are looked back at, beside the first."""
    radius: int = 12
    """Cells that a thing may move, along rows and columns, from the frames that are looked back at."""
    neighbours: int = 5
    """Cells of the earlier frames that are most alike and say what a cell is."""
    temperature: float = 0.1
    """A cell counts exp(cosine / temperature)."""

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("short_side", "neighbours"), "[1, inf)") | dict.fromkeys(("context", "radius"), "[0, inf)")
        check_fields(self, temperature="(0, inf)", **counts)


@dataclass(frozen=True, kw_only=True)
class TransferRun:
    """What every transfer is told."""

    data: str = ""
    """Folder of the data set in its official layout; or its address, such as s3://bucket/VOC2012, of which a copy is made."""
    encoder: str = "efficientnet-lite2"
    """Whose weights are transferred: the folder of a run, or any encoder as tapetum embed --model takes it; random:resnet-50
    and so on, random weights, are the control."""
    steps: int = 30_000
    """Optimiser steps."""
    batch_size: int = 16
    """Images of a step, over all processes."""
    micro_batch: int = 4
    """Images that a process works on at a time; what is left of a step's is accumulated."""
    lr: float = 0.01
    """Learning rate of SGD with momentum 0.9."""
    weight_decay: float = 1e-4
    """Of matrices and filters."""
    warmup_steps: int = 0
    """Steps over which the rate rises."""
    milestones: tuple[float, ...] = (0.7, 0.9)
    """Shares of the run after which the rate is a tenth of what it was."""
    freeze: bool = False
    """Only the head learns."""
    most: int | None = None
    """Score on the first so many images only."""
    bf16: bool = False
    """Compute in bfloat16; weights stay float32."""
    seed: int = 0
    """Of order, crops and heads."""

    def __post_init__(self) -> None:
        check_fields(self, **dict.fromkeys(("steps", "batch_size", "micro_batch", "most"), "[1, inf)"))


@dataclass(frozen=True, kw_only=True)
class FcnRun(TransferRun):
    """Segmentation with a fully convolutional head; `FCN_RECIPES` has some."""

    layout: Literal["voc", "cityscapes", "camvid", "ade20k"] = "voc"
    """Data set: VOCdevkit/VOC2012 (trainaug, where SegmentationClassAug is there), Cityscapes, CamVid of SegNet's tutorial,
    ADE20K."""
    head: Literal["fcn", "linear", "upernet"] = "fcn"
    """What stands on the encoder."""
    crop: int = 513
    """Side of the crops that are learned from; whole images are scored."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, crop="[32, inf)")


FCN_RECIPES: Mapping[str, FcnRun] = {
    "voc": FcnRun(lr=0.003),  # MoCo, appendix
    "cityscapes": FcnRun(layout="cityscapes", crop=769),
    "ade20k": FcnRun(layout="ade20k", crop=512, steps=80_000),
    "camvid": FcnRun(layout="camvid", crop=320, steps=2_000, batch_size=8, micro_batch=8),
}
"""By data set."""


FCOS_GROUPS = 32
"""Groups of channels of the group norms in FCOS's heads."""


@dataclass(frozen=True, kw_only=True)
class CocoRun(TransferRun):
    """Detection and instance segmentation with a feature pyramid; `COCO_RECIPES` has some."""

    preset: Literal["1x", "fcos", "small"] = "1x"
    """1x: 12 epochs of COCO in batches of 64 (DetCon's Mask R-CNN); fcos: FCOS as published, 90,000 steps of 16 images; small:
    few steps on small images."""
    detector: Literal["mask-rcnn", "fcos"] = "mask-rcnn"
    """mask-rcnn: regions first, then boxes, classes and masks; fcos: boxes and classes at every cell, without regions."""
    masks: bool = True
    """Find masks too; else boxes alone (Faster R-CNN). FCOS has none."""
    short_sides: tuple[int, ...] = (640, 672, 704, 736, 768, 800)
    """Pixels of the shorter side in learning, one drawn for each image; scores are taken at the last."""
    long_side: int = 1333
    """Pixels of the longer side at most."""
    width: int = 256
    """Channels of the pyramid."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.short_sides or min(*self.short_sides, self.width) < 1 or self.long_side < max(self.short_sides):
            raise BadInput(
                f"short_sides are {self.short_sides}, long_side {self.long_side} and width {self.width}; give pixels above 0, "
                "of which no short side is above the long one"
            )
        if self.detector == "fcos" and (self.width % FCOS_GROUPS or self.width == FCOS_GROUPS):
            raise BadInput(
                f"the pyramid's width is {self.width}; FCOS has {FCOS_GROUPS} groups of channels: give 64, 96, 128 and so on"
            )

    @property
    def finds_masks(self) -> bool:
        """Check whether the detector predicts masks besides boxes."""
        return self.masks and self.detector == "mask-rcnn"


COCO_RECIPES: Mapping[str, CocoRun] = {
    "1x": CocoRun(
        steps=24_000,
        batch_size=64,
        micro_batch=8,
        lr=0.1,
        weight_decay=4e-5,
        warmup_steps=500,
        milestones=(2 / 3, 8 / 9),
        bf16=True,
    ),
    "fcos": CocoRun(  # FCOS (arXiv 1904.01355), section 4; sides as in its later version (arXiv 2006.09214)
        preset="fcos",
        detector="fcos",
        masks=False,
        steps=90_000,
        batch_size=16,
        micro_batch=4,
        lr=0.01,
        weight_decay=1e-4,
        warmup_steps=500,
        milestones=(2 / 3, 8 / 9),
    ),
    "small": CocoRun(
        preset="small",
        steps=1_000,
        batch_size=8,
        micro_batch=4,
        lr=0.02,
        warmup_steps=50,
        milestones=(2 / 3, 8 / 9),
        short_sides=(160, 192, 224),
        long_side=384,
        width=64,
    ),
}
"""By preset."""
