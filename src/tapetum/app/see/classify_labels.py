"""`tapetum classify --labels`: zero-shot classification by an image-text encoder."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tapetum.app.see.replies import ImageResults
from tapetum.app.verb import Listener
from tapetum.bench.image_jobs import ImageJobs, Source, look_at_images, looked_at, read_source
from tapetum.bench.word_models import fetch_command, installed_word_model
from tapetum.core.batched_work import BatchedWork
from tapetum.core.errors import BadInput
from tapetum.core.reading import read_text

if TYPE_CHECKING:
    import numpy as np

    from tapetum.transfer.zero_shot import ImageTextEncoder, LabelClassifier

MOST_LABELS = 20_000
_AT_A_TIME, _PIXELS = 16, 50_000_000
"""Images that are read before they are looked at: so many, or of so many pixels."""
Templates = Literal["photo", "simple", "imagenet", "none"]


@dataclass(frozen=True, kw_only=True)
class FittingLabels:
    """Which labels fit one image, the best first."""

    path: str
    """The image; of one in memory its number, as image-0."""
    fits: bool
    """Whether the best label fits at all, or it is none of these."""
    names: tuple[str, ...]
    shares: tuple[float, ...]
    """Softmax over all labels: those of an image add up to 1."""
    probabilities: tuple[float, ...] | None
    """Sigmoid of each label on its own, for models that were trained so."""
    cosines: tuple[float, ...]
    margin: float | None
    """Cosine of the best label above that of the second; None of a single label."""
    others: float | None
    """Share of other names of things that fit the image as well as the best label; None where not looked at."""


@dataclass(frozen=True, kw_only=True)
class LabelsFitted(ImageResults):
    """Which labels fit some images."""

    model: str
    images: tuple[FittingLabels, ...]

    def as_json(self) -> dict[str, Any]:
        rows = []
        for image in self.images:
            columns = zip(
                image.names, image.shares, image.probabilities or [None] * len(image.names), image.cosines, strict=True
            )
            labels = [{"name": n, "share": s, "probability": p, "cosine": c} for n, s, p, c in columns]
            label = image.names[0] if image.fits else None
            rows.append({"path": image.path, "label": label, "margin": image.margin, "others": image.others, "labels": labels})
        return self.with_report({"model": self.model, "images": rows, "failed": list(self.failed)})

    def as_text(self) -> str:
        lines = []
        for image in self.images:
            lines.append(image.path)
            if not image.fits:
                reason = "" if image.others is None else f": {image.others:.0%} of other names fit as well"
                lines.append(f"  none of these{reason}")
            lines += [f"  {share:6.1%}  {name}" for name, share in zip(image.names, image.shares, strict=True)]
        lines += [f"report   {self.report}"] if self.report is not None else []
        return "\n".join(lines)


def read_labels(given: Sequence[str]) -> tuple[str, ...]:
    """Read labels: words, or the lines of a file if a file alone is given.

    Raises BadInput for no labels, too many, empty or very long ones, and a file that cannot be read or is not text.
    """
    from tapetum.transfer.zero_shot import check_labels

    if len(given) != 1 or not (Path(given[0]).suffix == ".txt" or os.path.isfile(given[0])):  # of any length
        return check_labels(given, MOST_LABELS)
    try:
        lines = [line for line in read_text(given[0]).split("\n") if line.strip()]
    except OSError as error:
        raise BadInput(f"cannot read --labels {given[0]}: {error.strerror or error}; give a text file") from error
    except ValueError as error:
        raise BadInput(f"--labels {given[0]} is no text; give a file with a label a line") from error
    if len(lines) > MOST_LABELS:
        raise BadInput(f"--labels {given[0]} has {len(lines):,} lines; give {MOST_LABELS:,} labels or fewer, a line each")
    return check_labels(lines, MOST_LABELS)


def chosen_templates(named: Templates, own: Sequence[str]) -> tuple[str, ...]:
    """Find the requested templates: the user's own, published ones, that of a plain photo, or none."""
    from tapetum.transfer.zero_shot import PHOTO, check_templates, published_templates

    if own:
        return check_templates(own)
    return {"photo": PHOTO, "none": (), **published_templates()}[named]


def load_word_model(model: str | None, device: str | None = "cpu") -> "tuple[str, ImageTextEncoder]":
    """Load an image-text encoder, by default the best on this machine, and return its name.

    `device` may be "auto"; None is the CPU. Raises BadInput if there is none, or the model is of another kind.
    """
    from tapetum.hub.loading import load
    from tapetum.transfer.zero_shot import reads_words

    name = model or installed_word_model()
    if name is None:
        raise BadInput(f"--labels needs an encoder that reads words, and none is on this machine; {fetch_command()}")
    loaded = load(name, device)
    if not reads_words(loaded):
        raise BadInput(f"{name} holds a {type(loaded).__name__} that reads no words; {fetch_command()}")
    return name, loaded


def fit_labels(
    model: str | None,
    sources: Sequence[Source],
    labels: Sequence[str],
    templates: Sequence[str],
    none_below: "Literal['auto'] | float",
    top: int,
    listener: Listener,
    jobs: ImageJobs | None = None,
) -> LabelsFitted:
    """Compare images with labels; without `jobs`, in this process on the CPU.

    Raises BadInput if no image can be read, or no model reads words.
    """
    from tapetum.bench.word_models import portable
    from tapetum.transfer.zero_shot import LabelClassifier

    jobs = jobs or ImageJobs()
    name, encoder = load_word_model(model, jobs.device if jobs.alone else "cpu")
    listener.line(f"{name} compares images with words")
    classifier = LabelClassifier(encoder)
    work = BatchedWork(
        read=read_source,
        compute=partial(_fit, labels, templates, none_below, top),
        finish=looked_at,
        size=_AT_A_TIME,
        weight=_pixels,
        heaviest=_PIXELS,
    )
    make = (lambda: classifier) if jobs.alone else partial(_load_classifier, portable(name), jobs.device)
    images, failed = look_at_images(work, sources, make, jobs, listener)
    return LabelsFitted(model=name, images=tuple(images), failed=failed)


def _load_classifier(model: str, device: str | None) -> "LabelClassifier":
    from tapetum.transfer.zero_shot import LabelClassifier

    return LabelClassifier(load_word_model(model, device)[1])


def _pixels(part: "tuple[str, np.ndarray]") -> int:
    return part[1].size // 3


def _fit(
    labels: Sequence[str],
    templates: Sequence[str],
    none_below: "Literal['auto'] | float",
    top: int,
    images: "Sequence[tuple[str, np.ndarray]]",
    classifier: "LabelClassifier",
) -> list[FittingLabels]:
    """Compare images, each uint8 (h, w, 3) with its name, with the labels."""
    import numpy as np

    from tapetum.transfer.zero_shot import ALLOWED

    vectors = np.asarray(classifier.model.embed_images([image for _, image in images]))
    scores = classifier.score(vectors, labels, templates, none=none_below == "auto")
    fitting = []
    for k, (path, _) in enumerate(images):
        order = (-scores.cosines[k]).argsort(kind="stable")
        first = order[:top]
        others = None if scores.others is None else float(scores.others[k])
        if none_below == "auto":
            fits = others is None or others <= ALLOWED
        else:
            own = scores.shares if scores.probabilities is None else scores.probabilities
            fits = bool(own[k].max() >= none_below)
        cosines = scores.cosines[k, order]
        fitting.append(
            FittingLabels(
                path=path,
                fits=fits,
                names=tuple(str(labels[j]) for j in first),
                shares=tuple(scores.shares[k, first].tolist()),
                probabilities=None if scores.probabilities is None else tuple(scores.probabilities[k, first].tolist()),
                cosines=tuple(cosines[:top].tolist()),
                margin=float(cosines[0] - cosines[1]) if len(cosines) > 1 else None,
                others=others,
            )
        )
    return fitting
