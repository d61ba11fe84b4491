"""Rotary positions of a grid: angle by angle as the papers write them, and what holds of every rotation."""

import math

import pytest
import torch

from tapetum.layers.rotary import grid_rotation
from tapetum.layers.transformer import Attention


def turned(x: torch.Tensor, channels: tuple[int, int], angle: float) -> None:
    """Rotate two channels of a vector in place."""
    first, second = (float(x[c]) for c in channels)
    x[channels[0]] = first * math.cos(angle) - second * math.sin(angle)
    x[channels[1]] = first * math.sin(angle) + second * math.cos(angle)


@pytest.mark.parametrize("prefix", [0, 3])
@pytest.mark.parametrize("kind", ["dinov3", "pe"])
def test_every_cell_is_rotated_as_the_papers_write(kind: str, prefix: int) -> None:
    (rows, columns), width = (3, 5), 8
    x = torch.randn(1, 1, prefix + rows * columns, width, generator=torch.Generator().manual_seed(0))
    got = grid_rotation((rows, columns), width, kind, prefix).apply(x)[0, 0]
    want = x[0, 0].clone()
    for row in range(rows):
        for column in range(columns):
            for k in range(2):  # frequencies of an axis
                if kind == "dinov3":
                    speed = 100 ** -(k / 2)
                    y, x_ = 2 * (row + 0.5) / rows - 1, 2 * (column + 0.5) / columns - 1
                    angles = (2 * math.pi * y * speed, k), (2 * math.pi * x_ * speed, 2 + k)
                else:
                    speed, first = 10_000 ** -(k / 2), 1 if prefix else 0
                    angles = ((column + first) * speed, k), ((row + first) * speed, 2 + k)
                for angle, i in angles:
                    pair = (i, i + 4) if kind == "dinov3" else (2 * i, 2 * i + 1)
                    turned(want[prefix + row * columns + column], pair, angle)
    torch.testing.assert_close(got, want, atol=5e-6, rtol=1e-5)
    assert torch.equal(got[:prefix], x[0, 0, :prefix])


@pytest.mark.parametrize("kind", ["dinov3", "pe"])
def test_attention_depends_on_distances_alone(kind: str) -> None:
    rotation = grid_rotation((4, 4), 8, kind)
    q, k = (torch.randn(8, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    queries, keys = (rotation.apply(v.expand(1, 1, 16, 8))[0, 0] for v in (q, k))
    products = (queries @ keys.T).unflatten(0, (4, 4)).unflatten(-1, (4, 4))  # (row, column) of query, then of key
    torch.testing.assert_close(products[0, 1, 2, 3], products[1, 0, 3, 2], atol=1e-5, rtol=1e-5)
    assert abs(products[0, 1, 2, 3] - products[0, 1, 3, 2]) > 1e-3
    torch.testing.assert_close(queries.norm(dim=-1), q.norm().expand(16))


def test_angles_are_of_float32_and_numbers_stay_in_their_precision() -> None:
    rotation = grid_rotation((2, 3), 8, "pe", 1)
    assert rotation.cos.dtype == rotation.sin.dtype == torch.float32
    x = torch.randn(1, 2, 7, 8)
    rough = rotation.apply(x.bfloat16())
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough, rotation.apply(x.bfloat16().float()).bfloat16())


def test_attention_rotates_queries_and_keys_but_not_values() -> None:
    torch.manual_seed(0)
    attention, x = Attention(16, 2), torch.randn(1, 6, 16)
    rotation = grid_rotation((2, 3), 8, "dinov3")
    with torch.no_grad():
        got = attention(x, rotary=rotation)
        query, key, value = (attention.split_heads(layer(x)) for layer in (attention.query, attention.key, attention.value))
        y = torch.nn.functional.scaled_dot_product_attention(rotation.apply(query), rotation.apply(key), value)
        torch.testing.assert_close(got, attention.out(y.transpose(1, 2).flatten(2)))
        assert (got - attention(x)).abs().max() > 1e-3
