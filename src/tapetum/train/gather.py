"""Gathering the values of all processes in one tensor, with exact gradients.

With x_r and L_r the tensor and the loss of process r, and L the sum of all L_r:

    all_gather    y = [x_0, x_1, ...] in every process       dL/dx_r = rows of r in the sum over s of dL_s/dy
    all_reduce    y = x_0 + x_1 + ... in every process       dL/dx_r = the sum over s of dL_s/dy
    shift         y = x_(r - 1) in process r, a ring         dL/dx_r = dL/dy of process r + 1

A run minimises the mean of the processes' losses, because DDP and FSDP2 average gradients. So a loss over the joint batch
needs no factor: make it the mean over a process's own rows (each against the rows of all), or the same joint value in all.

With one process, outside of a run, and in `Task.evaluate` (which only the first process runs), all are the identity.
All processes must make the same calls, with tensors of one shape. Higher-order gradients are supported.
"""

from typing import Any

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.train.process_group import ProcessGroup, current_process_group


def all_gather(x: Shaped[Tensor, "b *rest"]) -> Shaped[Tensor, "all_b *rest"]:
    """Concatenate the rows of all processes, in rank order: (b, ...) to (world * b, ...)."""
    processes = current_process_group()
    return x if processes.size == 1 else _Exchange.apply(x, processes, "concatenate", "scatter_sum")  # type: ignore[return-value]


def all_reduce(x: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    processes = current_process_group()
    return x if processes.size == 1 else _Exchange.apply(x, processes, "sum", "sum")  # type: ignore[return-value]


def shift(x: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """Exchange tensors around the ring of processes: each gets that of the process before it, the first that of the last."""
    processes = current_process_group()
    return x if processes.size == 1 else _Exchange.apply(x, processes, "shift_forward", "shift_back")  # type: ignore[return-value]


class _Exchange(torch.autograd.Function):
    """Applies a method of `ProcessGroup`; `back`, another method, applies the reverse to gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, processes: ProcessGroup, operation: str, back: str) -> Tensor:
        ctx.processes, ctx.operation, ctx.back = processes, operation, back
        return getattr(processes, operation)(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        return _Exchange.apply(gradient, ctx.processes, ctx.back, ctx.operation), None, None, None  # type: ignore[return-value]


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the examples of all processes, (b, c, ...), with the names and numbers of `nn.BatchNorm*d`.

    Statistics are combined from each process's mean and variance in one exchange (Chan, Golub and LeVeque, 1979), which is
    exact and keeps its precision for large means; unlike torch's own, it accepts tensors on the CPU. They are computed in
    float32 or better. With one process it matches `nn.BatchNorm` bit for bit.

    Padding rows are excluded by `present`, a mask rather than an index, because the host would wait for an index's length.
    """

    joint = True
    """Its statistics are of the examples of all processes."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise BadInput(f"batch norm got {input.dim()} axes; wanted 2 or more: (b, c, ...)")

    def forward(self, input: Tensor, present: Bool[Tensor, " b"] | None = None) -> Tensor:
        """Normalise (b, c, ...); in train mode with the statistics of all processes, otherwise with the running ones.

        Only rows that are `present` (by default all) enter the statistics; all rows are normalised with them.
        """
        processes = current_process_group()
        if (processes.size == 1 and present is None) or not (self.training or self.running_mean is None):
            return super().forward(input)
        self._check_input_dim(input)
        values = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        mean, variance, count = joint_statistics(values, present)
        if self.training and self.track_running_stats:
            self._follow(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        scale = (variance + self.eps).rsqrt() * (1 if self.weight is None else self.weight)
        offset = (0 if self.bias is None else self.bias) - mean * scale
        shape = (1, -1, *[1] * (input.dim() - 2))
        return torch.addcmul(offset.view(shape), values, scale.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), momentum)


class SyncBatchNormAct(SyncBatchNorm):
    """`SyncBatchNorm` with the drop-out and the activation that timm's `BatchNormAct2d` holds, of these names."""

    def forward(self, input: Tensor, present: Bool[Tensor, " b"] | None = None) -> Tensor:
        """Normalise, drop and activate."""
        return self.act(self.drop(super().forward(input, present)))  # pyright: ignore[reportCallIssue]


_OF_TIMM = "timm.layers.norm_act.BatchNormAct2d"


def joint_statistics(values: Tensor, present: Bool[Tensor, " b"] | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Compute mean and (biased) variance of each channel of (b, c, ...) over all processes, and count the values per channel.

    Rows that are not `present` are excluded. Processes may have different numbers of values, and some none.
    """
    axes = [0, *range(2, values.dim())]
    if present is None:
        variance, mean = torch.var_mean(values, axes, correction=0)
        own = torch.full_like(mean, values.numel() // values.shape[1])
    else:
        member = present.view(-1, *[1] * (values.dim() - 1))
        count = (present.sum() * values.shape[2:].numel()).to(values)
        mean = torch.where(member, values, 0.0).sum(axes, keepdim=True) / count.clamp(min=1)
        variance = torch.where(member, values - mean, 0.0).square().sum(axes) / count.clamp(min=1)
        mean, own = mean.flatten(), count.expand(values.shape[1])
    means, variances, counts = all_gather(torch.stack([mean, variance, own])[None]).unbind(1)
    share = counts / counts.sum(0).clamp(min=1)
    joint = (share * means).sum(0)
    return joint, (share * (variances + (means - joint).square())).sum(0), counts.sum(0)


def convert_sync_batchnorm(model: nn.Module) -> nn.Module:
    """Replace every `nn.BatchNorm1d`, 2d and 3d, and timm's with an activation, by `SyncBatchNorm`, with their own parameters,
    buffers and modes.

    Returns the model, changed in place (or its replacement, if it is itself a batch norm). BadInput for a batch norm of an
    unknown kind, which may do something more.
    """
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    for name, module in [*model.named_modules()]:
        if not isinstance(module, nn.modules.batchnorm._BatchNorm) or isinstance(module, SyncBatchNorm):
            continue
        if type(module) not in kinds and f"{type(module).__module__}.{type(module).__name__}" != _OF_TIMM:
            raise BadInput(
                f"{name or 'the model'} is a {type(module).__name__}, which may do more than batch norm; "
                "wanted nn.BatchNorm1d, 2d or 3d: replace it by hand"
            )
        joint = _converted(module)
        if not name:
            return joint
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, joint)
    return model


def _converted(module: nn.modules.batchnorm._BatchNorm) -> SyncBatchNorm:
    kind = SyncBatchNormAct if hasattr(module, "act") else SyncBatchNorm
    joint = kind(module.num_features, module.eps, module.momentum, affine=False, track_running_stats=module.track_running_stats)
    joint.affine = module.affine
    for name, part in module.named_children():
        joint.add_module(name, part)
    for name, parameter in module.named_parameters(recurse=False):
        joint.register_parameter(name, parameter)
    for name, buffer in module.named_buffers(recurse=False):
        joint.register_buffer(name, buffer)
    return joint.train(module.training)
