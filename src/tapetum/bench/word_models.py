"""Image-text models on this machine, and how to get one; and what a user should know before trusting one. Imports no torch."""

import os
import re
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.hub.registry import Weights, known, resolve


def word_models() -> tuple[Weights, ...]:
    """List the image-text encoders known by name, the recommended one first: they alone both classify and search."""
    return tuple(weights for weights in known().values() if {"classify", "search"}.issubset(weights.verbs))


def is_here(name: str) -> bool:
    """Check whether weights known by name are on this machine and complete."""
    try:
        resolve(name)
    except BadInput:
        return False
    return True


def installed_word_models() -> list[str]:
    """List the image-text encoders on this machine, the best by zero-shot accuracy first."""

    def accuracy(weights: Weights) -> float:
        number = re.match(r"zero-shot (\d+(\.\d+)?)", weights.score or "")
        return float(number[1]) if number else 0.0

    return [weights.name for weights in sorted(word_models(), key=accuracy, reverse=True) if is_here(weights.name)]


def installed_word_model() -> str | None:
    """Find the best image-text encoder on this machine."""
    return next(iter(installed_word_models()), None)


def fetch_command() -> str:
    """Return the command that fetches the recommended model, with its size and licence."""
    if not (models := word_models()):
        return "give --model FOLDER of a CLIP or SigLIP model with its tokenizer"
    return f"run: {models[0].fetch_text}"


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
_SMALL = "it learned from few small images, and knows shapes and colours more than things"
_PHOTO = (
    "it names what a classifier of ImageNet knows: animals, vehicles, food, things, and their boxes; no counts, text or people"
)
_ABOUT = {
    "mcvit-films": (_SCENES, "photographs and films are found by words with", "siglip2-base-32"),
    "paligemma-nano-2": (_SCENES, "photographs are answered about by", "paligemma2-3b-mix-224"),
    "efficientnet-lite2": (_PHOTO, "any question is answered by", "smolvlm-500m"),
    "resnet-nano": (_SMALL, "photographs are told apart far better by", "dinov2-small"),
    "hip-nano": (_SMALL, "", ""),
}
"""Of the models that come with the package: limits, and what a user with a network may take in their place."""


def next_step(reference: str) -> str | None:
    """Write the command that fetches a more capable model, with size and licence; None for models of other kinds.

    >>> next_step("mcvit-films")
    'photographs and films are found by words with siglip2-base-32: tapetum weights fetch siglip2-base-32 (1.5 GB, Apache-2.0)'
    """
    _, better, name = _ABOUT.get(reference, ("", "", ""))
    if not name:
        return None
    return f"{better} {name}: {known()[name].fetch_text}"


def describe_model(reference: str) -> str:
    """Write a line that names the model behind a result, with its known limits.

    >>> describe_model("mcvit-films")
    'model: mcvit-films; it learned from synthetic scenes alone and does not know the real world'
    """
    return f"model: {reference}" + (f"; {_ABOUT[reference][0]}" if reference in _ABOUT else "")
