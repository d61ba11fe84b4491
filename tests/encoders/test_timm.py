"""Vision transformers of timm: the same weights give the same features, at their own image size and at another."""

import re

import pytest
import torch

from tapetum import encoders
from tapetum.core.errors import BadInput
from tapetum.encoders.tables.rows import their_shapes
from tapetum.encoders.tables.timm import describe, rows

timm = pytest.importorskip("timm")

NAMES = [
    "vit_tiny_patch16_224",
    "vit_base_patch32_384",
    "deit3_small_patch16_224",
    "vit_small_patch14_dinov2",
    "vit_small_patch14_reg4_dinov2",
    "vit_base_patch16_siglip_224",
    "vit_so400m_patch16_siglip_256",
    "vit_so400m_patch14_siglip_gap_224",
    "vit_base_patch16_clip_224",
    "vit_base_patch32_clip_quickgelu_224",
]
TINY = {"embed_dim": 32, "depth": 2, "num_heads": 2, "mlp_ratio": 2.0}
OURS = {"width": 32, "depth": 2, "heads": 2, "mlp_width": 64}


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """The model with every tensor random, so that none is a neutral 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    return model.eval()


def tiny(name: str, size: int, **more) -> torch.nn.Module:
    return shaken(timm.create_model(name, pretrained=False, img_size=size, dynamic_img_size=True, **TINY, **more))


def side(name: str) -> int:
    return 4 * int(re.search(r"patch(\d+)", name)[1])


def as_published(theirs: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a DINOv2 as in its own files; timm reads them into `theirs`."""
    state = theirs.state_dict() | {"mask_token": torch.ones(1, 32)}
    if "reg_token" in state:
        state["register_tokens"] = state.pop("reg_token")
        state["pos_embed"] = torch.cat([torch.full((1, 1, 32), 0.7), state["pos_embed"]], 1)
    theirs.load_state_dict(timm.models.vision_transformer.checkpoint_filter_fn(dict(state), theirs))
    return state


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [0, 5])
def test_features_are_those_of_timm(name, classes):
    size = side(name)
    theirs = tiny(name, size, num_classes=classes)
    state = as_published(theirs) if name.endswith("dinov2") and not classes else theirs.state_dict()
    ours = encoders.from_state(state, "timm", name, **OURS, image_size=(size, size))
    assert ours.mask_token is None if "mask_token" not in state else torch.equal(ours.mask_token[None], state["mask_token"])
    for shape in ((size, size), (size // 2, size * 2), (3 * size // 4, 3 * size // 4)):
        x = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            tokens = theirs.forward_features(x)
            features = ours(x)
            torch.testing.assert_close(features.tokens, tokens, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(features.pooled, theirs.forward_head(tokens, pre_logits=True), atol=1e-5, rtol=1e-5)
            if classes:
                torch.testing.assert_close(ours.classify(x), theirs(x), atol=1e-5, rtol=1e-5)


def test_mean_pooling_with_the_norm_after_it():
    theirs = tiny("vit_tiny_patch16_224", 32, global_pool="avg")
    ours = encoders.from_state(theirs.state_dict(), "timm", "vit_tiny_patch16_224.untold", **OURS, image_size=(32, 32))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(x).pooled, theirs.forward_head(theirs.forward_features(x), pre_logits=True))


@pytest.mark.parametrize(
    "name",
    ["vit_large_patch16_224", "deit3_base_patch16_384", "vit_large_patch14_reg4_dinov2", "vit_so400m_patch14_siglip_384"],
)
def test_shapes_of_full_size_names(name):
    with torch.device("meta"):
        theirs = timm.create_model(name).state_dict()
        found, _ = describe(name, theirs)
        ours = encoders.factory.make(found)
        assert their_shapes(rows(ours), ours.state_dict()) == {key: tuple(each.shape) for key, each in theirs.items()}


@pytest.mark.parametrize(
    ("name", "size", "resize", "crop", "mean"),
    [
        ("vit_small_patch8_224", 224, "crop", 0.9, 123.675),
        ("vit_base_patch16_224.augreg_in21k", 224, "crop", 0.9, 127.5),
        ("vit_base_patch16_clip_384.openai_ft_in12k_in1k", 384, "squash", 0.95, 122.7709),
        ("vit_small_patch16_dinov3", 256, "crop", 1.0, 123.675),
        ("resnet50.a1h_in1k", 176, "crop", 0.9, 123.675),
    ],
)
def test_preprocessing_is_timms_for_a_name_and_its_tag(name, size, resize, crop, mean):
    how = encoders.architecture(f"timm:{name}").preprocessing
    assert (how.size, how.resize, how.crop_fraction) == ((size, size), resize, crop)
    assert how.mean[0] == pytest.approx(mean, abs=1e-3)


def test_what_does_not_fit_is_named():
    name, changes = "vit_tiny_patch16_224", {**OURS, "image_size": (32, 32)}
    state = tiny(name, 32, num_classes=0).state_dict()

    def refused(changed, name=name, source="timm"):
        with pytest.raises(BadInput) as caught:
            encoders.from_state(changed, source, name, **changes)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "lack norm.bias" in refused({k: v for k, v in state.items() if k != "norm.bias"})
    assert "no extra.weight" in refused(state | {"extra.weight": torch.zeros(3)})
    assert "cls_token is (1, 1, 31)" in refused(state | {"cls_token": torch.zeros(1, 1, 31)})
    assert "'pos_embed' holds" in refused(state | {"pos_embed": state["pos_embed"] * torch.nan})
    assert "has no model 'vit_tiny_patch16_rope_224'" in refused(state, name="vit_tiny_patch16_rope_224")
    assert "no source 'jax'" in refused(state, source="jax")
    with pytest.raises(BadInput, match="no classifier"):
        encoders.from_state(state, "timm", name, **changes).classify(torch.zeros(1, 3, 32, 32))
