"""HiP's two phases: masked auto-encoding of examples, then their classes, or those of their elements.

Source: HiP (arXiv 2202.10890). Pre-training hides most inputs and asks for their values; the loss is the squared error of what
was hidden, a mean for each modality, and of these. The network that masked auto-encoding leaves, its position codes included,
learns classes: from the mean of the processor's latents, or of each element, which its position code asks for in the decoder.

Differs from the paper, whose text could not be read: ratio, loss and read-out are settings, the defaults those that its figures
suggest. Training is by AdamW.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.layers.convolution import Standardize
from tapetum.metrics.masks import Confusion
from tapetum.systems.hip.config import HipConfig, Masked
from tapetum.systems.hip.data import TARGET, HipExamples, without_target
from tapetum.systems.hip.masking import reconstruct_masked
from tapetum.systems.hip.model import Hip
from tapetum.train import StepContext, Task
from tapetum.train.process_group import compute_shared


def masked_losses(
    model: nn.Module, inputs: Mapping[str, Float[Tensor, "b _n _c"]], settings: Masked, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """Measure the mean squared error of each modality."""
    reconstructed, hidden_of = reconstruct_masked(model, inputs, settings, generator)
    losses = {}
    for name, hidden in hidden_of.items():
        error = (reconstructed[name].float() - inputs[name].float()).square().mean(-1)
        losses[name] = (error * hidden).sum() / hidden.sum().clamp(min=1)
    return losses


class MaskedTask(Task):
    """Masked auto-encoding of examples; `checks` are never trained on."""

    def __init__(
        self, config: HipConfig, examples: HipExamples, checks: HipExamples, settings: Masked, *, checkpointing: bool = False
    ):
        self.config, self.examples, self.checks, self.settings = config, examples, checks, settings
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
        """Compute the mean of the modalities' errors."""
        losses = masked_losses(model, without_target(batch), self.settings, context.generator)
        return torch.stack([*losses.values()]).sum() / len(losses), {name: loss.detach() for name, loss in losses.items()}

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Evaluate the errors on the checks, the same places hidden every time."""
        device = next(model.parameters()).device
        generator = torch.Generator(device).manual_seed(0)
        batch = {name: value.to(device) for name, value in without_target(self.checks.plain(0, 256)).items()}
        losses = masked_losses(model, batch, self.settings, generator)
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def describe(self) -> Mapping[str, Any]:
        """Describe all that decides what is learned, but for the examples themselves."""
        masked = {**asdict(self.settings), "how": "drop", "loss": "hidden", "weights": {}}  # as version 0.1.0 recorded it
        return {"config": asdict(self.config), "masked": masked, "examples": self.examples.about}


def new_hip(config: HipConfig, examples: HipExamples, checkpointing: bool) -> Hip:
    """Make a new network for the modalities of the examples, that knows how they are prepared."""
    hip = Hip(config, examples.modalities())
    hip.checkpointing, hip.preparations = checkpointing, examples.preparations()
    return hip


STANDARDISED_ON = 64
"""Examples from whose features a new read-out takes what to subtract and to divide by."""


class HipClassifier(nn.Module):
    """A HiP network that tells classes: of examples, by the mean of the processor's latents, or of a modality's elements.

    Of the features of a new network nine tenths are the same whatever the input. A layer norm leaves them so, and on the
    digits of `evidence/hip-claims/claims.py` nothing is learned for 1,200 steps; so the read-out sees them standardised.
    """

    def __init__(self, hip: Hip, classes: int, elements_of: str | None = None):
        super().__init__()
        config = hip.config
        if elements_of is not None and elements_of not in hip.positions:
            raise BadInput(f"{elements_of!r} is no modality with a decoder; choose one of {', '.join(hip.positions)}")
        self.hip, self.elements_of = hip, elements_of
        width = config.channels[config.processor] if elements_of is None else config.embedding
        self.norm, self.out = Standardize(width), nn.Linear(width, classes)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, inputs: Mapping[str, Float[Tensor, "b _n _c"]]) -> Float[Tensor, "b *n classes"]:
        """Compute the logits of each example, or of each element of the modality."""
        return self.out(self.norm(self.features(inputs)))

    def features(self, inputs: Mapping[str, Float[Tensor, "b _n _c"]]) -> Float[Tensor, "b *n width"]:
        """Compute what the read-out is given, before it is standardised."""
        if self.elements_of is None:
            return self.hip(inputs, decode=()).latents[self.hip.config.processor].mean((1, 2))
        return self.hip(inputs, decode=(self.elements_of,)).features[self.elements_of]


class ClassTask(Task):
    """Classes of examples, or of the elements of a modality; where a target is `ignore` nothing is learned or scored.

    Targets that are real numbers, (classes,) an example, are truths of labels of which any number may hold.
    """

    def __init__(
        self,
        config: HipConfig,
        examples: HipExamples,
        checks: HipExamples,
        classes: int,
        *,
        start: Path | None = None,
        elements_of: str | None = None,
        ignore: int = -1,
        smoothing: float = 0.0,
        checkpointing: bool = False,
    ):
        """`start`: weights of a network of the same config, as masked auto-encoding leaves them."""
        self.config, self.examples, self.checks, self.classes = config, examples, checks, classes
        self.start, self.elements_of, self.ignore, self.smoothing = start, elements_of, ignore, smoothing
        self.checkpointing = checkpointing

    def model(self) -> nn.Module:
        """Build the network, with the weights of `start` if there are any, and a new read-out."""
        hip = new_hip(self.config, self.examples, self.checkpointing)
        if self.start is not None:
            hip.load_state_dict(load_file(no_pipe(self.start)))
        model = HipClassifier(hip, self.classes, self.elements_of)
        model.norm.measure(self._first_features(model))
        for part in unused(model):
            part.requires_grad_(False)
        return model

    @torch.no_grad()
    def _first_features(self, model: HipClassifier) -> Float[Tensor, "n width"]:
        """Compute features of the first examples that are shown, one at a time; of elements every seventeenth."""
        rows = []
        for index in range(STANDARDISED_ON):
            example = without_target(self.examples[index])
            features = model.features({name: value[None] for name, value in example.items()})
            rows.append(features if features.dim() == 2 else features[0, ::17])
        return torch.cat(rows)

    def dataset(self) -> HipExamples:
        return self.examples

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor], context: StepContext
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute cross entropy; of each label, where any number may hold."""
        logits, target = model(without_target(batch)).float(), batch[TARGET]
        if target.is_floating_point():
            return F.binary_cross_entropy_with_logits(logits, target.float()), {}
        target = target.long()
        loss = F.cross_entropy(
            logits.flatten(0, -2), target.flatten(), ignore_index=self.ignore, label_smoothing=self.smoothing
        )
        counted = target != self.ignore
        right = (logits.argmax(-1) == target) & counted
        return loss, {"accuracy": right.sum() / counted.sum().clamp(min=1)}

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Evaluate accuracy on the checks, of elements also the mean intersection over union of the classes that occur; of
        labels the mean average precision."""
        device = next(model.parameters()).device
        batches = range(0, len(self.checks), 64)
        target = torch.cat([self.checks.plain(start, start + 64)[TARGET] for start in batches])

        def compute(number: int) -> Tensor:
            batch = self.checks.plain(64 * number, 64 * number + 64)
            logits = model({name: value.to(device) for name, value in without_target(batch).items()}).float()
            return logits if target.is_floating_point() else logits.argmax(-1)

        answers = torch.cat(compute_shared(compute, len(batches)))
        if target.is_floating_point():
            return {"mean_average_precision": mean_average_precision(answers, target)}
        confusion = Confusion(self.classes, ignore=self.ignore)
        confusion.add(answers.numpy(), target.numpy())
        if self.elements_of is None:
            return {"accuracy": confusion.accuracy}
        occurs = confusion.counts.sum(1) > 0
        return {"accuracy": confusion.accuracy, "mean_iou": float(confusion.iou[occurs].mean())}

    def describe(self) -> Mapping[str, Any]:
        """Describe all that decides what is learned, but for the examples themselves."""
        start = self.start and Path(self.start).name
        own = {"elements_of": self.elements_of, "ignore": self.ignore, "smoothing": self.smoothing, "start": start}
        return {"config": asdict(self.config), "classes": self.classes, "examples": self.examples.about, **own}


def mean_average_precision(scores: Float[Tensor, "n classes"], truth: Float[Tensor, "n classes"]) -> float:
    """Average over the classes that occur of the average precision: that at the rank of each true example, ties taken together.

    >>> round(mean_average_precision(torch.tensor([[3.0], [2.0], [1.0]]), torch.tensor([[1.0], [0.0], [1.0]])), 6)
    0.833333
    """
    values = []
    for score, true in zip(scores.T, truth.T > 0.5, strict=True):
        if true.any():
            order = score.argsort(descending=True)
            ranked, true = score[order], true[order]
            last = torch.searchsorted(-ranked, -ranked, right=True)  # of all that score as much
            values.append((true.cumsum(0)[last - 1][true] / last[true]).double().mean())
    return float(torch.stack(values).mean()) if values else float("nan")


def unused(model: HipClassifier) -> list[nn.Module]:
    """Find the parts of the network that have no say in the classes."""
    hip = model.hip
    if model.elements_of is not None:
        return [*hip.unembed.values()]
    return [*hip.unembed.values(), *hip.blocks[hip.config.processor + 1 :], hip.head]
