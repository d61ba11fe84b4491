"""The environment of a process of a run: torchrun's variables, the locked folder, requests to stop, messages. Imports no torch.

Nothing else reads these variables. Before a run begins, they say which rank a process will have; during the run,
`ProcessGroup` does.
"""

import errno
import fcntl
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from tapetum.core.errors import BadInput, visible

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the errors of a disk, a quota or a file size that is used up."""


def world_size() -> int:
    """Count the processes that torchrun started; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def rank() -> int:
    """Read this process's number among all of them, from 0; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Read this process's number on its machine, which picks its GPU; 0 without torchrun."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_main() -> bool:
    return rank() == 0


def say(message: str) -> None:
    print(visible(message), file=sys.stderr, flush=True)


def checkpoint_parent(out: Path, folder: str | None) -> Path:
    """Find the folder of the checkpoints of the run in `out`: `folder` if that is set.

    >>> checkpoint_parent(Path("run"), None), checkpoint_parent(Path("run"), "/scratch/run")
    (PosixPath('run/checkpoints'), PosixPath('/scratch/run'))
    """
    return out / "checkpoints" if folder is None else Path(folder)


@contextmanager
def lock_folder(out: Path) -> Iterator[None]:
    """Create the folder and lock it, so that no second run writes there; a lock ends with its process.

    If an error occurs before anything else is written, the folders created here are removed again.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / ".lock").open("a")
    except OSError as error:
        raise BadInput(f"cannot write to {out}: {error.strerror}; choose a folder that can be written") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(f"another run is training in {out}; wait for it, or choose another folder") from error
        try:
            yield
        except BaseException as error:
            if made and not any(path.name != ".lock" for path in out.iterdir()):
                (out / ".lock").unlink(missing_ok=True)
                with suppress(OSError):  # something else is in there
                    for folder in made:
                        folder.rmdir()
            if not isinstance(error, OSError) or error.errno not in _DISK_FULL:
                raise
            raise BadInput(
                f"cannot write to {out}: {error.strerror}; make room and run the same command again to resume"
            ) from error


_last: list[int | None] = [None]


def stopped_by() -> int | None:
    """Read the number of the signal that stopped the last run of this process; None if it ran out of time or finished."""
    return _last[0]


def record_signal(number: int | None) -> None:
    _last[0] = number


class StopRequest:
    """A request to stop after the current step, because time is up or a first SIGINT, SIGTERM or SIGHUP arrived.

    A second signal acts as usual. SIGHUP stays ignored if it was ignored before, as under nohup.

    A context manager; signals are handled from `listen` until it exits, which delivers one that came too late to stop the run.
    """

    def __init__(self, max_minutes: float | None):
        self._until = math.inf if max_minutes is None else time.monotonic() + 60 * max_minutes
        self.number: int | None = None
        """Of the signal that asked."""
        self._before: dict[int, Any] = {}

    def now(self) -> bool:
        return self.number is not None or time.monotonic() >= self._until

    def listen(self) -> None:
        """Handle signals as requests from here on."""
        if threading.current_thread() is threading.main_thread():
            heard = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
            numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP][: 2 + heard]
            self._before = {number: signal.signal(number, self._notice) for number in numbers}

    def __enter__(self) -> "StopRequest":
        return self

    def _notice(self, number: int, _frame: FrameType | None) -> None:
        self.number = number
        self._restore()
        with suppress(OSError, ValueError):  # the terminal may be what has gone
            print(f"{signal.Signals(number).name}: saving after this step; once more to stop at once", file=sys.stderr)

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._restore()
        if self.number is not None and stopped_by() is None and error is None:  # within the last step: nothing new begins
            signal.raise_signal(self.number)
