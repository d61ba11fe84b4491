"""Accumulation for a loss over all embeddings of a step, as if the batch were not divided.

Source: "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (GradCache, arXiv 2101.06983, section 3).

    1  micro-batches --embed, nothing kept--> embeddings e of the whole step
    2  e, and those of other processes --joint loss--> loss, d loss / d e
    3  each micro-batch --embed again--> e_i, backward from d loss / d e_i; with the last one, the joint loss's own parameters

Dropout and generators are replayed: each pass over a micro-batch is seeded by its first sample. Memory holds one
micro-batch's activations plus all inputs and embeddings; the cost in time is one extra forward pass.

Differs from the paper: under DDP, all backward passes of step 3 except the last skip the gradient exchange, and the joint
loss is computed a second time with the last, so that every parameter takes part in the pass that exchanges. The embeddings
of step 3 are compared with those of step 1: a model that does not reproduce them is refused, not trained on wrong gradients.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from tapetum.core.devices import to_device
from tapetum.core.errors import BadInput, TapetumError
from tapetum.train.accumulation import GradientAccumulation, Gradients, Objective, Sums, add_metrics
from tapetum.train.config import TrainConfig
from tapetum.train.optim import holds_batch_statistics
from tapetum.train.process_group import ProcessGroup
from tapetum.train.stream import Stream

UNLIKE = 0.02
"""Most that embeddings may differ from pass to pass, as a share of their norm; kernels on a GPU add up in no fixed order."""


@dataclass(frozen=True)
class Replay:
    """Inputs of the second pass over a micro-batch."""

    embeddings: list[Tensor]
    """Embeddings of the first pass."""
    gradients: list[Tensor | None]
    """Gradients of the joint loss, for each of these; None for what is not a real number."""
    joint: Any = None
    """All embeddings of the step, with the last micro-batch."""


@dataclass(frozen=True)
class Cached:
    """The joint loss of a step, and what is needed to learn from it."""

    loss: Tensor
    metrics: Mapping[str, float | Tensor]
    replays: list[Replay]
    """One for each micro-batch."""


class CachedAccumulation(GradientAccumulation):
    """The passes of a step whose micro-batches share one loss (`JointTask`)."""

    def __init__(self, objective: Objective, config: TrainConfig, processes: ProcessGroup):
        if (name := holds_batch_statistics(objective.model)) is not None:
            raise BadInput(
                f"{name} has statistics of a batch, which micro-batches cannot have; wanted accumulation 1 for such a model: "
                "add processes instead, freeze it, or take a norm of single examples (LayerNorm, GroupNorm)"
            )
        super().__init__(objective, config, processes)

    def run(self, stream: Stream, step: int, gradients: Mapping[str, Gradients]) -> tuple[Sums, Sums]:
        """Add the step's gradients for each part of the task to `gradients`; see `GradientAccumulation.run`."""
        sums: Sums = {}
        unlike: float | Tensor = 0.0
        batches = [stream.next() for _ in range(self.config.accumulation)]
        for name, own in gradients.items():
            with own:
                cached = self.cache([batch[name] if name else batch for batch in batches], step)
                for part, batch in enumerate(batches):
                    unlike = unlike + self.replay(self.parallel, cached, part, batch[name] if name else batch, step)
            add_metrics(sums, name, cached.loss, cached.metrics, 1)
        return sums, {"unlike": unlike}

    def check(self, checks: Mapping[str, float]) -> None:
        """Raise TapetumError if any process got different embeddings for a micro-batch the second time."""
        if checks["unlike"] > 0:
            raise TapetumError(
                "a micro-batch was embedded otherwise the second time, so its gradients would be wrong; wanted randomness from "
                "StepContext.generator and the global generators alone, and no buffers that change with use: or accumulation 1"
            )

    def cache(self, batches: Sequence[Any], step: int, seeds: Sequence[int] | None = None) -> Cached:
        """Run steps 1 and 2."""
        seeds = seeds or [self.seed(step, part) for part in range(len(batches))]
        return cache_gradients(
            lambda part: self.objective("embed", to_device(batches[part], self.processes.device), step, seeds[part]),
            lambda embeddings: self.objective("joint_loss", embeddings, step, seeds[0]),
            len(batches),
        )

    def replay(self, parallel: nn.Module, cached: Cached, part: int, batch: Any, step: int, seed: int | None = None) -> Tensor:
        """Run step 3 for one micro-batch; returns how many of its tensors differ from the first time."""
        one = cached.replays[part]
        on_device = to_device(batch, self.processes.device)
        with self.exchange(last=one.joint is not None):
            seed = self.seed(step, part) if seed is None else seed
            value, unlike = parallel("replay", on_device, step, seed, replay=one, joint_seed=self.seed(step, 0))
            if value.requires_grad:  # embeddings of something frozen learn nothing
                value.backward()
        return unlike


def cache_gradients(
    embed: Callable[[int], Any], joint_loss: Callable[[Any], tuple[Tensor, Mapping[str, float | Tensor]]], count: int
) -> Cached:
    """Run steps 1 and 2 for `count` micro-batches; `embed` takes a micro-batch's index."""
    chunks: list[list[Tensor]] = []
    form: TreeSpec | None = None
    with torch.no_grad():
        for number in range(count):
            leaves, form = tree_flatten(embed(number))
            if not leaves or not all(isinstance(leaf, Tensor) and leaf.dim() for leaf in leaves):
                raise BadInput("embed gave something that is not a tensor with an axis of examples; wanted such tensors alone")
            chunks.append([leaf.detach() for leaf in leaves])
    assert form is not None
    whole = [torch.cat(parts).requires_grad_(parts[0].is_floating_point()) for parts in zip(*chunks, strict=True)]
    learned = [leaf for leaf in whole if leaf.requires_grad]
    loss, metrics = joint_loss(tree_unflatten(whole, form))
    gradients = dict(zip(map(id, learned), torch.autograd.grad(loss, learned, materialize_grads=True), strict=True))
    split = [
        gradients[id(leaf)].split([len(part) for part in parts]) if leaf.requires_grad else [None] * count
        for leaf, parts in zip(whole, zip(*chunks, strict=True), strict=True)
    ]
    joint = tree_unflatten([leaf.detach() for leaf in whole], form)
    replays = [
        Replay(chunk, [parts[number] for parts in split], joint if number == count - 1 else None)
        for number, chunk in enumerate(chunks)
    ]
    return Cached(loss.detach(), metrics, replays)


def replayed_loss(embeddings: Any, replay: Replay) -> tuple[Tensor, Tensor]:
    """Build a value whose gradient is the joint loss's through these embeddings; count the embeddings that differ now."""
    total: Tensor | None = None
    others: list[Tensor] = []
    for now, before, gradient in zip(tree_flatten(embeddings)[0], replay.embeddings, replay.gradients, strict=True):
        if gradient is None:
            continue
        off = torch.linalg.vector_norm((now.detach() - before).float())
        others.append(off > UNLIKE * torch.linalg.vector_norm(before.float()))
        one = (now * gradient).sum()
        total = one if total is None else total + one
    assert total is not None
    return total, torch.stack(others).sum()
