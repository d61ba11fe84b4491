"""The config.json of a folder of Hugging Face, to our config.

Fields that are left out are what transformers takes them to be.
"""

from collections.abc import Mapping
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_sizes
from tapetum.encoders.config import DecoderConfig
from tapetum.systems.paligemma.config import LOCATIONS, SEGMENTS, PaliGemmaConfig, siglip

_GEMMA: dict[str, Any] = {"hidden_size": 3072, "num_hidden_layers": 28, "intermediate_size": 24_576, "num_attention_heads": 16}
_GEMMA |= {"num_key_value_heads": 16, "head_dim": 256, "vocab_size": 256_000, "rms_norm_eps": 1e-6}
_GEMMA_2: dict[str, Any] = {"hidden_size": 2304, "num_hidden_layers": 26, "intermediate_size": 9216, "num_attention_heads": 8}
_GEMMA_2 |= {"num_key_value_heads": 4, "head_dim": 256, "vocab_size": 256_000, "rms_norm_eps": 1e-6}
_GEMMA_2 |= {"query_pre_attn_scalar": 256, "sliding_window": 4096}
_GEMMA_2 |= {"final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0}
_SIGLIP: dict[str, Any] = {"hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072, "num_attention_heads": 12}
_SIGLIP |= {"patch_size": 16, "image_size": 224, "layer_norm_eps": 1e-6}
_EMITTED = 256_000 + LOCATIONS + SEGMENTS
_PADDED = 257_216
"""Rows of the public files, of which those from `_EMITTED` on are padding."""


def read_config(content: Mapping[str, Any]) -> PaliGemmaConfig:
    """Read a config.json. Raises BadInput where it is not of a PaliGemma that tapetum has."""
    if content.get("model_type") != "paligemma":
        raise BadInput(f"the config.json is of a {str(content.get('model_type'))[:40]!r}; give a folder of a paligemma")
    if content.get("tie_word_embeddings", True) is not True:
        raise BadInput("the config.json has tie_word_embeddings off; the last layer of a PaliGemma is its table of tokens")
    check_sizes(content, " in the config.json")
    try:
        language = _language(content.get("text_config") or {})
        rows = language.vocabulary
        return PaliGemmaConfig(
            vision_encoder=_vision_encoder(content.get("vision_config") or {}),
            language=language,
            begin=_id(content, "bos_token_id", 2),
            end=_id(content, "eos_token_id", 1),
            newline=108 if rows > 108 else rows - 1,
            emitted=_EMITTED if rows == _PADDED else None,
        )
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise BadInput(f"the config.json cannot be read ({str(error)[:100]}); get it again") from error


def _id(content: Mapping[str, Any], name: str, otherwise: int) -> int:
    for part in (content, content.get("text_config") or {}):
        value = part.get(name)
        if value is not None:
            return value[0] if isinstance(value, list) else value
    return otherwise


def _language(given: Mapping[str, Any]) -> DecoderConfig:
    second = given.get("model_type", "gemma") == "gemma2"
    if given.get("model_type", "gemma") not in ("gemma", "gemma2"):
        raise BadInput(f"the text_config is of a {str(given['model_type'])[:40]!r}; PaliGemma has a gemma or a gemma2")
    c = (_GEMMA_2 if second else _GEMMA) | dict(given)
    rope = c.get("rope_parameters") or c.get("rope_scaling") or {}
    activation = c.get("hidden_activation") or c.get("hidden_act") or "gelu_pytorch_tanh"
    kind = rope.get("rope_type", rope.get("type", "default"))
    if c.get("attention_bias") or kind != "default" or activation not in ("gelu_pytorch_tanh", "gelu", "gelu_fast"):
        raise BadInput(
            f"the text_config has attention_bias {bool(c.get('attention_bias'))}, rotary positions {kind!r} and activation"
            f" {activation!r}; tapetum's decoder has no biases, the default positions, and gelu_pytorch_tanh"
        )
    more: dict[str, Any] = {}
    if second:
        more = {
            "query_scale": c["query_pre_attn_scalar"] ** -0.5,
            "post_norms": True,
            "attention_soft_cap": c["attn_logit_softcapping"],
            "logit_soft_cap": c["final_logit_softcapping"],
            "window": c["sliding_window"],
        }
    config = DecoderConfig(
        width=c["hidden_size"],
        depth=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        key_value_heads=c["num_key_value_heads"],
        head_width=c["head_dim"],
        mlp_width=c["intermediate_size"],
        vocabulary=c["vocab_size"],
        rope_wavelength=float(rope.get("rope_theta", c.get("rope_theta", 10_000.0))),
        norm_eps=c["rms_norm_eps"],
        **more,
    )
    kinds = [("sliding_attention" if config.local(i) else "full_attention") for i in range(config.depth)]
    if second and c.get("layer_types") not in (None, kinds) and config.window is not None:
        raise BadInput(
            "the text_config has another order of layer_types than sliding, full, sliding, ...; tapetum has that alone"
        )
    return config


def _vision_encoder(given: Mapping[str, Any]) -> Any:
    c = _SIGLIP | dict(given)
    if c.get("hidden_act", "gelu_pytorch_tanh") not in ("gelu_pytorch_tanh", "gelu_fast") or c.get("num_channels", 3) != 3:
        raise BadInput(
            f"the vision_config has activation {c.get('hidden_act')!r} and {c.get('num_channels', 3)} channels; "
            "PaliGemma's vision encoder has gelu_pytorch_tanh and 3"
        )
    return siglip(
        c["image_size"],
        width=c["hidden_size"],
        depth=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        mlp_width=c["intermediate_size"],
        patch=c["patch_size"],
        ragged=c["image_size"] % c["patch_size"] != 0,
        norm_eps=c["layer_norm_eps"],
    )
