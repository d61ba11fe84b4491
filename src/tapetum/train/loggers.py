"""Loggers: the numbers of a run in TensorBoard and Weights & Biases, beside its log.jsonl.

Only the process that writes log.jsonl uses loggers. A resumed run continues the same run of W&B. If a service or a disk fails
during training, one line reports it and the run continues without it; log.jsonl is always complete.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol
from uuid import uuid4

from tapetum.account.machine import without_paths
from tapetum.core.errors import MissingExtra, TapetumError, install_line
from tapetum.core.files import write_json
from tapetum.core.reading import read_json
from tapetum.train.launch import say

IDS = "loggers.json"
"""File in the folder of a run: its id in W&B, as {"wandb": ID}."""
FLUSH_SECONDS = 10.0
"""Seconds between writings of event files to the disk."""
Outcome = Literal["finished", "stopped", "failed"]
"""How a session of a run ends."""


class Logger(Protocol):
    """Receiver of a run's numbers."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log the numbers of one step, by names such as train/loss; errors of the service are passed on."""
        ...

    def close(self, outcome: Outcome) -> None:
        """Send what is still queued, and report how the session ended."""
        ...


def open_loggers(
    names: tuple[str, ...], out: Path, start: int, settings: Mapping[str, Any], *, tensorboard: bool
) -> dict[str, Logger]:
    """Open the loggers with these names, and TensorBoard's if `tensorboard` is set and its package is installed.

    They are told the folder of the run, how many steps were done before, and the run's settings as JSON values.

    Raises MissingExtra if the package of a logger is missing, and TapetumError if its service refuses.
    """
    kinds: dict[str, Any] = {"tensorboard": TensorBoardLogger, "wandb": WandbLogger}
    made: dict[str, Logger] = {name: kinds[name](out, start, settings) for name in names}
    if tensorboard and "tensorboard" not in made:
        try:
            made["tensorboard"] = TensorBoardLogger(out, start, settings)
        except MissingExtra:
            say(f"no TensorBoard files; to have them: {install_line('logs')}")
    return made


def flat_values(record: Mapping[str, Any]) -> dict[str, float]:
    """Name the numbers of a record of log.jsonl: train/loss, eval/knn and so on.

    >>> flat_values({"step": 1, "loss": 0.5, "metrics": {"std": 1}, "eval": {"knn": 0.25}})
    {'train/loss': 0.5, 'train/std': 1.0, 'eval/knn': 0.25}
    """
    flat = {f"train/{name}": value for name, value in record.items() if name not in ("step", "metrics", "eval")}
    flat |= {f"train/{name}": value for name, value in record["metrics"].items()}
    flat |= {f"eval/{name}": value for name, value in record.get("eval", {}).items()}
    return {name: float(value) for name, value in flat.items()}


class Loggers:
    """All loggers of a session; one that fails is reported once on stderr and skipped from then on."""

    def __init__(self, loggers: dict[str, Logger]):
        self._loggers = loggers

    def write(self, record: Mapping[str, Any]) -> None:
        values = flat_values(record)
        for name in list(self._loggers):
            with self._leaving_out(name):
                self._loggers[name].write(record["step"], values)

    def close(self, outcome: Outcome) -> None:
        for name in list(self._loggers):
            with self._leaving_out(name):
                self._loggers[name].close(outcome)

    @contextmanager
    def _leaving_out(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # of a service's own library, which may raise anything
            del self._loggers[name]
            say(f"warning: nothing more is logged to {name}: {_reason(error)}; log.jsonl goes on")


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return next(iter(text.strip().splitlines()), type(error).__name__)[:200]


class TensorBoardLogger:
    """Event files in tensorboard/, through tensorboardX.

    tensorboardX's usual writer lives in a thread that dies with a traceback when the disk is full; this uses its plain one.
    """

    def __init__(self, out: Path, start: int, settings: Mapping[str, Any]):
        try:
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto import event_pb2, summary_pb2
        except ImportError as error:
            raise MissingExtra("tensorboardX", "logs", "logging to TensorBoard") from error
        self._event: Any = event_pb2
        self._summary: Any = summary_pb2
        folder = out / "tensorboard"
        folder.mkdir(exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"), f".{start}")
        self._flushed = time.perf_counter()
        session = self._event.SessionLog(status=1)  # START: hides the later steps of earlier sessions
        self._writer.write_event(self._event.Event(wall_time=time.time(), step=start + 1, session_log=session))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        summary = [self._summary.Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        event = self._event.Event(wall_time=time.time(), step=step, summary=self._summary.Summary(value=summary))
        self._writer.write_event(event)
        if time.perf_counter() - self._flushed > FLUSH_SECONDS:
            self._writer.flush()
            self._flushed = time.perf_counter()

    def close(self, outcome: Outcome) -> None:
        self._writer.close()


class WandbLogger:
    """A run of Weights & Biases, with its files in wandb/ in the folder of the run.

    The package's own variables configure it: WANDB_PROJECT (by default tapetum), WANDB_ENTITY, WANDB_MODE=offline.
    Steps that were repeated after a crash are not logged twice: the service accepts steps in ascending order only.
    """

    def __init__(self, out: Path, start: int, settings: Mapping[str, Any]):
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingExtra("wandb", "wandb", "logging to Weights & Biases") from error
        file, number = out / IDS, uuid4().hex[:12]
        with suppress(OSError, ValueError, KeyError, TypeError):  # there is none, and services get this run as a new one
            number = str(read_json(file)["wandb"])
        try:
            self._run: Any = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "tapetum"),
                name=out.resolve().name,
                id=number,
                resume="allow",
                dir=str(out),
                config=without_paths(settings),
                settings=wandb.Settings(silent=True, console="off"),
            )
        except Exception as error:
            raise TapetumError(
                f"cannot begin a run of Weights & Biases ({_reason(error)}); run wandb login, set WANDB_MODE=offline, or leave "
                "wandb out of --log-to"
            ) from error
        write_json(file, {"wandb": number}, own=True)
        offline = getattr(self._run, "offline", False)
        say(f"logs to Weights & Biases: {f'offline, run {number}, in wandb/' if offline else self._run.url}")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self, outcome: Outcome) -> None:
        self._run.finish(exit_code=1 if outcome == "failed" else 0)
