"""Interface of the tasks that `fit` trains. Does not import torch itself, so reading a task's settings stays cheap."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.utils.data import Dataset

    from tapetum.train.optim import Layers


def _generator() -> "torch.Generator":
    from torch import Generator

    return Generator()


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """Context of a loss: its step in the run, and what it may use besides model and batch; by default, a run's only step.

    >>> StepContext(step=50, steps=101).progress
    0.5
    """

    step: int = 0
    """Optimiser steps made so far, so that the first step's is 0."""
    steps: int = 1
    """Optimiser steps of the whole run."""
    generator: "torch.Generator" = field(default_factory=_generator)
    """Lives on the model's device and is seeded by the numbers of the samples in the micro-batch."""
    teachers: "Mapping[str, nn.Module]" = field(default_factory=dict)
    """By the names in `Task.teachers`: models with the averages before the step, in eval mode, that learn nothing."""

    @property
    def progress(self) -> float:
        """Compute the fraction of the run that is done: 0 in the first step, 1 in the last."""
        return self.step / max(self.steps - 1, 1)


def repeated_blocks(model: "nn.Module") -> "list[nn.Module]":
    """Find the blocks that a network chains: the outermost modules with weights, in lists, whose class occurs repeatedly.

    torch's own layers and nested lists (stages) are not blocks, but may contain some.

    >>> from torch import nn
    >>> class Block(nn.Linear): ...
    >>> model = nn.Sequential(nn.Linear(1, 2), nn.Sequential(Block(2, 2), Block(2, 2)), nn.Linear(2, 1), nn.Linear(1, 1))
    >>> len(repeated_blocks(model))
    2
    """
    from torch import nn

    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList | nn.Sequential)]
    listed = [child for module in lists for child in module if not type(child).__module__.startswith("torch.nn.")]
    kinds = Counter(type(child) for child in listed)
    blocks = {id(child) for child in listed if kinds[type(child)] > 1 and any(True for _ in child.parameters())}

    def outermost(module: "nn.Module") -> "list[nn.Module]":
        return [module] if id(module) in blocks else [block for child in module.children() for block in outermost(child)]

    return outermost(model)


class Task(Protocol):
    """A model, its data and its loss. Subclass it to get default flags and defaults for the last eight methods.

    With workers, the dataset and `collate` are pickled to other processes, so the task should hold configs, not tensors.
    """

    cost_changes: tuple[int, ...] = ()
    """Steps from which on a step costs other FLOPs than before, so that they are counted again."""
    parts: tuple[str, ...] = ()
    """Names of losses that are learned apart: each keeps optimiser moments of its own, and their moves are added up.

    A batch is then a dict with these names, and `loss` gets one entry at a time. Weights decay once, not with every part.
    """
    teachers: tuple[str, ...] = ()
    """Names of averages (`TrainConfig.averages`, or ema for that of `ema_decay`) that `loss` needs as models.

    They are in `StepContext.teachers`: in eval mode, learning nothing, as the averages are before the step.
    """
    joint_batch: bool = False
    """The loss or statistics in the model look across examples of other processes: gathered negatives, `SyncBatchNorm`.

    The examples that are looked at together are then part of the run's identity, instead of the micro-batch: those of all
    processes in one micro-batch. Two processes with micro-batches of 4 may go on as one with 8; not as one that accumulates
    two of 4, for its loss would look at fewer. Accumulation that looks at all is `JointTask`'s.
    """

    evaluates_whole: bool = False
    """`evaluate` writes files or asks a simulator: of weights in shards the first process calls it with a whole model."""

    watched: str = ""
    """Score of `evaluate` by which `TrainConfig.patience` judges; greater is better, or less where a - stands before it."""

    def model(self) -> "nn.Module":
        """Create a new model; the global generators have been seeded with the run's seed."""
        ...

    def dataset(self) -> "Dataset":
        """Build the dataset: `dataset[n]` for n = 0, 1, ... steps * batch_size - 1, each requested once.

        An item must depend only on n (and the task's seed). The global generators of torch, numpy and random are seeded with
        (run's seed, n) before each item is made; `tapetum.data.samples` has generators for tasks that prefer their own.
        For a finite collection of files, map n to a file with `tapetum.data.samples.Shuffle`.
        """
        ...

    def loss(self, model: "nn.Module", batch: Any, context: StepContext) -> "tuple[Tensor, Mapping[str, float | Tensor]]":
        """Compute the mean loss over one micro-batch, and numbers to log.

        A run minimises the mean of this loss over micro-batches and processes, so a loss that uses `tapetum.train.gather`
        needs no factor. To count FLOPs, all processes compute the first micro-batch of a run one extra time; with a
        `joint_batch`, some of its first examples too, to compare several processes with one.
        """
        ...

    def after_step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Process the metrics of the step just made, numbered from 0: means over micro-batches and processes.

        Code that needs their values belongs here, in all processes: in `loss` it would wait for the device.
        """

    def collate(self, items: Sequence[Any]) -> Any:
        """Make a micro-batch of items; tensors inside dicts, lists, tuples and dataclasses are moved to the device.

        Values that `loss` needs on the host (sample numbers, lengths) should be plain numbers, not tensors.
        """
        from torch.utils.data import default_collate

        return default_collate(list(items))

    def parameter_groups(self, model: "nn.Module") -> list[dict[str, Any]]:
        """Make the optimiser's groups: dicts with `params` and, optionally, `weight_decay` and `lr_scale` (a factor on lr)."""
        from tapetum.train.optim import decay_groups

        return decay_groups(model)

    def layers(self, model: "nn.Module") -> "Layers":
        """List modules and parameters from input to output, for `TrainConfig.layer_decay`: one group per layer.

        Parameters in none of them belong to the output and use the full rate. For a ViT: the patch embedding with positions and
        class token, then each block.
        """
        return ()

    def shards(self, model: "nn.Module") -> "Sequence[nn.Module]":
        """List the parts whose weights FSDP gathers only for their own forward and backward; by default `repeated_blocks`.

        Inner parts come first. Weights in none of them are gathered once for the whole loss. A part's weights may be used
        only in its own forward. Activation checkpointing also works part by part.
        """
        return repeated_blocks(model)

    def cost_parts(self, model: "nn.Module") -> "Mapping[str, nn.Module]":
        """List parts of the model whose FLOPs the ledger lists separately (`tapetum.account.flops`)."""
        return {}

    def evaluate(self, model: "nn.Module", step: int) -> Mapping[str, float]:
        """Score the weights (`TrainConfig.weights_to_score`) after `step` steps, in the first process.

        If weights are in shards, all processes call this alike, since blocks are gathered for each call of theirs; work may be
        shared out by `process_group.compute_shared`. Gathering from all processes is the identity here.
        """
        return {}

    def describe(self) -> Mapping[str, Any]:
        """List the settings of the task as JSON values: a checkpoint of a task with other settings is not resumed."""
        return {}


class JointTask(Task):
    """A task whose loss is one value of the embeddings of all examples of a step, such as a contrastive loss.

    Micro-batches can then be accumulated while the loss still sees all examples (`tapetum.train.gradient_cache`): a batch of
    1,024 fits a laptop as 32 micro-batches of 32, and a run may continue with other micro-batches and numbers of processes.
    """

    joint_batch = True

    @abstractmethod
    def embed(self, model: "nn.Module", batch: Any, context: StepContext) -> Any:
        """Embed one micro-batch: tensors whose first axis is the example, alone or in a tuple, list or dict.

        Tensors that are not real numbers (labels) are passed on unchanged. An example's embedding may not depend on others.
        """

    @abstractmethod
    def joint_loss(
        self, model: "nn.Module", embeddings: Any, context: StepContext
    ) -> "tuple[Tensor, Mapping[str, float | Tensor]]":
        """Compute the loss of the step from the embeddings of all this process's examples, in `embed`'s form.

        With several processes, `tapetum.train.gather` gets those of the others. The model is passed for parameters such as a
        learned temperature. When micro-batches are accumulated, this is computed twice.
        """

    def loss(self, model: "nn.Module", batch: Any, context: StepContext) -> "tuple[Tensor, Mapping[str, float | Tensor]]":
        """Compute the loss of a step that consists of one micro-batch."""
        return self.joint_loss(model, self.embed(model, batch, context), context)
