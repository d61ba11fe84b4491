"""Whose matrix products linear layers are made of: oneDNN's, or torch's own, which are MKL's on x86.

In float32 MKL drives AMD processors at half of what they can do, where oneDNN reaches the limit; on Intel MKL is the faster one
(with oneDNN a step of a ViT took 1.18 to 1.25 of what it takes there). So the maker of the processor decides, and not a
measurement: the last bits of the two differ, and all processes and runs on a machine are to have the same. In bfloat16 torch's
own are oneDNN's too. `benchmarks/linear_kernels.py` shows what each takes.
"""

import os
from typing import Literal, get_args

import torch

from tapetum.core.devices import processor
from tapetum.core.errors import BadInput

Kernel = Literal["onednn", "torch"]
VARIABLE = "TAPETUM_LINEAR"
"""Of the environment: the kernel to take in place of that of the processor."""


def choose_kernel(vendor: str, override: str | None = None) -> Kernel:
    """Choose the kernel of float32 products for a maker of processors. Raises BadInput for an unknown `override`.

    >>> choose_kernel("AuthenticAMD"), choose_kernel("GenuineIntel"), choose_kernel("GenuineIntel", "onednn")
    ('onednn', 'torch', 'onednn')
    """
    for kernel in get_args(Kernel):
        if override == kernel:
            return kernel
    if override:
        raise BadInput(f"{VARIABLE} is {override!r}; it may be {' or '.join(get_args(Kernel))}, or not set")
    return "torch" if vendor == "GenuineIntel" else "onednn"


_THERE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
LINEAR: Kernel = choose_kernel(processor().vendor, os.environ.get(VARIABLE)) if _THERE else "torch"
"""The kernel of float32 products in this process."""
