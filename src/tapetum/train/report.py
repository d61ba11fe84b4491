"""The writing side of a run: log, TensorBoard, progress and ledger, in the main process alone."""

import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tapetum.account.flops import Flops
from tapetum.account.ledger import Gpu, Ledger
from tapetum.train.config import TrainConfig
from tapetum.train.log import JsonLines, TensorBoard, Ticker
from tapetum.train.world import World

LEDGER_SECONDS = 30.0
"""Seconds between writings of ledger.json, besides those at checkpoints."""


class Report:
    """A context manager that writes the ledger however the run ends."""

    def __init__(self, out: Path, config: TrainConfig, world: World, *, start: int, log_position: int):
        self.config = config
        self.ledger = Ledger(out / "ledger.json", asdict(config), config.ledger, gpus=_gpus(world))
        self.log = JsonLines(out / "log.jsonl", log_position)
        self.board = TensorBoard(out / "tensorboard", start, config.tensorboard)
        self.ticker = Ticker(start, config)
        self.ticker.flops_per_step = sum(self.ledger.flops_per_step.values())
        self._cpu_seconds = 0.0
        self._ledger_written = time.perf_counter()

    @property
    def wants_flops(self) -> bool:
        """Say whether no session of this run has counted the FLOPs of a step."""
        return not self.ledger.flops_per_step

    def set_flops(self, micro_batch: Mapping[str, Flops], count: int) -> None:
        """Take the FLOPs of what a step does `count` times, such as a micro-batch, for each of the task's parts."""
        per_step = {}
        for way in ("forward", "backward"):
            for name, flops in micro_batch.items():
                per_step[f"{name}/{way}" if name else way] = getattr(flops, way) * count
        self.ledger.flops_per_step = per_step
        phases: dict[str, int] = {}
        for flops in micro_batch.values():
            for name, found in {**flops.by_part, "recomputed": flops.recomputed}.items():
                phases[name] = phases.get(name, 0) + found * count
        self.ledger.phases_per_step = {name: found for name, found in phases.items() if found}
        self.ticker.flops_per_step = sum(per_step.values())

    def step(self, record: Mapping[str, Any], cpu_seconds: float) -> None:
        """Tell of one step; `cpu_seconds` are those of all processes since the session began."""
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


def _gpus(world: World) -> list[Gpu]:
    if world.device.type != "cuda":
        return []
    used = range(torch.cuda.device_count()) if world.size > 1 else [world.device.index or 0]
    return [Gpu(str(p.uuid), p.name) for p in (torch.cuda.get_device_properties(i) for i in used)]
