"""Networks that `tapetum pretrain` and `tapetum train odin` begin with: a new one by name, or one that has learned. Imports no
torch by itself.
"""

import ast
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.core.errors import BadInput
from tapetum.core.plugins import is_reference
from tapetum.encoders.architectures import Architecture, architecture, changed, check_side, names

if TYPE_CHECKING:
    from tapetum.encoders.features import Encoder

WEIGHTS = "weights:"
"""Stands before the name of weights, where an architecture has the same name."""


def is_trained(encoder: str) -> bool:
    """Check whether the text of an option names weights, not an architecture with random weights."""
    if encoder.startswith(WEIGHTS):
        return True
    if encoder in names() or is_reference(encoder, "encoder"):
        return False
    from tapetum.hub.registry import entry_of

    return Path(encoder).exists() or "=" in encoder or entry_of(encoder) is not None


@lru_cache(maxsize=2)
def trained_encoder(reference: str) -> "Encoder":
    """Load the encoder of a reference (`tapetum.encoders.references`)."""
    from tapetum.encoders.references import load

    return load(reference.removeprefix(WEIGHTS), text=False)


def trained_architecture(reference: str, size: int) -> Architecture:
    """Describe the network of weights for images of `size`. Raises BadInput where it knows only images of another size."""
    from tapetum.encoders.factory import describe

    result = describe(trained_encoder(reference))
    side = getattr(result.config, "image_size", (size, size))
    if side != (size, size):
        raise BadInput(
            f"{reference} has learned images of {side[1]}x{side[0]} pixels, and views have {size}; give --size {side[0]}"
        )
    return _prepared(result, size)


def encoder_architecture(name: str, size: int, change: tuple[str, ...] = ()) -> Architecture:
    """Look up the architecture of a name, ours or timm:NAME, for images of `size`, with some settings changed.

    >>> encoder_architecture("timm:vit_tiny_patch16_224", 64, ("patch=8",)).config.grid
    (8, 8)
    """
    changes = dict(parse_setting(text) for text in change)
    result = architecture(name)
    if hasattr(result.config, "image_size"):
        check_side(result.config, size, "--size", changes.get("patch"))
        changes = {"image_size": (size, size), **changes}
    return _prepared(changed(result, changes), size)


def _prepared(base: Architecture, size: int) -> Architecture:
    """Let images be prepared to `size`, small ones uncropped."""
    crop_fraction = 1.0 if size <= 64 else base.preprocessing.crop_fraction
    return replace(base, preprocessing=replace(base.preprocessing, size=(size, size), crop_fraction=crop_fraction))


def parse_setting(text: str, option: str = "--change") -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise BadInput(f"{option} {text}: give NAME=VALUE, such as patch=8")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
