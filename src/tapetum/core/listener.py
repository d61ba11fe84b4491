"""Receiver for remarks and progress of work: a terminal, a page or nothing."""

from collections.abc import Callable
from typing import Any


class Listener:
    """Receives remarks and progress of work. This one ignores them; subclasses print them, or turn them into warnings."""

    def note(self, text: str) -> None:
        """Receive a remark that is not a result, such as a note about damaged frames."""

    def line(self, text: str) -> None:
        """Receive a line that belongs with the result, such as the number of training images."""

    def progress(self, task: str, done: int, total: int | None) -> None:
        """Receive the progress of a task: `total` is None until known, and a task ends with `done` equal to `total`."""

    def status(self, text: str) -> None:
        """Receive the current status line, which replaces the previous one; an empty one removes it."""

    def part(self, result: Any) -> None:
        """Receive a part of the result as soon as it is available, such as the points in one frame of a live video."""

    def counting(self, task: str) -> Callable[[int, int | None], None]:
        """Bind `progress` to one task, to be called with the amount done and the total."""
        return lambda done, total: self.progress(task, done, total)
