"""What the six methods share: images, their views, the encoder, and an eye on collapse.

A method (`methods/`) says which views it wants, what stands on the encoder, and its loss. Batch norms and negatives are those
of all processes of a run, so that two processes do as one with the joint batch.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tapetum.data.views import View, Views
from tapetum.encoders.factory import make
from tapetum.encoders.features import Encoder
from tapetum.systems.pretraining.data import NoImages, Showings, Shown, Source
from tapetum.systems.pretraining.heads import spread
from tapetum.systems.pretraining.recipes import PretrainRun
from tapetum.train import Average, StepContext, Task
from tapetum.train.gather import convert_sync_batchnorm
from tapetum.train.launch import say

COLLAPSED = 0.01
"""A spread below this is a collapse: a hundredth of the features' length differs between images."""
_UNDECAYED = "positions", "class_token", "registers", "mask_token", "log_scale"
_NOT_LEARNING = "data", "preset", "epochs", "micro_batch"
"""Fields of a run that say nothing of what is learned, or of which the loop's config knows."""


class PretrainTask(Task):
    """One of the methods."""

    joint_batch = True
    averages: tuple[Average, ...] = ()
    """What `teachers` are."""
    kept: str = "model"
    """Whose encoder is the result: the model's or that of an average."""

    def __init__(self, run: PretrainRun, source: Source):
        self.run, self.source = run, source
        self.settings = run.settings()
        self.damaged: set[int] = set()
        """Images that could not be read so far, by number; told of in the process that trains."""
        self.collapsed_at: int | None = None
        """The step in which the features were first seen to be constant."""
        self.check()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the images: workers have them in the dataset, and of the task they want `collate` alone."""
        return {**self.__dict__, "source": replace(self.source, images=NoImages(len(self.source)))}

    def check(self) -> None:
        """Raise BadInput where encoder, data and method do not go together."""

    @abstractmethod
    def views(self) -> Sequence[View]:
        """Say which views of an image the method wants."""

    @abstractmethod
    def learner(self, encoder: Encoder) -> nn.Module:
        """Put the method's heads on the encoder; what it returns has it as `encoder`."""

    @abstractmethod
    def method_loss(
        self, model: Any, batch: Mapping[str, Any], context: StepContext
    ) -> tuple[Tensor, Tensor, Mapping[str, float | Tensor]]:
        """Compute the loss, the encoder's vectors of the images, and what else is to be logged."""

    def model(self) -> nn.Module:
        """Make encoder and heads, with batch norms over all processes."""
        encoder = make(self.run.architecture, seed=int(torch.randint(1 << 31, ())))
        learner = convert_sync_batchnorm(self.learner(encoder).train())
        if self._convolves:
            for parameter in learner.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return learner

    @property
    def _convolves(self) -> bool:
        """Whether channels lie last in memory, with which convolutions are a quarter faster."""
        return self.run.architecture.family not in ("vit", "towers")

    def dataset(self) -> Showings:
        """Give images in a shuffled order."""
        return Showings(self.source, self.run.seed)

    def collate(self, items: Sequence[Shown]) -> dict[str, Any]:
        """Make the views of a micro-batch, and what is known of its images."""
        how = self.run.architecture.preprocessing
        views = Views(self.views(), seed=self.run.seed, mean=how.mean, std=how.std)
        numbers, indices = [item.number for item in items], [item.index for item in items]
        made = views([item.image for item in items], numbers)
        if self._convolves:
            made = [view.contiguous(memory_format=torch.channels_last) for view in made]
        batch: dict[str, Any] = {"views": made, "number": torch.tensor(numbers)}
        batch["damaged"] = torch.tensor([k for item in items for k in item.damaged], dtype=torch.int64)
        return batch | self.known(np.array(indices))

    def known(self, indices: np.ndarray) -> dict[str, Tensor]:
        """Give what the method wants to know of these images of the source."""
        return {}

    def loss(self, model: nn.Module, batch: Any, context: StepContext) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the loss, and the spread of the features, which says whether they have collapsed."""
        loss, features, metrics = self.method_loss(model, batch, context)
        found = spread(features)
        self._tell(batch["damaged"].tolist(), float(found), len(features), context)
        return loss, {"spread": found, **metrics}

    def _tell(self, damaged: Sequence[int], found: float, images: int, context: StepContext) -> None:
        for k in damaged:
            if k not in self.damaged:
                self.damaged.add(k)
                say(f"{self.source.images.name(k)} cannot be read and is skipped ({len(self.damaged)} so far)")
        if found < COLLAPSED and images > 1 and self.collapsed_at is None:
            self.collapsed_at = context.step
            say(
                f"step {context.step + 1}: collapse, the features of all images are the same but for {found:.1e} of their "
                "length; stop, and try a lower --base-lr or a larger --batch-size"
            )

    def cost_parts(self, model: nn.Module) -> Mapping[str, nn.Module]:
        """Name the encoder and what stands on it."""
        return dict(model.named_children())

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Make two groups: matrices and filters, which decay; and biases, norms, positions and tokens, which don't."""
        learning = [(name.rpartition(".")[2], p) for name, p in model.named_parameters() if p.requires_grad]
        decaying = [p for name, p in learning if p.ndim >= 2 and name not in _UNDECAYED]
        others = [p for name, p in learning if p.ndim < 2 or name in _UNDECAYED]
        return [{"params": decaying}, {"params": others, "weight_decay": 0.0}]

    def describe(self) -> Mapping[str, Any]:
        """List what decides what is learned, but for the images themselves."""
        settings = {name: value for name, value in asdict(self.run).items() if name not in _NOT_LEARNING}
        for name in ("supervised", "clip", "simclr", "byol", "dino", "mae"):
            if name != self.run.method:
                del settings[name]
        return {**settings, **self.source.about}


def whole(batch: Mapping[str, Any]) -> Tensor:
    """Give all views of a batch, which have one size, in one tensor: the first of all images first."""
    return torch.cat(batch["views"])
