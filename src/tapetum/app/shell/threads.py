"""`--threads`, accepted by every verb that computes, and the default number of threads.

OpenMP reads its settings from the environment when torch is imported, so they are set before. Waiting threads sleep: by default
OpenMP's threads spin, and so take cores from the threads they wait for as soon as anything else runs on the machine (tracking
on two busy cores took 30 s with spinning threads, 5 s with sleeping ones: `benchmarks/threads.py`).
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tapetum.app.shell.parsing import options_of, plain
from tapetum.core.threads import SHARED, check_threads, usable_cores

IDLE = frozenset({"convert", "ledger", "weights"})
"""Verbs that compute nothing, and so take no --threads."""
HELP = "\n--threads INT: threads to compute with; by default OMP_NUM_THREADS, or all cores.\n"
_SLEEPING = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}


def take_threads(words: Sequence[str]) -> tuple[list[str], int | None]:
    """Split `--threads N` from the words of a command: the rest, and N. Raises BadInput for an invalid number.

    >>> take_threads(["--threads", "2", "tapir-nano"])
    (['tapir-nano'], 2)
    """
    rest: list[str] = []
    value: str | None = None
    every = iter(words)
    for word in every:
        if word == "--":
            rest += [word, *every]
        elif word.startswith("--") and plain(word) == "threads":
            value = word.partition("=")[2] if "=" in word else next(every, "")
        else:
            rest.append(word)
    return rest, None if value is None else check_threads(value)


def has_threads(verb: str, options: type) -> bool:
    """Check whether this module handles `--threads` for a command: it computes, and has no option of that name."""
    return verb not in IDLE and not any("threads" in option.names for option in options_of(options))


@contextmanager
def computing(requested: int | None) -> Iterator[None]:
    """Compute with `requested` threads within the block; None: with OMP_NUM_THREADS, or all cores.

    Where torch is imported already, its threads stay as they are unless others are asked for.
    """
    torch: Any = sys.modules.get("torch")
    if torch is not None and requested is None:
        yield
        return
    before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", SHARED, *_SLEEPING)}
    threads = torch and torch.get_num_threads()
    os.environ.update({name: value for name, value in _SLEEPING.items() if name not in os.environ})
    if requested is not None:
        os.environ["OMP_NUM_THREADS"] = str(requested)
    elif "OMP_NUM_THREADS" not in os.environ:
        os.environ.update({"OMP_NUM_THREADS": str(usable_cores()), SHARED: "1"})
    if torch is not None:
        torch.set_num_threads(requested)
    try:
        yield
    finally:
        if torch is not None:
            torch.set_num_threads(threads)
        for name in before:
            os.environ.pop(name, None)
        os.environ.update({name: value for name, value in before.items() if value is not None})
