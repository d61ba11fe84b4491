"""Models on this machine that the page offers: trackers, and those that answer about frames, with their limits."""

from pathlib import Path
from typing import Any

from tapetum.app.see.settings import CLASSIFIER
from tapetum.bench.word_models import describe_model, fetch_command, installed_word_models, is_here, next_step
from tapetum.core.errors import TapetumError, install_line
from tapetum.desk.web import job_files
from tapetum.desk.web.answers import Refused, hide_paths
from tapetum.desk.web.hidden import check_plain
from tapetum.hub.registry import known, missing, names_of
from tapetum.hub.registry import resolve as resolve_weights

_FILE = "tracker.json"
"""File in the hidden folder: the chosen tracker, and the server's own when it was chosen."""


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


def remarks_on(name: str) -> list[str]:
    """List remarks on a model: its name, its limits, how to fetch a better one."""
    better = next_step(name)
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
        "answer": answer_models(),
        "classify": [CLASSIFIER] if is_here(CLASSIFIER) else [],
        "words": list(label_models(words)),
    }
    described: dict[str, Any] = {
        use: [{"name": name, "remarks": remarks_on(name)} for name in names] for use, names in lists.items()
    }
    described["missing"] = {
        "words": f"no model of this machine compares images with labels of your own; {fetch_command()}",
        "classify": f"no classifier is on this machine; one comes with: {install_line('imagenet')}",
    }
    return described


class Trackers:
    """The trackers of a server, and the chosen one."""

    def __init__(self, folder: Path, place: Path, given: str):
        self._folder, self._place, self._given = folder, check_plain(place / _FILE), given
        self._own = given if given in known() else Path(given).name
        """The name under which the page shows what was given."""
        saved = job_files.read(place, _FILE)
        fits = isinstance(saved, dict) and saved.get("given") == given
        self.name = saved["name"] if fits and self._reason(str(saved.get("name"))) is None else self._own

    @property
    def reference(self) -> str:
        """Name or path that loads the chosen tracker."""
        if self.name == self._own:
            return self._given
        return self.name

    def choose(self, name: Any) -> None:
        """Choose a tracker by its name. Raises Refused with 400 for one that is not there, BadInput if that cannot be saved."""
        if (reason := self._reason(str(name))) is not None:
            raise Refused(400, reason)
        job_files.write(check_plain(self._place), {"given": self._given, "name": name})
        self.name = name

    def describe(self) -> list[dict[str, Any]]:
        """List the trackers: name, a line about each, and why it cannot be used, if so."""
        names = dict.fromkeys([self._own, *names_of("track")])
        reasons = {name: self._reason(name) for name in names}
        hidden = {name: reason and hide_paths(reason, self._folder) for name, reason in reasons.items()}
        return [{"name": name, "about": self._about(name), "missing": hidden[name]} for name in names]

    def _about(self, name: str) -> str:
        if (weights := known().get(name)) is None:
            return "given to the server"
        parts = "bundled" if weights.bundled else weights.size_text, weights.licence, weights.score
        return ", ".join(part for part in parts if part)

    def _reason(self, name: str) -> str | None:
        if name == self._own:
            return None
        if name not in names_of("track"):
            return f"there is no tracker {name[:40]!r} here; choose another"
        try:
            resolve_weights(name)
        except TapetumError:
            return missing(known()[name])
        return None
