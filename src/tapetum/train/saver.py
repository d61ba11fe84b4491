"""The checkpoints of a run as the loop sees them: whole or in parts, written while training waits or in the background."""

import time
from pathlib import Path
from typing import Any

from tapetum.train.checkpoint import Place, folder_name, open_store, step_of
from tapetum.train.config import TrainConfig
from tapetum.train.launch import checkpoint_parent
from tapetum.train.process_group import ProcessGroup
from tapetum.train.state import State, flat_tensors, numbers_of, tensors_of

_SAVING_SHARE = 20
"""Checkpoints by time lie at least so many times as far apart as training waits for one."""


class Saver:
    """Finds the newest checkpoint of a run and saves new ones; all processes must call it alike."""

    def __init__(self, config: TrainConfig, out: Path, processes: ProcessGroup):
        self.config, self.processes = config, processes
        self.store = open_store(checkpoint_parent(out, config.checkpoint_folder))
        if processes.main:
            self.store.check_writable()
        self.newest: Place | None = self.store.latest(processes)
        """The newest checkpoint that counts; one that is being saved does not yet."""
        self._sharded = None
        if config.checkpoint == "sharded":
            from tapetum.train.sharded import ShardedSaver  # seconds of imports, which only its runs should pay

            self._sharded = ShardedSaver(self.store, processes)
        self._saved, self._waited = time.monotonic(), 0.0

    @property
    def due(self) -> bool:
        """Check whether the configured minutes have passed since the last checkpoint, in the main process."""
        minutes = self.config.checkpoint_minutes
        if minutes is None or not self.processes.main:
            return False
        return time.monotonic() - self._saved >= max(60 * minutes, _SAVING_SHARE * self._waited)

    @property
    def failed(self) -> bool:
        """Check whether this process knows that the save in progress has failed; `wait` says why."""
        return self._sharded is not None and self._sharded.failed

    def save(self, state: State, run: dict[str, Any], log_position: int) -> None:
        """Save a checkpoint of the current state, after the previous one is written; BadInput if either cannot be."""
        began = time.monotonic()
        self.wait()
        numbers = numbers_of(state, run, log_position)
        if self._sharded is not None:
            self._sharded.begin(state.step, flat_tensors(state), numbers, self._prune)
            if not self.config.async_checkpoint:
                self.wait()
        else:
            tensors = tensors_of(state, self.processes)
            if self.processes.main:
                self.store.save(state.step, tensors, numbers)
                self._prune()
            self.newest = self.store.path(folder_name(state.step))
        self._saved = time.monotonic()
        self._waited = self._saved - began

    def wait(self) -> None:
        """Wait until the save in progress is written; BadInput if it cannot be."""
        step = self._sharded.wait() if self._sharded is not None else None
        if step is not None:
            self.newest = self.store.path(folder_name(step))

    def close(self) -> None:
        """End the background writing; an error already being raised is not hidden by one from the writing."""
        if self._sharded is not None:
            self._sharded.close()

    def _prune(self) -> None:
        self.store.prune(self.config.keep_last, self.config.keep_every)


def name_of(folder: Place) -> str:
    """Name a checkpoint for a message."""
    return folder_name(step_of(folder))
