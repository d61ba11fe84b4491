"""Power cuts: what a folder may hold if the power fails right before a call by which a function keeps its files.

Of what was written to a file since it was last synced half is lost. Only what Python asks of the system itself is seen: SQLite
syncs its own file, which is not touched.
"""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

CALLS = "fsync", "replace", "rename", "unlink", "rmdir"


@dataclass
class Disk:
    """Within the block, copies `folder` before each of these calls and at the end; the call number `fails_at` fails."""

    folder: Path
    copies: Path
    fails_at: int = -1
    calls: int = 0
    synced: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Size and time of change by inode."""

    def __enter__(self) -> "Disk":
        self.synced = {each.stat().st_ino: self.change(each.stat()) for each in self.folder.rglob("*")}
        self.patches = [patch.object(os, name, self.watched(name, getattr(os, name))) for name in CALLS]
        for each in self.patches:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.patches:
            each.stop()
        self.copy()

    @staticmethod
    def change(stat: os.stat_result) -> tuple[int, int]:
        return stat.st_size, stat.st_mtime_ns

    def watched(self, name: str, own: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            self.copy()
            self.calls += 1
            if self.calls - 1 == self.fails_at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            result = own(*given, **named)
            if name == "fsync":
                stat = os.fstat(given[0])
                self.synced[stat.st_ino] = self.change(stat)
            return result

        return call

    def copy(self) -> None:
        copy = Path(shutil.copytree(self.folder, self.copies / f"{self.calls:03}"))
        for path in self.folder.rglob("*"):
            stat = path.stat()
            kept = self.synced.get(stat.st_ino, (0, 0))
            if path.is_file() and kept != self.change(stat) and "sqlite" not in path.name:
                kept = min(kept[0], stat.st_size - 1)
                os.truncate(copy / path.relative_to(self.folder), (kept + stat.st_size) // 2)
