"""Where the processes of a run find each other; torchrun's store of addresses outlives starts and groups."""

import time
from datetime import timedelta
from uuid import uuid4

import torch.distributed as dist
import torch.distributed.distributed_c10d as c10d

from tapetum.train import launch

JOIN_TIMEOUT = timedelta(minutes=10)
"""How long the first processes of a run wait for the last one to start."""
_met: list[tuple[c10d.Store, int, int]] = []
"""Where the processes met, once for each time: the store of all, this process's rank, and how many they are."""


def rendezvous() -> tuple[c10d.Store, int, int]:
    """Create a store through which the processes find each other, a new one each time they join; return it with rank and size.

    The store outlives a process group, so addresses left in it would be mistaken for those of the next group.
    """
    if _met:
        base, rank, size = _met[0]
    else:
        base, rank, size = next(c10d.rendezvous("env://", timeout=JOIN_TIMEOUT))  # pyright: ignore[reportPrivateImportUsage]
        base.set_timeout(JOIN_TIMEOUT)
        if launch.is_elastic():
            base = c10d.PrefixStore(f"start {agree_on_start(base, rank, size)}", base)
    _met.append((base, rank, size))
    return c10d.PrefixStore(f"world {len(_met)}", base), rank, size


def agree_on_start(store: c10d.Store, rank: int, size: int) -> int:
    """Agree on a number that no earlier start of these processes had: torchrun's store outlives them too (torch 2.13).

    The first process answers whoever asks, also in vain what a dead process asked, until all others have read its number.
    """
    if rank:
        own = uuid4().hex
        store.set(f"question {rank}", own)
        number = int(store.get(own))  # waits for it
        store.add(f"read {number}", 1)
        return number
    number = store.add("starts", 1)
    for _ in range(50 * int(JOIN_TIMEOUT.total_seconds())):
        if store.add(f"read {number}", 0) == size - 1:
            return number
        for other in range(1, size):
            if store.check([f"question {other}"]):
                store.set(store.get(f"question {other}").decode(), str(number))
        time.sleep(0.02)
    raise dist.DistStoreError(f"not all of {size} processes came within {JOIN_TIMEOUT}")
