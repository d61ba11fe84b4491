"""Whole adaptation runs as configs, which also define the options of `tapetum adapt`. Imports no torch.

The recipe is based on behaviour cloning in R3M (arXiv 2203.12601), which the paper follows: 20,000 steps of Adam at 1e-3 with
batches of 32 and no augmentation, a head of two layers of 256. Here a run is at most a tenth as long by default, few images are
passed 30 times, and adapter weights decay. Adapters use the head's learning rate: at a tenth of it, the error on held-out
demonstrations of opening a drawer was half as much again (docs/evidence/adapters.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.core.plugins import is_reference
from tapetum.systems.adapters.config import AdapterConfig, check_name

TASKS = "classify", "segment", "clone"
_PASSES, _LEAST_STEPS, _MOST_STEPS = 30, 30, 2000
_EVALUATIONS, _PATIENCE = 10, 3


@dataclass(frozen=True, kw_only=True)
class AdaptRun:
    """A whole run; `RECIPES` has one for every task."""

    task: str
    """classify: names of images; segment: a class for every pixel; clone: do what demonstrations show; or a task of your own:
    FILE.py:CLASS, package.module:CLASS, an entry point."""
    suite: Literal["own", "metaworld", "kitchen", "rgb-stacking"] = "own"
    """Of clone: the paper's numbers for demonstrations of a suite (arXiv 2304.06600), on a ResNet-50; own: short runs."""
    data: str = ""
    """classify: a folder with a folder of images for each class, or train/CLASS and val/CLASS. segment: images with masks,
    laid out as VOC. Both also as parquet. clone: what `tapetum data demos` wrote, or a LeRobot data set (SET, or
    SET#episode=0-19,camera=top). A task of your own: what its class reads."""
    trunk: str = "efficientnet-lite0"
    """The encoder, which is not changed: a name, a file, the folder of a run, or what else tapetum embed --model takes."""
    regime: Literal["adapters", "frozen", "full"] = "adapters"
    """What learns besides the head: adapters; nothing; or, to compare with, the whole trunk, which then is lost."""
    preset: str = "bottom-middle-top"
    """Where adapters sit: bottom, middle, top, several with - between, or all-blocks."""
    maps: Literal["parallel", "series", "bottleneck"] = "parallel"
    """Form of adapters on maps of convolutional networks."""
    kernel: Literal[1, 3] = 1
    """Side of the convolutions of adapters on maps: 3 also mixes neighbours, with nine times as many numbers."""
    tokens: Literal["series", "parallel"] = "series"
    """Form of adapters on tokens of transformers."""
    rank: int | None = None
    """Inner channels of bottlenecks; by default by the trunk's width."""
    name: str = "default"
    """Of the adapter."""
    pixels: int | None = None
    """Side to which images are resized; by default as the trunk was made for, for clone as the demonstrations are. A ViT
    wants a multiple of its patches: 126 or 140 for DINOv2's of 14."""
    head: Literal["linear", "mlp"] = "mlp"
    """Of clone: linear, or two layers of 256."""
    own: Literal["none", "concat"] = "none"
    """Of clone: whether the head is told what the robot knows of itself."""
    observe: Literal["image", "tracks"] = "image"
    """Of clone, of a LeRobot data set: whether the head is also told the tracks of points that the set has, as
    tracks.CAMERA.xy (pixels) and tracks.CAMERA.visible."""
    shift: int = 0
    """Pixels by which images are shifted at random while learning."""
    cache: bool = True
    """Compute what lies below the lowest adapter once for each image, where nothing is shifted: the same losses, sooner."""
    steps: int | None = None
    """Optimiser steps; by default 30 passes over the images, at least 30 steps and at most 2,000, and 2,000 of clone."""
    batch_size: int = 32
    """Images of a step; 2 or more, for the head standardises features by those of its batch."""
    lr: float = 1e-3
    """Highest learning rate of the adapters, or of the whole trunk."""
    head_lr: float = 1e-3
    """Highest learning rate of the head."""
    weight_decay: float = 1e-4
    """Decoupled weight decay of adapters, or of the whole trunk; the head has none."""
    strict: int = 0
    """Steps after which it is checked that the trunk has not changed; 0: only at the end."""
    evaluations: int | None = None
    """Scores while learning, the last one at the end; by default 10 where patience is, else 3."""
    patience: int | None = None
    """Scores in a row that may be no better than one before, after which it ends; 0: it makes all steps. By default 3 where
    --steps is left out and images or their pixels are classified, else 0."""
    rollouts: int = 50
    """Of clone: episodes in which the policy is tried at each score; 0: none."""
    seed: int = 0
    """The same seed gives the same run."""

    def __post_init__(self) -> None:
        if self.task not in TASKS and not is_reference(self.task, "task"):
            raise BadInput(f"there is no task {self.task!r}; it is one of {', '.join(TASKS)}, or FILE.py:CLASS of your own")
        counts = dict.fromkeys(("evaluations", "patience", "rollouts", "shift", "strict"), "[0, inf)")
        bounds = {"steps": "[1, inf)", "batch_size": "[2, inf)", "pixels": "[8, 2048]", "weight_decay": "[0, inf)"}
        check_fields(self, lr="(0, inf)", head_lr="(0, inf)", **counts, **bounds)
        check_name(self.name)
        if self.observe == "tracks" and self.task != "clone":
            raise BadInput(f"observe=tracks is of clone, whose data has tracks, and not of {self.task}; leave it out")
        self.config  # noqa: B018  # refuses a preset that there is not

    def for_images(self, count: int) -> "AdaptRun":
        """Copy the run with all that it leaves open, some of which depends on the number of images to learn from."""
        passes = min(max(_PASSES * count // self.batch_size, _LEAST_STEPS), _MOST_STEPS)
        steps = self.steps or (_MOST_STEPS if self.task == "clone" else passes)
        early = self.steps is None and self.task in TASKS[:2]
        evaluations = (_EVALUATIONS if early else 3) if self.evaluations is None else self.evaluations
        patience = (_PATIENCE if early and evaluations else 0) if self.patience is None else self.patience
        return replace(self, steps=steps, evaluations=evaluations, patience=patience)

    @property
    def samples(self) -> int:
        """Count the examples of all steps."""
        return (self.steps or 0) * self.batch_size

    @property
    def config(self) -> AdapterConfig:
        """Make the config of the adapters; for pixel classes, the pooled vector needs no adapter."""
        preset = self.preset
        if self.task == "segment" and preset.endswith("-top"):
            preset = preset.removesuffix("-top")
        return AdapterConfig(preset=preset, maps=self.maps, kernel=self.kernel, tokens=self.tokens, rank=self.rank)


RECIPES: Mapping[str, AdaptRun] = {
    "classify": AdaptRun(task="classify"),
    "segment": AdaptRun(task="segment", batch_size=8),
    "clone": AdaptRun(task="clone"),
}
_PUBLISHED: dict[str, Any] = {
    "trunk": "resnet-50",  # section 4: NFNet-F0, ResNet-50 and ViT-B/16, with weights of ImageNet and others
    "preset": "bottom-middle-top",  # section 3
    "steps": 20_000,  # R3M (arXiv 2203.12601), whose setting the paper follows
    "batch_size": 32,  # R3M
    "lr": 1e-3,  # R3M
    "head_lr": 1e-3,  # R3M
    "rollouts": 50,  # R3M
    "evaluations": 20,  # R3M: every 1,000 steps
}
PAPER: Mapping[str, AdaptRun] = {
    "metaworld": AdaptRun(task="clone", suite="metaworld", **_PUBLISHED),  # 25 demonstrations a task and camera
    "kitchen": AdaptRun(task="clone", suite="kitchen", **_PUBLISHED),  # 25 as well
    "rgb-stacking": AdaptRun(task="clone", suite="rgb-stacking", own="concat", **_PUBLISHED),  # proprioception is given there
}
"""The paper's runs by suite, whose data is still to be named."""
UNPUBLISHED: Mapping[str, str] = {
    "rank": "bottlenecks are small; their inner channels could not be read",
    "weight_decay": "ours",
    "lr": "of adapters: R3M's for its head",
    "steps": "R3M's; the number of RGB-Stacking, of its demonstrations too, could not be read",
}
"""Values of `PAPER` that could not be read, and what stands in their place."""
PRESETS: Mapping[tuple[str, str], AdaptRun] = {
    **{(task, "own"): run for task, run in RECIPES.items()},
    **{("clone", suite): run for suite, run in PAPER.items()},
}


def recipe(task: str, data: str, **changes: Any) -> AdaptRun:
    """Make the config of a run on `data` with its task's defaults, and `changes`.

    >>> recipe("clone", "demos", steps=100).batch_size
    32
    """
    return replace(RECIPES.get(task) or AdaptRun(task=task), data=data, **changes)
