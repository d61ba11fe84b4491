"""Perception Encoder of timm and of open_clip: the same weights give the same features, vectors and logits, both ways."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F

from tapetum import encoders
from tapetum.core.errors import BadInput
from tapetum.encoders.architectures import architecture
from tapetum.encoders.factory import make
from tapetum.encoders.tables import open_clip as open_clip_names
from tapetum.encoders.tables.perception_encoder import candidates, describe
from tapetum.encoders.towers import Towers
from tapetum.encoders.vit_sizes import PE

open_clip = pytest.importorskip("open_clip")

NAMES = [
    f"vit_pe_{kind}_{size}"
    for kind, sizes in (
        ("core", "tiny_patch16_384 small_patch16_384 base_patch16_224 large_patch14_336 gigantic_patch14_448"),
        (
            "spatial",
            "tiny_patch16_512 small_patch16_512 base_patch16_512 large_patch14_448 gigantic_patch14_448",
        ),
    )
    for size in sizes.split()
]
COMPARED = [
    "vit_pe_core_tiny_patch16_384",
    "vit_pe_core_base_patch16_224",
    "vit_pe_core_gigantic_patch14_448",
    "vit_pe_spatial_large_patch14_448",
    "vit_pe_spatial_gigantic_patch14_448",
]
MILLIONS = {"tiny-16": 6.1, "small-16": 23.8, "base-16": 93.7, "large-14": 317.2, "gigantic-14": 1882.0}


def shaken(model: Any) -> Any:
    """The model with every tensor random, so that none is a neutral 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    return model.eval()


def tiny(name: str, **more: Any) -> tuple[Any, dict[str, Any]]:
    """A tiny model of timm, and the fields in which ours is to differ from the name."""
    model = shaken(timm.create_model(name, embed_dim=32, depth=2, num_heads=2, **more))
    return model, {"width": 32, "depth": 2, "heads": 2, "mlp_width": model.blocks[0].mlp.fc1.out_features}


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", COMPARED)
@torch.no_grad()
def test_features_are_those_of_timm(name: str) -> None:
    theirs, sizes = tiny(name)
    ours = encoders.from_state(theirs.state_dict(), "timm", f"{name}.fb", **sizes)
    x = drawn(2, 3, *ours.config.image_size)
    tokens, found = theirs.forward_features(x), ours(x)
    torch.testing.assert_close(found.tokens, tokens, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.pooled, theirs.forward_head(tokens, pre_logits=True), atol=1e-5, rtol=1e-5)
    if "core" in name:
        torch.testing.assert_close(ours.classify(x), theirs(x), atol=1e-5, rtol=1e-5)
    back = encoders.to_state(ours, "timm")
    assert back.keys() == theirs.state_dict().keys()
    assert all(torch.equal(back[key], value) for key, value in theirs.state_dict().items())


@pytest.mark.parametrize("name", ["vit_pe_core_base_patch16_224", "vit_pe_spatial_gigantic_patch14_448"])
@torch.no_grad()
def test_other_sizes_are_as_the_authors_have_it(name: str) -> None:
    """Whole numbers as rotary positions are those of a timm model whose reference grid is that of the images; learned positions
    are interpolated linearly, without antialiasing."""
    theirs, sizes = tiny(name)
    ours = encoders.from_state(theirs.state_dict(), "timm", name, **sizes)
    first, grid = ours.config.prefix, ours.config.grid
    for rows, columns in ((10, 17), (20, 9)):
        shape = (rows * ours.config.patch, columns * ours.config.patch)
        other, _ = tiny(name, img_size=shape, ref_feat_shape=(rows, columns))
        state = theirs.state_dict()
        table = state["pos_embed"][:, first:].unflatten(1, grid).permute(0, 3, 1, 2)
        moved = F.interpolate(table, (rows, columns), mode="bilinear").flatten(2).mT
        other.load_state_dict({**state, "pos_embed": torch.cat((state["pos_embed"][:, :first], moved), 1)})
        x = drawn(1, 3, *shape)
        torch.testing.assert_close(ours(x).tokens, other.forward_features(x), atol=2e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_preprocessing_of_full_size_names(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name)
        theirs = model.state_dict()
        found, _ = describe(name, theirs)
        ours = encoders.to_state(make(found), "timm")
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}
    assert list(candidates(theirs)) == [name]
    how, want = found.preprocessing, model.pretrained_cfg
    assert (how.size, how.crop_fraction, how.interpolation) == (want["input_size"][1:], want["crop_pct"], want["interpolation"])
    assert (how.resize, how.mean, how.std) == ("crop", (127.5,) * 3, (127.5,) * 3)


def test_other_names_and_sizes_are_not_taken_for_these() -> None:
    assert describe("vit_pe_core_base_patch16_384", {}) is None
    assert describe("vit_pe_lang_large_patch14_448", {}) is None
    clip = timm.create_model("vit_base_patch16_clip_224", embed_dim=32, depth=1, num_heads=2)
    assert list(candidates(clip.state_dict())) == []
    with pytest.raises(BadInput, match="has 37 positions where 577 are wanted: timm scales"):
        describe("vit_pe_core_tiny_patch16_384", {"pos_embed": torch.zeros(1, 37, 192)})
    with pytest.raises(BadInput, match="8 heads, which do not divide a width of 12"):
        encoders.build("vit-nano", width=12, heads=1, pooling="attention_all")


CONFIG: dict[str, Any] = {
    "embed_dim": 20,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 224,
        "timm_model_name": "vit_pe_core_base_patch16_224",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": None,
    },
    "text_cfg": {"context_length": 12, "vocab_size": 50, "width": 24, "heads": 2, "layers": 2},
}
PREPARED = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "resize_mode": "squash"}


@pytest.fixture
def pe_core(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A tiny CustomTextCLIP of open_clip, whose image tower both sides take for the one of base size."""
    kind = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **more: kind(name, embed_dim=32, depth=2, num_heads=2, **more))
    monkeypatch.setitem(PE, "base", (32, 2, 2, 128, 16, 224, 512))
    model = open_clip.model.CustomTextCLIP(**{key: value for key, value in CONFIG.items() if key != "custom_text"})
    shaken(model)
    model.visual.trunk.head.bias.data.zero_()
    return model


@torch.no_grad()
def test_towers_are_those_of_open_clip(pe_core: Any, tmp_path: Path) -> None:
    state = pe_core.state_dict()
    ours = encoders.from_state(state, "open_clip", {"model_cfg": CONFIG, "preprocess_cfg": PREPARED})
    assert isinstance(ours, Towers)
    images, ids = drawn(3, 3, 224, 224), torch.randint(1, 49, (4, 12), generator=torch.Generator().manual_seed(2))
    ids[:, 7], ids[:, 8:] = 49, 0  # the highest is the end
    vectors, texts = pe_core.encode_image(images, normalize=True), pe_core.encode_text(ids, normalize=True)
    torch.testing.assert_close(ours.image_vectors(images), vectors, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.text_vectors(ids), texts, atol=1e-5, rtol=1e-5)
    wanted = pe_core.logit_scale.exp() * vectors @ texts.T
    torch.testing.assert_close(ours.compare(images, ids), wanted, atol=1e-5, rtol=1e-5)
    back = encoders.to_state(ours, "open_clip")
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    how = ours.preprocessing
    assert (how.size, how.resize, how.interpolation, how.mean) == ((224, 224), "squash", "bilinear", (127.5,) * 3)
    encoders.save(ours, tmp_path / "own.safetensors")
    again = encoders.load(tmp_path / "own.safetensors")
    assert again.config == ours.config
    assert torch.equal(again.compare(images, ids), ours.compare(images, ids))
    assert ours.adapter_addresses()[:2] == ("image.blocks.0.attention", "image.blocks.0.mlp")
    rough = again.bfloat16().image_vectors(images.bfloat16())
    torch.testing.assert_close(rough.float(), vectors, atol=0.03, rtol=0.1)
    assert (
        encoders.to_state(
            encoders.from_state({k: v for k, v in state.items() if "head.bias" not in k}, "open_clip", {"model_cfg": CONFIG}),
            "open_clip",
        ).keys()
        == state.keys()
    )
    with pytest.raises(BadInput, match="huggingface has no network"):
        encoders.to_state(ours, "huggingface")


def test_a_bias_of_the_projection_is_refused(pe_core: Any) -> None:
    pe_core.visual.trunk.head.bias.data[3] = 0.1
    with pytest.raises(BadInput, match="has a bias; that of PE-Core is 0"):
        encoders.from_state(pe_core.state_dict(), "open_clip", {"model_cfg": CONFIG})


@pytest.mark.slow
def test_named_towers_are_those_of_open_clip_in_full_size() -> None:
    for name, millions in MILLIONS.items():
        size = name.partition("-")[0]
        theirs = {"tiny": "T-16-384", "small": "S-16-384", "base": "B-16", "large": "L-14-336", "gigantic": "bigG-14-448"}
        config = dict(open_clip.get_model_config(f"PE-Core-{theirs[size]}"))
        with torch.device("meta"):
            built = make(architecture(f"pe-core-{name}"))
            kind = open_clip.model.CustomTextCLIP(**{k: v for k, v in config.items() if k != "custom_text"})
        state = kind.state_dict()
        assert {k: v.shape for k, v in encoders.to_state(built, "open_clip").items()} == {k: v.shape for k, v in state.items()}
        assert open_clip_names.describe({"model_cfg": config, "preprocess_cfg": PREPARED}, {}) == (
            architecture(f"pe-core-{name}"),
            {},
        )
        image = sum(p.numel() for p in built.image.parameters()) + built.image_projection.weight.numel()
        assert image / 1e6 == pytest.approx(millions, abs=0.06)
        assert built.config.image.image_size == built.preprocessing.size
