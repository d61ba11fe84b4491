"""The device that "auto" stands for.

Freed memory is kept, which is seen by the pages that the system has to bring in.
"""

import os
import platform
import subprocess
import sys

import pytest
import torch

from tapetum.core.devices import AUTOMATIC, choose_device, find_device
from tapetum.core.errors import BadInput


@pytest.mark.parametrize(
    ("here", "chosen"),
    [((), "cpu"), (("mps",), "mps"), (("xpu", "mps"), "xpu"), (("cuda", "xpu"), "cuda"), (("cuda",), "cuda")],
)
def test_the_first_accelerator_that_is_there(here: tuple[str, ...], chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in AUTOMATIC:
        monkeypatch.setattr(getattr(torch, kind), "is_available", lambda kind=kind: kind in here)
    assert choose_device("auto") == chosen
    assert [choose_device(name) for name in ("cpu", "cuda:1", None)] == ["cpu", "cuda:1", None]


def test_auto_is_a_device_that_computes() -> None:
    assert find_device("auto") == torch.device(choose_device("auto"))
    assert find_device(None) == torch.device("cpu")
    with pytest.raises(BadInput, match=r"^there is no device 'automatic' to compute on; this machine has cpu"):
        find_device("automatic")


CHILD = """
import resource, sys
import numpy as np
from tapetum.core.devices import keep_freed_memory
print(int(keep_freed_memory()) if sys.argv[1] == "kept" else 0)
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):  # 2 blocks of 24 MB, touched and freed
    before = faults()
    blocks = [np.full(24 << 17, 1.0) for _ in range(2)]
    print(faults() - before)
    del blocks
"""


def run(how: str, **env: str) -> list[int]:
    """Whether memory is kept, and the pages brought in for the same blocks, three times."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    child = [sys.executable, "-c", CHILD, how]
    out = subprocess.run(child, check=True, capture_output=True, text=True, env={**inherited, **env})
    return [int(line) for line in out.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_a_block_that_was_freed_is_used_again() -> None:
    plain, kept = run("plain"), run("kept")
    assert kept[0] == 1
    assert kept[1] > 10 * max(kept[2:])
    assert min(plain[1:]) > 10 * max(kept[2:])


def test_what_the_environment_says_is_left_alone() -> None:
    assert run("kept", MALLOC_TRIM_THRESHOLD_="1000000")[0] == 0
    assert run("kept", GLIBC_TUNABLES="glibc.malloc.mmap_threshold=1000000")[0] == 0
