"""Public weights of TAPNext, and files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tapetum
from support.tapnext import TINY, clip, public_state
from tapetum.core.errors import BadInput
from tapetum.hub.registry import known
from tapetum.systems.tapnext import TapNextConfig, from_official
from tapetum.systems.tapnext.config import ARCHITECTURES, Variant
from tapetum.systems.tapnext.tracker import TapNextTracker
from tapetum.systems.tapnext.weights import convert, load, save

OTHERS = (
    replace(TINY, width=48, depth=3, heads=3, gate_blocks=3, lru_width=36, mlp_width=64, gated_mlp_width=40),
    replace(TINY, image_size=(24, 24), video_size=(24, 24), patch_size=(4, 8), taps=3, head_width=16, bins=64),
)


@pytest.mark.parametrize("config", [TINY, *OTHERS])
def test_sizes_are_read_from_shapes(config: TapNextConfig) -> None:
    assert from_official(public_state(config)).config == config


def test_heads_and_sizes_that_no_tensor_tells_are_given() -> None:
    state = public_state()
    assert from_official(state, heads=4).config.heads == 4
    del state["query_pos_embed"]
    with pytest.raises(BadInput, match="image_size"):
        from_official(state)
    assert from_official(state, image_size=(32, 48)).config == TINY
    square = public_state(replace(TINY, image_size=(32, 32)))
    del square["query_pos_embed"]
    assert from_official(square).config.image_size == (32, 32)


def test_what_a_training_program_adds_is_left_out(tmp_path: Path) -> None:
    state = public_state()
    trained = {f"tapnext.{name}": tensor for name, tensor in state.items()} | {"loss.weight": torch.ones(1)}
    checkpoint = {"state_dict": trained, "epoch": 3, "optimizer_states": [{"step": torch.ones(1)}]}
    torch.save(checkpoint, tmp_path / "last.ckpt")
    expected = from_official(state).state_dict()
    for network in (from_official(trained), from_official(checkpoint), load(tmp_path / "last.ckpt")):
        assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mask_token": None}, "lack the tensor 'mask_token'"),
        ({"lin_proj.weight": None}, "no tensor 'lin_proj.weight'"),
        ({"more": torch.ones(1)}, "'more' is not of a TAPNext network"),
        ({"encoder_norm.weight": torch.ones(31)}, "norm.weight"),
        ({"encoder_norm.weight": torch.full((32,), torch.nan)}, "finite"),
        ({"blocks.1.vit_block.mlp.0.weight": torch.ones(32, 128)}, "wanted"),
        ({"blocks.0.vit_block.self_attention.in_proj_weight": torch.ones(95, 32)}, "three times"),
        ({"image_pos_emb": torch.ones(24, 32)}, "3 axes"),
        ({"query_pos_embed": torch.ones(1, 32 * 48, 32)}, "table of sines"),
    ],
)
def test_other_tensors_are_refused(change: dict, words: str) -> None:
    state = {name: tensor for name, tensor in (public_state() | change).items() if tensor is not None}
    with pytest.raises(BadInput, match=words):
        from_official(state)


def _as_jax(state: dict[str, torch.Tensor], heads: int) -> dict[str, np.ndarray]:
    """The arrays of the JAX checkpoint, by the shapes that its layers have."""
    arrays = {}
    for name, tensor in state.items():
        if name == "query_pos_embed":
            continue
        array, path = tensor.numpy(), name.replace(".", "/")
        if name.startswith("lin_proj"):
            array = array.transpose(2, 3, 1, 0)[None] if array.ndim == 4 else array
            path = path.replace("lin_proj/weight", "embedding/kernel").replace("lin_proj", "embedding")
        elif "in_proj" in name:
            for part, rows in zip(("query", "key", "value"), np.split(array, 3), strict=True):
                split = rows.T.reshape(rows.shape[1], heads, -1) if rows.ndim == 2 else rows.reshape(heads, -1)
                leaf = "kernel" if rows.ndim == 2 else "bias"
                block = f"backbone/Transformer/encoderblock_{name.split('.')[1]}/vit_block/MultiHeadDotProductAttention_0"
                arrays[f"{block}/{part}/{leaf}"] = split
            continue
        elif "out_proj" in name:
            array = array.T.reshape(heads, -1, len(array)) if array.ndim == 2 else array
            path = path.replace("self_attention/out_proj", "MultiHeadDotProductAttention_0/out").replace("weight", "kernel")
        elif name.endswith("weight") and array.ndim == 2:
            array, path = array.T, path.replace("weight", "kernel")
        elif name.endswith("weight"):
            path = path.replace("weight", "scale")
        for ours, theirs in (("ln_1", "LayerNorm_0"), ("ln_2", "LayerNorm_1"), ("mlp/0", "MlpBlock_0/Dense_0")):
            path = path.replace(f"vit_block/{ours}", f"vit_block/{theirs}")
        path = path.replace("vit_block/mlp/3", "vit_block/MlpBlock_0/Dense_1").replace("image_pos_emb", "pos_embedding")
        if "head/" in path:
            path = path.replace("head/", "head/layers_")
        else:
            path = path.replace("blocks/", "Transformer/encoderblock_").replace("encoder_norm", "Transformer/encoder_norm")
            path = f"backbone/{path}"
        arrays[path] = np.ascontiguousarray(array)
    return arrays


def test_archives_of_jax_are_read(tmp_path: Path) -> None:
    config = replace(TINY, image_size=(32, 32), video_size=(32, 32), heads=4)
    network, arrays = from_official(public_state(config), heads=4, variant="jax"), _as_jax(public_state(config), 4)
    np.savez(tmp_path / "bootstapnext.npz", **arrays)
    loaded = load(tmp_path / "bootstapnext.npz")
    assert loaded.config == replace(config, variant="jax")
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    assert isinstance(tapetum.load(tmp_path / "bootstapnext.npz"), TapNextTracker)
    np.savez(tmp_path / "other.npz", **arrays, more=np.ones(1))
    with pytest.raises(BadInput, match="'more' is not of"):
        load(tmp_path / "other.npz")
    del arrays["backbone/Transformer/encoderblock_1/vit_block/MultiHeadDotProductAttention_0/key/bias"]
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(BadInput, match="block 1 lacks"):
        load(tmp_path / "other.npz")
    (tmp_path / "other.npz").write_bytes(b"PK no archive")
    with pytest.raises(BadInput, match="no archive of arrays"):
        load(tmp_path / "other.npz")


@pytest.mark.parametrize("variant", ["torch", "jax"])
@torch.no_grad()
def test_files_of_ours_hold_everything(tmp_path: Path, variant: Variant) -> None:
    network = from_official(public_state(), variant=variant)
    save(network, tmp_path / "a.safetensors")
    loaded = tapetum.load(tmp_path / "a.safetensors").model
    assert loaded.config == network.config
    assert (loaded(*clip()).logits - network(*clip()).logits).abs().max() < 1e-5


def test_checkpoints_become_files_of_ours(tmp_path: Path) -> None:
    torch.save({"state_dict": public_state()}, tmp_path / "some_512.ckpt")
    convert(tmp_path / "some_512.ckpt", tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors").config.video_size == (512, 512)  # by its name
    convert(tmp_path / "some_512.ckpt", tmp_path / "a.safetensors", "tapnextpp-256")
    assert load(tmp_path / "a.safetensors").config.video_size == (256, 256)
    assert isinstance(tapetum.load(tmp_path / "some_512.ckpt"), TapNextTracker)
    done = tapetum.app.make.weights.convert(str(tmp_path / "some_512.ckpt"), out=tmp_path / "b.safetensors")
    assert load(done.path).config.video_size == (512, 512)
    with pytest.raises(BadInput, match="of trackers"):
        tapetum.app.make.weights.convert(str(tmp_path / "some_512.ckpt"), causal=True)
    for target in ("some_512.ckpt", "a.npz"):
        with pytest.raises(BadInput, match="must be named"):
            convert(tmp_path / "some_512.ckpt", tmp_path / target)


def test_published_names_have_configs() -> None:
    for name, config in ARCHITECTURES.items():
        assert known()[name].architecture == name
        assert config.variant == ("jax" if known()[name].file.endswith(".npz") else "torch")
    with pytest.raises(BadInput, match="tapetum weights fetch tapnextpp-512"):
        tapetum.load("tapnextpp-512")
