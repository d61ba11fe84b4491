"""A command line in which Ctrl-C is pressed: `python interrupted.py PLACE HOW ARGUMENTS...`, PLACE a function that is called.

Prints the name of the function that hears of Ctrl-C afterwards, and ends with the command's exit code.
"""

import contextlib
import importlib
import os
import signal
import sys
import time
from typing import Any

from tapetum.app.shell.main import main


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)


def swallowed() -> None:
    """Press it where a library takes any failure of an import for an answer."""
    with contextlib.suppress(BaseException):
        press()


def another_error() -> None:
    """Press it where code in C makes an error of its own of it."""
    try:
        press()
    except BaseException as error:
        raise RuntimeError("a callback failed") from error


class _Ending:
    def __del__(self) -> None:
        press()


def unraisable() -> None:
    """Press it at the end of an object, whose errors Python cannot raise."""
    _Ending()


def twice() -> None:
    swallowed()
    press()


PRESSES = {"swallowed": swallowed, "another_error": another_error, "unraisable": unraisable, "twice": twice}

if __name__ == "__main__":
    place, how, *words = sys.argv[1:]
    name, _, attribute = place.rpartition(".")
    module = importlib.import_module(name)
    true = getattr(module, attribute)

    def pressed(*arguments: Any, **options: Any) -> Any:
        """Call what stands at the place, after Ctrl-C was pressed for the first time."""
        setattr(module, attribute, true)
        PRESSES[how]()
        return true(*arguments, **options)

    setattr(module, attribute, pressed)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs lack
    code = main(words)
    print(getattr(signal.getsignal(signal.SIGINT), "__name__", None))
    sys.exit(code)
