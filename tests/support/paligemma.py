"""Tiny PaliGemmas of both kinds: configs, random weights, and the same model of transformers."""

from dataclasses import replace
from typing import Any

import torch

from tapetum.encoders.config import DecoderConfig
from tapetum.encoders.tables.rows import under_our_names
from tapetum.systems.paligemma.config import PaliGemmaConfig, siglip
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.official import huggingface

GEMMA = DecoderConfig(width=24, depth=3, heads=4, key_value_heads=1, head_width=8, mlp_width=40, vocabulary=64)
GEMMA_2 = replace(
    GEMMA, key_value_heads=2, query_scale=6**-0.5, post_norms=True, attention_soft_cap=5.0, logit_soft_cap=3.0, window=4096
)
_VISION_ENCODER = siglip(28, width=16, depth=2, heads=2, mlp_width=24, patch=7)
TINY = PaliGemmaConfig(vision_encoder=_VISION_ENCODER, language=GEMMA, newline=5)
"""PaliGemma of 16 tokens an image of 28 pixels."""
TINY_2 = PaliGemmaConfig(vision_encoder=_VISION_ENCODER, language=GEMMA_2, newline=5)
"""PaliGemma 2: grouped heads, caps, norms after, a window that is not reached."""
BOTH = {"paligemma": TINY, "paligemma2": TINY_2}


def shaken(model: Any, seed: int = 0, scale: float = 0.3) -> Any:
    """The model with every tensor random, so that none is a neutral 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.copy_(scale * torch.randn(tensor.shape, generator=generator))
    return model.eval()


def tiny(config: PaliGemmaConfig = TINY, seed: int = 0, **changes: Any) -> PaliGemma:
    """A tiny model with random weights; `changes` are fields of its config."""
    return shaken(PaliGemma(replace(config, **changes)), seed)


def theirs(config: PaliGemmaConfig, attention: str = "eager") -> Any:
    """The same model of transformers, with random weights of its own."""
    import transformers

    c, sight = config.language, config.vision_encoder
    text: dict[str, Any] = {
        "hidden_size": c.width,
        "num_hidden_layers": c.depth,
        "num_attention_heads": c.heads,
        "num_key_value_heads": c.key_value_heads,
        "head_dim": c.head_width,
        "intermediate_size": c.mlp_width,
        "vocab_size": c.vocabulary,
        "hidden_activation": "gelu_pytorch_tanh",
        "model_type": "gemma2" if c.post_norms else "gemma",
    }
    if c.post_norms:
        text |= {
            "query_pre_attn_scalar": round(c.scale**-2),
            "sliding_window": c.window,
            "attn_logit_softcapping": c.attention_soft_cap,
            "final_logit_softcapping": c.logit_soft_cap,
        }
    settings = transformers.PaliGemmaConfig(
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": sight.width,
            "num_hidden_layers": sight.depth,
            "num_attention_heads": sight.heads,
            "intermediate_size": sight.mlp_width,
            "patch_size": sight.patch,
            "image_size": config.image_size,
            "vision_use_head": False,
            "projection_dim": c.width,
        },
        text_config=text,
        projection_dim=c.width,
        hidden_size=c.width,
        image_token_index=c.vocabulary - 1,
        bos_token_id=config.begin,
        eos_token_id=config.end,
        pad_token_id=0,
    )
    settings._attn_implementation = attention
    return shaken(transformers.PaliGemmaForConditionalGeneration(settings))


def ours(model: Any, config: PaliGemmaConfig) -> PaliGemma:
    """Ours with the weights of a model of transformers."""
    state = {huggingface.plain_name(name): tensor for name, tensor in model.state_dict().items()}
    state = {name: tensor for name, tensor in state.items() if name not in huggingface.HEADS}
    made = PaliGemma(config).eval()
    made.load_state_dict(under_our_names(made.state_dict(), state, huggingface.table(config), "transformers"))
    return made


def asked(model: Any, pixels: torch.Tensor, prefix: torch.Tensor, suffix: torch.Tensor | None = None) -> dict[str, Any]:
    """What transformers wants for our pixels (b, i, 3, h, w), prefix and suffix, padded with 0 on the right."""
    tokens = pixels.shape[1] * model.config.text_config.num_image_tokens
    parts = [torch.full((len(prefix), tokens), model.config.image_token_id), prefix]
    kinds = [torch.zeros_like(part) for part in parts]
    if suffix is not None:
        parts, kinds = [*parts, suffix], [*kinds, torch.ones_like(suffix)]
    ids, kind = torch.cat(parts, 1), torch.cat(kinds, 1)
    # Padding goes to the left, as their processor has it; in our order it may stand between prefix and suffix.
    rows = [(row[row != 0], types[row != 0]) for row, types in zip(ids, kind, strict=True)]
    longest = max(len(row) for row, _ in rows)
    pad = torch.nn.functional.pad
    return {
        "input_ids": torch.stack([pad(row, (longest - len(row), 0)) for row, _ in rows]),
        "attention_mask": torch.stack([pad(torch.ones_like(row), (longest - len(row), 0)) for row, _ in rows]),
        "token_type_ids": torch.stack([pad(types, (longest - len(types), 0)) for _, types in rows]),
        "pixel_values": pixels.flatten(0, 1),
    }
