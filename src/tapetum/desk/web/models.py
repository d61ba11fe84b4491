"""Models that the page offers: trackers, those that answer about frames, with their limits, and those that it can fetch."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tapetum.app.make.suggest import TASKS, accelerator_gb, suggest_for
from tapetum.app.see.segment_clicks import SEGMENTER
from tapetum.app.see.settings import CLASSIFIER
from tapetum.app.verb import Listener
from tapetum.bench.word_models import describe_model, fetch_command, installed_word_models, is_here, next_step
from tapetum.core.errors import TapetumError, install_line
from tapetum.desk.web import job_files
from tapetum.desk.web.answers import Refused, hide_paths
from tapetum.desk.web.hidden import check_plain
from tapetum.desk.web.mask_job import segmenters
from tapetum.hub.fetch import fetch
from tapetum.hub.registry import find, known, missing, names_of
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
        "masks": segmenters(),
    }
    described: dict[str, Any] = {
        use: [{"name": name, "remarks": remarks_on(name)} for name in names] for use, names in lists.items()
    }
    described["missing"] = {
        "words": f"no model of this machine compares images with labels of your own; {fetch_command()}",
        "masks": f"no model of this machine outlines what is clicked; run: {find(SEGMENTER).fetch_text}",
        "classify": f"no classifier is on this machine; one comes with: {install_line('imagenet')}",
    }
    return described


def describe_weights(folder: Path) -> list[dict[str, Any]]:
    """List the models of `tapetum weights suggest`: tasks, size, licence, memory, score, and what each still needs.

    `state` is here, fetch (by `check_to_fetch`), or extra if a package has to be installed first; `needs` says which.
    """
    rows: dict[str, dict[str, Any]] = {}
    room = accelerator_gb()
    for task in TASKS:
        for each in suggest_for(task, room):
            row = rows.setdefault(each.name, {"tasks": [], "suits": []})
            row |= {"name": each.name, "size": each.size, "licence": each.licence, "memory_gb": each.memory_gb}
            row |= {"score": each.score, **_state(each.name, each.here, folder)}
            row["tasks"].append(task)
            if each.suits:
                row["suits"].append(task)
    return list(rows.values())


def _state(name: str, here: bool, folder: Path) -> dict[str, str]:
    weights = find(name)
    if weights.extra == "vlm" and find_spec("transformers") is None:
        return {"state": "extra", "needs": install_line("vlm")}
    if here:
        return {"state": "here", "needs": ""}
    if weights.gate is not None or weights.bundled or weights.package is not None:
        return {"state": "extra", "needs": hide_paths(missing(weights), folder)}
    return {"state": "fetch", "needs": ""}


def check_to_fetch(name: Any, folder: Path) -> str:
    """Check that a name is of `describe_weights` and can be fetched. Raises Refused with 400, or 409 if it needs something."""
    row = next((row for row in describe_weights(folder) if row["name"] == name), None)
    if row is None:
        raise Refused(400, f"there is no model {str(name)[:40]!r} to fetch; choose one of the list")
    if row["state"] != "fetch":
        raise Refused(409, f"{name} is here already" if row["state"] == "here" else row["needs"])
    return str(name)


def work(job: dict[str, Any], folder: Path, listener: Listener) -> dict[str, Any]:
    """Fetch the model of a job; stopped, what has come is kept for the next time. Raises BadInput as `fetch`."""
    name = job["settings"]["name"]
    fetch(name, lambda done, size: listener.progress("fetching", done, size), listener.note)
    return {"result": {"name": name}}


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
