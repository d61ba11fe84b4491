"""DetCon's losses: values of the public code, a loop written from the rules, and what must not matter."""

import math

import pytest
import torch

from tapetum.core.errors import BadInput
from tapetum.systems.odin.losses import detcon

CASES = {
    "distinct": ([[0, 1, 2], [0, 1, 2]], [[0, 1, 2], [0, 1, 2]], (24.618504, 23.416994), (0.473575, 1.144582)),
    "permuted": ([[0, 1, 2], [0, 1, 2]], [[2, 0, 1], [1, 2, 0]], (18.853798, 18.239063), (1.540602, 1.197334)),
    "repeats": ([[0, 0, 1], [3, 4, 5]], [[0, 1, 1], [5, 6, 7]], (10.449991, 10.140102), (0.770523, 0.716573)),
}
"""ids of both views, losses and gradient norms of pred1, with local negatives and without; by DetCon's JAX code (dda0567)."""


def rows(offset: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.sin(offset + 0.7 * torch.arange(24, dtype=torch.float64)).reshape(2, 3, 4).to(dtype)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("local", [True, False])
def test_values_and_gradients_are_those_of_the_public_code(case: str, local: bool) -> None:
    ids1, ids2, losses, norms = CASES[case]
    first, second = torch.tensor(ids1), torch.tensor(ids2)
    pred1, target1 = rows(0).requires_grad_(), rows(2).requires_grad_()
    loss = detcon(pred1, rows(1), target1, rows(3), first, second, first, second, 0.1, local)
    loss.backward()
    assert loss.item() == pytest.approx(losses[not local], abs=1e-4)
    assert float(pred1.grad.norm()) == pytest.approx(norms[not local], abs=1e-4)
    assert target1.grad is None


def by_loop(pred1, pred2, target1, target2, ids1, ids2, temperature, local) -> float:
    """The rules as loops over rows, with the same ids for predictions and targets."""

    def unit(x):
        return x / x.norm(dim=-1, keepdim=True)

    def way(pred, other, own, ids, other_ids):
        total, (batch, count) = 0.0, ids.shape
        for b in range(batch):
            for r in range(count):
                positives, everything = [], []
                for u in range(batch):
                    for s in range(count):
                        score = math.exp(float(unit(pred)[b, r] @ unit(other)[u, s]) / temperature)
                        if u == b and other_ids[u, s] == ids[b, r]:
                            positives.append(score)
                            everything.append(score)
                        elif u != b or local:
                            everything.append(score)
                        if u != b or (local and ids[u, s] != ids[b, r]):
                            everything.append(math.exp(float(unit(pred)[b, r] @ unit(own)[u, s]) / temperature))
                if positives:
                    mean = sum(-math.log(p / sum(everything)) for p in positives) / len(positives)
                    total += mean / int((ids[b] == ids[b, r]).sum())
        return total / (batch * count)

    return way(pred1, target2, target1, ids1, ids2) + way(pred2, target1, target2, ids2, ids1)


def test_views_that_share_nothing_have_a_loss_of_zero_that_can_be_learned_from() -> None:
    pred = torch.randn(1, 1, 4, requires_grad=True)
    one, other = torch.tensor([[0]]), torch.tensor([[1]])
    for local in (True, False):
        loss = detcon(pred, pred, pred, pred, one, other, one, other, local_negatives=local)
        assert loss.item() == 0
        (gradient,) = torch.autograd.grad(loss, pred)
        assert torch.equal(gradient, torch.zeros_like(pred))


def test_shapes_and_kinds_that_do_not_fit_are_said() -> None:
    row, ids = torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.long)
    with pytest.raises(BadInput, match=r"give all as \(b, r, d\)"):
        detcon(row, row, row, row[:1], ids, ids, ids, ids)
    with pytest.raises(BadInput, match=r"give whole numbers \(2, 3\)"):
        detcon(row, row, row, row, ids, ids, ids.float(), ids)
