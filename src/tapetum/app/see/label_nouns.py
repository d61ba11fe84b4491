"""`tapetum classify --labels` without an encoder of words: labels are nouns, compared by a classifier and WordNet.

Labels without such a noun are compared by a sentence encoder, if it is on this machine (`encoders.sentences`).
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from tapetum.app.see.classify_labels import FittingLabels, LabelsFitted
from tapetum.app.see.photo_questions import unknown_remark, word_likelihoods
from tapetum.app.verb import Listener
from tapetum.bench.image_jobs import ImageJobs, Source, look_at_images, looked_at, read_source
from tapetum.bench.word_models import fetch_command
from tapetum.core.batched_work import BatchedWork
from tapetum.core.errors import BadInput
from tapetum.encoders import naming
from tapetum.encoders.wordnet import Thing, split_nouns

if TYPE_CHECKING:
    import numpy as np

    from tapetum.app.see.photo_answers import PhotoAnswerer
    from tapetum.encoders.naming import ClassEvidence


def fit_nouns(
    model: str,
    sources: Sequence[Source],
    labels: Sequence[str],
    none_below: "Literal['auto'] | float",
    top: int,
    listener: Listener,
    jobs: ImageJobs,
) -> LabelsFitted:
    """Compare images with labels that are nouns; those that are none are left out, with a note.

    Raises BadInput if no label has a noun that is a class or wider, no image can be read, or the classifier is not on this
    machine.
    """
    from tapetum.encoders.sentences import folder

    read = {label: split_nouns(label) for label in labels}
    nouns = {label: things for label, (things, _) in read.items() if things or folder()}
    if not nouns:
        raise BadInput(f"no label is a noun that {model} knows; others need an encoder that reads words; {fetch_command()}")
    for label, (things, ignored) in read.items():
        if not things:
            listener.note(unknown_remark(label) + ("" if label in nouns else "; left out"))
        elif ignored:
            listener.note(f"{label[:80]}: not looked at: {', '.join(ignored)[:200]}; the classifier knows nouns alone")
        for thing in things:
            for remark in naming.remarks_on(thing):
                listener.note(remark)
    listener.line(f"{model} compares images with nouns; for any words {fetch_command()}")
    from tapetum.app.see.photo_answers import PhotoAnswerer

    make = partial(PhotoAnswerer.load, model, jobs.device)
    work = BatchedWork(read=read_source, compute=partial(_fit, nouns, none_below, top), finish=looked_at, size=1)
    images, failed = look_at_images(work, sources, make, jobs, listener)
    return LabelsFitted(model=model, images=tuple(images), failed=failed)


def _fit(
    nouns: dict[str, tuple[Thing, ...]],
    none_below: "Literal['auto'] | float",
    top: int,
    images: "Sequence[tuple[str, np.ndarray]]",
    answerer: "PhotoAnswerer",
) -> list[FittingLabels]:
    return [_fitting(name, nouns, none_below, top, answerer.evidence(image[None])) for name, image in images]


def _fitting(
    path: str,
    nouns: dict[str, tuple[Thing, ...]],
    none_below: "Literal['auto'] | float",
    top: int,
    evidence: "ClassEvidence",
) -> FittingLabels:
    """Which labels fit: a label by its least likely noun, the narrowest of those that are likely first.

    None does where another has the same classes, as "red bus" and "blue bus", or the first is a kind of what is there.
    """
    likely = {
        label: min((naming.probability(thing, evidence) for thing in things), default=-1.0) for label, things in nouns.items()
    }
    likely |= {label: max(word_likelihoods(label, evidence.whole)) for label, p in likely.items() if p < 0}
    classes = {label: sum(len(thing.classes) for thing in things) or 1000 for label, things in nouns.items()}
    least = naming.YES if none_below == "auto" else none_below
    first = sorted(likely, key=lambda label: (likely[label] < least, classes[label] * (likely[label] >= least), -likely[label]))
    twins = [
        label
        for label in first[1:]
        if nouns[label] and {t.classes for t in nouns[label]} == {t.classes for t in nouns[first[0]]}
    ]
    kinds = any(thing.kind_of for thing in nouns[first[0]])
    shown, total = first[:top], sum(likely.values()) or 1.0
    return FittingLabels(
        path=path,
        fits=likely[first[0]] >= least and not twins and not kinds,
        names=tuple(shown),
        shares=tuple(likely[label] / total for label in shown),
        probabilities=tuple(likely[label] for label in shown),
        cosines=None,
        margin=None,
        others=None,
    )
