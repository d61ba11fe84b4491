"""AdamW, its parameter groups, and its state as named tensors."""

from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from tapetum.train.config import TrainConfig
from tapetum.train.shares import share_of


def decay_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Two groups: weights of two and more dimensions, which decay, and biases, gains and offsets, which don't."""
    learning = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim >= 2]},
        {"params": [p for p in learning if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(groups: list[dict[str, Any]], config: TrainConfig, decay: bool = True) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101) over the groups; `lr_scale` of a group is kept for `set_learning_rate`.

    Without `decay` the weights of no group decay: that is left to another optimiser of the same weights.
    """
    groups = [{"lr_scale": 1.0, **group, **({} if decay else {"weight_decay": 0.0})} for group in groups]
    return torch.optim.AdamW(
        groups, lr=config.lr, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay, fused=True
    )


class Gradients:
    """The gradients of one of several losses of the same weights: inside the block they are the weights' `grad`.

    >>> weight = nn.Parameter(torch.ones(1))
    >>> first, second = (Gradients(torch.optim.SGD([weight])) for _ in range(2))
    >>> for own, factor in ((first, 2.0), (second, 3.0), (first, 2.0)):
    ...     with own:
    ...         (factor * weight).sum().backward()
    >>> with first:
    ...     print(weight.grad)
    tensor([4.])
    """

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.parameters: list[nn.Parameter] = [p for group in optimizer.param_groups for p in group["params"]]
        self._kept: list[Tensor | None] = [None] * len(self.parameters)

    def __enter__(self) -> None:
        for parameter, gradient in zip(self.parameters, self._kept, strict=True):
            parameter.grad = gradient

    def __exit__(self, *_: object) -> None:
        self._kept = [parameter.grad for parameter in self.parameters]
        for parameter in self.parameters:
            parameter.grad = None


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The step's learning rate, times each group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def _named(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    names = {id(p): name for name, p in model.named_parameters()}
    return [(names[id(p)], p) for group in optimizer.param_groups for p in group["params"]]


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Shaped[Tensor, "..."]]:
    """The optimiser's state, flattened: '<parameter>/exp_avg' and so on."""
    return {f"{name}/{key}": value for name, p in _named(optimizer, model) for key, value in optimizer.state.get(p, {}).items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Puts back what `optimizer_tensors` gave, in the parameters' own memory layout (the fused kernel relies on it).

    The tensors are whole; of parameters that are shared out this process takes its share.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for index, (name, p) in enumerate(_named(optimizer, model)):
        own = {key.rpartition("/")[2]: value for key, value in tensors.items() if key.rpartition("/")[0] == name}
        if own:
            state[index] = {k: torch.empty_like(p).copy_(share_of(v, p)) if v.shape == p.shape else v for k, v in own.items()}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
