"""Your own tasks: one class with examples, a head, a loss and scores (docs/guides/bring-your-own.md).

It is trained with adapters, resumed, recorded and reported like the package's tasks, under its class name; its file has the
sizes of the head and the fingerprint of the code, not the code.
"""

import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.core.plugins import record_of_class, resolve_subclass
from tapetum.encoders.features import Encoder
from tapetum.systems.adapters.data import OwnImages
from tapetum.systems.adapters.recipes import AdaptRun
from tapetum.systems.adapters.task import Headed, TargetTask
from tapetum.train import StepContext


class OwnTask(TargetTask):
    """A task on images; subclass it to make your own."""

    reads: ClassVar[Literal["pooled", "maps"]] = "pooled"
    """What the head takes: the pooled vectors (b, width), standardised, or the maps, finest first, each (b, channels, h, w)."""

    def __init__(self, run: AdaptRun, trunk: Callable[[], Encoder]):
        preset = run.preset.removesuffix("-top") if self.reads == "maps" else run.preset  # the top changes pooled vectors alone
        super().__init__(replace(run, preset=preset), trunk)
        self.folder, made = Path(run.data), trunk()
        self.train, self.checks = (
            OwnImages(self._listed(split), made.preprocessing, run.seed, run.shift if split == "train" else 0)
            for split in ("train", "val")
        )
        self.run = self.run.for_images(len(self.train))
        record = record_of_class(run.task, "task")
        width: Any = list(made.map_channels) if self.reads == "maps" else made.width
        self.about = {
            "task": record["reference"],
            "fingerprint": record["fingerprint"],
            "reads": self.reads,
            "width": width,
            "sizes": dict(self.sizes()),
        }

    @abstractmethod
    def examples(self, split: Literal["train", "val"]) -> Sequence[tuple[Path, Any]]:
        """List the images in `self.folder` for training or evaluation, each a file and a number or an array."""

    @staticmethod
    @abstractmethod
    def head(width: Any, **sizes: Any) -> nn.Module:
        """Make the head; `width` is that of the encoder's pooled vectors, or a list of its maps' channels."""

    @abstractmethod
    def head_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss of the head's outputs for a batch."""

    @abstractmethod
    def score(self, outputs: Tensor, targets: Tensor) -> Mapping[str, float]:
        """Compute the scores of the head's outputs for all images of `val`."""

    def sizes(self) -> Mapping[str, Any]:
        """List what the head needs from the data, such as the number of classes, as JSON values passed to `head` by name."""
        return {}

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor], context: StepContext
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        return self.head_loss(self.answer(cast(Headed, model), batch), batch["target"]), {}

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        device = next(cast(Headed, model).head.parameters()).device
        examples = [self.checks.plain(k) for k in range(len(self.checks))]
        outputs = [model(example["image"][None].to(device)).cpu() for example in examples]
        scores = self.score(torch.cat(outputs), torch.stack([example["target"] for example in examples]))
        return {name: float(value) for name, value in scores.items()}

    def _listed(self, split: Literal["train", "val"]) -> list[tuple[Path, Any]]:
        listed = list(self.examples(split))
        if not listed:
            raise BadInput(f"{type(self).__name__} lists no images for {split} in {self.folder}; give other data")
        return listed


def own_task(reference: str) -> type[OwnTask]:
    """Import your own task. Raises BadInput if it is not a task, or is incomplete."""
    cls = resolve_subclass(reference, "task", OwnTask)
    if not isinstance(inspect.getattr_static(cls, "head"), staticmethod | classmethod):
        raise BadInput(f"head of {reference} takes the task; write @staticmethod above it: a file is read without the data")
    return cls
