"""Runs of `tapetum bootstrap` as configs, which are also its options. Imports no torch.

Source: BootsTAP (arXiv 2402.00847).

Differs from the paper: made for one laptop and an hour, not for 256 accelerators, so a step has two clips of each kind, and the
best of the scored weights are taken; scenes and clips of warped images stand for Kubric's; both losses are added up.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields
from tapetum.systems.tap.bootstrap.config import WITHOUT, FootageConfig, Ingredient, Ingredients

DECIDING_SCORE = "best_average_jaccard"
"""Score by which weights are kept. Footage in which nearly all is seen teaches to call more points visible, and that alone
raises the average Jaccard of a network that is too careful."""


@dataclass(frozen=True, kw_only=True)
class BootstrapRun:
    """A whole run; the defaults are for `tapir-nano` on a laptop."""

    model: str = "tapir-nano"
    """Tracker to start from: a name of weights (see: tapetum weights list), a file, or a folder that this verb made."""
    settings: Ingredients = field(default_factory=Ingredients)
    """What it learns from, and how."""
    steps: int = 400
    """Optimiser steps."""
    clips: int = 2
    """Clips of footage in a step, and as many synthetic ones."""
    frames: int = 12
    """Frames of the clips that are shown; no shorter shot is used."""
    size: int = 256
    """Height and width in pixels at which clips are shown and scored; frames are squashed to squares."""
    lr: float = 3e-4
    """Peak learning rate. The paper's is 2e-4 [recalled], with 250 times as many clips in a step."""
    mixer_lr: float = 0.2
    """Factor on the rate of the mixer. [recalled]"""
    extra_convs: int | None = None
    """Give the tracker this many convolution blocks on the stride-8 features, as BootsTAPIR's 5; by default it keeps its own.
    New ones begin as a layer norm, which the rest of the network has yet to get used to: give them thousands of steps."""
    iterations: int | None = 2
    """Refinement iterations while learning, which cost a step most; None takes as many as the tracker uses."""
    scenes: int = 240
    """Different synthetic scenes."""
    image_clips: int = 480
    """Clips of cut-outs over moving images (`systems.tap.training.image_clips`) beside the scenes, each shown as often."""
    textures: str | None = None
    """Folder or parquet file of images of which scenes and image clips are made; by default frames of the footage."""
    part: str = "all"
    """Part of `textures`: all, or train, which leaves out every tenth, as the bundled tracker's own run does."""
    checks: int = 12
    """Clips with known tracks to score on."""
    scored: int = 4
    """Times that the weights are scored on the way."""
    seed: int = 1
    """The same seed gives the same run."""
    bf16: bool = True
    """Learn under bfloat16 autocast."""

    def __post_init__(self) -> None:
        if self.clips < 1 or self.frames < 2:
            raise BadInput(f"clips is {self.clips} and frames {self.frames}; wanted 1 or more clips of 2 or more frames")
        counts, from_zero = ("steps", "iterations", "checks", "scored"), ("extra_convs", "scenes", "image_clips", "seed")
        check_fields(self, **dict.fromkeys(counts, "[1, inf)"), **dict.fromkeys(from_zero, "[0, inf)"))
        if not self.scenes + self.image_clips:
            raise BadInput("scenes and image_clips are 0; give some of one kind, of which the tracker learns what is true")

    @property
    def footage(self) -> FootageConfig:
        """Say how videos become clips that suit this run."""
        longest = max(4, self.settings.stride) * (self.frames - 1) + 1
        return FootageConfig(size=self.size, shortest=self.frames, longest=longest)


def without(run: BootstrapRun, ingredients: Iterable[Ingredient]) -> BootstrapRun:
    """Leave ingredients out of a run, to see what they do.

    >>> without(BootstrapRun(), ["polish", "mixer-lr"]).settings.polish
    False
    """
    own = {f.name for f in fields(Ingredients)}
    for ingredient in ingredients:
        changes = WITHOUT[ingredient]
        settings = replace(run.settings, **{name: value for name, value in changes.items() if name in own})
        run = replace(run, settings=settings, **{name: value for name, value in changes.items() if name not in own})
    return run
