"""Measurement of a training step on the device "meta": parameters, FLOPs, saved activations, units; nothing is computed.

A unit is a group of weights that FSDP gathers together, with its calls per micro-batch, for `tapetum.account.cluster`.

FLOPs come from `tapetum.account.closed_form`. Activations are the tensors that autograd saves in a forward pass, each
storage once, excluding weights and their copies. Two differences from a GPU are corrected here: "meta" has no autocast, so the
casts to bfloat16 are made where autocast on CUDA makes them; and attention saves its inputs, its output and a sum per query, as
fused kernels do, instead of its scores.

`count_step` counts the FLOPs of a real step instead, on its first micro-batch, whose results are discarded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from tapetum.account.closed_form import ClosedForm, closed_form
from tapetum.account.cluster import Unit
from tapetum.account.flops import Flops, by_part, count_flops
from tapetum.account.run_plan import MeasuredStep
from tapetum.core.devices import to_device
from tapetum.train.accumulation import GradientAccumulation
from tapetum.train.gradient_cache import Cached, CachedAccumulation
from tapetum.train.stream import Stream
from tapetum.train.task import repeated_blocks

if TYPE_CHECKING:
    from tapetum.train.log import RunReport

_IN_BF16 = {
    *(F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
    *(torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm, torch.bmm, Tensor.bmm, torch.einsum),
    *(torch.addmm, torch.baddbmm, F.scaled_dot_product_attention),
}
_IN_FLOAT32 = {
    *(F.layer_norm, F.group_norm, F.rms_norm, F.softmax, torch.softmax, Tensor.softmax),
    *(F.log_softmax, torch.log_softmax, Tensor.log_softmax, F.cross_entropy, F.mse_loss, F.binary_cross_entropy_with_logits),
}
"""Of the functions that autocast on CUDA computes in bfloat16 and in float32 those that networks here call."""


def measure_step(
    loss: Callable[[], Tensor], parts: Mapping[str, nn.Module], examples: int = 1, *, bf16: bool = False
) -> MeasuredStep:
    """Measure the step of a loss whose networks and inputs are on "meta".

    Args:
        loss: computes the loss of `examples` examples.
        parts: the networks, including those that learn nothing (teachers).
        examples: in `loss`; few are enough, because activations grow linearly with them.
        bf16: compute the loss under bfloat16 autocast.
    """
    networks = list({id(part): part for part in parts.values()}.values())
    weights = list({id(p): p for network in networks for p in network.parameters()}.values())
    blocks = [block for network in networks for block in repeated_blocks(network)]
    meter = _Activations(networks, blocks)
    cost = ClosedForm()

    def metered() -> Tensor:
        nonlocal cost
        with by_part(parts), meter, _Kernels(bf16, meter):
            cost = closed_form(loss)
        return torch.empty((), device="meta")

    units = record_units(networks, blocks, metered)
    learning = sum(p.numel() for p in weights if p.requires_grad)
    return MeasuredStep(
        learning=learning,
        frozen=sum(p.numel() for p in weights) - learning,
        forward=cost.forward / examples,
        backward=cost.backward / examples,
        activations=meter.whole / examples,
        checkpointed=meter.checkpointed / examples,
        units=tuple(units),
        bf16=bf16,
    )


class _Activations:
    """While entered, counts the bytes that forward passes save for backward passes."""

    def __init__(self, networks: Sequence[nn.Module], blocks: Sequence[nn.Module]):
        self.known = {t.untyped_storage()._cdata for network in networks for t in (*network.parameters(), *network.buffers())}
        self.alive: list[Tensor] = []  # so that no storage has the address of another
        self._blocks, self._depth = blocks, 0
        self._outside = self._inputs = 0
        self._inside: list[int] = []

    @property
    def whole(self) -> int:
        """Sum all saved bytes."""
        return self._outside + sum(self._inside)

    @property
    def checkpointed(self) -> int:
        """Sum the bytes saved outside blocks, those of block inputs, and the peak within one block."""
        return self._outside + self._inputs + max(self._inside, default=0)

    def ignore(self, weight: Tensor) -> None:
        """Ignore a copy of a weight, like the weight itself."""
        self.known.add(weight.untyped_storage()._cdata)
        self.alive.append(weight.detach())

    def __enter__(self) -> None:
        self._hooks = [block.register_forward_pre_hook(self._enter_block, with_kwargs=True) for block in self._blocks]
        self._hooks += [block.register_forward_hook(self._leave_block) for block in self._blocks]
        self._saving = saved_tensors_hooks(self._keep, lambda _: cast(Tensor, None))
        self._saving.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._saving.__exit__(*error)
        for hook in self._hooks:
            hook.remove()

    def _keep(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in self.known:
            return
        self.known.add(storage._cdata)
        self.alive.append(tensor.detach())
        if self._depth:
            self._inside[-1] += storage.nbytes()
        else:
            self._outside += storage.nbytes()

    def _enter_block(self, block: nn.Module, args: Any, kwargs: Any) -> None:
        self._depth += 1
        if self._depth == 1 and torch.is_grad_enabled():
            self._inside.append(0)
            self._inputs += sum(leaf.nbytes for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))

    def _leave_block(self, *_: Any) -> None:
        self._depth -= 1


class _Kernels(TorchFunctionMode):
    """Casts as autocast on CUDA does, with attention that saves what fused kernels save."""

    def __init__(self, bf16: bool, meter: _Activations):
        super().__init__()
        self.bf16, self.meter = bf16, meter

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.bf16 and func in _IN_BF16:
            args, kwargs = tree_map(lambda x: self._cast(x, torch.bfloat16), (args, kwargs))
        if self.bf16 and func in _IN_FLOAT32:
            args, kwargs = tree_map(lambda x: self._cast(x, torch.float32), (args, kwargs))
        if func is F.scaled_dot_product_attention:
            return _FusedAttention.apply(*args[:3])
        return func(*args, **kwargs)

    def _cast(self, value: Any, dtype: torch.dtype) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.dtype == dtype:
            return value
        made = value.to(dtype)
        if value.is_leaf and value.untyped_storage()._cdata in self.meter.known:
            self.meter.ignore(made)
        return made


class _FusedAttention(torch.autograd.Function):
    """Attention that saves what fused kernels save; it has only a forward pass, as backward passes are counted, not run."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        *batch, heads, queries, _ = query.shape
        out = query.new_empty(*batch, queries, heads, value.shape[-1]).transpose(-2, -3)  # as kernels lay it out in memory
        ctx.save_for_backward(query, key, value, out, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return out


def record_units(networks: Sequence[nn.Module], blocks: Sequence[nn.Module], loss: Callable[[], Tensor]) -> list[Unit]:
    """Record the units of networks, of which `blocks` are sharded separately, in a call of the loss of a micro-batch.

    The last unit holds everything outside the blocks. Blocks must not contain each other.

    >>> with torch.device("meta"):
    ...     first, last, x = nn.Linear(3, 3), nn.Linear(3, 1), torch.empty(2, 3)
    >>> units = record_units([first, last], [first], lambda: last(first(first(x))).sum())
    >>> units[0].gathers, units[1].shapes
    (4, ((1, 3), (1,)))
    """
    calls: list[tuple[int, bool]] = []

    def note(number: int) -> Callable[..., None]:
        def call(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            learns = any(tensor.requires_grad for tensor in (*inputs, *block.parameters()))
            calls.append((number, learns and torch.is_grad_enabled()))

        return call

    hooks = [block.register_forward_pre_hook(note(number), with_kwargs=True) for number, block in enumerate(blocks)]
    try:
        loss()
    finally:
        for hook in hooks:
            hook.remove()
    in_vain = [before for (before, learnt), (_, learns) in pairwise(calls) if learns and not learnt]
    inside = {id(p) for block in blocks for p in block.parameters()}
    units = [
        _unit(
            list(block.parameters()),
            forwards=sum(called == number for called, _ in calls),
            backwards=sum(called == number for called, learns in calls if learns),
            in_vain=in_vain.count(number),
        )
        for number, block in enumerate(blocks)
    ]
    rest = [p for network in networks for p in network.parameters() if id(p) not in inside]
    return [*units, _unit(rest, outermost=True)]


def _unit(parameters: Sequence[nn.Parameter], **calls: Any) -> Unit:
    """Make a unit of weights, each counted once; single numbers are not sharded."""
    once = {id(p): p for p in parameters if p.dim() > 0}.values()
    learning = tuple(tuple(p.shape) for p in once if p.requires_grad)
    return Unit(shapes=tuple(tuple(p.shape) for p in once), learning=learning, **calls)


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that a training step holds at its peak, in parts."""

    weights: int
    gradients: int
    optimizer: int
    """AdamW's two moments."""
    activations: int
    """What the forward keeps for the backward."""

    @property
    def total(self) -> int:
        """Sum the values."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def __str__(self) -> str:
        parts = ("weights", "gradients", "optimizer", "activations")
        listed = ", ".join(f"{name} {getattr(self, name) / 2**20:,.0f}" for name in parts)
        return f"about {self.total / 2**20:,.0f} MiB: {listed}"


def training_memory(model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> TrainingMemory:
    """Predict the memory of an AdamW step; nothing is computed if model and inputs are on the device "meta".

    Args:
        model: with frozen parts already frozen.
        loss: computes the loss of a micro-batch with the model.
    """
    learning = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    parameters = {p.untyped_storage()._cdata: 0 for p in model.parameters()}
    saved: dict[Any, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters:
            saved[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    alive: list[Tensor] = []  # so that no storage's address is used twice
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), _Fused():
        loss(model)
    tensors = [*model.parameters(), *model.buffers()]
    return TrainingMemory(
        weights=sum(t.numel() * t.element_size() for t in tensors),
        gradients=learning,
        optimizer=2 * learning,
        activations=sum(saved.values()),
    )


class _Fused(TorchFunctionMode):
    """Makes attention on the device "meta" save what the fused kernels save: torch uses the plain implementation there, which
    saves a number for each pair of tokens."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention and args and args[0].device.type == "meta":
            return _FusedAttention.apply(*args[:3])
        return func(*args, **(kwargs or {}))


def count_step(passes: GradientAccumulation, batch: Any, step: int) -> tuple[dict[str, Flops], int]:
    """Count the FLOPs, by part of the task, of work that all processes together do a number of times per step.

    All processes must call this together, because a loss may gather across them.
    """
    processes, objective = passes.processes.size, passes.objective
    flops: dict[str, Flops] = {}
    cached = isinstance(passes, CachedAccumulation)
    with objective.discarding(), by_part(objective.parts()):
        for name in passes.names:
            own = batch[name] if name else batch
            flops[name] = _count_cached(passes, own, step) if cached else _count_plain(passes, own, step)
    return flops, processes if cached else passes.config.accumulation * processes


def _count_plain(passes: GradientAccumulation, batch: Any, step: int) -> Flops:
    """Count the FLOPs of one micro-batch."""
    on_device = to_device(batch, passes.processes.device)
    return count_flops(lambda: passes.objective("loss", on_device, step, passes.seed(step, 0))[0])


def _count_cached(passes: CachedAccumulation, batch: Any, step: int) -> Flops:
    """Count the FLOPs of a step, as if all its micro-batches were like this one; recomputation counts as backward."""
    parts, on_device, objective = passes.config.accumulation, to_device(batch, passes.processes.device), passes.objective
    cache: list[Cached] = []
    total = count_flops(lambda: cache.append(passes.cache([batch] * parts, step, seeds=[0] * parts))).total
    for part in range(parts):
        total += count_flops(partial(passes.replay, objective, cache[0], part, batch, step, 0)).total
    with torch.no_grad():
        embedded = count_flops(lambda: objective("embed", on_device, step, 0))
        joint = count_flops(lambda: objective("joint_loss", cache[0].replays[-1].joint, step, 0))
    by_name: dict[str, int] = {}
    for flops, times in ((embedded, parts), (joint, 1)):
        for name, count in flops.by_part.items():
            by_name[name] = by_name.get(name, 0) + count * times
    forward = parts * embedded.total + joint.total
    return Flops(forward, total - forward, {}, {**by_name, "backward": total - forward}, forward)


def report_flops(report: "RunReport | None", passes: GradientAccumulation, stream: Stream, step: int) -> None:
    """Tell the report of a run, which one process has, what a step costs; all processes compute a micro-batch for it."""
    flops, times = count_step(passes, stream.peek(), step)
    if report:
        report.set_flops(flops, times)
