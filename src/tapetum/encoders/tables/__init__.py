"""Names of tensors in other libraries, to ours, each used exactly once.

Defaults of transformers for fields missing from a config.json; CLIP's and SigLIP's parts often omit them.
"""

from collections.abc import Mapping
from typing import Any

_TRANSFORMER: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
_VIT = _TRANSFORMER | {"image_size": 224, "patch_size": 16}
SIGLIP_TEXT = _TRANSFORMER | {"vocab_size": 32_000, "max_position_embeddings": 64, "layer_norm_eps": 1e-6}
CLIP_TEXT = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8}
CLIP_TEXT |= {"vocab_size": 49_408, "max_position_embeddings": 77, "layer_norm_eps": 1e-5, "eos_token_id": 49_407}
_DINOV2 = {name: value for name, value in _VIT.items() if name != "intermediate_size"} | {"mlp_ratio": 4, "patch_size": 14}
DEFAULTS: dict[str, dict[str, Any]] = {
    "vit": _VIT,
    "vit_mae": _VIT,
    "dinov2": _DINOV2,
    "dinov2_with_registers": _DINOV2 | {"num_register_tokens": 4, "patch_size": 16},
    "clip_vision_model": _VIT | {"patch_size": 32},
    "siglip_vision_model": _VIT,
    "metaclip_2_vision_model": _VIT | {"patch_size": 32},
    "clip": {"projection_dim": 512},
    "metaclip_2": {"projection_dim": 512},
}
"""By model_type."""


def whole_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in fields missing from a config. Raises KeyError if model_type is missing."""
    kind = str(config["model_type"])
    whole = DEFAULTS.get(kind, {}) | dict(config)
    if kind in ("clip", "metaclip_2", "siglip"):
        text = SIGLIP_TEXT if kind == "siglip" else CLIP_TEXT
        whole["text_config"] = text | dict(config.get("text_config") or {})
        whole["vision_config"] = DEFAULTS[f"{kind}_vision_model"] | dict(config.get("vision_config") or {})
    return whole
