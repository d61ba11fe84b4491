"""Output of commands: progress and notes on stderr, results as JSON on stdout."""

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tapetum.app.shell.signals import Ended, raise_pending
from tapetum.app.verb import Listener, Result, Stopped
from tapetum.core.errors import BadInput, hide_secrets, visible
from tapetum.train.launch import stopped_by


def print_result(result: Result, json: bool, main: bool = True) -> None:
    """Print a result on stdout; under torchrun only the main process prints.

    Raises BadInput if the result reports a failure, and `Ended` if a signal stopped the work, so that the next command in
    `a && b` does not run.
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


def note(text: str) -> None:
    """Print a remark that is not a result."""
    print(f"tapetum: {visible(text)}", file=sys.stderr)


def print_json(content: dict[str, Any]) -> None:
    """Print the result of a verb as one JSON object on stdout; numbers that are not finite become null."""
    print(json.dumps(_finite(content), indent=2, allow_nan=False))


def print_line(content: dict[str, Any]) -> None:
    """Print a result immediately as one line of JSON on stdout; numbers that are not finite become null."""
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
        if self._json:
            note(text)
        else:
            print(text, flush=True)

    def part(self, result: Result) -> None:
        if self._json:
            print_line(result.as_json())
        elif text := result.as_text():
            print(hide_secrets(text), flush=True)


class _Terminal(_Printing):
    """Shows a bar for each unfinished task."""

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
        """Removes the placeholder bar shown before the first one."""
        if self._waiting is not None:
            self._bars.remove_task(self._waiting)
            self._waiting = None


class Log(_Printing):
    """Prints the progress of long tasks, for a stderr that is a file or a pipe."""

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
        """Whether `EVERY` seconds have passed since the task began or was last reported."""
        now = time.monotonic()
        if now - self._noted.setdefault(task, now) < EVERY:
            return False
        self._noted[task] = now
        return True


EVERY = 5.0
"""Seconds between two lines about one task, where there is no terminal for a bar."""


@contextmanager
def terminal(counts: Literal["items", "bytes"] = "items", json: bool = False) -> Iterator[Listener]:
    """Build the listener of a verb: bars if stderr is a terminal, else occasional lines; remarks on stderr in any case.

    Parts of the result are printed as they arrive, as lines of JSON or as text.
    """
    console, counted = Console(stderr=True), DownloadColumn() if counts == "bytes" else MofNCompleteColumn()
    columns = TextColumn("{task.description}", markup=False), BarColumn(), counted, TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield Log(json) if bars.disable else _Terminal(bars, json)
