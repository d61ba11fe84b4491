"""Models of transformers: the same weights give the same features, at their own image size and at another."""

import logging

import pytest
import torch
from safetensors.torch import load_file

from tapetum import encoders
from tapetum.core.errors import BadInput
from tapetum.encoders.towers import Towers

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity(logging.ERROR)

IMAGE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": 50,
    "max_position_embeddings": 9,
    "bos_token_id": 48,
    "eos_token_id": 49,
}


def shaken(model):
    """The model with every tensor random, so that none is a neutral 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    return model.eval()


def both(kind, settings, **more):
    """A model of transformers and ours with its weights."""
    theirs = shaken(getattr(transformers, kind)(getattr(transformers, settings)(**IMAGE, **more)))
    return theirs, brought(theirs)


def brought(theirs):
    config, state = theirs.config.to_dict(), theirs.state_dict()
    return encoders.from_state(state, "huggingface", config)


def images(size):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


SIZES = [(32, 32), (16, 48), (24, 24)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("kind", "settings", "more"),
    [
        ("ViTModel", "ViTConfig", {}),
        ("ViTModel", "ViTConfig", {"qkv_bias": False}),
        ("Dinov2Model", "Dinov2Config", {"mlp_ratio": 2}),
        ("Dinov2Model", "Dinov2Config", {"use_swiglu_ffn": True, "mlp_ratio": 4}),
        ("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", {"num_register_tokens": 3}),
        ("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", {"use_swiglu_ffn": True}),
        ("SiglipVisionModel", "SiglipVisionConfig", {}),
        ("CLIPVisionModel", "CLIPVisionConfig", {}),
    ],
)
@torch.no_grad()
def test_features_are_those_of_transformers(kind, settings, more, size):
    theirs, ours = both(kind, settings, **more)
    x = images(size)
    want = theirs(x) if "Dinov2" in kind else theirs(x, interpolate_pos_encoding=True)
    got = ours(x)
    last = want.last_hidden_state
    if kind == "CLIPVisionModel":  # which normalises only what it pools
        last = theirs.post_layernorm(last)
    torch.testing.assert_close(got.tokens, last, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got.pooled, want.pooler_output, atol=1e-5, rtol=1e-5)
    assert got.grid == (size[0] // 8, size[1] // 8)
    if "Dinov2" in kind:
        hidden = torch.arange(2 * got.grid[0] * got.grid[1]).view(2, -1) % 3 == 0
        expected = theirs(x, bool_masked_pos=hidden).last_hidden_state
        torch.testing.assert_close(ours(x, hidden, ours.mask_token).tokens, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_classifier_of_vit(size):
    theirs, ours = both("ViTForImageClassification", "ViTConfig", num_labels=5)
    x = images(size)
    torch.testing.assert_close(ours.classify(x), theirs(x, interpolate_pos_encoding=True).logits, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_dino_is_a_vit_without_pooler():
    theirs = shaken(transformers.ViTModel(transformers.ViTConfig(**IMAGE), add_pooling_layer=False))
    x = images((32, 32))
    torch.testing.assert_close(brought(theirs)(x).pooled, theirs(x).last_hidden_state[:, 0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_mae_without_masking(size):
    config = transformers.ViTMAEConfig(
        **IMAGE,
        mask_ratio=0.0,
        decoder_hidden_size=16,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    whole = transformers.ViTMAEForPreTraining(config).eval()
    whole.vit.embeddings.patch_embeddings.projection._is_hf_initialized = False  # else 5.24 leaves its positions at 0
    whole.vit.embeddings.initialize_weights()
    ours = encoders.from_state(whole.state_dict(), "huggingface", config.to_dict())
    fresh = encoders.build("mae-base", width=32, depth=2, heads=2, mlp_width=64, patch=8, image_size=(32, 32))
    torch.testing.assert_close(fresh.positions, ours.positions)
    noise = torch.arange(size[0] // 8 * size[1] // 8, dtype=torch.float32).expand(2, -1)  # which keeps the order
    x = images(size)
    want = whole.vit(x, noise=noise, interpolate_pos_encoding=True).last_hidden_state
    torch.testing.assert_close(ours(x).tokens, want, atol=1e-5, rtol=1e-5)


def clip(end=49):
    texts = TEXT | {"eos_token_id": end}
    settings = transformers.CLIPConfig(vision_config=IMAGE, text_config=texts, projection_dim=12)
    return shaken(transformers.CLIPModel(settings))


def metaclip_2():
    """Its end token is number 2, which in CLIP's old configs means the highest."""
    settings = transformers.MetaClip2Config(vision_config=IMAGE, text_config=TEXT | {"eos_token_id": 2}, projection_dim=12)
    return shaken(transformers.MetaClip2Model(settings))


def siglip():
    return shaken(transformers.SiglipModel(transformers.SiglipConfig(vision_config=IMAGE, text_config=TEXT)))


IDS = torch.tensor([[48, 3, 4, 49, 49, 49], [48, 9, 8, 7, 6, 49], [48, 49, 2, 1, 0, 0]])


@pytest.mark.parametrize("make", [clip, lambda: clip(2), siglip, metaclip_2])
@torch.no_grad()
def test_both_towers(make):
    theirs = make()
    ours = brought(theirs)
    assert isinstance(ours, Towers)
    x = images((32, 32))
    want = theirs(input_ids=IDS, pixel_values=x)
    torch.testing.assert_close(ours.text(IDS).tokens, want.text_model_output.last_hidden_state, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.text_vectors(IDS), want.text_embeds, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.image_vectors(x), want.image_embeds, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.compare(x, IDS), want.logits_per_image, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours(x).pooled, theirs.vision_model(x).pooler_output, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "settings", "more"),
    [
        ("ViTModel", "ViTConfig", {}),
        ("ViTForImageClassification", "ViTConfig", {}),
        ("Dinov2Model", "Dinov2Config", {}),
        ("Dinov2Model", "Dinov2Config", {"use_swiglu_ffn": True}),
        ("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", {"use_swiglu_ffn": True}),
    ],
)
def test_files_with_the_older_names_are_read(kind, settings, more, tmp_path):
    theirs, ours = both(kind, settings, **more)
    theirs.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert stored.keys() != theirs.state_dict().keys()
    assert any("mlp.weights_in" in name for name in stored) == bool(more)
    again = encoders.from_state(stored, "huggingface", theirs.config.to_dict())
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), ours.state_dict().values(), strict=True))


def test_the_image_tower_of_a_file_of_two_is_read_with_its_prefix():
    theirs, ours = both("CLIPVisionModel", "CLIPVisionConfig")
    stored = {f"vision_model.{key}": value for key, value in theirs.state_dict().items()}
    stored["vision_model.embeddings.position_ids"] = torch.arange(17)[None]  # which older files have
    again = encoders.from_state(stored, "huggingface", theirs.config.to_dict())
    assert torch.equal(again.positions, ours.positions)


@pytest.mark.parametrize("family", ["CLIP", "MetaClip2"])
@torch.no_grad()
def test_an_image_tower_with_its_projection(family, tmp_path):
    """Its vector is the projected one, whatever the config says of the class; old files have the names of two towers."""
    config = getattr(transformers, f"{family}VisionConfig")(**IMAGE, projection_dim=12)
    theirs = shaken(getattr(transformers, f"{family}VisionModelWithProjection")(config))
    ours, x = brought(theirs), images((32, 32))
    assert ours.width == 12
    assert ours.map_channels == (32,)
    torch.testing.assert_close(ours(x).pooled, theirs(x).image_embeds, atol=1e-5, rtol=1e-5)
    theirs.save_pretrained(tmp_path)
    again = encoders.load(tmp_path)
    assert torch.equal(again.projection.weight, ours.projection.weight)
    encoders.save(again, tmp_path / "ours.safetensors")
    assert torch.equal(encoders.load(tmp_path / "ours.safetensors")(x).pooled, ours(x).pooled)


@torch.no_grad()
def test_a_size_that_patches_do_not_divide():
    theirs = shaken(transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**IMAGE | {"image_size": 37})))
    x = images((37, 37))
    torch.testing.assert_close(brought(theirs)(x).pooled, theirs(x).pooler_output, atol=1e-5, rtol=1e-5)


def test_what_does_not_fit_is_named():
    theirs, _ = both("ViTModel", "ViTConfig")
    state, config = theirs.state_dict(), theirs.config.to_dict()

    def refused(state, config):
        with pytest.raises(BadInput) as caught:
            encoders.from_state(state, "huggingface", config)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no extra" in refused(state | {"extra": torch.zeros(1)}, config)
    assert "lack layernorm.weight" in refused({k: v for k, v in state.items() if k != "layernorm.weight"}, config)
    assert "no table of names for 'swin'" in refused(state, {"model_type": "swin"})
    assert "768" in refused(state, {k: v for k, v in config.items() if k != "hidden_size"})  # what transformers takes it to be
    assert "activation of this config is 'selu'" in refused(state, config | {"hidden_act": "selu"})
    assert "is no config" in refused(state, "google/vit-base-patch16-224")
