"""Which models that read words are on this machine, and how one gets there. Imports no torch."""

import re

from tapetum.core.errors import BadInput
from tapetum.hub.registry import Weights, known, resolve

_VERBS = frozenset(("classify", "search"))
"""What encoders of images and words can do, and no other weights."""


def word_models() -> tuple[Weights, ...]:
    """List the encoders of images and words that are known by name, the recommended one first."""
    return tuple(weights for weights in known().values() if _VERBS.issubset(weights.verbs))


def is_here(name: str) -> bool:
    """Check whether weights known by name are on this machine, and are whole."""
    try:
        resolve(name)
    except BadInput:
        return False
    return True


def installed_word_model() -> str | None:
    """Find the encoder of images and words that is on this machine; of several, the best by zero-shot accuracy."""
    here = [weights for weights in word_models() if is_here(weights.name)]
    return max(here, key=_score).name if here else None


def _score(weights: Weights) -> float:
    number = re.match(r"zero-shot (\d+(\.\d+)?)", weights.score or "")
    return float(number[1]) if number else 0.0


def fetch_command() -> str:
    """Say which command fetches the recommended one, with its size and its licence."""
    if not (models := word_models()):
        return "give --model FOLDER of a CLIP or SigLIP model with its tokenizer"
    first = models[0]
    size = f"{first.size / 1e9:.1f} GB, " if first.size else ""
    return f"run: tapetum weights fetch {first.name} ({size}{first.licence})"
