"""The output of a run, written by the main process: log.jsonl, TensorBoard files, progress on stderr, and the ledger."""

import errno
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tapetum.account.flops import Flops
from tapetum.account.ledger import Gpu, Ledger
from tapetum.core.errors import BadInput
from tapetum.core.reading import open_file
from tapetum.train.config import TrainConfig
from tapetum.train.launch import say
from tapetum.train.process_group import ProcessGroup

PLAIN_SECONDS = 10.0
"""Seconds between lines of progress where stderr is not a terminal."""


class JsonLines:
    """log.jsonl: one JSON object a line, cut back on resume to what the checkpoint knew.

    Raises BadInput where another file stands there, which would be cut.
    """

    def __init__(self, path: Path, position: int):
        size = path.stat().st_size if path.exists() else 0
        if size and not position and not _is_log(path):
            raise BadInput(f"{path} is there and is no log of a run; move it, or choose another folder")
        if size < position:
            say(f"warning: {path.name} has {size} bytes where the checkpoint knew {position}; its last lines are lost")
        self._file = path.open("ab", buffering=0)
        self._file.truncate(min(size, position))

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record, at once; numbers that JSON can't hold become null."""
        line = (json.dumps(_finite(record)) + "\n").encode()
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def position(self) -> int:
        """Flush all to disk and count the bytes written so far."""
        os.fsync(self._file.fileno())
        return self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        self._file.close()


def _is_log(path: Path) -> bool:
    """Whether the file begins with a record, or with a part of one, that a run wrote."""
    with open_file(path) as file:
        return file.readline(1 << 20).startswith(b'{"step": ')


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


class TensorBoard:
    """Event files through tensorboardX; without that package one notice, and nothing is written.

    tensorboardX's usual writer lives in a thread that dies with a traceback when the disk is full; this uses its plain one.
    A disk that is full ends the event files with a warning, not the run.
    """

    def __init__(self, folder: Path, start: int, enabled: bool):
        self._writer = None
        self._flushed = time.perf_counter()
        if not enabled:
            return
        try:
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto import event_pb2, summary_pb2
        except ImportError:
            say("no TensorBoard files: pip install 'tapetum[logs]' to have them")
            return
        self._event: Any = event_pb2
        self._summary: Any = summary_pb2
        with self._until_full():
            folder.mkdir(exist_ok=True)
            self._writer = EventsWriter(str(folder / "events"), f".{start}")
            session = self._event.SessionLog(status=1)  # START: hides the later steps of earlier sessions
            self._writer.write_event(self._event.Event(wall_time=time.time(), step=start + 1, session_log=session))

    def write(self, record: Mapping[str, Any]) -> None:
        """Write the numbers of one record, under train/ and eval/."""
        if self._writer is None:
            return
        flat = {f"train/{k}": v for k, v in record.items() if k not in ("step", "metrics", "eval")}
        flat |= {f"train/{k}": v for k, v in record["metrics"].items()}
        flat |= {f"eval/{k}": v for k, v in record.get("eval", {}).items()}
        values = [self._summary.Summary.Value(tag=name, simple_value=float(value)) for name, value in flat.items()]
        event = self._event.Event(wall_time=time.time(), step=record["step"], summary=self._summary.Summary(value=values))
        with self._until_full():
            self._writer.write_event(event)
            if time.perf_counter() - self._flushed > PLAIN_SECONDS:
                self._writer.flush()
                self._flushed = time.perf_counter()

    def close(self) -> None:
        if self._writer is not None:
            with self._until_full():
                self._writer.close()

    @contextmanager
    def _until_full(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._writer = None
            say(f"warning: no more TensorBoard files: {error.strerror}")


class Ticker:
    """Progress on stderr: a bar on a terminal, else a plain line every ten seconds."""

    def __init__(self, start: int, config: TrainConfig):
        self._config = config
        self.flops_per_step = 0.0
        self._start, self._began, self._spoke = start, time.perf_counter(), 0.0
        self._bar = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task("training", total=config.steps, completed=start, text="")

    def tick(self, done: int, loss: float) -> None:
        """Print progress after `done` steps of the run."""
        now = time.perf_counter()
        if self._bar is None and now - self._spoke < PLAIN_SECONDS and done < self._config.steps:
            return
        self._spoke = now
        steps_per_s = (done - self._start) / max(now - self._began, 1e-9)
        text = f"step {done}/{self._config.steps}  loss {loss:.4g}  {steps_per_s * self._config.batch_size:.1f} samples/s"
        if self.flops_per_step:
            text += f"  {steps_per_s * self.flops_per_step / 1e9:.1f} GFLOP/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, text=text)
        else:
            left = int((self._config.steps - done) / max(steps_per_s, 1e-9))
            say(f"{text}  left {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()


LEDGER_SECONDS = 30.0
"""Seconds between writings of ledger.json, besides those at checkpoints."""


class Report:
    """A context manager that writes the ledger however the run ends."""

    def __init__(self, out: Path, config: TrainConfig, processes: ProcessGroup, *, start: int, log_position: int):
        self.config = config
        self.ledger = Ledger(out / "ledger.json", asdict(config), config.ledger, gpus=_gpus(processes))
        self.log = JsonLines(out / "log.jsonl", log_position)
        self.board = TensorBoard(out / "tensorboard", start, config.tensorboard)
        self.ticker = Ticker(start, config)
        self.ticker.flops_per_step = sum(self.ledger.flops_per_step.values())
        self._cpu_seconds = 0.0
        self._ledger_written = time.perf_counter()

    @property
    def needs_flops(self) -> bool:
        """Check whether no session of this run has counted the FLOPs of a step."""
        return not self.ledger.flops_per_step

    def set_flops(self, micro_batch: Mapping[str, Flops], count: int) -> None:
        """Set the FLOPs of what a step does `count` times, such as a micro-batch, for each of the task's parts."""
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

    def step(self, record: Mapping[str, Any], cpu_seconds: float) -> None:
        """Record one step; `cpu_seconds` are those of all processes since the session began."""
        self._cpu_seconds = cpu_seconds
        self.ledger.add(steps=1, samples=self.config.batch_size)
        if record["step"] % self.config.log_every == 0 or record["step"] == self.config.steps or "eval" in record:
            self.log.write(record)
            self.board.write(record)
        self.ticker.tick(record["step"], record["loss"])
        if time.perf_counter() - self._ledger_written > LEDGER_SECONDS:
            self.write_ledger()

    def write_ledger(self) -> None:
        """Save the ledger as of now."""
        self.ledger.write(self._cpu_seconds)
        self._ledger_written = time.perf_counter()

    def __enter__(self) -> "Report":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.ticker.close()
        self.log.close()
        with suppress(OSError) if kind else nullcontext():  # a full disk has been told of already
            self.board.close()
            self.write_ledger()


def _gpus(processes: ProcessGroup) -> list[Gpu]:
    if processes.device.type != "cuda":
        return []
    used = range(torch.cuda.device_count()) if processes.size > 1 else [processes.device.index or 0]
    return [Gpu(str(p.uuid), p.name) for p in (torch.cuda.get_device_properties(i) for i in used)]
