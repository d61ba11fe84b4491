"""Positions in queries and in logits, against tables and sums written out; the recurrence, against RecurrentGemma's of
transformers, and its scan, against the loop."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import RecurrentGemmaConfig
from transformers.models.recurrent_gemma.modeling_recurrent_gemma import RecurrentGemmaRecurrentBlock

from tapetum.systems.tapnext.layers import (
    RecurrentBlock,
    _BoundedSqrt,
    compute_certainty,
    decode_positions,
    embed_positions,
    scan,
)


def _table(height: int, width: int, channels: int) -> np.ndarray:
    """(h, w, c), written out."""
    table = np.zeros((height, width, channels))
    quarter = channels // 4
    for y in range(height):
        for x in range(width):
            for k in range(quarter):
                w = 10_000 ** (-k / (quarter - 1))
                table[y, x, [k, k + quarter, k + 2 * quarter, k + 3 * quarter]] = (
                    np.sin(x * w),
                    np.cos(x * w),
                    np.sin(y * w),
                    np.cos(y * w),
                )
    return table


@pytest.mark.parametrize("edge", [False, True])
def test_embedding_samples_the_table_of_pixels(edge: bool) -> None:
    height, width = 6, 9
    xy = torch.tensor([[0.5, 0.5], [3.0, 2.0], [8.73, 5.9], [0.1, 3.3], [9.0, 0.0], [4.5, -3.0], [100.0, 3.0]])
    table = torch.from_numpy(_table(height, width, 16)).float().permute(2, 0, 1)[None]
    grid = (xy / torch.tensor([width, height]) * 2 - 1)[None, None]
    expected = F.grid_sample(table, grid, align_corners=False, padding_mode="border" if edge else "zeros")[0, :, 0].T
    assert (embed_positions(xy, (height, width), 16, edge=edge) - expected).abs().max() < 1e-5


def test_position_is_the_mean_around_the_likeliest_bin() -> None:
    logits = torch.full((2, 64), -30.0)
    logits[0, [10, 12]], logits[0, 40] = 4.0, 4.0 - 1e-3  # 40 is too far to count
    logits[1, [3, 4]] = torch.tensor([2.0, 2.0 + 2 * np.log(3)]).float()  # 1 to 3 at half the logits
    assert decode_positions(logits, 5, 0.5).tolist() == pytest.approx([11.5, 4.25], abs=1e-4)
    assert decode_positions(logits, 1, 0.5)[0] == pytest.approx(10.5, abs=1e-4)


def test_certainty_sums_a_disc() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 2, 32)
    xy = torch.tensor([[12.3, 20.0], [1.0, 30.9], [31.5, 0.5]])
    p = logits.softmax(-1)
    for k in range(3):
        x, y = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(32) + 0.5, indexing="ij")
        near = (x - xy[k, 0]) ** 2 + (y - xy[k, 1]) ** 2 <= 25
        expected = (p[k, 0][:, None] * p[k, 1] * near).sum()
        assert compute_certainty(logits, xy, 5)[k] == pytest.approx(float(expected), abs=1e-6)


def _theirs(block: RecurrentBlock) -> RecurrentGemmaRecurrentBlock:
    width, lru_width = block.gate.in_features, block.gate.out_features
    config = RecurrentGemmaConfig(
        hidden_size=width,
        lru_width=lru_width,
        num_attention_heads=len(block.lru.input_gate.weight),
        conv1d_width=len(block.conv_weight),
        hidden_activation="gelu_pytorch_tanh",
    )
    theirs, lru = RecurrentGemmaRecurrentBlock(config, 0).eval(), block.lru
    theirs.load_state_dict(
        {
            "linear_y.weight": block.gate.weight,
            "linear_y.bias": block.gate.bias,
            "linear_x.weight": block.value.weight,
            "linear_x.bias": block.value.bias,
            "linear_out.weight": block.out.weight,
            "linear_out.bias": block.out.bias,
            "conv_1d.weight": block.conv_weight.T[:, None],
            "conv_1d.bias": block.conv_bias,
            "rg_lru.recurrent_param": lru.decay,
            "rg_lru.input_gate_weight": lru.input_gate.weight,
            "rg_lru.input_gate_bias": lru.input_gate.bias,
            "rg_lru.recurrent_gate_weight": lru.decay_gate.weight,
            "rg_lru.recurrent_gate_bias": lru.decay_gate.bias,
        }
    )
    return theirs


def _block() -> RecurrentBlock:
    torch.manual_seed(0)
    block = RecurrentBlock(32, 24, 4, 64, 4, 2).eval()
    for parameter in block.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return block


@torch.no_grad()
def test_block_is_that_of_recurrent_gemma() -> None:
    block, x = _block(), torch.randn(2, 9, 3, 32)
    normed = block.norm(x)
    theirs = _theirs(block)(normed.transpose(1, 2).flatten(0, 1), torch.arange(9)[None].expand(6, 9), None, use_cache=False)[0]
    after = x + theirs.unflatten(0, (2, 3)).transpose(1, 2)
    gate, up = block.mlp.gate_up(block.mlp_norm(after)).chunk(2, -1)
    after = after + block.mlp.out(torch.nn.functional.gelu(gate, approximate="tanh") * up)
    assert (block(x, block.start(2, 3), True)[0] - after).abs().max() < 1e-5


@torch.no_grad()
def test_block_goes_on_from_its_state() -> None:
    block, x = _block(), torch.randn(2, 9, 3, 32)
    whole = block(x, block.start(2, 3), True)[0]
    state, parts = block.start(2, 3), []
    for begin, end in ((0, 1), (1, 6), (6, 7), (7, 9)):
        part, state = block(x[:, begin:end], state, begin == 0)
        parts.append(part)
    assert (torch.cat(parts, 1) - whole).abs().max() < 1e-5
    assert state.hidden.shape == (2, 3, 24)
    assert state.conv.shape == (2, 3, 3, 24)
    assert state.conv.untyped_storage().nbytes() == 4 * state.conv.numel()  # keeps no earlier frames alive
    assert state.hidden.untyped_storage().nbytes() == 4 * state.hidden.numel()


def test_parallel_scan_is_the_loop_forward_and_backward() -> None:
    torch.manual_seed(0)
    for decay in (0.5, 0.99):  # of 256 frames; the product of decays of 0.5 is 0
        grads, results = [], []
        for parallel in (False, True):
            torch.manual_seed(1)
            a = (torch.rand(2, 256, 3, 4) * 0.02 + decay - 0.01).requires_grad_()
            b, initial = torch.randn(2, 256, 3, 4, requires_grad=True), torch.randn(2, 3, 4, requires_grad=True)
            h = scan(a, b, initial, parallel=parallel)
            (h * torch.randn_like(h)).sum().backward()
            results.append(h.detach())
            grads.append([a.grad, b.grad, initial.grad])
        scale = results[0].abs().max().clamp(min=1)
        assert (results[0] - results[1]).abs().max() / scale < 1e-5
        for loop, parallel in zip(*grads, strict=True):
            assert (loop - parallel).abs().max() / loop.abs().max().clamp(min=1) < 1e-5


def test_scan_is_parallel_in_training_and_the_same() -> None:
    block, x = _block(), torch.randn(1, 13, 3, 32)
    evaluated = block(x, block.start(1, 3), True)[0]
    trained = block.train()(x, block.start(1, 3), True)[0]
    assert trained.grad_fn is not None
    assert (evaluated - trained).abs().max() < 1e-5


def test_derivative_of_the_square_root_is_bounded() -> None:
    x = torch.tensor([0.0, 0.25], requires_grad=True)
    _BoundedSqrt.apply(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx([1000.0, 1.0])
