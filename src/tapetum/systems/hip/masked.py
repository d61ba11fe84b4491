"""HiP's first phase: masked auto-encoding of examples.

Source: HiP (arXiv 2202.10890). Pre-training hides most inputs and asks for their values; the loss is the squared error of what
was hidden, a mean for each modality, and of these.

Differs from the paper, whose text could not be read: ratio and loss are settings, the defaults those that its figures suggest.
Training is by AdamW.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.systems.hip.config import HipConfig, Masked
from tapetum.systems.hip.data import HipExamples, without_target
from tapetum.systems.hip.images import draw_progress
from tapetum.systems.hip.masking import reconstruct_masked
from tapetum.systems.hip.model import Hip
from tapetum.train import StepContext, Task


def masked_losses(
    model: nn.Module, inputs: Mapping[str, Float[Tensor, "b _n _c"]], settings: Masked, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """Measure the mean squared error of each modality."""
    reconstructed, hidden_of = reconstruct_masked(model, inputs, settings, generator)
    losses = {}
    for name, hidden in hidden_of.items():
        error = (reconstructed[name].float() - inputs[name].float()).square().mean(-1)
        losses[name] = error.mean() if settings.loss == "all" else (error * hidden).sum() / hidden.sum().clamp(min=1)
    return losses


class MaskedTask(Task):
    """Masked auto-encoding of examples; `checks` are never trained on."""

    def __init__(
        self,
        config: HipConfig,
        examples: HipExamples,
        checks: HipExamples,
        settings: Masked,
        images: Path | None = None,
        *,
        checkpointing: bool = False,
    ):
        """`images`: a folder that gets an image of reconstructions and one of codes at every evaluation."""
        self.config, self.examples, self.checks, self.settings, self.images = config, examples, checks, settings, images
        self.checkpointing = checkpointing

    def model(self) -> nn.Module:
        """Make a new network for the modalities of the examples."""
        return new_hip(self.config, self.examples, self.checkpointing)

    def dataset(self) -> HipExamples:
        """Load examples, of which the target is not looked at."""
        return self.examples

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor], context: StepContext
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the weighted mean of the modalities' errors."""
        losses = masked_losses(model, without_target(batch), self.settings, context.generator)
        return self._total(losses), {name: loss.detach() for name, loss in losses.items()}

    def _total(self, losses: Mapping[str, Tensor]) -> Tensor:
        weights = {name: self.settings.weights.get(name, 1.0) for name in losses}
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum() / sum(weights.values())

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Evaluate the errors on the checks, the same places hidden every time; and images, if they are wanted."""
        device = next(model.parameters()).device
        generator = torch.Generator(device).manual_seed(0)
        batch = {name: value.to(device) for name, value in without_target(self.checks.plain(0, 256)).items()}
        losses = masked_losses(model, batch, self.settings, generator)
        if self.images is not None:
            draw_progress(self.images, step, model, batch, self.settings)
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def describe(self) -> Mapping[str, Any]:
        """Describe all that decides what is learned, but for the examples themselves."""
        return {"config": asdict(self.config), "masked": asdict(self.settings), "examples": self.examples.about}


def new_hip(config: HipConfig, examples: HipExamples, checkpointing: bool) -> Hip:
    """Make a new network for the modalities of the examples, that knows how they are prepared."""
    hip = Hip(config, examples.modalities())
    hip.checkpointing, hip.preparations = checkpointing, examples.preparations()
    return hip
