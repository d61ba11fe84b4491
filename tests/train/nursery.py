"""A process that has imported torch, started no thread, and for each line on stdin forks trainers.

A line is FOLDER WORKERS DEADLY PARALLEL. DEADLY makes the (first) trainer kill itself: '<audit event>:<part of a path>', such
as 'os.rename:tmp-step_00000014', or '-'. PARALLEL is ddp or fsdp for two trainers of one run, or '-' for one that accumulates.
It answers with the trainers' process ids at once, and with their exit codes (or minus their signals) at their end.
"""

import os
import random
import signal
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch._dynamo  # as building an optimizer does, which would cost every trainer seconds
from torch import nn

from support.forks import free_port
from tapetum.core.errors import TapetumError
from tapetum.train import Task, TrainConfig, fit

STEPS = 40
CONFIG = TrainConfig(
    steps=STEPS,
    batch_size=8,
    accumulation=2,
    warmup_steps=5,
    ema_decay=0.9,
    weight_decay=0.1,
    eval_every=15,
    checkpoint_every=7,
    threads=1,
    tensorboard=False,
)


class Noise:
    """Random vectors, drawn from three global generators. Where the file `fatal` lies, it kills its own process once."""

    def __init__(self, fatal: Path):
        self.fatal = fatal

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        if number > 100 and self.fatal.exists():
            self.fatal.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.0005)
        return {name: {"x": torch.randn(8) + float(np.random.rand()) + random.random(), "name": name} for name in Tiny.parts}


class Tiny(Task):
    """A network with everything that can carry state: batch norm, dropout, noise in the loss, two losses, a teacher."""

    parts = ("alone", "taught")
    teachers = ("ema",)

    def __init__(self, fatal: Path):
        self.fatal = fatal

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.Dropout(0.2), nn.ReLU(), nn.Linear(32, 1))

    def shards(self, model: nn.Module) -> list[nn.Module]:
        return [model[0]]

    def dataset(self) -> Noise:
        return Noise(self.fatal)

    def loss(self, model, batch, moment):
        target = batch["x"].sum(1, keepdim=True) + 0.1 * torch.randn(len(batch["x"]), 1, generator=moment.generator)
        if batch["name"][0] == "taught":
            # of its first layer: a batch norm's statistics are the first process's alone, so they differ from one process's
            target = target + moment.teachers["ema"][0](batch["x"]).mean(1, keepdim=True).detach()
        loss = (model(batch["x"]) - target).square().mean()
        return loss, {"mean": batch["x"].mean()}

    def evaluate(self, model: nn.Module, step: int) -> dict[str, float]:
        return {"score": float(model(torch.randn(4, 8)).mean())}


def nursery_main() -> None:
    for request in sys.stdin:
        out, workers, deadly, parallel = request.split()
        config = replace(CONFIG, workers=int(workers))
        if parallel != "-":
            config = replace(config, parallel=parallel, accumulation=1)
            os.environ.update(WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()))
        pids = [start(Path(out), config, deadly if rank == 0 else "-", rank) for rank in range(1 if parallel == "-" else 2)]
        print(*pids, flush=True)
        print(*(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids), flush=True)


def start(out: Path, config: TrainConfig, deadly: str, rank: int) -> int:
    pid = os.fork()
    if pid == 0:
        os.setpgrp()
        if config.accumulation == 1:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
        die_at(deadly)
        trainer_main(out, config)
    return pid


def die_at(deadly: str) -> None:
    """SIGKILL to this process the moment before it touches a certain file, without touching the code under test."""
    event, _, path = deadly.partition(":")

    def hook(name: str, arguments: tuple) -> None:
        if name == event and path in str(arguments[0]):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def trainer_main(out: Path, config: TrainConfig) -> None:
    code = 1
    try:
        out.mkdir(exist_ok=True)
        with (out / "stderr").open("a") as errors:
            os.dup2(errors.fileno(), 2)
        code = 0 if fit(Tiny(out / "fatal"), config, out).state == "finished" else 3
    except TapetumError as error:
        print(error, file=sys.stderr, flush=True)
        code = 2
    except BaseException:
        traceback.print_exc()
    finally:
        (out / "ended").touch()
        os._exit(code)


if __name__ == "__main__":
    nursery_main()
