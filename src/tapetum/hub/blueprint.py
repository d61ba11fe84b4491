"""The blueprint of a network before it is built: the names and shapes of its tensors, as far as a file could fill them.

A config in a weights file may request 10^9 layers; each is built even if its values use no memory. So building stops
as soon as there are more tensors than the file has.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.module import register_module_module_registration_hook, register_module_parameter_registration_hook

from tapetum.core.errors import BadInput
from tapetum.core.fields import LARGEST_SIZE, check_sizes


@contextmanager
def blueprint(config: Any, tensors: int, place: str | Path) -> Iterator[None]:
    """Build the networks of the block without values (on the device "meta"), from a `config` read from a file.

    Args:
        config: the file's content, as stored or as a dataclass; its numbers are checked first.
        tensors: how many the file has.
        place: the file, for messages.

    Raises:
        BadInput: a number is out of bounds, or the network has more parts than the file could fill.
    """
    check_sizes(config, f" in the config of {place}", LARGEST_SIZE)
    left, here = 10 * tensors + 2000, threading.get_ident()  # parts without tensors, and tensors that are shared, count too

    def count(*_: Any) -> None:
        nonlocal left
        if threading.get_ident() == here:
            left -= 1
            if left < 0:
                raise BadInput(f"the config in {place} asks for more parts than its {tensors} tensors could fill; get it again")

    hooks = [register_module_module_registration_hook(count), register_module_parameter_registration_hook(count)]
    try:
        with torch.device("meta"):
            yield
    except (RuntimeError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split())[:100]
        raise BadInput(f"the config in {place} is of no network that can be built ({reason}); get it again") from error
    finally:
        for hook in hooks:
            hook.remove()
