"""Whole runs of HiP as configs, which are also the options of `tapetum train hip`. Imports no torch.

Source: HiP (arXiv 2202.10890), whose text could not be read in full: sizes of inputs, variants and how much is hidden are the
paper's; optimiser, schedule, batches and lengths are not known. They are settings here, and what stands in `RECIPES` leans on
Perceiver IO's ImageNet run (arXiv 2107.14795: 110 epochs, batch 1,024, weight decay 0.1, label smoothing 0.1).

Differs from that run: AdamW with warm-up and a cosine instead of LAMB; images are cut and mirrored, without RandAugment,
CutMix or MixUp.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tapetum.systems.hip.config import HipConfig, Masked, Sizes, variant

Layout = Literal["imagenet", "classes", "audioset", "voc", "modelnet40", "kinetics", "parquet", "shards"]


@dataclass(frozen=True, kw_only=True)
class HipRun:
    """A whole run; `RECIPES` has one for every layout of data."""

    layout: Layout
    """How the data lies there; imagenet serves any train/CLASS/*.jpg and val/CLASS/*.jpg."""
    data: str = ""
    """Folder of the data, or one parquet file; or its address, such as s3://bucket/photos, of which a copy is made."""
    sizes: Sizes = field(default_factory=Sizes)
    """Sizes of the inputs."""
    modalities: tuple[str, ...] = ()
    """Which of the data's modalities are used, such as audio alone of AudioSet's videos; by default all."""
    variant: str = "hip-16"
    """Network; `tapetum.systems.hip.config.VARIANTS` lists them."""
    positions: Literal["learned", "fourier", "random"] = "learned"
    """Codes of the inputs' places."""
    masked: Masked = field(default_factory=Masked)
    """How masked auto-encoding hides inputs."""
    mae_steps: int = 0
    """Optimiser steps of masked auto-encoding; 0: none."""
    steps: int = 0
    """Optimiser steps with classes; 0: none."""
    batch_size: int = 1024
    """Examples of an optimiser step, over all processes."""
    micro_batch: int = 16
    """Examples that a process works on at a time; what is left of a step's is accumulated."""
    lr: float = 1e-3
    """Highest learning rate."""
    weight_decay: float = 0.1
    """Decoupled weight decay of AdamW."""
    smoothing: float = 0.0
    """Label smoothing: so much of the target is spread over all classes."""
    bf16: bool = True
    """Compute in bfloat16; weights stay float32."""
    checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, the same result."""
    seed: int = 1
    """The same seed gives the same run."""

    @property
    def config(self) -> HipConfig:
        """Choose the sizes of the network."""
        return replace(variant(self.variant), positions=self.positions)


_SMALL = HipRun(
    layout="parquet",
    variant="hip-nano",
    sizes=Sizes(image=(32, 32), samples=4096, sound_rate=8000),
    mae_steps=1000,
    steps=1000,
    batch_size=32,
    micro_batch=32,
    weight_decay=0.05,
)

RECIPES: Mapping[Layout, HipRun] = {
    "parquet": _SMALL,
    "shards": replace(_SMALL, layout="shards"),
    "classes": replace(_SMALL, layout="classes"),
    "imagenet": HipRun(layout="imagenet", mae_steps=300_000, steps=137_000, smoothing=0.1),
    "audioset": HipRun(layout="audioset", variant="hip-256", mae_steps=100_000, steps=100_000, batch_size=512, micro_batch=4),
    "voc": HipRun(layout="voc", mae_steps=20_000, steps=10_000, batch_size=64, micro_batch=4),
    "modelnet40": HipRun(layout="modelnet40", mae_steps=20_000, steps=10_000, batch_size=256, weight_decay=0.05),
    "kinetics": HipRun(layout="kinetics", variant="hip-256", mae_steps=100_000, steps=60_000, batch_size=512, micro_batch=4),
}
"""Runs by layout, whose data is still to be named: data sets of the paper at its size, for accelerators; `parquet`,
`shards` and `classes` small, for a laptop."""

UNPUBLISHED: Mapping[str, str] = {
    "mae_steps": "not in the paper as far as it could be read",
    "steps": "about Perceiver IO's 110 epochs (arXiv 2107.14795) on ImageNet; ours elsewhere",
    "batch_size": "1,024 is Perceiver IO's on ImageNet; ours elsewhere",
    "lr": "ours; AdamW with warm-up and cosine in place of Perceiver IO's LAMB",
    "weight_decay": "0.1 is Perceiver IO's",
    "smoothing": "0.1 is Perceiver IO's on ImageNet",
    "masked": "0.85 of the elements, which the paper's figure shows of images; of other modalities it is not known",
}
"""Values that the paper does not give as far as it could be read, and what they lean on. Sizes of inputs and networks are its
own."""


def recipe(layout: Layout, data: str, **changes: Any) -> HipRun:
    """Make the config of a run on the folder or file `data`, as suits its layout but for `changes`.

    >>> recipe("voc", "VOC2012", lr=1e-4).batch_size
    64
    """
    return replace(RECIPES[layout], data=data, **changes)
