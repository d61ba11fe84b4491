"""How far features have drifted."""

import pytest
import torch

from tapetum.core.errors import BadInput
from tapetum.systems.adapters.retention import cosine_drift, linear_cka


def by_kernels(one: torch.Tensor, other: torch.Tensor) -> float:
    """The same by its definition: HSIC of the two kernels of images with images."""
    n = len(one)
    centre = torch.eye(n, dtype=torch.float64) - 1 / n
    k, m = (centre @ (x.double() @ x.double().T) @ centre for x in (one, other))
    return float((k * m).sum() / ((k * k).sum() * (m * m).sum()).sqrt())


def test_alignment_is_that_of_the_kernels() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(20, 6, generator=generator), torch.randn(20, 9, generator=generator)
    assert linear_cka(one, other) == pytest.approx(by_kernels(one, other), abs=1e-12)
    assert linear_cka(one, other) < 0.7
    mixed = one @ torch.randn(6, 6, generator=generator)
    assert 0.5 < linear_cka(one, mixed) < 1
    with pytest.raises(BadInput, match="features of 20 and 19 images"):
        linear_cka(one, other[:19])


def test_drift_of_cosines() -> None:
    one = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert cosine_drift(one, 3 * one) == pytest.approx(0, abs=1e-12)
    assert cosine_drift(one, one.flip(1)) == pytest.approx(1)
