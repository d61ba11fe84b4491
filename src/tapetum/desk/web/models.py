"""Models on this machine that the page offers: their abilities and limits, and better ones to fetch."""

from pathlib import Path
from typing import Any

from tapetum.app.see.settings import CLASSIFIER
from tapetum.bench.word_models import describe_model, fetch_command, installed_word_models, is_here, next_step
from tapetum.core.errors import install_line
from tapetum.desk.search.media_model import better_model, default_model
from tapetum.desk.web.answers import Refused
from tapetum.hub.registry import known


def search_models() -> list[str]:
    """List the names of models on this machine that embed images, the default first."""
    names = [name for name, weights in known().items() if {"embed", "search"} & set(weights.verbs) and is_here(name)]
    default = default_model()
    return sorted(names, key=lambda name: (name != default, not reads_words(name)))


def answer_models() -> list[str]:
    """List the names of models on this machine that answer questions about images, the default first."""
    names = [name for name, weights in known().items() if "ask" in weights.verbs and is_here(name)]
    return sorted(names, key=lambda name: name != CLASSIFIER)


def label_models(given: str | None = None) -> dict[str, str]:
    """Find models that compare images with labels: a given one, by name or folder, and those on this machine, the best first.

    Returns the names shown on the page and what each stands for; of a folder only its own name is shown.
    """
    first = {} if given is None else {given if given in known() else Path(given).resolve().name: given}
    return first | {name: name for name in installed_word_models() if name != given}


def reads_words(name: str) -> bool:
    """Check whether a model for search reads words; others are searched by the class names they assign, or by images."""
    weights = known().get(name)
    return weights is not None and "search" in weights.verbs


def remarks_on(name: str) -> list[str]:
    """List remarks on a model: its name, its limits, how to fetch a better one."""
    weights = known().get(name)
    searches = weights is not None and bool({"embed", "search"} & set(weights.verbs))
    better = next_step(name) or (better_model(reads_words(name)) if searches else None)
    return [describe_model(name), *([better] if better else [])]


def choose(name: Any, names: list[str]) -> str:
    """Choose a model by name; None is the first. Raises Refused with 400 for one that is not on this machine."""
    if name in (None, ""):
        return names[0]
    if name not in names:
        raise Refused(400, f"there is no model {str(name)[:40]!r} on this machine; choose one of {', '.join(names)}")
    return str(name)


def describe_models(words: str | None = None) -> dict[str, Any]:
    """Describe the models for the page, by use: a list with name and remarks of each, the default first.

    `words` is a given image-text encoder. `missing` explains, for some uses, how to get a model if there is none.
    """
    lists = {
        "search": search_models(),
        "answer": answer_models(),
        "classify": [CLASSIFIER] if is_here(CLASSIFIER) else [],
        "words": list(label_models(words)),
    }
    described: dict[str, Any] = {
        use: [{"name": name, "remarks": remarks_on(name), "words": reads_words(name)} for name in names]
        for use, names in lists.items()
    }
    described["missing"] = {
        "words": f"no model of this machine compares images with labels of your own; {fetch_command()}",
        "classify": f"no classifier is on this machine; one comes with: {install_line('imagenet')}",
    }
    return described
