"""Zero-shot classification with two towers, CLIP, SigLIP and relatives: prompts, class vectors, and when no label fits.

Sources: CLIP (arXiv 2103.00020, section 3.1.4: templates, and ensembles in the space of vectors), SigLIP (arXiv 2303.15343: a
sigmoid for each label).

A class vector is the mean of the unit vectors of its label in each template, normalised again. A softmax over an image's
cosines with the class vectors, times the model's scale, gives each label's share among the requested ones, and, if the
model has a bias, a sigmoid gives an independent probability per label.

A softmax finds a best label in any image. No label is assumed to fit if many other names fit the image as well: `GENERIC` names
of things, spread over the 1,000 classes of ImageNet, are put into the same templates, and the best label must be more similar
than all but `ALLOWED` of them. So the model's own cosines set the threshold for each image, whatever their range.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Float32, UInt8

from tapetum.core.errors import BadInput
from tapetum.core.reading import check_length
from tapetum.encoders.imagenet import class_names

if TYPE_CHECKING:
    from torch import nn

GENERIC = 200
"""Names of other things that an image is compared with."""
ALLOWED = 0.03
"""Share of these that may be as much like the image as the best label: what it shows has several names."""
LONGEST_LABEL = 1000
"""Characters of a label, or of a template."""
PHOTO = ("a photo of a {}.",)
_TOGETHER = 256
"""Texts that are embedded in a call."""
_ARTICLE = re.compile(r"(an?|the)\s+", re.IGNORECASE)
_ARTICLE_BEFORE = re.compile(r"\b(an?|the)\s+(\w+\s+)*\{\}", re.IGNORECASE)


class ImageTextEncoder(Protocol):
    """A network that compares images with texts, such as `tapetum.encoders.towers.Towers`."""

    logit_scale: "nn.Parameter"
    """Natural logarithm of the factor of the cosines."""
    logit_bias: "nn.Parameter | None"
    """What is added then; None for models that were trained with a softmax."""

    def embed_images(self, images: Sequence[UInt8[np.ndarray, "h w 3"]]) -> Float32[np.ndarray, "n d"]:
        """Compute unit-length vectors of images."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """Compute unit-length vectors of texts."""
        ...


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How well labels fit images."""

    cosines: Float32[np.ndarray, "n m"]
    shares: Float32[np.ndarray, "n m"]
    """Softmax over the labels: those of an image add up to 1."""
    probabilities: Float32[np.ndarray, "n m"] | None
    """Sigmoid of each label on its own, where the model was trained so."""
    others: Float32[np.ndarray, " n"] | None
    """Share of `GENERIC` other names that are at least as much like the image as the best label; None where not asked for."""


def reads_words(model: Any) -> bool:
    """Check whether a network has a text tower with a tokenizer."""
    methods = all(callable(getattr(model, name, None)) for name in ("embed_images", "embed_texts", "tokenize"))
    return methods and getattr(model, "tokenizer", True) is not None


class LabelClassifier:
    """Compares images with labels; label vectors are computed once per set of labels and templates."""

    def __init__(self, model: ImageTextEncoder):
        self.model = model
        self._cache: dict[tuple[tuple[str, ...], tuple[str, ...]], np.ndarray] = {}

    def class_vectors(self, labels: Sequence[str], templates: Sequence[str]) -> Float32[np.ndarray, "m d"]:
        """Compute the unit vector of each label by ensembling; without templates, of the label itself."""
        key = tuple(labels), tuple(templates)
        if key not in self._cache:
            self._cache[key] = np.concatenate(
                [self._ensemble(labels[first : first + _TOGETHER], templates) for first in range(0, len(labels), _TOGETHER)]
            )
        return self._cache[key]

    def score(
        self, vectors: Float32[np.ndarray, "n d"], labels: Sequence[str], templates: Sequence[str], *, none: bool = True
    ) -> Scores:
        """Compute how well labels fit images, given as unit vectors; `none`: also whether other names fit as well."""
        cosines = vectors @ self.class_vectors(labels, templates).T
        scale = float(self.model.logit_scale.detach().exp())
        bias = self.model.logit_bias
        logits = (cosines * scale).astype(np.float64)
        shares = np.exp(logits - logits.max(1, keepdims=True))
        others = None
        if none:
            generic = vectors @ self.class_vectors(other_names(labels), templates).T
            others = (generic >= cosines.max(1, keepdims=True)).mean(1).astype(np.float32)
        return Scores(
            cosines=cosines,
            shares=(shares / shares.sum(1, keepdims=True)).astype(np.float32),
            probabilities=None if bias is None else (1 / (1 + np.exp(-logits - float(bias.detach())))).astype(np.float32),
            others=others,
        )

    def _ensemble(self, labels: Sequence[str], templates: Sequence[str]) -> Float32[np.ndarray, "m d"]:
        total: Any = 0
        for template in templates or ("{}",):
            vectors = self.model.embed_texts([fill_template(template, label) for label in labels])
            total = total + vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return (total / np.linalg.norm(total, axis=1, keepdims=True)).astype(np.float32)


def other_names(labels: Sequence[str]) -> tuple[str, ...]:
    """List `GENERIC` names of things, evenly chosen from ImageNet's classes, that share no word with the labels.

    >>> "tiger cat" in other_names(["a cat"]), len(other_names(["a cat"]))
    (False, 200)
    """
    used = {word for label in labels for word in re.findall(r"\w+", label.lower())}
    free = [name for name in class_names() if used.isdisjoint(re.findall(r"\w+", name.lower()))] or list(class_names())
    return tuple(free[k] for k in np.linspace(0, len(free) - 1, min(GENERIC, len(free))).round().astype(int))


def fill_template(template: str, label: str) -> str:
    """Put a label into a template; the label's article replaces the template's.

    The plain photo template is not used if the label has an article, or is in another script than English.

    >>> fill_template("a photo of a {}.", "cat"), fill_template("a photo of a {}.", "a cat")
    ('a photo of a cat.', 'a cat')
    >>> fill_template("a photo of the large {}.", "a cat"), fill_template("this is {}", "a cat")
    ('a photo of the large cat.', 'this is a cat')
    """
    article = _ARTICLE.match(label)
    if template in PHOTO and (article or not label.isascii()):
        return label
    if article and _ARTICLE_BEFORE.search(template):
        label = label[article.end() :]
    return template.replace("{}", label)


@cache
def published_templates() -> dict[str, tuple[str, ...]]:
    """Read the templates that OpenAI published for CLIP: 7 under "simple", 80 under "imagenet".

    >>> {name: len(templates) for name, templates in published_templates().items()}
    {'simple': 7, 'imagenet': 80}
    """
    templates: dict[str, list[str]] = {}
    for line in Path(__file__).with_name("prompt_templates.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            templates[line.strip("[]")] = []
        elif not line.startswith("#"):
            [*_, last] = templates.values()
            last.append(line)
    return {name: tuple(lines) for name, lines in templates.items()}


def check_labels(labels: Sequence[str], most: int) -> tuple[str, ...]:
    """Check labels and remove duplicates. Raises BadInput for none, one that is empty or too long, or too many."""
    unique = tuple(dict.fromkeys(" ".join(label.split()) for label in labels))
    if not unique:
        raise BadInput("there are no labels; give names of what may be in the images: --labels cat dog, or --labels FILE")
    if len(unique) > most:
        raise BadInput(f"there are {len(unique):,} labels; give {most:,} or fewer")
    for label in unique:
        if not label:
            raise BadInput("a label is empty; give words")
        check_length(label, f"the label {label[:20]}...", LONGEST_LABEL)
    return unique


def check_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """Check templates. Raises BadInput for one without {}, with it twice, or too long."""
    for template in templates:
        check_length(template, f"the template {template[:20]}...", LONGEST_LABEL)
        if template.count("{}") != 1:
            raise BadInput(f"the template {template!r} has {template.count('{}')} {{}} where the label goes; give one")
    return tuple(templates)
