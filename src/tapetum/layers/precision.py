"""Querying autocast and switching it off, also on the device "meta", which does not support it and for which torch raises."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def is_autocast(x: Tensor) -> bool:
    """Check whether autocast is on for the device of `x`.

    >>> is_autocast(torch.empty(1)), is_autocast(torch.empty(1, device="meta"))
    (False, False)
    """
    return x.device.type != "meta" and torch.is_autocast_enabled(x.device.type)


def unrounded(x: Tensor) -> AbstractContextManager[Any]:
    """Switch autocast off for the device of `x`."""
    return nullcontext() if x.device.type == "meta" else torch.autocast(x.device.type, enabled=False)
