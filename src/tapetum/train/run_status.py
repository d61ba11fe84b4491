"""State of a run, read from its folder while it trains or afterwards. Imports no torch.

The folder contains log.jsonl (a line per step), ledger.json (settings, cost; written by the first step, then every half
minute), checkpoints/, and .lock, which the main process locks while it lives. Everything describes the run as a whole,
however many processes share its work. A lock is visible from another machine if the file system propagates locks, as NFS does.
"""

import fcntl
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tapetum.account.config import Interval
from tapetum.account.ledger import close_killed
from tapetum.core.reading import open_file, parse_json, read_json

LOG, LEDGER, LOCK = "log.jsonl", "ledger.json", ".lock"
_TAIL = 1 << 18
"""Bytes at the end of a log that are read."""
_WINDOW, _LEAST = 100, 5
"""Lines of the log of which a mean loss is computed, at most and at least."""
_SPEED = 20
"""Lines whose median is the speed."""
_DEEP = 3
"""Folders below a given one in which runs are looked for."""

State = Literal["training", "finished", "stopped"]
"""training: its process lives; stopped: it does not, and the same command goes on."""


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """State of one run; None where its folder does not say."""

    run: Path
    state: State
    step: int
    """Steps in the log."""
    steps: int | None
    """Steps of the whole run."""
    loss: float | None
    """Mean over the last lines of the log, up to 100."""
    loss_before: float | None
    """Mean over as many lines before them."""
    trend: Literal["falling", "rising", "level"] | None
    """level: the two means differ by less than two standard errors of their difference."""
    samples_per_s: float | None
    """Median of the last lines."""
    seconds_left: float | None
    """At this speed; of a run that does not live, once it goes on."""
    logged_s_ago: float | None
    """Seconds since the last line of the log."""
    checkpoint: int | None
    """Step of the newest one in the folder; None where the run keeps them elsewhere (`TrainConfig.checkpoint_folder`)."""
    checkpoint_s_ago: float | None
    scores: Mapping[str, float]
    """Newest scores, by name."""
    scored_at: int | None
    """Step of these."""
    processes: int | None
    """Of the last session."""
    machines: int | None
    """Of the last session."""
    parallel: str | None
    """How several processes share the work: ddp or fsdp."""
    wall_seconds: float | None
    """Of all sessions, as the next ones."""
    cpu_seconds: float | None
    flops: float | None
    energy_kwh: Interval | None
    """Of all machines."""
    energy_measured: bool
    co2_kg: Interval | None

    @property
    def alive(self) -> bool:
        """Check whether the run's main process is alive."""
        return self.state == "training"

    @property
    def share(self) -> float | None:
        """Compute the fraction of the steps that is done."""
        return self.step / self.steps if self.steps else None


def find_runs(folder: Path) -> list[Path]:
    """List the runs in a folder: itself, or those below it, such as the phases of a run or the runs of a sweep, by name."""
    return sorted(_find_runs(folder, _DEEP))


def _find_runs(folder: Path, deep: int) -> list[Path]:
    if (folder / LOG).is_file():
        return [folder]
    below = [child for child in folder.iterdir() if child.is_dir()] if deep else []
    runs = [run for child in below for run in _find_runs(child, deep - 1)]
    return runs or ([folder] if (folder / LOCK).is_file() else [])  # a lock alone: it begins, or what it trains lies below


def read_status(run: Path) -> RunStatus:
    """Read the state of the run in a folder; damaged parts count as missing."""
    now = time.time()
    records = read_tail(run / LOG)
    ledger = _read_ledger(run / LEDGER)
    session, total = ledger.get("session", {}), ledger.get("total", {})
    config = _mapping(session.get("config"))
    elsewhere = config.get("checkpoint_folder") is not None
    checkpoint = None if elsewhere else newest_checkpoint(run / "checkpoints")
    step = int(_number(records[-1].get("step")) or 0) if records else step_of(checkpoint) or 0
    steps, batch = _number(config.get("steps")), _number(config.get("batch_size"))
    loss, before, trend = loss_trend([_number(record.get("loss")) for record in records])
    speeds = [speed for record in records[-_SPEED:] if (speed := _number(record.get("samples_per_s")))]
    speed = statistics.median(speeds) if speeds else None
    left = max(steps - step, 0) * batch / speed if steps and batch and speed else None
    scored = next((record for record in reversed(records) if _mapping(record.get("eval"))), {})
    flops = [_number(total.get(f"flops_{way}")) for way in ("forward", "backward")]
    alive = is_locked(run / LOCK)
    done = step if elsewhere else step_of(checkpoint)
    return RunStatus(
        run=run,
        state="training" if alive else "finished" if steps and done == int(steps) else "stopped",
        step=step,
        steps=int(steps) if steps else None,
        loss=loss,
        loss_before=before,
        trend=trend,
        samples_per_s=speed,
        seconds_left=left,
        logged_s_ago=_age(run / LOG, now),
        checkpoint=step_of(checkpoint),
        checkpoint_s_ago=_age(checkpoint, now),
        scores={str(name): value for name, given in scored.get("eval", {}).items() if (value := _number(given)) is not None},
        scored_at=int(_number(scored.get("step")) or 0) if scored else None,
        processes=_count(session.get("processes")),
        machines=_count(session.get("machines")),
        parallel=str(config["parallel"]) if "parallel" in config else None,
        wall_seconds=_number(total.get("wall_seconds")),
        cpu_seconds=_number(total.get("cpu_seconds")),
        flops=sum(filter(None, flops)) if None not in flops else None,
        energy_kwh=_interval(total, "energy_kwh"),
        energy_measured=session.get("energy_measured") is True,
        co2_kg=_interval(total, "co2_kg"),
    )


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
    return [record for record in records if isinstance(record, dict) and _number(record.get("step")) is not None]


def loss_trend(
    losses: Sequence[float | None],
) -> tuple[float | None, float | None, Literal["falling", "rising", "level"] | None]:
    """Compute the mean of the last losses, that of as many losses before them, and how the two compare.

    >>> loss_trend([3.0, 3.1, 2.9, 3.0, 3.0, 2.0, 2.1, 1.9, 2.0, 2.0])
    (2.0, 3.0, 'falling')
    >>> loss_trend([1.0, 3.0])
    (2.0, None, None)
    """
    values = [loss for loss in losses if loss is not None]
    if not values:
        return None, None, None
    n = min(_WINDOW, len(values) // 2)
    if n < _LEAST:
        return statistics.fmean(values[-_WINDOW:]), None, None
    last, before = values[-n:], values[-2 * n : -n]
    difference = statistics.fmean(last) - statistics.fmean(before)
    error = math.sqrt((statistics.variance(last) + statistics.variance(before)) / n)
    trend = "level" if abs(difference) <= 2 * error else "falling" if difference < 0 else "rising"
    return statistics.fmean(last), statistics.fmean(before), trend


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


def newest_checkpoint(folder: Path) -> Path | None:
    """Find the newest checkpoint by its name; None where there is none."""
    folders = [path for path in folder.glob("step_*") if step_of(path) is not None]
    return max(folders, key=lambda path: step_of(path) or 0, default=None)


def step_of(checkpoint: Path | None) -> int | None:
    """Read the step from the name of a checkpoint."""
    number = "" if checkpoint is None else checkpoint.name.removeprefix("step_")
    return int(number) if number.isdecimal() else None


def read_costs(file: Path) -> dict[str, Any]:
    """Read the ledger.json of a run; if its process was killed, add the later steps from its log."""
    content = read_json(file)
    return content if is_locked(file.with_name(LOCK)) else close_killed(content, read_tail(file.with_name(LOG)))


def _read_ledger(file: Path) -> dict[str, Any]:
    """The totals of a ledger and its last session."""
    try:
        content = read_costs(file)
        return {"total": _mapping(content["total"]), "session": _mapping(content["sessions"][-1])}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return {}


def _interval(total: Mapping[str, Any], name: str) -> Interval | None:
    value = _number(total.get(name))
    if value is None:
        return None
    low, high = (_number(total.get(f"{name}_{end}")) for end in ("low", "high"))
    return Interval(value, value if low is None else low, value if high is None else high)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and math.isfinite(value) and abs(value) < 1e100 else None


def _count(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _age(path: Path | None, now: float) -> float | None:
    try:
        return None if path is None else max(now - path.stat().st_mtime, 0.0)
    except OSError:
        return None
