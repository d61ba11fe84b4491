"""Heads beside the same arithmetic in numpy: what is measured, standardised, enlarged and added up."""

import numpy as np
import pytest
import torch
from torch import nn

from tapetum.encoders.features import Features
from tapetum.systems.adapters.task import FeatureHead, PixelHead, make_head

EPSILON = 1e-5


def standardised(x: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Standardise the last axis by the figures of other rows, as a batch norm does in evaluation."""
    rows = measured.reshape(-1, measured.shape[-1])
    mean = rows.sum(0) / len(rows)
    variance = ((rows - mean) ** 2).sum(0) / len(rows)
    return (x - mean) / np.sqrt(variance + EPSILON)


def doubled(x: np.ndarray, axis: int) -> np.ndarray:
    """Enlarge by two: a new cell lies a quarter of an old one from the centre that is nearest to it."""
    x = np.moveaxis(x, axis, 0)
    before, after = np.concatenate([x[:1], x[:-1]]), np.concatenate([x[1:], x[-1:]])
    out = np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], 1).reshape(2 * len(x), *x.shape[1:])
    return np.moveaxis(out, 0, axis)


def features(pooled: torch.Tensor, *maps: torch.Tensor) -> Features:
    """Give features with these vectors and maps."""
    return Features(torch.zeros(len(pooled), 1, 1), (1, 1), pooled, maps)


def test_a_head_of_classes_begins_undecided_and_is_linear_on_standardised_vectors() -> None:
    draw = torch.Generator().manual_seed(0)
    measured, x = 3 + 2 * torch.randn(6, 4, generator=draw), torch.randn(2, 4, generator=draw)
    head = make_head({"task": "classify", "width": 4, "classes": ["a", "b", "c"]}).eval()
    head.measure(features(measured))
    assert not head(x).any()
    with torch.no_grad():
        head.out.weight.copy_(torch.arange(12.0).view(3, 4) - 5)
        head.out.bias.copy_(torch.tensor([1.0, -1.0, 0.5]))
    expected = standardised(x.numpy(), measured.numpy()) @ (np.arange(12.0).reshape(3, 4) - 5).T + [1.0, -1.0, 0.5]
    np.testing.assert_allclose(head(x).detach().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_head_of_pixels_enlarges_the_logits_of_coarse_maps_and_adds_them_up() -> None:
    draw = torch.Generator().manual_seed(1)
    fine, coarse = (1 + torch.randn(2, c, s, s, generator=draw) for c, s in ((2, 4), (3, 2)))
    head = PixelHead((2, 3), 2).eval()
    head.measure(features(torch.zeros(2, 1), fine, coarse))
    assert not head((fine, coarse)).any()
    weights = [np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([[1.0, 0.0, 2.0], [-1.0, 4.0, 0.25]])]
    biases = [np.array([0.5, -0.5]), np.array([2.0, 1.0])]
    for out, weight, bias in zip(head.outs, weights, biases, strict=True):
        assert isinstance(out, nn.Linear)
        with torch.no_grad():
            out.weight.copy_(torch.from_numpy(weight))
            out.bias.copy_(torch.from_numpy(bias))
    logits = []
    for each, weight, bias in zip((fine, coarse), weights, biases, strict=True):
        cells = each.permute(0, 2, 3, 1).numpy()
        logits.append((standardised(cells, cells) @ weight.T + bias).transpose(0, 3, 1, 2))
    expected = logits[0] + doubled(doubled(logits[1], 2), 3)
    np.testing.assert_allclose(head((fine, coarse)).detach().numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "about",
    [
        {"task": "classify", "width": 4, "classes": ["a", "b", "c"]},
        {"task": "segment", "channels": [2, 3], "classes": ["a", "b"]},
        {"task": "clone", "width": 4, "actions": 2, "own": 3, "hidden": [6, 5]},
    ],
)
def test_a_head_has_the_layers_that_its_file_tells_of(about: dict) -> None:
    head = make_head(about)
    sizes = [(layer.in_features, layer.out_features) for layer in head.modules() if isinstance(layer, nn.Linear)]
    assert sizes == {"classify": [(4, 3)], "segment": [(2, 2), (3, 2)], "clone": [(7, 6), (6, 5), (5, 2)]}[about["task"]]


def test_a_head_of_ones_own_gets_standardised_vectors() -> None:
    draw = torch.Generator().manual_seed(0)
    measured, x = 3 + 2 * torch.randn(6, 4, generator=draw), torch.randn(2, 4, generator=draw)
    head = FeatureHead(4, nn.Identity()).eval()
    head.measure(features(measured))
    np.testing.assert_allclose(head(x).numpy(), standardised(x.numpy(), measured.numpy()), rtol=1e-5, atol=1e-6)
