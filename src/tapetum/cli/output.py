"""What commands share: progress on stderr, notes on stderr, results as JSON on stdout."""

import json
import sys
from collections.abc import Iterator
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

from tapetum.verbs.verb import Listener


def progress(counts: ProgressColumn | None = None) -> Progress:
    """Make bars on stderr where that is a terminal, nothing elsewhere; `counts` shows what is done and how much there is."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), counts or MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def note(text: str) -> None:
    """Print a remark that is not a result."""
    print(f"tapetum: {text}", file=sys.stderr)


def print_json(content: dict[str, Any]) -> None:
    """Print the result of a verb for other programs, as one JSON object on stdout."""
    print(json.dumps(content, indent=2, allow_nan=False))


class _Terminal(Listener):
    """Shows a bar for each task that is not done, and prints remarks."""

    def __init__(self, bars: Progress):
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def note(self, text: str) -> None:
        note(text)

    def progress(self, task: str, done: int, total: int | None) -> None:
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task(task, total=total)
        self._bars.update(self._tasks[task], completed=done, total=total)
        if done == total:
            self._bars.remove_task(self._tasks.pop(task))


@contextmanager
def terminal() -> Iterator[Listener]:
    """Listen to a verb: bars on stderr where that is a terminal, remarks on stderr in any case."""
    with progress() as bars:
        yield _Terminal(bars)


@contextmanager
def downloads() -> Iterator[Listener]:
    """Listen to a verb whose progress is in bytes, in the same way."""
    with progress(DownloadColumn()) as bars:
        yield _Terminal(bars)
