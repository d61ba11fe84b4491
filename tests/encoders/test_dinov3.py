"""DINOv3 of transformers and of timm: the same weights give the same features, for images of any shape, both ways."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file

import tapetum
from tapetum import encoders
from tapetum.core.errors import BadInput, Remark
from tapetum.encoders.references import has_names_of_an_encoder
from tapetum.encoders.tables.dinov3 import describe

transformers.logging.set_verbosity_error()

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "num_register_tokens": 4}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "gated": {"use_gated_mlp": True, "hidden_act": "silu"},
    "gelu by tanh": {"hidden_act": "gelu_pytorch_tanh"},
    "no biases": {"query_bias": False, "value_bias": False},
    "a bias of keys": {"key_bias": True},
    "no registers": {"num_register_tokens": 0},
    "large patches": {"patch_size": 32},
}
SHAPES = [(64, 64), (32, 96), (96, 64)]
NAMES = [
    "vit_small_patch16_dinov3",
    "vit_base_patch16_dinov3_qkvb",
    "vit_small_plus_patch16_dinov3",
    "vit_huge_plus_patch16_dinov3_qkvb",
    "vit_7b_patch16_dinov3",
]


def shaken(model: Any) -> Any:
    """The model with every tensor random, so that none is a neutral 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "mask_token" not in name:
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    return model.eval()


def of_transformers(**more: Any) -> Any:
    return shaken(transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**SMALL | {"layer_norm_eps": 1e-3} | more)))


def of_timm(name: str, **more: Any) -> tuple[Any, dict[str, Any]]:
    """A tiny model of timm, and the fields in which ours is to differ from the name."""
    model = shaken(timm.create_model(name, embed_dim=32, depth=2, num_heads=2, **more))
    return model, {"width": 32, "depth": 2, "heads": 2, "mlp_width": model.blocks[0].mlp.fc2.in_features}


def drawn(*size: int) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


def comes_back(encoder: Any, source: str, state: dict[str, torch.Tensor]) -> None:
    back = encoders.to_state(encoder, source)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_features_are_those_of_transformers(kind: str) -> None:
    theirs = of_transformers(**KINDS[kind])
    ours = encoders.from_state(theirs.state_dict(), "huggingface", theirs.config.to_dict())
    for shape in SHAPES:
        found, wanted = ours(drawn(*shape)), theirs(drawn(*shape))
        torch.testing.assert_close(found.tokens, wanted.last_hidden_state, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.pooled, wanted.pooler_output, atol=1e-5, rtol=1e-5)
    comes_back(ours, "huggingface", theirs.state_dict())


@pytest.mark.parametrize("gated", [False, True])
@torch.no_grad()
def test_a_folder_as_on_the_hub(gated: bool, tmp_path: Path) -> None:
    theirs = of_transformers(**KINDS["gated"] if gated else {}, image_size=64)
    theirs.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    for field in ("apply_layernorm", "reshape_hidden_states", "out_features", "out_indices", "stage_names"):
        content.pop(field, None)
    (tmp_path / "config.json").write_text(json.dumps(content))
    processor = {"image_processor_type": "DINOv3ViTImageProcessorFast", "do_resize": True, "do_rescale": True, "resample": 2}
    processor |= {"size": {"height": 64, "width": 96}, "do_center_crop": None, "crop_size": None, "do_normalize": True}
    processor |= {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    names = load_file(tmp_path / "model.safetensors")
    assert "layer.0.norm1.weight" in names
    assert has_names_of_an_encoder(names)
    ours = tapetum.load(tmp_path)
    how = ours.preprocessing
    assert (how.size, how.resize, how.interpolation) == ((64, 96), "squash", "bilinear")
    x = ours.prepare(np.random.default_rng(0).integers(0, 256, (2, 50, 41, 3), np.uint8))
    torch.testing.assert_close(ours(x).pooled, theirs(x).pooler_output, atol=1e-5, rtol=1e-5)
    plain, _ = describe(content, names)
    assert (plain.preprocessing.size, plain.preprocessing.resize) == ((64, 64), "squash")
    assert (plain.preprocessing.interpolation, plain.preprocessing.std) == ("bilinear", (58.395, 57.12, 57.375))


@torch.no_grad()
def test_images_of_a_size_that_patches_do_not_divide() -> None:
    theirs = of_transformers(image_size=70)
    ours = encoders.from_state(theirs.state_dict(), "huggingface", theirs.config.to_dict())
    torch.testing.assert_close(ours(drawn(70, 90)).pooled, theirs(drawn(70, 90)).pooler_output, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_features_are_those_of_timm(name: str) -> None:
    theirs, sizes = of_timm(name, global_pool="token")
    ours = encoders.from_state(theirs.state_dict(), "timm", name, **sizes)
    assert ours.config.mlp == ("gated" if "plus" in name or "7b" in name else "plain")
    for shape in SHAPES:
        tokens, found = theirs.forward_features(drawn(*shape)), ours(drawn(*shape))
        torch.testing.assert_close(found.tokens, tokens, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.pooled, theirs.forward_head(tokens, pre_logits=True), atol=1e-5, rtol=1e-5)
    comes_back(ours, "timm", theirs.state_dict())


@torch.no_grad()
def test_a_classifier_of_timm_is_on_the_mean() -> None:
    theirs, sizes = of_timm("vit_small_patch16_dinov3", num_classes=5)
    ours = encoders.from_state(theirs.state_dict(), "timm", "vit_small_patch16_dinov3", **sizes)
    torch.testing.assert_close(ours.classify(drawn(64, 32)), theirs(drawn(64, 32)), atol=1e-5, rtol=1e-5)
    comes_back(ours, "timm", theirs.state_dict())


@torch.no_grad()
def test_weights_of_transformers_go_to_timm() -> None:
    theirs = of_transformers(**KINDS["gated"], layer_norm_eps=1e-5)
    ours = encoders.from_state(theirs.state_dict(), "huggingface", theirs.config.to_dict())
    model, _ = of_timm("vit_small_plus_patch16_dinov3_qkvb", mlp_ratio=1.5, global_pool="token")
    model.load_state_dict(encoders.to_state(ours, "timm"))
    torch.testing.assert_close(model(drawn(32, 96)), theirs(drawn(32, 96)).pooler_output, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, "vit_tiny_patch16_dinov3_qkvb", "vit_large_patch16_dinov3"])
def test_shapes_of_full_size_names(name: str) -> None:
    with torch.device("meta"):
        theirs = timm.create_model(name).state_dict()
        found, _ = describe(name, theirs)
        ours = encoders.to_state(encoders.factory.make(found), "timm")
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}


@pytest.mark.slow
def test_a_state_dict_of_timm_is_recognised(tmp_path: Path) -> None:
    theirs = shaken(timm.create_model("vit_tiny_patch16_dinov3_qkvb", global_pool="token"))
    save_file(theirs.state_dict(), tmp_path / "own.safetensors")
    with pytest.warns(Remark, match="taken for timm's vit_tiny_patch16_dinov3_qkvb,"):
        encoder = encoders.load(tmp_path / "own.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(encoder(drawn(32, 64)).pooled, theirs(drawn(32, 64)), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", ["dinov3-small", "dinov3-small-plus", "dinov2-giant-reg"])
@torch.no_grad()
def test_files_of_ours_and_half_precision(name: str, tmp_path: Path) -> None:
    sizes = {"width": 32, "depth": 2, "heads": 2, "mlp_width": 40, "patch": 16, "image_size": (32, 32)}
    encoder = encoders.build(name, seed=2, **sizes)
    encoders.save(encoder, tmp_path / "own.safetensors")
    again, x = encoders.load(tmp_path / "own.safetensors"), drawn(32, 64)
    assert (again.config, again.preprocessing) == (encoder.config, encoder.preprocessing)
    assert torch.equal(again(x).pooled, encoder(x).pooled)
    rough = encoders.load(tmp_path / "own.safetensors", dtype=torch.bfloat16)(x.bfloat16())
    assert rough.tokens.dtype == torch.bfloat16
    torch.testing.assert_close(rough.tokens.float(), encoder(x).tokens, atol=0.1, rtol=0.1)


def test_a_file_of_before_has_none_of_the_new_fields() -> None:
    from tapetum.encoders.architectures import architecture, as_json, from_json

    header = as_json(architecture("vit-nano"))
    for field in ("rotary", "mlp", "key_bias"):
        header["config"].pop(field)
    assert from_json(header) == architecture("vit-nano")


def test_what_is_not_here_is_refused() -> None:
    config = transformers.DINOv3ViTConfig(**SMALL).to_dict()
    for changes, words in (
        ({"rope_theta": 10_000.0}, "rope_theta 10000.0"),
        ({"hidden_act": "relu"}, "activation 'relu'"),
        ({"value_bias": False}, "leaves out a bias"),
        ({"mlp_bias": False}, "leaves out a bias"),
        ({"proj_bias": False}, "leaves out a bias"),
        ({"num_channels": 4}, "not 3 channels"),
    ):
        with pytest.raises(BadInput, match=words):
            describe(config | changes, {})
    with pytest.raises(BadInput, match="heads of a multiple of 4 channels, not 6"):
        encoders.build("dinov3-small", width=12, heads=2)
    refused: list[Any] = [
        (lambda: encoders.to_state(encoders.build("dinov3-small", depth=1, key_bias=True), "timm"), "timm has no network"),
        (lambda: encoders.to_state(encoders.build("dinov3-small", depth=1, classes=3), "huggingface"), "has no network"),
        (lambda: encoders.to_state(encoders.build("vit-nano", mlp="gated", activation="silu"), "timm"), "has no network"),
        (lambda: encoders.to_state(encoders.build("vit-nano", mlp="gated", activation="silu"), "huggingface"), "has no"),
        (lambda: encoders.to_state(encoders.build("vit-nano", key_bias=False), "timm"), "has no network"),
        (lambda: encoders.to_state(encoders.build("vit-nano", key_bias=False), "huggingface"), "has no network"),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for wrong, words in refused:
            with pytest.raises(BadInput, match=words):
                wrong()
