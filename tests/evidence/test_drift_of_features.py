"""How far adapted features have drifted from the trunk's, as the claims of adapters measure it."""

import pytest
import torch

from support.scripts import script


def by_kernels(one: torch.Tensor, other: torch.Tensor) -> float:
    """Compute alignment by its definition: HSIC of the two kernels of images with images."""
    n = len(one)
    centre = torch.eye(n, dtype=torch.float64) - 1 / n
    k, m = (centre @ (x.double() @ x.double().T) @ centre for x in (one, other))
    return float((k * m).sum() / ((k * k).sum() * (m * m).sum()).sqrt())


def test_alignment_is_that_of_the_kernels() -> None:
    linear_cka = script("evidence/adapters/policies.py").linear_cka
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(20, 6, generator=generator), torch.randn(20, 9, generator=generator)
    assert linear_cka(one, other) == pytest.approx(by_kernels(one, other), abs=1e-12)
    assert linear_cka(one, other) < 0.7
    assert 0.5 < linear_cka(one, one @ torch.randn(6, 6, generator=generator)) < 1


def test_drift_of_cosines() -> None:
    cosine_drift = script("evidence/adapters/policies.py").cosine_drift
    one = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert cosine_drift(one, 3 * one) == pytest.approx(0, abs=1e-12)
    assert cosine_drift(one, one.flip(1)) == pytest.approx(1)
