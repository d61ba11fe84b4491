"""Image-text models on this machine, and how to get one; and what a user should know before trusting one. Imports no torch."""

import os
import re
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.hub.registry import Weights, known, resolve

_VERBS = frozenset(("classify", "search"))
"""What encoders of images and words can do, and no other weights."""


def word_models() -> tuple[Weights, ...]:
    """List the image-text encoders known by name, the recommended one first."""
    return tuple(weights for weights in known().values() if _VERBS.issubset(weights.verbs))


def is_here(name: str) -> bool:
    """Check whether weights known by name are on this machine and complete."""
    try:
        resolve(name)
    except BadInput:
        return False
    return True


def installed_word_models() -> list[str]:
    """List the image-text encoders on this machine, the best by zero-shot accuracy first."""
    here = [weights for weights in word_models() if is_here(weights.name)]
    return [weights.name for weights in sorted(here, key=_score, reverse=True)]


def installed_word_model() -> str | None:
    """Find the best image-text encoder on this machine."""
    return next(iter(installed_word_models()), None)


def _score(weights: Weights) -> float:
    number = re.match(r"zero-shot (\d+(\.\d+)?)", weights.score or "")
    return float(number[1]) if number else 0.0


def fetch_command() -> str:
    """Return the command that fetches the recommended model, with its size and licence."""
    if not (models := word_models()):
        return "give --model FOLDER of a CLIP or SigLIP model with its tokenizer"
    first = models[0]
    size = f"{first.size / 1e9:.1f} GB, " if first.size else ""
    return f"run: tapetum weights fetch {first.name} ({size}{first.licence})"


def portable(reference: str) -> str:
    """Rewrite a reference so that it is valid in any working directory."""
    return os.path.abspath(reference) if Path(reference).exists() else reference


def identity_of(model: Any) -> str:
    """Compute a hash of all that determines a model's vectors: kind, config, preprocessing and weights."""
    if callable(own := getattr(model, "identity", None)):
        return str(own())
    about = type(model).__name__, repr(getattr(model, "config", None)), repr(getattr(model, "preprocessing", None))
    digest = blake2b("\n".join(about).encode(), digest_size=8)
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


_SCENES = "it learned from synthetic scenes alone and does not know the real world"
_PHOTO = (
    "it names what a classifier of ImageNet knows: animals, vehicles, food, things, and their boxes; no counts, text or people"
)
_SMALL = "it learned from few small images, and knows shapes and colours more than things"
_REMARKS = {
    "mcvit-films": _SCENES,
    "paligemma-nano-2": _SCENES,
    "efficientnet-lite2": _PHOTO,
    "resnet-nano": _SMALL,
    "hip-nano": _SMALL,
}
"""Of the models that come with the package."""


_BETTER = {
    "mcvit-films": "photographs and films are found by words with",
    "paligemma-nano-2": "photographs are answered about by",
    "efficientnet-lite2": "more is known by",
    "resnet-nano": "photographs are told apart far better by",
}
_FETCHED = {
    "mcvit-films": "siglip2-base-32",
    "paligemma-nano-2": "paligemma2-3b-mix-224",
    "efficientnet-lite2": "siglip2-base-32",
    "resnet-nano": "dinov2-small",
}
"""What a user with a network may take in place of a model that comes with the package."""


def next_step(reference: str) -> str | None:
    """Write the command that fetches a more capable model, with size and licence; None for models of other kinds.

    >>> next_step("mcvit-films")
    'photographs and films are found by words with siglip2-base-32: tapetum weights fetch siglip2-base-32 (1.5 GB, Apache-2.0)'
    """
    from tapetum.hub.registry import known

    if reference not in _BETTER:
        return None
    weights = known()[_FETCHED[reference]]
    command = f"tapetum weights fetch {weights.name} ({weights.size_text}, {weights.licence})"
    return f"{_BETTER[reference]} {weights.name}: {command}"


def describe_model(reference: str) -> str:
    """Write a line that names the model behind a result, with its known limits.

    >>> describe_model("mcvit-films")
    'model: mcvit-films; it learned from synthetic scenes alone and does not know the real world'
    """
    remark = _REMARKS.get(reference)
    return f"model: {reference}" + (f"; {remark}" if remark else "")
