"""A script of one or two processes: losses that need all samples, of this process's part of known tensors, to OUT/RANK.pt."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from tapetum.systems.pretraining import losses
from tapetum.train.process_group import join_process_group


def main(out: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 8, 5, dtype=torch.float64, generator=generator).unbind()
    captions = torch.tensor([0, 1, 0, 2, 2, 0, 3, 1])
    with join_process_group("cpu") as world:

        def part(x: Tensor) -> Tensor:
            return x.chunk(world.size)[world.rank].clone()

        found: dict[str, Tensor | float] = {}

        def learn(name: str, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
            a, b = part(first).requires_grad_(), part(second).requires_grad_()
            value = loss(a, b)
            found[f"{name} loss"] = float(value)
            for argument, gradient in zip(("first", "second"), torch.autograd.grad(value, (a, b)), strict=True):
                found[f"{name} gradient of {argument}"] = gradient

        learn("simclr", lambda a, b: losses.simclr(a, b, 0.2))
        learn("clip", lambda a, b: losses.clip(a, b, 7.0))
        learn("captions", lambda a, b: losses.clip(a, b, 7.0, part(captions)))
        learn("koleo", lambda a, b: losses.koleo(a * b))
        learn("sigreg", lambda a, b: losses.sigreg(a * b, 7, 3))
        assigned = losses.sinkhorn_knopp(part(first) * 40, 0.1)
        found["assignments"] = world.size * assigned
        uneven = first * 40 if world.size == 1 else (first[:8], first[8:])[world.rank] * 40  # one process has no masked patch
        found["uneven assignments"] = world.size * losses.sinkhorn_knopp(uneven, 0.1)
        torch.save(found, out / f"{world.rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
