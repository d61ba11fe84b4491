"""A script of one or two processes: two steps of the method FILE.py:CLASS on the images in DATA, in OUT."""

import sys
from pathlib import Path

import torch

from systems.pretraining.conftest import RESNET
from tapetum.systems.pretraining.recipes import recipe
from tapetum.systems.pretraining.run import loop_config, task_for
from tapetum.train import fit
from tapetum.train.launch_config import Launch


def main(method: str, data: str, out: Path) -> None:
    task = task_for(recipe(method, data, **RESNET, size=16, batch_size=16, steps=2, optimizer="sgd"))
    launch = Launch(out=out, workers=0, threads=1, device="cpu")
    fit(task, loop_config(task, launch, tensorboard=False), out)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
