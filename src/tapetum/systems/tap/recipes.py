"""The training runs of point trackers as configs, which also define the options of `tapetum train`. Imports no torch.

`TapNano` trains the bundled trackers on synthetic scenes, `TapKubric` the official architectures as TAPIR's authors did (arXiv
2306.08637, section 3.3 and appendix).

Differs from the paper: `TapNano` is meant for two CPU cores and a few hours: it starts at 128x128 pixels and 12 frames with two
refinement iterations, continues at 256x256 and 24 frames with four, and ends with 12 frames that rotate and grow; half of the
queries are on first frames; `matching_loss` is added; gradients are clipped; weights are averaged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from tapetum.systems.tap.config import CAUSAL_NANO, NANO, TapirConfig
from tapetum.tracks.training.recipes import ClipPhase, SceneRun

MATCHING_WEIGHT = 5.0
"""Weight of `matching_loss` beside the losses of the paper."""

Architecture = Literal["tapir", "causal-tapir", "bootstapir", "causal-bootstapir", "tapir-nano", "causal-tapir-nano"]


@dataclass(frozen=True, kw_only=True)
class TapirPhase(ClipPhase):
    """A part of a run at one image size."""

    size: int = 256
    points: int = 64
    iterations: int = 4
    """Refinement iterations; the same weights serve any number."""


_SHORT = TapirPhase(name="", frames=12, steps=0, batch_size=4, micro_batch=2, lr=6e-4, clips=0, iterations=2)
_LONG = TapirPhase(name="", steps=0, batch_size=2, micro_batch=1, lr=4e-4, clips=3600)


@dataclass(frozen=True, kw_only=True)
class TapNano(SceneRun):
    """The run from whose weights `tapetum bootstrap` made `tapir-nano`."""

    name: str = "tapir-nano-synthetic"
    """Name of the file with the finished weights."""
    model: TapirConfig = NANO
    """Sizes of the network."""
    start: str | None = None
    """Weights to start from, a name or a file, of a network of the same sizes; by default random ones."""
    bf16: bool = True
    """Compute under bfloat16 autocast; weights stay float32. Processors without instructions for it are many times slower."""
    phases: tuple[TapirPhase, ...] = (
        replace(_SHORT, name="1-small", size=128, steps=2000, lr=1e-3, clips=2400, first=0.0),
        replace(_LONG, name="2-short", frames=12, steps=3400, lr=8e-4, clips=3000),
        replace(_LONG, name="3-full", steps=2200),
        replace(_SHORT, name="4-turns", steps=700, clips=1800, motion=0.6),
    )
    """Parts of the run, each of which begins with the averaged weights of the one before."""


TAP_NANO = {
    "tap-nano": TapNano(),
    "causal-tap-nano": TapNano(
        name="causal-tapir-nano", model=CAUSAL_NANO, start="tapir-nano", phases=(replace(_LONG, name="1-causal", steps=1600),)
    ),
    "more-tap-nano": TapNano(
        start="tapir-nano", phases=(replace(_SHORT, name="5-layers", steps=1000, clips=800, motion=0.4, image_clips=1600),)
    ),
}
"""Runs by name: the bundled tracker from nothing, from its weights the one for frames one by one, and further from them.
`causal-tapir-nano` itself started from weights that had not yet learned from videos."""


@dataclass(frozen=True, kw_only=True)
class TapKubric:
    """TAPIR's training on Kubric; the defaults are the paper's numbers, `RECIPES` has those of the public configuration
    too."""

    data: str
    """Folder of unpacked sequences of facebook/CoTracker3_Kubric: 0000/0000.npy, 0000/frames/000.png and so on."""
    preset: Literal["paper", "public"] = "paper"
    """Steps, batch size and weight decay: the paper's, or those of the public configuration."""
    model: Architecture = "tapir"  # section 3, without BootsTAP's extra convolutions
    """Architecture."""
    start: str | None = None
    """Weights to start from, a name or a file, which bring their own architecture; by default random ones."""
    steps: int = 50_000  # section 3.3; the public configuration has 100,000
    """Optimiser steps."""
    batch_size: int = 256  # section 3.3: 4 clips on each of 64 TPU v3 cores
    """Clips of an optimiser step, over all processes: 4 on each of the paper's 64 accelerators."""
    micro_batch: int = 4
    """Clips that a process works on at a time; what is left of a step's is accumulated. batch_size must divide by it and by the
    processes."""
    lr: float = 1e-3  # section 3.3 and public configuration
    """Peak learning rate."""
    warmup_steps: int = 1000  # the same; then a cosine to 0
    """Steps of the warm-up. A run of fewer than 10,000 steps warms up for a tenth of them."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's, of the public configuration; the paper does not say."""
    weight_decay: float = 1e-2
    """Decoupled, not on biases, gains and offsets. Uncertain: 1e-2 in the paper, 0.1 in the public configuration."""
    size: int = 256  # section 3.3
    """Height and width of the clips shown, in pixels."""
    frames: int = 24  # MOVi-E's clips
    """Frames of the clips shown: neighbours, or as often every second one."""
    points: int = 256  # public configuration
    """Queries of a clip."""
    refine_with_gradient: int | None = 32
    """Queries of each clip that the refinement learns from, as the public code saves memory; matching learns from all."""
    checks: int = 30
    """Sequences, the last ones, that are kept for scores along the way; no more than a tenth of all."""
    bf16: bool = False
    """Compute in bfloat16; weights stay float32."""
    seed: int = 1
    """The same seed gives the same run."""


RECIPES: Mapping[str, TapKubric] = {
    "paper": TapKubric(data=""),
    "public": TapKubric(data="", preset="public", steps=100_000, batch_size=512, weight_decay=0.1),
}
"""The paper's numbers, and those of the public configuration: 8 clips a device; how many devices it does not say, so 64 as the
paper. Of either, the data is still to be named."""


UNPUBLISHED: Mapping[str, Mapping[str, str]] = {
    "paper": {
        "betas": "those of the public configuration",
        "refine_with_gradient": "that of the public code",
        "weight_decay": "0.01 in the paper as far as it could be read, 0.1 in the public configuration",
        "checks": "ours",
    },
    "public": {"batch_size": "the configuration has 8 clips a device and does not say how many devices; 64 as in the paper"},
}
"""Values that are not published, or uncertain, and what they lean on."""
