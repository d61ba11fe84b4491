"""What `claims.py` looks at while a command runs and when it has ended: memory, disk, processes, and what it wrote."""

import csv
import hashlib
import io
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from tapetum.core.errors import BadInput
from tapetum.types import Tracks

MOST_MEMORY, MOST_WRITTEN = 4 << 30, 1 << 30
"""Bytes that a command may hold and write; one that takes more is ended."""
LINGER = 10.0
"""Seconds that processes of a command may outlive it."""
RESULTS = "tracks.npz", "tracks.csv", "overlay.mp4"
VECTORS = {"embedding", "xy", "xyz", "confidence"}
"""Columns of tables that are finite wherever they are."""
_NOT_FINITE = re.compile(r"(?<![\w./~'-])[-+]?(nan|inf|infinity)(?![\w./~'-])", re.IGNORECASE)


class Watch:
    """A process that is looked at until it ends, or takes too much."""

    def __init__(self, process: Any, places: list[Path]):
        self.process, self.places = process, places
        self.memory = self.written = 0
        self.bloat = ""

    def wait(self, seconds: float) -> int | None:
        """Wait so long at most; None where it has not ended."""
        end = time.monotonic() + seconds
        beat = 0
        while (code := self.process.poll()) is None and time.monotonic() < end:
            self._look(beat % 5 == 0)
            if self.bloat:
                self.end()
                return self.process.wait()
            beat += 1
            time.sleep(0.1)
        return code

    def _look(self, at_the_disk: bool) -> None:
        with suppress(OSError, StopIteration):
            status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
            line = next(line for line in status if line.startswith("VmHWM:"))
            self.memory = max(self.memory, int(line.split()[1]) << 10)
        if at_the_disk:
            self.written = max(self.written, sum(map(size_of, self.places)))
        if self.memory > MOST_MEMORY:
            self.bloat = f"{self.memory / (1 << 30):.1f} GiB of memory"
        elif self.written > MOST_WRITTEN:
            self.bloat = f"{self.written / (1 << 30):.1f} GiB written"

    def end(self) -> None:
        """End it and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def remaining(self) -> bool:
        """Check whether processes that it started outlive it by `LINGER` seconds; they are ended then."""
        end = time.monotonic() + LINGER
        while self._lives():
            if time.monotonic() > end:
                self.end()
                return True
            time.sleep(0.1)
        return False

    def _lives(self) -> bool:
        """Check whether a process of its group runs; what is dead and not yet buried does not."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        states = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                states.append(path.read_text().rpartition(") ")[2].split()[:3])
        return any(int(group) == self.process.pid and state != "Z" for state, _, group in states)


def size_of(folder: Path) -> int:
    """Sum the bytes of all files below a folder, which may change meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def digests(folder: Path) -> dict[str, str]:
    """Checksums of all files below a folder, and what else is there."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        plain = path.is_file() and not path.is_symlink()
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if plain else "other"
    return found


def losses(
    folder: Path, before: dict[str, str], own: tuple[str, ...], old: bool, killed: bool, code: int | None
) -> Iterator[str]:
    """Say what is lost, of what was there `before` and of the results; `own` are the places that the command may change."""
    after = digests(folder)
    replaceable = {f"out/{name}" for name in RESULTS}
    for name, digest in before.items():
        if name not in replaceable and not name.startswith(own) and after.get(name) != digest:
            yield f"{name!r} changed"
    tables = [after.get(f"out/{name}") for name in RESULTS[:2]]
    same = [old and found == before[f"out/{name}"] for found, name in zip(tables, RESULTS, strict=False)]
    if len({found is None for found in tables}) > 1 or len(set(same)) > 1:
        yield "half of the results are new"
    if tables[0] is not None and not same[0]:
        try:
            Tracks.load(folder / "out" / "tracks.npz")
        except BadInput as error:
            yield f"results cannot be read: {error}"
    left = [name for name in after if name not in before and name.rpartition("/")[2].startswith(".") and ".tmp" in name]
    if left and not killed and code is not None:
        yield f"left behind: {left[0]}"


def leaks(secret: str, said: str, places: list[Path]) -> Iterator[str]:
    """Say where a secret of the command line stands."""
    if secret in said:
        yield "the secret is printed"
    for path in (path for place in places for path in place.rglob("*")):
        if path.is_file() and not path.is_symlink() and secret.encode() in path.read_bytes():
            yield f"the secret is in {path.name}"


def lies(folder: Path, before: dict[str, str], printed: str) -> Iterator[str]:
    """Say what a command that ended with 0 wrote or printed that is no result: NaN, infinity, formulas, nothing learned."""
    if found := _NOT_FINITE.search(printed):
        yield f"{found[0]} in what it printed"
    after = digests(folder)
    for name, digest in after.items():
        path = folder / name
        check = _CHECKS.get(path.suffix)
        if digest != "other" and before.get(name) != digest and check is not None:
            try:
                faults = list(check(path))
            except (OSError, ValueError, KeyError, csv.Error, SafetensorError) as error:
                faults = [f"it cannot be read ({str(error)[:80]})"]
            if faults:
                yield f"{name}: {faults[0]}"


def _of_npz(path: Path) -> Iterator[str]:
    with np.load(path, allow_pickle=False) as stored:
        yield from (f"{name} is not finite" for name in VECTORS & set(stored) if not np.isfinite(stored[name]).all())


def _of_parquet(path: Path) -> Iterator[str]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    for name in VECTORS & set(table.column_names):
        if not np.isfinite(np.asarray(table[name].to_pylist(), np.float64)).all():
            yield f"{name} is not finite"


def _of_vectors(path: Path) -> Iterator[str]:
    if not np.isfinite(np.fromfile(path, np.float16)).all():
        yield "a vector is not finite"


def _of_weights(path: Path) -> Iterator[str]:
    with safe_open(path, "np") as file:
        for name in file.keys():  # noqa: SIM118
            values = file.get_tensor(name)
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                yield f"{name} is not finite"


def _of_csv(path: Path) -> Iterator[str]:
    for row in csv.reader(io.StringIO(path.read_text("utf-8", "replace"), newline="")):
        for cell in row:
            if cell[:1] in ("=", "+", "-", "@", "\t", "\r") and cell and not _is_number(cell):
                yield f"the cell {cell[:30]!r} is a formula"


def _of_json(path: Path) -> Iterator[str]:
    odd: list[str] = []
    rows = path.read_text("utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text("utf-8")]
    content = [json.loads(row, parse_constant=odd.append) for row in rows if row.strip()]
    yield from (f"{word} is no JSON" for word in odd[:1])
    steps = [row for row in content if isinstance(row, dict) and "step" in row and "loss" in row]
    if path.name == "log.jsonl" and steps and all(row["loss"] is None for row in steps):
        yield "no step was finite"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


_CHECKS: dict[str, Callable[[Path], Any]] = {
    ".npz": _of_npz,
    ".parquet": _of_parquet,
    ".f16": _of_vectors,
    ".safetensors": _of_weights,
    ".csv": _of_csv,
    ".json": _of_json,
    ".jsonl": _of_json,
}
