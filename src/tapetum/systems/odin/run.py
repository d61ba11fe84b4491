"""Training of Odin, from images to files of weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.systems.odin.recipes import OdinRun
from tapetum.systems.odin.task import OdinTask
from tapetum.systems.odin.weights import ODIN_FILE, save
from tapetum.systems.pretraining.run import run_task, source_of
from tapetum.train.launch import is_main
from tapetum.train.launch_config import Launch


def train_odin(run: OdinRun, launch: Launch, say: Callable[[str], None] = print) -> Path | None:
    """Train in the folder `launch.out`; the same call resumes a stopped run. None if there is more to do.

    Leaves the encoder (`encoder.safetensors`, for `tapetum embed`) and the whole network (`odin.safetensors`, for
    `tapetum discover`), whose path is returned. Raises BadInput for anything the user can fix.
    """
    if run.odin.source == "given":
        raise BadInput("masks that are given want a program of yours (systems.odin.task.OdinTask); choose another source")
    source = source_of(run)
    models: list[Any] = []
    finished = run_task(OdinTask(run, source), launch, say, models.append)
    if finished is None:
        return None
    path = launch.out / ODIN_FILE
    if is_main():
        save(models[0], path)
    return path
