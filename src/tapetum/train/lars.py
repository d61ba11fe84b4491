"""LARS: stochastic gradient descent in which every matrix moves by a share of its own norm.

Source: "Large Batch Training of Convolutional Networks" (arXiv 1708.03888, algorithm 1 and eq. 6). With trust coefficient eta,
learning rate gamma, momentum m and weight decay beta:

    local = eta * |w| / (|g| + beta * |w|)
    v     = m * v + gamma * local * (g + beta * w)
    w     = w - v

Vectors (biases, gains and offsets of norms) are not adapted, local is 1, as in SimCLR (arXiv 2002.05709, B.9) and BYOL;
nor is a weight where |w| or |g| + beta * |w| is zero. The rate is inside the momentum, as published; code that has it outside
differs where the rate changes.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from tapetum.train.process_group import full_norms


class Lars(torch.optim.Optimizer):
    """LARS over parameters or groups; under FSDP2 norms are of whole weights, by one exchange a step."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 1e-3,
        nesterov: bool = False,
    ):
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "weight_decay": weight_decay,
                "trust_coefficient": trust_coefficient,
                "nesterov": nesterov,
            },
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move the weights once."""
        learning = [(p, group) for group in self.param_groups for p in group["params"] if p.grad is not None]
        adapted = [p for p, _ in learning if p.dim() >= 2]
        norms = full_norms([*adapted, *(p.grad for p in adapted)])
        of = dict(zip(adapted, zip(norms[: len(adapted)], norms[len(adapted) :], strict=True), strict=True))
        for p, group in learning:
            decay, momentum = group["weight_decay"], group["momentum"]
            weight, gradient = of.get(p, (0.0, 0.0))
            below = gradient + decay * weight
            local = group["trust_coefficient"] * weight / below if weight > 0 and below > 0 else 1.0
            move: Tensor = p.grad.add(p, alpha=decay).mul_(group["lr"] * local)
            state = self.state[p]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(p)
            velocity = state["momentum_buffer"].mul_(momentum).add_(move)
            p.sub_(move.add_(velocity, alpha=momentum) if group["nesterov"] else velocity)
