"""The product in 64 bits, for twins of what an argmax or a threshold decides: two runs that round differently soon part."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def double_precision() -> Iterator[None]:
    """Compute in 64 bits by default, also what asks for 32."""
    dtype, cast = torch.get_default_dtype(), Tensor.float
    torch.set_default_dtype(torch.float64)
    Tensor.float = Tensor.double
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        Tensor.float = cast
