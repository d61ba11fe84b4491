"""Files of a queue of trainings (`train_queue.py`): its list, the state of each training, the evidence of finished ones."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compact_log import compact
from tapetum.account.ledger import read as read_ledger
from tapetum.account.machine import without_paths
from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_text
from tapetum.core.reading import parse_toml, read_json, read_text
from tapetum.train.run_files import read_tail

TAIL = 12
"""Lines of the output of a failed command that are logged."""
OF_QUEUE = "--out", "--threads", "--minutes"
"""Options that a command must not have, since the queue sets them or must decide when to stop."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """An entry of QUEUE.toml."""

    name: str
    command: str
    core_hours: float
    prepare: tuple[str, ...] = ()
    """Commands to run before the training, such as those that make its data."""
    score: tuple[str, ...] = ()
    """Commands to run afterwards."""


def read_queue(file: Path) -> list[Training]:
    """Read QUEUE.toml. Raises BadInput where it cannot be read or an entry is wrong."""
    try:
        entries = parse_toml(read_text(file))["training"]
        lists = "prepare", "score"
        queue = [Training(**{**entry, **{name: tuple(entry.get(name, ())) for name in lists}}) for entry in entries]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        fields = "wanted entries [[training]] with name, command, core_hours and perhaps prepare and score"
        raise BadInput(f"{file} is no queue ({error}); {fields}") from error
    for number, training in enumerate(queue):
        _check(training, {other.name for other in queue[:number]})
    return queue


def _check(training: Training, others: set[str]) -> None:
    texts = (training.name, training.command, *training.prepare, *training.score)
    if not all(isinstance(text, str) for text in texts) or type(training.core_hours) not in (int, float):
        raise BadInput(f"entry {training.name!r}: name, command, prepare and score must be text, core_hours a number")
    plain = training.name.replace("-", "").replace("_", "").isalnum()
    if not plain or training.name in {*others, "evidence", "queue"}:
        raise BadInput(f"the name {training.name!r} cannot be used: give a free one of letters, digits, - and _")
    if not 0 < training.core_hours < 1e6:
        raise BadInput(f"{training.name}: core_hours is {training.core_hours}; give a number above 0")
    for word in shlex.split(training.command):
        if word.partition("=")[0] in OF_QUEUE:
            raise BadInput(f"{training.name}: the command has {word}, which the queue sets; leave it out")
    for name, commands in {"prepare": training.prepare, "score": training.score}.items():
        for command in commands:
            if shlex.split(command)[:1] not in (["tapetum"], ["python"]):
                raise BadInput(f"{training.name}: {name} has {command!r}; a command must begin with tapetum or python")


class Record:
    """State of a training in FOLDER/NAME.json, written whole at each change."""

    def __init__(self, folder: Path, training: Training):
        self.file = folder / f"{training.name}.json"
        self.content: dict[str, Any] = {
            "state": "waiting",
            "command": training.command,
            "sessions": [],
            "prepared": {},
            "scores": {},
        }
        if self.file.exists():
            self.content |= read_json(self.file)
        if self.content["sessions"] and self.content["command"] != training.command:
            raise BadInput(
                f"{training.name} was begun as {self.content['command']!r}, and is now {training.command!r}; "
                "give the entry another name, or its command back"
            )
        self.content["command"] = training.command

    def save(self, **changes: Any) -> None:
        """Change fields and write the file."""
        self.content |= changes
        write_json(self.file, self.content)

    @property
    def state(self) -> str:
        """Get the state: waiting, training, stopped, trained (not yet scored), finished, failed, out of budget."""
        return self.content["state"]

    @property
    def cpu_seconds(self) -> float:
        """Sum the CPU time of all sessions of the training itself."""
        return sum(session["cpu_seconds"] for session in self.content["sessions"])


def write_json(path: Path, content: Any) -> None:
    """Write a file of JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, own=True) as temporary:
        write_text(temporary, json.dumps(content, indent=1) + "\n")


def tail(log: Path, start: int) -> list[str]:
    """Read the last lines of what a log has from byte `start` on."""
    return log.read_bytes()[start:].decode(errors="replace").splitlines()[-TAIL:]


def printed_result(file: Path) -> Any:
    """Read what a scoring command printed: JSON where it is, else its lines."""
    text = file.read_text(errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return text.splitlines()


def write_evidence(folder: Path, training: Training, record: Record) -> None:
    """Write the compact tables of a finished training."""
    out, made = folder / training.name, folder / "evidence" / training.name
    runs = {run.name: run for run in find_runs(out) if (run / "ledger.json").is_file()}
    ledgers = {name: read_ledger(run / "ledger.json") for name, run in runs.items()}
    totals = [ledger["total"] for ledger in ledgers.values()]
    (made / "curves").mkdir(parents=True, exist_ok=True)
    for name, run in runs.items():
        with whole_file(made / "curves" / f"{name}.csv", own=True) as temporary:
            compact(run / "log.jsonl", temporary)
    write_json(made / "ledgers.json", ledgers)
    results = {
        "command": f"tapetum {training.command}",
        "seed": next((ledger["sessions"][-1]["config"].get("seed") for ledger in ledgers.values()), None),
        "core_hours": record.cpu_seconds / 3600,
        "cost": {key: sum(total[key] for total in totals) for key in totals[0]} if totals else {},
        "sessions": record.content["sessions"],
        "scores": record.content["scores"],
    }
    write_json(made / "results.json", without_paths(results))


def find_runs(folder: Path) -> list[Path]:
    """List the runs in a folder: itself, or those below it, such as the phases of a run."""
    return sorted(log.parent for log in folder.rglob("log.jsonl"))


def status_table(trainings: Sequence[Training], folder: Path) -> str:
    """Write a table of the trainings: state, steps of the newest phase, core-hours and their bound, sessions, commit."""
    rows = [["training", "state", "step", "core-hours", "sessions", "commit"]]
    for training in trainings:
        record, out = Record(folder, training), folder / training.name
        step = ""
        if runs := find_runs(out):
            records = read_tail(runs[-1] / "log.jsonl")
            step = f"{runs[-1].name} {records[-1]['step'] if records else 0:,}"
        sessions = record.content["sessions"]
        hours = f"{record.cpu_seconds / 3600:.3g} of {training.core_hours:.3g}"
        commit = (sessions[-1]["commit"] or "none")[:8] if sessions else ""
        rows.append([training.name, record.state, step, hours, str(len(sessions)), commit])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)
