"""The recurrence in parts, its scan beside the loop, the certainty beside sums written out."""

import pytest
import torch

from tapetum.systems.tapnext.layers import RecurrentBlock, _BoundedSqrt, compute_certainty, scan


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


def _block() -> RecurrentBlock:
    torch.manual_seed(0)
    block = RecurrentBlock(32, 24, 4, 64, 4, 2).eval()
    for parameter in block.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return block


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


def test_derivative_of_the_square_root_is_bounded() -> None:
    x = torch.tensor([0.0, 0.25], requires_grad=True)
    _BoundedSqrt.apply(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx([1000.0, 1.0])
