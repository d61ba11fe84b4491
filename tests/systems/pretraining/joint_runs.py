"""A script of one or two processes: two steps of every method on the images in DATA, and some with parts that wait."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from systems.pretraining.conftest import SETTINGS, tiny
from tapetum.systems.pretraining.methods import METHODS
from tapetum.systems.pretraining.run import loop_config, task_for
from tapetum.train import fit
from tapetum.train.launch import world_size
from tapetum.train.launch_config import Launch
from tapetum.train.process_group import join_process_group

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{method: (method, {}) for method in METHODS},
    "dino-frozen": ("dino", {"dino": replace(SETTINGS["dino"]["dino"], frozen_epochs=0.2)}),
    "dinov2-heads": (
        "dinov2",
        {"steps": 4, "micro_batch": 4, "dinov2": replace(SETTINGS["dinov2"]["dinov2"], head_epochs=0.4, frozen_epochs=0.2)},
    ),
    "dinov2-small-batch": (
        "dinov2",
        {"steps": 3, "dinov2": replace(SETTINGS["dinov2"]["dinov2"], centring="sinkhorn", queue=32, gram=1.0, gram_every=2)},
    ),
}
"""Method and settings by the folder of the run; 5 steps are an epoch. A micro-batch is of all processes."""


def main(data: str, out: Path) -> None:
    with join_process_group("cpu"):
        for folder, (method, settings) in CASES.items():
            if "micro_batch" in settings:
                settings = {**settings, "micro_batch": settings["micro_batch"] // world_size()}
            task = task_for(tiny(method, data, **{"steps": 2, "optimizer": "sgd", "base_lr": 0.03, **settings}))
            launch = Launch(out=out / folder, workers=0, threads=1)
            fit(task, loop_config(task, launch, tensorboard=False), launch.out)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], Path(sys.argv[2]))
