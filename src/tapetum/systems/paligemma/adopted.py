"""Replacement of SigLIP by another vision encoder: an image ViT from `tapetum pretrain`, or a named one.

    patches       take pixels in -1..1: another mean and standard deviation are folded into weight and bias
    positions     interpolated to the grid of PaliGemma's images; sine positions become learned ones of the same values
    left out      class token, registers, pooling: the decoder reads the tokens of the grid after the last norm

Differs from the paper, which takes SigLIP So400m/14 (3.1; `official.join` does that).
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.encoders.config import squashed
from tapetum.encoders.vit import ViT, plain_patches
from tapetum.layers.patches import interpolate


def adopted_encoder(reference: str, image_size: int) -> ViT:
    """Load the encoder of a reference (`tapetum.encoders.references`), and convert it; see `adopt`.

    Raises BadInput if it cannot be loaded, or is not a ViT that PaliGemma can use.
    """
    from tapetum.encoders import references

    encoder = references.load(reference, text=False)
    try:
        return adopt(encoder, image_size)
    except BadInput as error:
        raise BadInput(f"{reference}: {error}") from error


@torch.no_grad()
def adopt(encoder: Any, image_size: int) -> ViT:
    """Convert an image ViT to a vision encoder of PaliGemma, for images of this size. Raises BadInput for other networks."""
    if not isinstance(encoder, ViT):
        raise BadInput(f"a {type(encoder).__name__} cannot become PaliGemma's vision encoder; give a ViT of tapetum.encoders")
    theirs = encoder.config
    plain = {*encoder.preprocessing.mean, *encoder.preprocessing.std} == {127.5}
    if theirs.rotary or theirs.positions == "none":
        raise BadInput(
            "its positions are rotary or there are none, and a vision encoder of PaliGemma learns them; give another"
        )
    if theirs.norm != "tokens":
        raise BadInput("its last norm is on the pooled vector, and the decoder reads tokens; give another")
    if theirs.stem != "patch" and not plain:
        raise BadInput("its stem of convolutions takes other pixels than -1..1, which cannot be folded into it; give another")
    if image_size % theirs.patch:
        near = round(image_size / theirs.patch) * theirs.patch
        raise BadInput(f"its patches of {theirs.patch} do not divide images of {image_size}; give --image-size {near}")
    config = replace(
        theirs,
        image_size=(image_size, image_size),
        class_token=False,
        registers=0,
        positions="learned",
        patch_bias=theirs.patch_bias or not plain,
        pooling="mean",
        pooler=False,
    )
    ours = ViT(config, squashed(image_size))
    state: dict[str, Tensor] = {name: tensor for name, tensor in encoder.state_dict().items() if name in ours.state_dict()}
    first = encoder.positions.shape[0] - theirs.grid[0] * theirs.grid[1]  # the class token's position is before the grid's
    state["positions"] = interpolate(encoder.positions[first:], theirs.grid, config.grid, theirs.resample)
    if not plain:
        state["patches.weight"], state["patches.bias"] = plain_patches(encoder)
    ours.load_state_dict(state)
    return ours.eval()
