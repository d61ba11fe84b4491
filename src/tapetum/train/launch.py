"""What torchrun tells a process by its environment; imports no torch, so that a command line may ask.

Nothing else reads these variables. Before a run has begun they say who a process is going to be; in it, `World` does.
"""

import os


def world_size() -> int:
    """Count the processes that torchrun started; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def rank() -> int:
    """Give this process's number among all of them, from 0; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Give this process's number on its machine, which picks its GPU; 0 without torchrun."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_main() -> bool:
    """Say whether this is the process that writes files and speaks."""
    return rank() == 0
