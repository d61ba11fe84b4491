"""Files of weights: names both ways, configs from shapes, round trips, and files that must be refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import tapetum
from support.haiku import haiku_of
from support.networks import TAPIR, tapir, to_official
from tapetum.core.errors import BadInput
from tapetum.systems.tap import weights
from tapetum.systems.tap.config import NANO, OFFICIAL
from tapetum.systems.tap.model import Tapir
from tapetum.systems.tap.tracking.tracker import build
from tapetum.systems.tap.weights import from_haiku

SMALL = replace(
    TAPIR,
    extra_convs=2,
    extra_expansion=3,
    initial_resolution=(256, 256),
    stem_channels=8,
    channels=(8, 12, 16, 20),
    blocks_per_group=(1, 2, 1, 2),
    matching_channels=(4, 6, 5),
    mixer_blocks=3,
)
"""No two sizes alike, so that each shape tells one of them."""
NARROW = replace(
    NANO,
    strides=(1, 2, 2, 1),
    antialias=False,
    iterations=4,
    average_positions=True,
    refine_at_least=None,
    second_pass=False,
    polish=False,
)
"""`NANO` with the published values of what shapes do not tell."""


@pytest.fixture
def model() -> Tapir:
    return tapir(SMALL)


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_names_go_both_ways(model):
    ours = model.state_dict()
    theirs = to_official(ours)
    assert "torch_pips_mixer.blocks.2.conv_channels_mixer.mlp2_down.bias" in theirs
    assert "resnet_torch.block_groups.1.blocks.0.bn_1.weight" in theirs
    assert equal(weights.from_official(theirs), ours)


@pytest.mark.parametrize("config", [*OFFICIAL.values(), NARROW, SMALL])
def test_shapes_tell_the_config(config):
    with torch.device("meta"):
        state = Tapir(config).state_dict()
    assert weights.infer_config(state, causal=config.causal) == config


def test_a_name_that_does_not_belong_is_named(model):
    theirs = to_official(model.state_dict())
    theirs["resnet_torch.initial_conv.scale"] = torch.zeros(1)
    with pytest.raises(BadInput, match=r"resnet_torch\.initial_conv\.scale"):
        weights.from_official(theirs)


def _without(state, name):
    del state[name]


def _with(name, tensor):
    return lambda state: state.update({name: tensor})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: _without(s, "mixer.blocks.1.time_up.bias"), r"lack.*mixer\.blocks\.1\.time_up\.bias"),
        (lambda s: _without(s, "matching.trunk.weight"), r"lack.*matching\.trunk\.weight"),
        (_with("mixer.norm.weight", torch.zeros(3)), r"mixer\.norm\.weight.*\(3,\).*\(16,\)"),
        (_with("mixer.norm.weight", torch.full((16,), torch.nan)), r"mixer\.norm\.weight.*finite"),
        (_with("mixer.norm.weight", torch.zeros(16, dtype=torch.int64)), r"mixer\.norm\.weight.*is int64, and not float16"),
        (_with("mixer.further.weight", torch.zeros(3)), r"mixer\.further\.weight"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(model, spoil, message):
    state = dict(model.state_dict())
    spoil(state)
    with pytest.raises(BadInput, match=message):
        weights.to_model(SMALL, state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_file_of_ours_gives_back_weights_and_config(model, dtype, tmp_path):
    model.config = replace(
        SMALL, causal=True, initial_resolution=(64, 128), antialias=True, refine_at_least=(96, 96), average_positions=False
    )
    weights.save(model, tmp_path / "a.safetensors", dtype)
    back = weights.load(tmp_path / "a.safetensors")
    assert back.config == model.config
    rounded = {name: tensor.to(dtype).float() for name, tensor in model.state_dict().items()}
    assert equal(back.state_dict(), rounded)
    assert all(p.requires_grad for p in back.parameters())
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_same_network_gives_the_same_bytes(model, tmp_path):
    for n in range(20):
        weights.save(model, tmp_path / f"{n}.safetensors")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_a_published_checkpoint_is_read(model, tmp_path):
    torch.save(to_official(model.state_dict()), tmp_path / "causal_checkpoint.pt")
    back = tapetum.load(tmp_path / "causal_checkpoint.pt").model
    assert equal(back.state_dict(), model.state_dict())
    assert back.config == replace(SMALL, causal=True), "the name says causal"
    other = weights.load(tmp_path / "causal_checkpoint.pt", causal=False, softmax_temperature=10.0)
    assert other.config == replace(SMALL, softmax_temperature=10.0)


def test_a_jax_checkpoint_is_read(model, tmp_path):
    content = {"params": haiku_of(to_official(model.state_dict())), "state": {}, "global_step": 5}
    np.save(tmp_path / "checkpoint.npy", np.array(content, dtype=object), allow_pickle=True)
    back = weights.load(tmp_path / "checkpoint.npy")
    assert equal(back.state_dict(), model.state_dict())
    assert back.config == SMALL


@pytest.mark.parametrize("content", [None, {"params": 3}, {"params": {"other/linear": {"w": np.zeros(3)}}}])
def test_what_is_not_a_jax_checkpoint_is_refused(content):
    with pytest.raises(BadInput):
        from_haiku(content)


class Foreign:
    """Runs a command when unpickled by pickle.load."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


@pytest.mark.parametrize("suffix", [".pt", ".npy"])
def test_a_checkpoint_with_a_foreign_class_is_refused_and_runs_nothing(tmp_path, suffix):
    path, mark = tmp_path / f"bad{suffix}", tmp_path / "was_here"
    if suffix == ".pt":
        torch.save({"a": Foreign(mark)}, path)
    else:
        np.save(path, np.array({"params": Foreign(mark)}, dtype=object), allow_pickle=True)
    with pytest.raises(BadInput) as caught:
        tapetum.load(path)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_a_safetensors_file_of_published_names_is_read(model, tmp_path):
    save_file(to_official(model.state_dict()), tmp_path / "a.safetensors")
    assert equal(weights.load(tmp_path / "a.safetensors").state_dict(), model.state_dict())
    assert len(load_file(tmp_path / "a.safetensors")) == len(model.state_dict())


def test_build_gives_the_same_weights_for_the_same_seed():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    a, b, c = build("tapir-nano", 3), build("tapir-nano", 3), build("tapir-nano", 4)
    assert torch.equal(torch.rand(1), expected), "the global generator was touched"
    assert equal(a.model.state_dict(), b.model.state_dict())
    assert not equal(a.model.state_dict(), c.model.state_dict())
    assert a.model.config == NANO
    with pytest.raises(BadInput, match="tapir-nano"):
        build("tapir-huge")
