"""Names of the tensors in folders of Hugging Face. Three kinds of prefixes are in circulation:

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
"""

from tapetum.systems.paligemma.config import PaliGemmaConfig
from tapetum.systems.paligemma.tables.pieces import Piece

HEADS = ("language_model.lm_head.weight", "lm_head.weight")
"""The last layer, which is the table of tokens again."""


def plain_name(name: str) -> str:
    """Give a tensor the name that transformers 5 writes.

    >>> plain_name("model.language_model.norm.weight"), plain_name("vision_tower.vision_model.post_layernorm.bias")
    ('language_model.model.norm.weight', 'vision_tower.post_layernorm.bias')
    """
    if name.startswith("model."):
        name = name.removeprefix("model.")
        if name.startswith("language_model."):
            name = f"language_model.model.{name.removeprefix('language_model.')}"
    return name.replace("vision_tower.vision_model.", "vision_tower.", 1)


def in_memory(name: str) -> str:
    """Give a tensor the name that transformers 5 has in a model's state dict, from that which it writes."""
    return f"model.{name.replace('language_model.model.', 'language_model.', 1)}"


def table(config: PaliGemmaConfig) -> list[Piece]:
    """Give the table of names as transformers 5 writes them."""
    return _vision_encoder(config) + _language(config)


def _same(theirs: str, ours: str, *shape: int) -> Piece:
    return Piece(theirs, ours, shape)


def _affine(theirs: str, ours: str, *shape: int) -> list[Piece]:
    return [_same(f"{theirs}.weight", f"{ours}.weight", *shape), _same(f"{theirs}.bias", f"{ours}.bias", shape[0])]


def _vision_encoder(config: PaliGemmaConfig) -> list[Piece]:
    vision_encoder, tower = config.vision_encoder, "vision_tower"
    width, mlp = vision_encoder.width, vision_encoder.mlp_width
    pieces = _affine(
        f"{tower}.embeddings.patch_embedding", "vision_encoder.patches", width, 3, vision_encoder.patch, vision_encoder.patch
    )
    pieces.append(
        _same(f"{tower}.embeddings.position_embedding.weight", "vision_encoder.positions", config.image_tokens, width)
    )
    for i in range(vision_encoder.depth):
        theirs, ours = f"{tower}.encoder.layers.{i}", f"vision_encoder.blocks.{i}"
        pieces += _affine(f"{theirs}.layer_norm1", f"{ours}.attention_norm", width)
        pieces += _affine(f"{theirs}.layer_norm2", f"{ours}.mlp_norm", width)
        for their, our in (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out")):
            pieces += _affine(f"{theirs}.self_attn.{their}", f"{ours}.attention.{our}", width, width)
        pieces += _affine(f"{theirs}.mlp.fc1", f"{ours}.mlp.hidden", mlp, width)
        pieces += _affine(f"{theirs}.mlp.fc2", f"{ours}.mlp.out", width, mlp)
    pieces += _affine(f"{tower}.post_layernorm", "vision_encoder.norm", width)
    return pieces + _affine("multi_modal_projector.linear", "projector", config.language.width, width)


def _language(config: PaliGemmaConfig) -> list[Piece]:
    c, model = config.language, "language_model.model"
    pieces = [_same(f"{model}.embed_tokens.weight", "language.token_embedding.weight", c.vocabulary, c.width)]
    for i in range(c.depth):
        theirs, ours = f"{model}.layers.{i}", f"language.blocks.{i}"
        pieces += _joined(
            f"{ours}.attention.query_key_value.weight",
            c.width,
            {
                f"{theirs}.self_attn.q_proj.weight": c.heads * c.head_width,
                f"{theirs}.self_attn.k_proj.weight": c.key_value_heads * c.head_width,
                f"{theirs}.self_attn.v_proj.weight": c.key_value_heads * c.head_width,
            },
        )
        rows = {f"{theirs}.mlp.gate_proj.weight": c.mlp_width, f"{theirs}.mlp.up_proj.weight": c.mlp_width}
        pieces += _joined(f"{ours}.mlp.gate_up.weight", c.width, rows)
        out = c.width, c.heads * c.head_width
        pieces.append(_same(f"{theirs}.self_attn.o_proj.weight", f"{ours}.attention.out.weight", *out))
        pieces.append(_same(f"{theirs}.mlp.down_proj.weight", f"{ours}.mlp.out.weight", c.width, c.mlp_width))
        norms = _NORMS_2 if c.post_norms else _NORMS
        pieces += [_same(f"{theirs}.{their}.weight", f"{ours}.{our}.weight", c.width) for our, their in norms.items()]
    return [*pieces, _same(f"{model}.norm.weight", "language.norm.weight", c.width)]


_NORMS = {"attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"}
_NORMS_2 = {
    "attention_norm": "input_layernorm",
    "attention_after": "post_attention_layernorm",
    "mlp_norm": "pre_feedforward_layernorm",
    "mlp_after": "post_feedforward_layernorm",
}


def _joined(ours: str, width: int, parts: dict[str, int]) -> list[Piece]:
    pieces, first = [], 0
    for theirs, rows in parts.items():
        pieces.append(Piece(theirs, ours, (rows, width), first=first, rows=rows))
        first += rows
    return pieces
