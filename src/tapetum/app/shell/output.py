"""Output of commands: progress and notes on stderr, results as JSON on stdout."""

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

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

from tapetum.app.learn.recipes import Stopped
from tapetum.app.shell.signals import Ended, raise_pending
from tapetum.app.verb import Listener, Result
from tapetum.core.errors import BadInput, hide_secrets, visible
from tapetum.train.launch import stopped_by


def print_result(result: Result, json: bool, main: bool = True) -> None:
    """Print a result on stdout; of the processes of torchrun the main one alone does.

    Raises BadInput where it says that something failed, and `Ended` where a signal stopped the work, so that no other command
    follows in `a && b`.
    """
    number = None if result.goes_on_from is None else stopped_by()
    if not main:
        pass
    elif json and result.came_in_parts:
        print_line({"type": "summary", **result.as_json()})
    elif json:
        print_json(result.as_json())
    elif number is None or not isinstance(result, Stopped):  # else the line on stderr says it
        print(hide_secrets(result.as_text()))
    if number is not None:
        ended = Ended(number)
        ended.add_note(f"the same command goes on from {result.goes_on_from}")
        raise ended
    if (failure := result.failure()) is not None:
        raise BadInput(failure)


def progress(counts: ProgressColumn | None = None) -> Progress:
    """Show bars on stderr where that is a terminal, nothing elsewhere; `counts` shows what is done and how much there is."""
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
    if isinstance(content, str):
        return hide_secrets(content)
    return None if isinstance(content, float) and not math.isfinite(content) else content


class _Printing(Listener):
    """Prints remarks on stderr, and parts of the result on stdout."""

    def __init__(self, json: bool):
        self._json = json

    def note(self, text: str) -> None:
        note(text)

    def line(self, text: str) -> None:
        (note if self._json else print)(text)

    def part(self, result: Result) -> None:
        if self._json:
            print_line(result.as_json())
        elif text := result.as_text():
            print(hide_secrets(text), flush=True)


class _Terminal(_Printing):
    """Shows a bar for each task that is not done."""

    def __init__(self, bars: Progress, json: bool):
        super().__init__(json)
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._waiting: TaskID | None = bars.add_task("loading", total=None)
        bars.refresh()

    def progress(self, task: str, done: int, total: int | None) -> None:
        raise_pending()
        self._awake()
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task(visible(task), total=total)
        self._bars.update(self._tasks[task], completed=done, total=total)
        if done == total:
            self._bars.remove_task(self._tasks.pop(task))

    def status(self, text: str) -> None:
        raise_pending()
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


class Log(_Printing):
    """Prints how far a task is where that takes long: for stderr that is a file or a pipe."""

    def __init__(self, json: bool) -> None:
        super().__init__(json)
        self._noted: dict[str, float] = {}

    def progress(self, task: str, done: int, total: int | None) -> None:
        raise_pending()
        if done == total:
            self._noted.pop(task, None)
        elif self._due(task):
            note(f"{task}: {done}" if total is None else f"{task}: {done} of {total}")

    def status(self, text: str) -> None:
        raise_pending()
        if text and self._due(""):
            note(text)

    def _due(self, task: str) -> bool:
        """Whether it is `EVERY` seconds ago that the task began, or was last spoken of."""
        now = time.monotonic()
        if now - self._noted.setdefault(task, now) < EVERY:
            return False
        self._noted[task] = now
        return True


EVERY = 5.0
"""Seconds between two lines about one task, where there is no terminal for a bar."""


@contextmanager
def terminal(counts: Literal["items", "bytes"] = "items", json: bool = False) -> Iterator[Listener]:
    """Listen to a verb: bars on stderr if that is a terminal, else a line now and then; remarks on stderr in any case.

    Parts of the result are printed as soon as they are known, as lines of JSON or as text.
    """
    with progress(DownloadColumn() if counts == "bytes" else None) as bars:
        yield Log(json) if bars.disable else _Terminal(bars, json)
