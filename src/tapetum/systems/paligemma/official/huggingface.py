"""Hugging Face folders: their tensor names and config.json. Three kinds of prefixes are in circulation:

                Hub files (transformers 4)          in memory, 4.52 and later               written by 5
    vision encoder         vision_tower.vision_model.X         model.vision_tower[.vision_model].X     vision_tower.X
    projector   multi_modal_projector.linear.X      model.multi_modal_projector.linear.X    multi_modal_projector.linear.X
    decoder     language_model.model.X              model.language_model.X                  language_model.model.X
    head        language_model.lm_head.weight       lm_head.weight                          (left out: it is the table)

All become the last kind, without `vision_model`. Norms are called otherwise in PaliGemma 2, and one name means two things:

                                  PaliGemma                     PaliGemma 2
    before the attention          input_layernorm               input_layernorm
    after the attention                                         post_attention_layernorm
    before the MLP                post_attention_layernorm      pre_feedforward_layernorm
    after the MLP                                               post_feedforward_layernorm

Fields missing from a config.json have transformers' defaults.
"""

from collections.abc import Mapping
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_sizes
from tapetum.encoders.config import DecoderConfig
from tapetum.encoders.tables.rows import NameRow, layers, same
from tapetum.systems.paligemma.config import LOCATIONS, SEGMENTS, PaliGemmaConfig, siglip

HEADS = ("language_model.lm_head.weight", "lm_head.weight")
"""The last layer, which is the table of tokens again."""


def plain_name(name: str) -> str:
    """Convert a tensor's name to the one that transformers 5 writes.

    >>> plain_name("model.language_model.norm.weight"), plain_name("vision_tower.vision_model.post_layernorm.bias")
    ('language_model.model.norm.weight', 'vision_tower.post_layernorm.bias')
    """
    if name.startswith("model."):
        name = name.removeprefix("model.")
        if name.startswith("language_model."):
            name = f"language_model.model.{name.removeprefix('language_model.')}"
    return name.replace("vision_tower.vision_model.", "vision_tower.", 1)


def own_name(name: str) -> str | None:
    """Convert the name of a tensor in a file like `plain_name`; None for the head and for position ids."""
    plain = plain_name(name)
    return None if plain in HEADS or plain.endswith("position_ids") else plain


def in_memory(name: str) -> str:
    """Convert a name that transformers 5 writes to the one in its model's state dict."""
    return f"model.{name.replace('language_model.model.', 'language_model.', 1)}"


_VISION_LAYER = {
    "attention_norm": "layer_norm1",
    "mlp_norm": "layer_norm2",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.out": "self_attn.out_proj",
    "mlp.hidden": "mlp.fc1",
    "mlp.out": "mlp.fc2",
}
_NORMS = {"attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"}
_NORMS_2 = {
    "attention_norm": "input_layernorm",
    "attention_after": "post_attention_layernorm",
    "mlp_norm": "pre_feedforward_layernorm",
    "mlp_after": "post_feedforward_layernorm",
}


def table(config: PaliGemmaConfig) -> list[NameRow]:
    """List the names as transformers 5 writes them."""
    tower, model = "vision_tower", "language_model.model"
    rows = layers(
        {
            "vision_encoder.patches": f"{tower}.embeddings.patch_embedding",
            "vision_encoder.norm": f"{tower}.post_layernorm",
            "projector": "multi_modal_projector.linear",
        }
    )
    rows += same(
        {
            "vision_encoder.positions": f"{tower}.embeddings.position_embedding.weight",
            "language.token_embedding.weight": f"{model}.embed_tokens.weight",
            "language.norm.weight": f"{model}.norm.weight",
        }
    )
    for i in range(config.vision_encoder.depth):
        ours, theirs = f"vision_encoder.blocks.{i}", f"{tower}.encoder.layers.{i}"
        rows += layers({f"{ours}.{our}": f"{theirs}.{their}" for our, their in _VISION_LAYER.items()})
    return rows + _language_layers(config)


def _language_layers(config: PaliGemmaConfig) -> list[NameRow]:
    c, rows = config.language, list[NameRow]()
    queries, keys = c.heads * c.head_width, c.key_value_heads * c.head_width
    parts = {
        "attention.query_key_value": {"self_attn.q_proj": queries, "self_attn.k_proj": keys, "self_attn.v_proj": keys},
        "mlp.gate_up": {"mlp.gate_proj": c.mlp_width, "mlp.up_proj": c.mlp_width},
    }
    whole = {"attention.out": "self_attn.o_proj", "mlp.out": "mlp.down_proj", **(_NORMS_2 if c.post_norms else _NORMS)}
    for i in range(c.depth):
        ours, theirs = f"language.blocks.{i}", f"language_model.model.layers.{i}"
        for our, counts in parts.items():
            first, total = 0, sum(counts.values())
            for their, count in counts.items():
                part = first, first + count, total
                rows.append(NameRow(f"{theirs}.{their}.weight", (f"{ours}.{our}.weight",), part=part))
                first += count
        rows += layers({f"{ours}.{our}": f"{theirs}.{their}" for our, their in whole.items()}, bias=False)
    return rows


_TEXT = {
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "key_value_heads": "num_key_value_heads",
    "head_width": "head_dim",
    "mlp_width": "intermediate_size",
    "vocabulary": "vocab_size",
    "norm_eps": "rms_norm_eps",
}
_TEXT_2 = {
    "attention_soft_cap": "attn_logit_softcapping",
    "logit_soft_cap": "final_logit_softcapping",
    "window": "sliding_window",
}
_VISION = {
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp_width": "intermediate_size",
    "patch": "patch_size",
    "norm_eps": "layer_norm_eps",
}
"""Fields of our configs, and their names in a config.json."""
_GEMMA: dict[str, Any] = {"hidden_size": 3072, "num_hidden_layers": 28, "intermediate_size": 24_576, "num_attention_heads": 16}
_GEMMA |= {"num_key_value_heads": 16, "head_dim": 256, "vocab_size": 256_000, "rms_norm_eps": 1e-6}
_GEMMA_2: dict[str, Any] = {"hidden_size": 2304, "num_hidden_layers": 26, "intermediate_size": 9216, "num_attention_heads": 8}
_GEMMA_2 |= {"num_key_value_heads": 4, "head_dim": 256, "vocab_size": 256_000, "rms_norm_eps": 1e-6}
_GEMMA_2 |= {"query_pre_attn_scalar": 256, "sliding_window": 4096}
_GEMMA_2 |= {"final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0}
_SIGLIP: dict[str, Any] = {"hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072, "num_attention_heads": 12}
_SIGLIP |= {"patch_size": 16, "image_size": 224, "layer_norm_eps": 1e-6}
_TOKENS = 256_000 + LOCATIONS + SEGMENTS
_PADDED_ROWS = 257_216
"""Rows of the public files, of which those from `_TOKENS` on are padding."""


def read_config(content: Mapping[str, Any]) -> PaliGemmaConfig:
    """Read a config.json. Raises BadInput if it is not of a PaliGemma that tapetum supports."""
    if content.get("model_type") != "paligemma":
        raise BadInput(f"the config.json is of a {str(content.get('model_type'))[:40]!r}; give a folder of a paligemma")
    if content.get("tie_word_embeddings", True) is not True:
        raise BadInput("the config.json has tie_word_embeddings off; the last layer of a PaliGemma is its table of tokens")
    check_sizes(content, " in the config.json")
    try:
        language = _decoder_config(content.get("text_config") or {})
        rows = language.vocabulary
        return PaliGemmaConfig(
            vision_encoder=_vit_config(content.get("vision_config") or {}),
            language=language,
            begin=_token_id(content, "bos_token_id", 2),
            end=_token_id(content, "eos_token_id", 1),
            newline=108 if rows > 108 else rows - 1,
            emitted=_TOKENS if rows == _PADDED_ROWS else None,
        )
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise BadInput(f"the config.json cannot be read ({str(error)[:100]}); get it again") from error


def write_config(config: PaliGemmaConfig, image_token: int) -> dict[str, Any]:
    """Write the config.json of a model, with the id of `<image>`. Raises BadInput for what transformers cannot compute."""
    c, vision_encoder = config.language, config.vision_encoder
    if config.prefix_mask != "full" or config.token_merge != 1 or (config.soft_cap == "big_vision" and c.logit_soft_cap):
        own = f"prefix_mask={config.prefix_mask}, token_merge={config.token_merge}, soft_cap={config.soft_cap}"
        raise BadInput(
            f"transformers has no PaliGemma with {own}; it has prefix_mask=full, token_merge=1, soft_cap=transformers"
        )
    text: dict[str, Any] = {
        "model_type": "gemma2" if c.post_norms else "gemma",
        **{theirs: getattr(c, ours) for ours, theirs in (_TEXT | (_TEXT_2 if c.post_norms else {})).items()},
        "rope_theta": c.rope_wavelength,
        "hidden_activation": "gelu_pytorch_tanh",
        "num_image_tokens": config.image_tokens,
    }
    if c.post_norms:
        text |= {"query_pre_attn_scalar": round(c.scale**-2), "sliding_window": c.window or _CONTEXT}
    vision = {
        "model_type": "siglip_vision_model",
        **{theirs: getattr(vision_encoder, ours) for ours, theirs in _VISION.items()},
        "image_size": config.image_size,
        "projection_dim": c.width,
        "vision_use_head": False,
    }
    return {
        "model_type": "paligemma",
        "architectures": ["PaliGemmaForConditionalGeneration"],
        "text_config": text,
        "vision_config": vision,
        "hidden_size": c.width,
        "projection_dim": c.width,
        "image_token_index": image_token,
        "bos_token_id": config.begin,
        "eos_token_id": config.end,
        "pad_token_id": 0,
    }


_CONTEXT = 8192
"""Tokens that a model reads at most: a window that hides none."""


def lora_names(name: str, config: PaliGemmaConfig) -> list[tuple[str, slice]]:
    """List the layers of transformers that make up a linear layer of our decoder's blocks, each with its rows."""
    state = f"language.blocks.{name}.weight"
    pieces = [piece for piece in _language_layers(config) if piece.ours == (state,)]
    rows = (slice(*piece.part[:2]) if piece.part[2] > 1 else slice(None) for piece in pieces)
    return [(in_memory(piece.theirs).removesuffix(".weight"), part) for piece, part in zip(pieces, rows, strict=True)]


def _token_id(content: Mapping[str, Any], name: str, otherwise: int) -> int:
    for part in (content, content.get("text_config") or {}):
        value = part.get(name)
        if value is not None:
            return value[0] if isinstance(value, list) else value
    return otherwise


def _decoder_config(given: Mapping[str, Any]) -> DecoderConfig:
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
    more = {"query_scale": c["query_pre_attn_scalar"] ** -0.5, "post_norms": True} if second else {}
    config = DecoderConfig(
        **{ours: c[theirs] for ours, theirs in (_TEXT | (_TEXT_2 if second else {})).items()},
        rope_wavelength=float(rope.get("rope_theta", c.get("rope_theta", 10_000.0))),
        **more,
    )
    kinds = [("sliding_attention" if config.local(i) else "full_attention") for i in range(config.depth)]
    if second and c.get("layer_types") not in (None, kinds) and config.window is not None:
        raise BadInput(
            "the text_config has another order of layer_types than sliding, full, sliding, ...; tapetum has that alone"
        )
    return config


def _vit_config(given: Mapping[str, Any]) -> Any:
    c = _SIGLIP | dict(given)
    if c.get("hidden_act", "gelu_pytorch_tanh") not in ("gelu_pytorch_tanh", "gelu_fast") or c.get("num_channels", 3) != 3:
        raise BadInput(
            f"the vision_config has activation {c.get('hidden_act')!r} and {c.get('num_channels', 3)} channels; "
            "PaliGemma's vision encoder has gelu_pytorch_tanh and 3"
        )
    ragged = c["image_size"] % c["patch_size"] != 0
    return siglip(c["image_size"], ragged=ragged, **{ours: c[theirs] for ours, theirs in _VISION.items()})
