"""What commands share: progress on stderr, notes on stderr, results as JSON on stdout."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from tapetum.app.shell.signals import Ended, heed
from tapetum.app.verb import Listener
from tapetum.core.errors import visible
from tapetum.train.launch import stopped_by


def stopped(out: Any, say: Callable[[str], None] | None = print) -> None:
    """Say that a run was stopped and from where the same command goes on; without `say`, nothing.

    Raises `Ended` where a signal stopped it, so that no other command follows in `a && b`.
    """
    where = f"the same command goes on from {out}"
    if (number := stopped_by()) is None:
        if say is not None:
            say(f"stopped; {where}")
        return
    ended = Ended(number)
    ended.add_note(where)
    raise ended


def progress(counts: ProgressColumn | None = None) -> Progress:
    """Make bars on stderr where that is a terminal, nothing elsewhere; `counts` shows what is done and how much there is."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), counts or MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def note(text: str) -> None:
    """Print a remark that is not a result."""
    print(f"tapetum: {visible(text)}", file=sys.stderr)


def print_json(content: dict[str, Any]) -> None:
    """Print the result of a verb for other programs, as one JSON object on stdout; what is no finite number is null."""
    print(json.dumps(_finite(content), indent=2, allow_nan=False))


def print_line(content: dict[str, Any]) -> None:
    """Print a result for other programs as one line of JSON on stdout, at once; what is no finite number is null."""
    print(json.dumps(_finite(content), allow_nan=False), flush=True)


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


class _Terminal(Listener):
    """Shows a bar for each task that is not done, and prints remarks."""

    def __init__(self, bars: Progress):
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._waiting: TaskID | None = bars.add_task("loading", total=None)
        bars.refresh()

    def note(self, text: str) -> None:
        note(text)

    def progress(self, task: str, done: int, total: int | None) -> None:
        heed()
        self._awake()
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task(visible(task), total=total)
        self._bars.update(self._tasks[task], completed=done, total=total)
        if done == total:
            self._bars.remove_task(self._tasks.pop(task))

    def status(self, text: str) -> None:
        heed()
        self._awake()
        task, text = self._tasks.get(""), visible(text)
        if task is None and text:
            self._tasks[""] = self._bars.add_task(text, total=None)
        elif task is not None and text:
            self._bars.update(task, description=text, advance=1)
        elif task is not None:
            self._bars.remove_task(self._tasks.pop(""))

    def _awake(self) -> None:
        """Takes away the bar that says that there will be others."""
        if self._waiting is not None:
            self._bars.remove_task(self._waiting)
            self._waiting = None


class _Log(Listener):
    """Prints remarks, and how far a task is where that takes long: for stderr that is a file or a pipe."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def note(self, text: str) -> None:
        note(text)

    def progress(self, task: str, done: int, total: int | None) -> None:
        heed()
        if done == total:
            self._said.pop(task, None)
        elif self._due(task):
            note(f"{task}: {done}" if total is None else f"{task}: {done} of {total}")

    def status(self, text: str) -> None:
        heed()
        if text and self._due(""):
            note(text)

    def _due(self, task: str) -> bool:
        """Whether it is `EVERY` seconds ago that the task began, or was last spoken of."""
        now = time.monotonic()
        if now - self._said.setdefault(task, now) < EVERY:
            return False
        self._said[task] = now
        return True


EVERY = 5.0
"""Seconds between two lines about one task, where there is no terminal for a bar."""


@contextmanager
def terminal(counts: ProgressColumn | None = None) -> Iterator[Listener]:
    """Listen to a verb: bars on stderr if that is a terminal, else a line now and then; remarks on stderr in any case."""
    with progress(counts) as bars:
        yield _Log() if bars.disable else _Terminal(bars)


@contextmanager
def downloads() -> Iterator[Listener]:
    """Listen to a verb whose progress is in bytes, in the same way."""
    with terminal(DownloadColumn()) as listener:
        yield listener
