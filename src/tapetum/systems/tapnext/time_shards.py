"""The frames of a clip over several processes, in training: each has a span of them, and passes its state on.

    process 0   frames 0-255   | state of block 1, 2, ... ->  <- its gradient
    process 1   frames 256-511 | state of block 1, 2, ... ->  <- its gradient      and so on

Only the recurrence over time looks at other frames, so that one state a block is all that is exchanged: forward to the next
process, its gradient back from it. Sums of the processes' gradients are those of the whole clip. A process begins with block 1
when the one before has left it, so that of D blocks in N processes (N - 1) / (D + N - 1) of the time is spent waiting.

Source: TAPNext++ (arXiv 2604.10582) trains on 1,024 frames over 8 accelerators. Differs from the paper: that merges the states
of all spans in log2(8) exchanges; code for it is not public.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from tapetum.systems.tapnext.layers import RecurrentState
from tapetum.train.process_group import current_process_group


@dataclass(frozen=True)
class TimeShards:
    """This process among the neighbouring ones that share a clip."""

    index: int
    count: int
    rank: int
    """Among all processes."""

    @classmethod
    def of_process(cls, count: int) -> "TimeShards | None":
        """Find this process's place among `count` that share clips; None if each has its own."""
        rank = current_process_group().rank
        return cls(rank % count, count, rank) if count > 1 else None

    def span(self, frames: int) -> slice:
        """Choose the frames of this process.

        >>> [TimeShards(index, 3, index).span(8) for index in range(3)]
        [slice(0, 2, None), slice(2, 5, None), slice(5, 8, None)]
        """
        return slice(self.index * frames // self.count, (self.index + 1) * frames // self.count)

    def receive(self, start: RecurrentState) -> RecurrentState:
        """Receive the state before this process's frames: in the first process it is `start`, in others of that form."""
        if not self.index:
            return start
        message = torch.cat([start.hidden[:, None], start.conv.to(start.hidden.dtype)], 1)
        message = _Receive.apply(message.requires_grad_(torch.is_grad_enabled()), self.rank - 1)
        return RecurrentState(message[:, 0], message[:, 1:].to(start.conv.dtype))

    def send(self, x: Float[Tensor, "b t n c"], after: RecurrentState) -> Float[Tensor, "b t n c"]:
        """Send the state after this process's frames to the next one; gives `x`, by which its gradient comes back."""
        if self.index == self.count - 1:
            return x
        return _Send.apply(x, torch.cat([after.hidden[:, None], after.conv.to(after.hidden.dtype)], 1), self.rank + 1)


class _Receive(torch.autograd.Function):
    """A tensor of another process, to which its gradient is sent."""

    @staticmethod
    def forward(ctx: Any, form: Tensor, source: int) -> Tensor:
        ctx.source = source
        dist.recv(received := torch.empty_like(form, memory_format=torch.contiguous_format), source)
        return received

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        dist.send(gradients[0].contiguous(), ctx.source)
        return gradients[0], None


class _Send(torch.autograd.Function):
    """x unchanged, and a message to another process, from which the message's gradient comes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, message: Tensor, target: int) -> Tensor:
        ctx.target, ctx.form = target, torch.empty_like(message, memory_format=torch.contiguous_format, device="meta")
        dist.send(message.contiguous(), target)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        received = torch.empty_like(ctx.form, device=gradients[0].device)
        dist.recv(received, ctx.target)
        return gradients[0], received, None
