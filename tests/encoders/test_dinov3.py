"""DINOv3 of timm: the same weights give the same features, for images of any shape."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from safetensors.torch import save_file

from tapetum import encoders
from tapetum.core.errors import BadInput, Remark
from tapetum.encoders.tables.dinov3 import describe, rows
from tapetum.encoders.tables.rows import their_shapes

transformers.logging.set_verbosity_error()

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


def of_timm(name: str, **more: Any) -> tuple[Any, dict[str, Any]]:
    """A tiny model of timm, and the fields in which ours is to differ from the name."""
    model = shaken(timm.create_model(name, embed_dim=32, depth=2, num_heads=2, **more))
    return model, {"width": 32, "depth": 2, "heads": 2, "mlp_width": model.blocks[0].mlp.fc2.in_features}


def drawn(*size: int) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


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


@torch.no_grad()
def test_a_classifier_of_timm_is_on_the_mean() -> None:
    theirs, sizes = of_timm("vit_small_patch16_dinov3", num_classes=5)
    ours = encoders.from_state(theirs.state_dict(), "timm", "vit_small_patch16_dinov3", **sizes)
    torch.testing.assert_close(ours.classify(drawn(64, 32)), theirs(drawn(64, 32)), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, "vit_tiny_patch16_dinov3_qkvb", "vit_large_patch16_dinov3"])
def test_shapes_of_full_size_names(name: str) -> None:
    with torch.device("meta"):
        theirs = timm.create_model(name).state_dict()
        found, _ = describe(name, theirs)
        ours = encoders.factory.make(found)
        assert their_shapes(rows(ours), ours.state_dict()) == {key: tuple(each.shape) for key, each in theirs.items()}


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


def test_heads_that_cannot_be_rotated_are_refused() -> None:
    with pytest.raises(BadInput, match="heads of a multiple of 4 channels, not 6"):
        encoders.build("dinov3-small", width=12, heads=2)
