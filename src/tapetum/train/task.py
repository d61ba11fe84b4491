"""What a system must say about itself to be trained by `fit`."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from tapetum.train.optim import decay_groups


class Task(Protocol):
    """A model, its data and its loss. Subclass it to get the defaults of the two flags and of the last five methods.

    With workers, the dataset and `collate` are pickled to other processes: the task should hold configs, not tensors.
    """

    parts: tuple[str, ...] = ()
    """Names of losses that are learned apart: each keeps optimiser moments of its own, and their moves are added up.

    A batch is then a dict with these names, and `loss` gets one entry at a time. Weights decay once, not with every part.
    """
    taught: bool = False
    """`loss` gets the average of the weights too, as a model of the same kind: `loss(model, batch, generator, teacher)`.

    The teacher is in eval mode, learns nothing and is the average before the step; `TrainConfig.ema_decay` must be given.
    """

    def model(self) -> nn.Module:
        """A new model; called once, with the global generators seeded by the run's seed."""
        ...

    def dataset(self) -> Dataset:
        """Samples by their number: `dataset[n]` for n = 0, 1, ... steps * batch_size - 1, each asked for once.

        An item must depend on n (and the task's seed) alone. The global generators of torch, numpy and random are seeded by
        (run's seed, n) before each item is made, and `tapetum.data.samples` has generators for those who want their own.
        A finite collection of files maps n to a file with `tapetum.data.samples.Shuffle`.
        """
        ...

    def loss(
        self, model: nn.Module, batch: Any, generator: torch.Generator, teacher: nn.Module | None = None
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Mean loss over one micro-batch, and numbers to log; a task that is not `taught` may leave out `teacher`.

        `generator` lives on the model's device and is seeded by the numbers of the samples in the batch. The first
        micro-batch of a run is computed once more than it is learnt from, to count its FLOPs.
        """
        ...

    def collate(self, items: Sequence[Any]) -> Any:
        """Items to a micro-batch; tensors inside dicts, lists, tuples and dataclasses are moved to the device."""
        return default_collate(list(items))

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Groups for AdamW: dicts with `params`, and where wanted `weight_decay` and `lr_scale` (a factor on lr)."""
        return decay_groups(model)

    def shards(self, model: nn.Module) -> Sequence[nn.Module]:
        """Under FSDP, parts of the model whose weights are gathered for their own forward and backward only, inner ones first.

        What is in none of them is gathered once for the whole loss. A part's weights may be used in its forward alone.
        """
        return ()

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Scores after `step` steps, of the averaged weights if an average is kept; runs on the first process."""
        return {}

    def describe(self) -> Mapping[str, Any]:
        """Settings of the task, as JSON values: a checkpoint of a task with other settings is not resumed."""
        return {}
