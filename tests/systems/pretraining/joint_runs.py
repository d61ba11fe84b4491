"""A script of one or two processes: two steps of every method on the images in DATA, in OUT/METHOD."""

import sys
from pathlib import Path

import torch

from systems.pretraining.conftest import tiny
from tapetum.systems.pretraining.methods import METHODS
from tapetum.systems.pretraining.run import loop_config, task_for
from tapetum.train import fit
from tapetum.train.launch_config import Launch
from tapetum.train.process_group import join_process_group


def main(data: str, out: Path) -> None:
    with join_process_group("cpu"):
        for method in METHODS:
            task = task_for(tiny(method, data, steps=2, optimizer="sgd", base_lr=0.03))
            launch = Launch(out=out / method, workers=0, threads=1)
            fit(task, loop_config(task, launch, tensorboard=False), launch.out)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], Path(sys.argv[2]))
