"""The output of a run, written by the main process: log.jsonl, other loggers, progress on stderr, and the ledger."""

import errno
import io
import json
import math
import os
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tapetum.account.config import Interval
from tapetum.account.flops import Flops
from tapetum.account.ledger import RUNNING, Gpu, Ledger
from tapetum.core.errors import BadInput
from tapetum.core.reading import open_file
from tapetum.train.config import TrainConfig
from tapetum.train.launch import say
from tapetum.train.loggers import Loggers, open_loggers
from tapetum.train.machines import Machines, gpus_of
from tapetum.train.process_group import ProcessGroup
from tapetum.train.run_files import read_tail

PLAIN_SECONDS = 10.0
"""Seconds between lines of progress."""


class JsonLines:
    """log.jsonl: one JSON object per line; on resume it is truncated to the length recorded in the checkpoint.

    Raises BadInput if the file there is not a log, because truncation would damage it.
    """

    def __init__(self, path: Path, position: int):
        size = path.stat().st_size if path.exists() else 0
        if size and not position:
            with open_file(path) as file:
                if not (start := b'{"step": ').startswith(file.read(len(start))):  # of a record, whole or partial
                    raise BadInput(f"{path} is there and is no log of a run; move it, or choose another folder")
        if size < position:
            with open_file(path) if size else io.BytesIO() as file:
                position = file.read().rfind(b"\n") + 1  # a record that was cut off is dropped
            say(f"warning: {path.name} has {size} bytes where the checkpoint knew more; its last lines are lost")
        self._file = path.open("ab", buffering=0)
        self._file.truncate(min(size, position))

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record immediately; numbers that JSON can't represent become null."""
        line = (json.dumps(_finite(record)) + "\n").encode()
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def position(self) -> int:
        """Flush all to disk and count the bytes written so far."""
        os.fsync(self._file.fileno())
        return self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        self._file.close()


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Ticker:
    """Progress on stderr: a line every ten seconds."""

    def __init__(self, start: int, config: TrainConfig):
        self._config = config
        self.flops_per_step = 0.0
        self._start, self._began, self._spoke = start, time.perf_counter(), 0.0

    def tick(self, done: int, loss: float) -> None:
        now = time.perf_counter()
        if now - self._spoke < PLAIN_SECONDS and done < self._config.steps:
            return
        self._spoke = now
        steps_per_s = (done - self._start) / max(now - self._began, 1e-9)
        text = f"step {done}/{self._config.steps}  loss {loss:.4g}  {steps_per_s * self._config.batch_size:.1f} samples/s"
        if self.flops_per_step:
            text += f"  {steps_per_s * self.flops_per_step / 1e9:.1f} GFLOP/s"
        left = int((self._config.steps - done) / max(steps_per_s, 1e-9))
        say(f"{text}  left {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}")


LEDGER_SECONDS = 30.0
"""Seconds between writings of ledger.json, besides those at checkpoints."""


class RunReport:
    """A context manager that writes the ledger however the run ends."""

    def __init__(
        self,
        out: Path,
        config: TrainConfig,
        processes: ProcessGroup,
        machines: Machines,
        *,
        settings: Mapping[str, Any],
        start: int,
        log_position: int,
    ):
        self.config = config
        self.loggers = Loggers(open_loggers(config.log_to, out, start, settings, tensorboard=config.tensorboard))
        self.ledger = Ledger(
            out / "ledger.json",
            asdict(config),
            config.ledger,
            gpus=[Gpu(*gpu) for gpu in gpus_of(processes)],
            records=read_tail(out / "log.jsonl"),
        )
        self.ledger.session |= {"state": RUNNING, "start": start}
        self.ledger.add_machines(processes.size, machines.count, machines.measured)
        self.log = JsonLines(out / "log.jsonl", log_position)
        self.ticker = Ticker(start, config)
        self.ticker.flops_per_step = sum(self.ledger.flops_per_step.values())
        self.finished = False
        """The step just recorded ended the run."""
        self._cpu_seconds, self._own_cpu_seconds, self._others = 0.0, 0.0, Interval(0.0, 0.0, 0.0)
        self._ledger_written = -math.inf

    @property
    def needs_flops(self) -> bool:
        """Check whether no session of this run has counted the FLOPs of a step yet."""
        return not self.ledger.flops_per_step

    def set_flops(self, micro_batch: Mapping[str, Flops], count: int) -> None:
        """Set the FLOPs of work that a step does `count` times, such as a micro-batch, for each part of the task."""
        per_step = {}
        for way in ("forward", "backward"):
            for name, flops in micro_batch.items():
                per_step[f"{name}/{way}" if name else way] = getattr(flops, way) * count
        self.ledger.flops_per_step = per_step
        phases: dict[str, int] = {}
        for flops in micro_batch.values():
            for name, flops_of_part in {**flops.by_part, "recomputed": flops.recomputed}.items():
                phases[name] = phases.get(name, 0) + flops_of_part * count
        self.ledger.phases_per_step = {name: flops_of_part for name, flops_of_part in phases.items() if flops_of_part}
        self.ticker.flops_per_step = sum(per_step.values())

    def step(self, record: Mapping[str, Any], cpu_seconds: float, own_cpu_seconds: float, others: Interval) -> None:
        """Record one step.

        Args:
            record: line of log.jsonl.
            cpu_seconds: of all processes since the session began.
            own_cpu_seconds: of this process.
            others: kWh that the other processes have read from their meters.
        """
        self._cpu_seconds = cpu_seconds
        self._own_cpu_seconds, self._others = own_cpu_seconds, others
        self.ledger.add(steps=1, samples=self.config.batch_size)
        if record["step"] % self.config.log_every == 0 or record["step"] == self.config.steps or "eval" in record:
            self.log.write(record)
            self.loggers.write(record)
        self.ticker.tick(record["step"], record["loss"])
        if time.perf_counter() - self._ledger_written > LEDGER_SECONDS:
            with suppress(BadInput):  # of a full disk the log or the next checkpoint tells
                self.write_ledger()

    def write_ledger(self) -> None:
        self._ledger_written = time.perf_counter()
        self.ledger.write(self._cpu_seconds, own_cpu_seconds=self._own_cpu_seconds, others=self._others)

    def __enter__(self) -> "RunReport":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.log.close()
        ended = "failed" if kind else "finished" if self.finished else "stopped"
        self.loggers.close(ended)
        self.ledger.session["state"] = ended
        with suppress(BadInput) if kind else nullcontext():  # a full disk has been told of already
            self.write_ledger()
