"""Files of a run, read while it trains or afterwards: the end of its log, its costs, its lock. Imports no torch.

The folder contains log.jsonl (a line per step), ledger.json (settings, cost; written by the first step, then every half
minute), checkpoints/, and .lock, which the main process locks while it lives. A lock is visible from another machine if the
file system propagates locks, as NFS does.
"""

import fcntl
from pathlib import Path
from typing import Any

from tapetum.account.ledger import close_killed
from tapetum.core.reading import open_file, parse_json, read_json

LOG, LOCK = "log.jsonl", ".lock"
_TAIL = 1 << 18
"""Bytes at the end of a log that are read."""


def read_tail(log: Path) -> list[dict[str, Any]]:
    """Read the last records of a log.jsonl, oldest first, without reading a long file in full; a partial line is skipped."""
    try:
        with open_file(log) as file:
            size = file.seek(0, 2)
            file.seek(max(size - _TAIL, 0))
            lines = file.read().split(b"\n")
    except OSError:
        return []
    records = []
    for line in lines[1 if size > _TAIL else 0 : -1]:
        try:
            records.append(parse_json(line))
        except ValueError:
            continue
    return [record for record in records if isinstance(record, dict) and isinstance(record.get("step"), int)]


def is_locked(lock: Path) -> bool:
    """Check whether a process holds the lock of a run."""
    try:
        with open_file(lock) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # let go of at once, with the file
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def read_costs(file: Path) -> dict[str, Any]:
    """Read the ledger.json of a run; if its process was killed, add the later steps from its log."""
    content = read_json(file)
    return content if is_locked(file.with_name(LOCK)) else close_killed(content, read_tail(file.with_name(LOG)))
