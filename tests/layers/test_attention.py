"""Attention against the formula in float64 and against torch; masks, rotary positions, the cache."""

import pytest
import torch

from tapetum.core.errors import BadInput
from tapetum.encoders.decoder import KeyValueCache
from tapetum.layers.patches import apply_rotary, rotary_angles
from tapetum.layers.transformer import Attention, attend, causal_mask, step_mask


def formula(q, k, v, mask=None, scale=None, soft_cap=None):
    """Head by head and query by query, as the papers write it."""
    out = torch.zeros(*q.shape[:3], v.shape[-1], dtype=torch.float64)
    for b, h, n in ((b, h, n) for b in range(q.shape[0]) for h in range(q.shape[1]) for n in range(q.shape[2])):
        group = h // (q.shape[1] // k.shape[1])
        logits = torch.stack([(q[b, h, n] * key).sum() for key in k[b, group]]) * (scale or q.shape[-1] ** -0.5)
        if soft_cap:
            logits = soft_cap * torch.tanh(logits / soft_cap)
        seen = torch.ones(k.shape[2], dtype=torch.bool)
        if mask is not None:
            row = mask.expand(q.shape[0], q.shape[1], q.shape[2], -1)[b, h, n]
            seen, logits = (row, logits) if row.dtype == torch.bool else (seen, logits + row)
        weights = torch.where(seen, logits.exp(), 0.0)
        out[b, h, n] = (weights[:, None] * v[b, group]).sum(0) / weights.sum().clamp(min=1e-300)
    return out


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape) + shape[1]), dtype=torch.float64)


@pytest.mark.parametrize("soft_cap", [None, 1.5])
@pytest.mark.parametrize("groups", [4, 2, 1])
@pytest.mark.parametrize("kind", ["none", "boolean", "added"])
def test_it_is_the_formula(soft_cap, groups, kind):
    q, k, v = drawn(2, 4, 3, 6), drawn(2, groups, 5, 6) * 2, drawn(2, groups, 5, 7)
    mask = None
    if kind == "boolean":
        mask = torch.tensor([[1, 0, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0]]).bool()  # the second sees nothing
    if kind == "added":
        mask = drawn(2, 1, 3, 5)
    for scale in (None, 0.3):
        got = attend(q, k, v, mask, scale=scale, soft_cap=soft_cap)
        torch.testing.assert_close(got, formula(q, k, v, mask, scale, soft_cap), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("soft_cap", [None, 2.0])
def test_causal_is_its_mask(soft_cap):
    q, k, v = drawn(1, 2, 4, 6), drawn(1, 2, 4, 6), drawn(1, 2, 4, 6)
    by_mask = attend(q, k, v, causal_mask(4), soft_cap=soft_cap)
    torch.testing.assert_close(attend(q, k, v, causal=True, soft_cap=soft_cap), by_mask)


def test_a_query_that_sees_nothing_has_no_bad_gradient():
    q, k, v = (drawn(1, 1, 2, 4).requires_grad_() for _ in range(3))
    mask = torch.tensor([[True, True], [False, False]])
    for soft_cap in (None, 2.0):
        grads = torch.autograd.grad(attend(q, k, v, mask, soft_cap=soft_cap).sum(), (q, k, v))
        assert all(g.isfinite().all() for g in grads)


def test_masks():
    assert causal_mask(2, 4).int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert causal_mask(4, window=2).int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    steps = torch.tensor([[0, 0, 1, 1]])
    assert step_mask(steps)[0, 0].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]


def test_rotation_tells_distance_alone_and_keeps_lengths():
    q, k = drawn(1, 1, 1, 8), drawn(1, 1, 1, 8) + 1
    at = lambda x, p: apply_rotary(x, *rotary_angles(torch.tensor([[p]]), x.shape[-1]))  # noqa: E731
    torch.testing.assert_close((at(q, 7) * at(k, 4)).sum(), (at(q, 103) * at(k, 100)).sum(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(at(q, 9).norm(), q.norm())
    turned = at(torch.tensor([[[[1.0, 0.0]]]]), 2)  # two channels: by the angle itself
    torch.testing.assert_close(turned[0, 0, 0], torch.tensor([2.0]).cos().new_tensor([-0.4161468, 0.9092974]))


def test_cross_attention_is_that_of_torch():
    torch.manual_seed(0)
    ours, theirs = Attention(8, 2), torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        for part, weight in zip(("query", "key", "value"), theirs.in_proj_weight.chunk(3), strict=True):
            ours.get_submodule(part).weight.copy_(weight)
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    x, y = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    mask = torch.rand(3, 5) > 0.3
    mask[:, 0] = True
    torch.testing.assert_close(ours(x, y, mask=mask), theirs(x, y, y, attn_mask=~mask)[0])


def test_bad_sizes_and_full_caches_are_refused():
    with pytest.raises(BadInput, match="heads do not divide"):
        Attention(8, 3)
    cache = KeyValueCache(1, 1, 3, 2, dtype=torch.float32)
    cache.append(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    with pytest.raises(BadInput, match="4 tokens do not fit a cache of 3"):
        cache.append(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))


def test_a_cache_follows_its_beams():
    cache = KeyValueCache(2, 1, 3, 1, dtype=torch.float32)
    cache.append(torch.tensor([1.0, 2.0]).view(2, 1, 1, 1), torch.tensor([3.0, 4.0]).view(2, 1, 1, 1))
    cache.reorder(torch.tensor([1, 1]))
    keys, values = cache.append(torch.zeros(2, 1, 1, 1), torch.zeros(2, 1, 1, 1))
    assert keys.flatten(1).tolist() == [[2.0, 0.0], [2.0, 0.0]]
    assert values.flatten(1).tolist() == [[4.0, 0.0], [4.0, 0.0]]
