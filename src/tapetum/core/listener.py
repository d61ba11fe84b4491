"""Where work sends its remarks and its progress: to a terminal, a page or nowhere."""

from collections.abc import Callable
from typing import Any


class Listener:
    """Receives remarks and progress of work. This one ignores them; subclasses print them, or turn them into warnings."""

    def note(self, text: str) -> None:
        """Receive a remark that is not a result, such as that frames are damaged."""

    def line(self, text: str) -> None:
        """Receive a line that belongs with the result, such as how many images a run learns from."""

    def progress(self, task: str, done: int, total: int | None) -> None:
        """Receive how far a task is: `total` is None until that is known, and a task ends with `done` equal to `total`."""

    def status(self, text: str) -> None:
        """Receive a line about this moment, in place of the one before; an empty one removes it."""

    def part(self, result: Any) -> None:
        """Receive a part of the result as soon as it is known, such as the points in one frame of a live video."""

    def counting(self, task: str) -> Callable[[int, int | None], None]:
        """Bind `progress` to one task, to be called with what is done and how much there is."""
        return lambda done, total: self.progress(task, done, total)
