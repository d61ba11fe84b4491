"""Towers of open_clip, native and with a tower of timm, give the same vectors and logits here."""

from typing import Any

import numpy as np
import pytest
import torch

from tapetum.core.errors import BadInput
from tapetum.encoders import from_state
from tapetum.encoders.towers import Towers
from tapetum.encoders.vit_sizes import SIZES

open_clip = pytest.importorskip("open_clip")

VISION = {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16}
TEXT = {"context_length": 12, "vocab_size": 50, "width": 24, "heads": 2, "layers": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "OpenAI": {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT, "quick_gelu": True},
    "LAION": {"embed_dim": 16, "vision_cfg": {**VISION, "mlp_ratio": 3.0}, "text_cfg": TEXT},
    "DataComp 256": {"embed_dim": 16, "vision_cfg": {**VISION, "image_size": (40, 40)}, "text_cfg": TEXT},
}


def made(config: dict[str, Any]) -> Any:
    torch.manual_seed(1)
    kind = open_clip.model.CustomTextCLIP if config.get("custom_text") else open_clip.model.CLIP
    model = kind(**{key: value for key, value in config.items() if key != "custom_text"}).eval()
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    return model


def compare(model: Any, config: dict[str, Any], size: tuple[int, int], vocabulary: int, length: int) -> Towers:
    ours = from_state(model.state_dict(), "open_clip", {"model_cfg": config, "preprocess_cfg": {}})
    assert isinstance(ours, Towers)
    images = torch.randn(3, 3, *size)
    ids = torch.randint(1, vocabulary - 1, (4, length))
    ids[:, 7] = vocabulary - 1  # the highest is the end
    ids[:, 8:] = 0
    with torch.no_grad():
        vectors, texts = model.encode_image(images, normalize=True), model.encode_text(ids, normalize=True)
        torch.testing.assert_close(ours.image_vectors(images), vectors, atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(ours.text_vectors(ids), texts, atol=2e-6, rtol=1e-5)
        logits = model.logit_scale.exp() * vectors @ texts.T
        logits = logits if model.logit_bias is None else logits + model.logit_bias
        torch.testing.assert_close(ours.compare(images, ids), logits, atol=1e-4, rtol=1e-5)
    return ours


@pytest.mark.parametrize("name", CONFIGS)
def test_clip_is_that_of_open_clip(name: str) -> None:
    config = CONFIGS[name]
    side = config["vision_cfg"]["image_size"]
    ours = compare(made(config), config, (side, side) if isinstance(side, int) else side, 50, 12)
    assert ours.preprocessing.resize == "crop"
    np.testing.assert_allclose(ours.preprocessing.mean[0], 255 * 0.48145466)


def test_siglip_with_a_tower_of_timm_is_that_of_open_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    config: dict[str, Any] = {
        "embed_dim": 192,
        "custom_text": True,
        "init_logit_bias": -10.0,
        "vision_cfg": {
            "image_size": 224,
            "timm_model_name": "vit_base_patch16_siglip_224",
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {
            **TEXT,
            "width": 192,
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "norm_kwargs": {"eps": 1e-6},
        },
    }
    kind = timm.create_model
    small = {"embed_dim": 192, "depth": 2, "num_heads": 3}  # both sides take it for a base one
    monkeypatch.setattr(timm, "create_model", lambda name, **more: kind(name, **small, **more))
    monkeypatch.setitem(SIZES, "base", (192, 2, 3, 768))
    ours = compare(made(config), config, (224, 224), 50, 12)
    assert ours.config.logit_bias
    monkeypatch.undo()
    with pytest.raises(BadInput, match="two towers end in different widths"):
        from_state(ours.state_dict(), "open_clip", {"model_cfg": config})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision_cfg": {**VISION, "layers": [1, 1, 1, 1]}}, "ResNet"),
        ({"vision_cfg": {"timm_model_name": "convnext_base", "timm_proj": "linear"}}, "convnext_base"),
        ({"text_cfg": {"hf_model_name": "roberta-base"}}, "roberta-base"),
    ],
)
def test_other_towers_are_named(changes: dict[str, Any], message: str) -> None:
    config = {**CONFIGS["LAION"], **changes}
    with pytest.raises(BadInput, match=message):
        from_state({}, "open_clip", {"model_cfg": config})


def test_the_config_says_how_images_are_prepared() -> None:
    config = CONFIGS["LAION"]
    prepared = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "resize_mode": "squash"}
    ours = from_state(made(config).state_dict(), "open_clip", {"model_cfg": config, "preprocess_cfg": prepared})
    how = ours.preprocessing
    assert (how.resize, how.interpolation, how.mean, how.std) == ("squash", "bilinear", (127.5,) * 3, (127.5,) * 3)
    with pytest.raises(BadInput, match="longest"):
        from_state({}, "open_clip", {"model_cfg": config, "preprocess_cfg": {"resize_mode": "longest"}})
