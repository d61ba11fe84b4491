"""Tests on the simulated device, which is registered for a whole process: they run in one of their own.

All tests of a process of pytest share one such process; it starts with the first of them, in some seconds.
"""

import importlib
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import wraps
from typing import Any

_pool: list[ProcessPoolExecutor] = []


def on_simulated_device(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test function in the process that has the device `sim`; what it is given must be picklable."""

    @wraps(test)
    def run(**arguments: Any) -> None:
        if not _pool:
            _pool.append(ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
        _pool[0].submit(_call, test.__module__.removeprefix("tests."), test.__name__, arguments).result()

    return run


def _call(module: str, name: str, arguments: dict[str, Any]) -> None:
    import torch

    from support.simulated_device import register

    register()
    torch.set_num_threads(1)
    getattr(importlib.import_module(module), name).__wrapped__(**arguments)
