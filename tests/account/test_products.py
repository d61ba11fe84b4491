"""Multiply-adds by formula beside torch's own counter of the same products, written out."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tapetum.account.flops import count_flops
from tapetum.account.products import attention, block, convolution, matmul, mlp


def counted(work: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("value_width", [None, 3])
def test_formulas_count_what_torch_counts(value_width: int | None) -> None:
    queries, keys, values = torch.zeros(4, 8), torch.zeros(5, 8), torch.zeros(5, value_width or 8)
    assert attention(4, 5, 8, value_width) == counted(lambda: (queries @ keys.T) @ values)
    assert matmul(4, 8, 5) == counted(lambda: queries @ keys.T)
    layers = nn.Sequential(nn.Linear(8, 20), nn.Linear(20, 8))
    assert mlp(4, 8, 20) == counted(lambda: layers(queries))
    projections = nn.Sequential(*(nn.Linear(8, 8) for _ in range(4)))
    assert block(4, 8, 20) == counted(lambda: layers(projections(queries)))
    conv = nn.Conv2d(3, 7, (3, 5), padding=(1, 2), stride=2)
    assert convolution(2 * 3 * 4, 15, 3, 7) == counted(lambda: conv(torch.zeros(2, 3, 6, 8)))


def test_values_of_another_width_than_keys_are_counted() -> None:
    query, key, value = torch.zeros(2, 3, 4, 8), torch.zeros(2, 3, 5, 8), torch.zeros(2, 3, 5, 16)
    found = count_flops(nn.functional.scaled_dot_product_attention, query, key, value)
    assert found.forward == 2 * 2 * 3 * 4 * 5 * (8 + 16)
