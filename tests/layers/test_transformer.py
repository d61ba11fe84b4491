"""MLPs, norms, and the block, against formulas and torch."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tapetum.core.errors import BadInput
from tapetum.encoders.decoder import RmsNorm
from tapetum.layers.transformer import Attention, AttentionPooling, Block, DropPath, GatedMlp, Mlp

X = torch.linspace(-3, 3, 24).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("activation", "written"),
    [
        ("gelu", lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5))),
        ("gelu_tanh", lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))),
        ("quick_gelu", lambda x: x / (1 + torch.exp(-1.702 * x))),
        ("silu", lambda x: x / (1 + torch.exp(-x))),
    ],
)
def test_mlps_are_what_is_written(activation, written):
    plain = Mlp(4, 7, activation)
    torch.testing.assert_close(plain(X), plain.out(written(plain.hidden(X))))


def test_a_gated_mlp_is_what_is_written():
    mlp = GatedMlp(4, 7)
    gate, up = (F.linear(X, weight) for weight in mlp.gate_up.weight.split(7))
    torch.testing.assert_close(mlp(X), mlp.out(F.gelu(gate, approximate="tanh") * up))


def test_an_unknown_activation_is_refused():
    with pytest.raises(BadInput, match="no activation 'swish'"):
        Mlp(4, 4, "swish")


def test_root_mean_square_norm_is_that_of_torch():
    ours, theirs = RmsNorm(4, eps=1e-3), nn.RMSNorm(4, eps=1e-3)
    with torch.no_grad():
        ours.weight.copy_(torch.randn(4))
        theirs.weight.copy_(1 + ours.weight)
    torch.testing.assert_close(ours(X), theirs(X))


def test_block_is_the_layer_of_torch():
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    ours = Block(Attention(8, 2), Mlp(8, 16), lambda: nn.LayerNorm(8), width=8)
    with torch.no_grad():
        for i, part in enumerate(("query", "key", "value")):
            layer = ours.attention.get_submodule(part)
            layer.weight.copy_(theirs.self_attn.in_proj_weight[8 * i : 8 * i + 8])
            layer.bias.copy_(theirs.self_attn.in_proj_bias[8 * i : 8 * i + 8])
        ours.attention.out.load_state_dict(theirs.self_attn.out_proj.state_dict())
        ours.mlp.hidden.load_state_dict(theirs.linear1.state_dict())
        ours.mlp.out.load_state_dict(theirs.linear2.state_dict())
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(ours(x), theirs(x))


def test_layer_scale_multiplies_both_parts():
    block = Block(Attention(8, 2), Mlp(8, 16), lambda: nn.LayerNorm(8), width=8, layer_scale=0.0)
    x = torch.randn(2, 5, 8)
    assert torch.equal(block(x), x)
    grads = torch.autograd.grad(block(x).square().sum(), [block.attention_scale.weight, block.mlp_scale.weight])
    assert all(g.abs().min() > 0 for g in grads)


def test_drop_path_leaves_out_examples_and_keeps_the_mean():
    torch.manual_seed(0)
    x, layer = torch.ones(4000, 2, 3), DropPath(0.25)
    y = layer.train()(x)
    assert sorted(y.unique().tolist()) == pytest.approx([0, 4 / 3])
    assert bool((y == y[:, :1, :1]).all())
    assert y.mean().item() == pytest.approx(1.0, abs=0.03)
    assert layer.eval()(x) is x


class Always(nn.Module):
    """Gives the same number everywhere."""

    def __init__(self, value: float):
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x, self.value)


@pytest.mark.parametrize(("dropped", "within"), [({"drop_path": 0.5}, 1), ({"dropout": 0.5}, 4)])
def test_a_block_leaves_out_each_of_its_parts_by_itself(dropped, within):
    torch.manual_seed(0)
    block = Block(Always(1.0), Always(10.0), nn.Identity, width=8, **dropped)
    x = torch.zeros(200, 3, 8)
    changes = block.train()(x)
    assert changes.unique().tolist() == [0.0, 2.0, 20.0, 22.0]  # neither part, one, the other, both; what stays is doubled
    assert changes.flatten(1).unique(dim=0).shape[0] > 4 or within == 1
    assert max(len(example.unique()) for example in changes) == within
    assert block.eval()(x).unique().tolist() == [11.0]


def test_pooling_by_attention_ignores_order():
    torch.manual_seed(0)
    pool, x = AttentionPooling(8, 2, 16), torch.randn(3, 5, 8)
    torch.testing.assert_close(pool(x), pool(x.flip(1)))
    assert pool(x).shape == (3, 8)
