"""Counts against hand counts: one multiply-add is 2."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tapetum.account.flops import FORMULAS, by_part, count_flops


def counts(fn, *args, **kwargs) -> tuple[int, int]:
    flops = count_flops(fn, *args, **kwargs)
    assert flops.total == flops.forward + flops.backward
    assert sum(f for f, _ in flops.by_op.values()) == flops.forward
    assert sum(b for _, b in flops.by_op.values()) == flops.backward
    return flops.forward, flops.backward


@pytest.mark.parametrize("bias", [True, False])
def test_linear(bias: bool) -> None:
    layer = nn.Linear(5, 7, bias=bias)
    one = 2 * 4 * 6 * 5 * 7
    assert counts(layer, torch.zeros(4, 6, 5)) == (one, one)
    assert counts(layer, torch.zeros(4, 6, 5, requires_grad=True)) == (one, 2 * one)
    with torch.no_grad():
        assert counts(layer, torch.zeros(4, 6, 5)) == (one, 0)


@pytest.mark.parametrize(
    ("layer", "shape", "positions", "taps"),
    [  # positions of the kernel, and multiply-adds at each
        (nn.Conv2d(6, 8, 3, padding=1), (2, 6, 10, 12), 2 * 10 * 12, 6 * 8 * 9),
        (nn.Conv2d(6, 8, 3, stride=2, padding=1), (2, 6, 10, 12), 2 * 5 * 6, 6 * 8 * 9),
        (nn.Conv2d(6, 6, 3, groups=6, padding=1), (2, 6, 10, 12), 2 * 10 * 12, 6 * 9),
        (nn.Conv2d(6, 12, 3, groups=3), (2, 6, 10, 12), 2 * 8 * 10, 12 * 2 * 9),
        (nn.Conv2d(6, 8, 3, dilation=2), (2, 6, 10, 12), 2 * 6 * 8, 6 * 8 * 9),
        (nn.Conv1d(4, 6, 5), (3, 4, 20), 3 * 16, 4 * 6 * 5),
        (nn.Conv3d(2, 4, (1, 3, 3), stride=(2, 1, 1)), (1, 2, 5, 6, 7), 3 * 4 * 5, 2 * 4 * 9),
        (nn.ConvTranspose2d(6, 8, 4, stride=2, padding=1), (2, 6, 5, 7), 2 * 5 * 7, 6 * 8 * 16),
        (nn.ConvTranspose2d(6, 8, 4, stride=2, groups=2), (2, 6, 5, 7), 2 * 5 * 7, 6 * 4 * 16),
    ],
    ids=["plain", "strided", "depthwise", "grouped", "dilated", "1d", "3d", "transposed", "transposed grouped"],
)
def test_convolutions(layer: nn.Module, shape: tuple[int, ...], positions: int, taps: int) -> None:
    one = 2 * positions * taps
    assert counts(layer, torch.zeros(shape)) == (one, one)
    assert counts(layer, torch.zeros(shape, requires_grad=True)) == (one, 2 * one)
    layer.requires_grad_(False)
    assert counts(layer, torch.zeros(shape, requires_grad=True)) == (one, one)


@pytest.mark.parametrize("causal", [False, True])
def test_scaled_dot_product_attention(causal: bool) -> None:
    q, k, v = (torch.randn(2, 3, n, 8, requires_grad=True) for n in (10, 14, 14))
    scores = 2 * 2 * 3 * 10 * 14 * 8
    flops = count_flops(F.scaled_dot_product_attention, q, k, v, is_causal=causal)
    assert set(flops.by_op) == {
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_flash_attention_for_cpu_backward",
    }
    assert (flops.forward, flops.backward) == (2 * scores, 5 * scores)


def test_unfused_attention_costs_twice_its_forward_in_backward() -> None:
    q, k, v = (torch.randn(2, 3, 10, 8, requires_grad=True) for _ in range(3))
    scores = 2 * 2 * 3 * 10 * 10 * 8
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert counts(F.scaled_dot_product_attention, q, k, v) == (2 * scores, 4 * scores)
    by_hand = lambda: torch.softmax(q @ k.transpose(-1, -2), -1) @ v  # noqa: E731
    assert counts(by_hand) == (2 * scores, 4 * scores)


def encoder_layer(**kwargs) -> tuple[nn.Module, torch.Tensor, int]:
    layer = nn.TransformerEncoderLayer(16, 4, dim_feedforward=48, dropout=0.0, batch_first=True, **kwargs)
    matmuls = 4 * 16 * 16 + 2 * 16 * 48  # multiply-adds a token: query, key, value, out; two of the MLP
    return layer, torch.randn(2, 10, 16), 2 * 2 * 10 * matmuls


@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_layer_in_training_and_on_the_fast_path(norm_first: bool) -> None:
    layer, x, matmuls = encoder_layer(norm_first=norm_first)
    scores = 2 * 2 * 4 * 10 * 10 * 4
    layer.train()
    x.requires_grad_()
    assert counts(layer, x) == (matmuls + 2 * scores, 2 * matmuls + 5 * scores)
    layer.eval()
    with torch.no_grad():
        flops = count_flops(layer, x.detach())
    assert set(flops.by_op) == {"_transformer_encoder_layer_fwd"}
    assert (flops.forward, flops.backward) == (matmuls + 2 * scores, 0)


def test_multi_head_attention_on_its_fast_path() -> None:
    attention = nn.MultiheadAttention(16, 4, batch_first=True).eval()
    x = torch.randn(2, 10, 16)
    with torch.no_grad():
        flops = count_flops(attention, x, x, x)
    assert set(flops.by_op) == {"_native_multi_head_attention"}
    assert flops.forward == 2 * 2 * 10 * (4 * 16 * 16) + 2 * (2 * 2 * 10 * 10 * 16)


def test_matrix_vector_products() -> None:
    matrix, vector = torch.randn(5, 7), torch.randn(7)
    assert counts(torch.mv, matrix, vector) == (2 * 5 * 7, 0)
    assert counts(torch.dot, vector, vector) == (2 * 7, 0)
    assert counts(torch.addmv, torch.zeros(5), matrix, vector) == (2 * 5 * 7, 0)


def test_einsum_and_bilinear_count_as_their_products() -> None:
    a, b = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    assert counts(torch.einsum, "bic,bjc->bij", a, b) == (2 * 2 * 3 * 5 * 4, 0)
    assert counts(torch.baddbmm, torch.zeros(2, 3, 5), a, b.transpose(1, 2)) == (2 * 2 * 3 * 5 * 4, 0)


def test_padding_that_the_fast_path_cuts_away_costs_nothing() -> None:
    layer, x, _ = encoder_layer()
    encoder = nn.TransformerEncoder(layer, 1).eval()
    padding = torch.arange(10) >= torch.tensor([[10], [7]])
    with torch.no_grad():
        flops = count_flops(encoder, x, src_key_padding_mask=padding)
    assert flops.forward == 2 * 17 * (4 * 16 * 16 + 2 * 16 * 48) + 2 * 2 * 16 * (10 * 10 + 7 * 7)


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_layers(kind: type[nn.Module], gates: int) -> None:
    layer = kind(6, 8, batch_first=True)
    one = 2 * 2 * 5 * gates * 8 * (6 + 8)  # batch 2, 5 moments
    first_hidden = 0 if kind is nn.LSTM else 2 * 2 * gates * 8 * 8  # zeros, that need no gradient
    x = torch.randn(2, 5, 6, requires_grad=True)
    assert counts(lambda: layer(x)[0]) == (one, 2 * one - first_hidden)
    weights = [p.shape for p in layer.parameters()]
    assert FORMULAS[torch.ops.aten._cudnn_rnn]((5, 2, 6), weights, 4) == one
    assert FORMULAS[torch.ops.aten._cudnn_rnn_backward]((5, 2, 6), weights, 4) == 2 * one


def test_autocast_and_memory_format_change_nothing() -> None:
    layer = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 36, 5))
    plain = counts(layer, torch.randn(2, 4, 6, 6))
    x = torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        assert counts(layer.to(memory_format=torch.channels_last), x) == plain


def test_recomputed_activations_count_as_backward() -> None:
    layers = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))
    x = torch.zeros(3, 5, requires_grad=True)
    one = 2 * 3 * 5 * 5
    rerun = lambda: checkpoint(layers, x, use_reentrant=False)  # noqa: E731
    assert counts(rerun) == (2 * one, 5 * one)  # the first layer again, for the input of the second


def test_checkpointed_activations_are_recomputed_and_no_part_of_the_model() -> None:
    from torch.utils.checkpoint import checkpoint

    layer = nn.Sequential(nn.Linear(3, 5, bias=False), nn.Tanh(), nn.Linear(5, 2, bias=False))
    rows = torch.zeros(7, 3, requires_grad=True)
    once = 2 * 7 * (3 * 5 + 5 * 2)
    plain = count_flops(layer, rows)
    assert (plain.forward, plain.backward, plain.recomputed, plain.model) == (once, 2 * once, 0, 3 * once)
    again = count_flops(checkpoint, layer, rows, use_reentrant=True)
    assert (again.forward, again.backward, again.recomputed, again.model) == (once, 3 * once, once, 3 * once)
    early = count_flops(checkpoint, layer, rows, use_reentrant=False)  # stops before what nobody needs
    assert early.recomputed in (once, 2 * 7 * 3 * 5)
    assert early.model == 3 * once


def test_fused_attention_computes_its_scores_again() -> None:
    q, k, v = (torch.randn(2, 3, n, 4, requires_grad=True) for n in (5, 7, 7))
    flops = count_flops(F.scaled_dot_product_attention, q, k, v)
    assert flops.recomputed == 2 * 2 * 3 * 5 * 7 * 4
    assert flops.model == 3 * flops.forward


def test_parts_sum_to_the_total() -> None:
    first, second = nn.Linear(3, 5, bias=False), nn.Linear(5, 2, bias=False)

    def step() -> torch.Tensor:
        return second(first(torch.zeros(7, 3)))

    with by_part({"heads": second}):
        flops = count_flops(step)
    assert count_flops(step).by_part == {"model": 350, "backward": 210 + 2 * 140}
    assert flops.by_part == {"loss": 210, "heads": 140, "backward": 210 + 2 * 140}
    assert sum(flops.by_part.values()) == flops.total
