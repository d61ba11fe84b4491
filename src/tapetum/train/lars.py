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

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tapetum.core.devices import send_to_device
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
        locals_ = self._local_rates([(p, group) for p, group in learning if p.dim() >= 2])
        for p, group in learning:
            assert p.grad is not None
            decay, momentum = group["weight_decay"], group["momentum"]
            move: Tensor = p.grad.add(p, alpha=decay).mul_(group["lr"] * locals_.get(p, 1.0))
            state = self.state[p]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(p)
            velocity = state["momentum_buffer"].mul_(momentum).add_(move)
            p.sub_(move.add_(velocity, alpha=momentum) if group["nesterov"] else velocity)

    def _local_rates(self, adapted: Sequence[tuple[Tensor, Mapping[str, Any]]]) -> dict[Tensor, Tensor]:
        """Compute each matrix's factor on the rate, which stays on the device: no step waits for it."""
        if not adapted:
            return {}
        weights, gradients = full_norms([*(p for p, _ in adapted), *(p.grad for p, _ in adapted)]).chunk(2)  # type: ignore[misc]
        settings = [[group["weight_decay"], group["trust_coefficient"]] for _, group in adapted]
        decay, trust = send_to_device(torch.tensor(settings, dtype=torch.float64), weights.device).unbind(1)
        below = gradients + decay * weights
        local = torch.where((weights > 0) & (below > 0), trust * weights / below, 1.0)
        return {p: factor for (p, _), factor in zip(adapted, local, strict=True)}
