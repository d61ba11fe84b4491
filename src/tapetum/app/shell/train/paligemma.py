"""`tapetum train paligemma` and `paligemma-transfer`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from tapetum.app.shell.options import LaunchOptions, options
from tapetum.app.shell.settings import WithSettings
from tapetum.systems.paligemma.recipes import STAGES, TRANSFER, PaliGemmaStage, PaliGemmaTransfer
from tapetum.systems.paligemma.transfer.tasks import TASKS, task_run

_MARKERS = {"bf16": tyro.conf.FlagConversionOff, "start": tyro.conf.arg(name="weights")}
_TASKS = {"": TRANSFER} | {name: task_run(name) for name, task in TASKS.items() if task.recipes}


def _pick(task: str, given: Mapping[str, Any]) -> PaliGemmaTransfer:
    """The numbers of a task for images of the size that is asked for."""
    return task_run(task, given.get("image_size")) if task else TRANSFER


_TRANSFER = options(
    _TASKS, by="task", required=("data",), markers=_MARKERS | {"task": tyro.conf.arg(metavar="TASK")}, pick=_pick
)


@dataclass(frozen=True, kw_only=True)
class PaliGemmaStages(WithSettings):
    """Train a small PaliGemma on images of scenes, stage after stage: the vision encoder alone, all tasks, larger images."""

    recipe: Annotated[PaliGemmaStage, options(STAGES, by="stage", required=("data",), markers=_MARKERS)]
    launch: LaunchOptions


@dataclass(frozen=True, kw_only=True)
class PaliGemmaTransfers(WithSettings):
    """Teach a PaliGemma a task of your own, from lines of JSON with image, prefix and suffix; or one of the papers (--task)."""

    recipe: Annotated[PaliGemmaTransfer, _TRANSFER]
    launch: LaunchOptions


PaliGemmaCommand = (
    Annotated[PaliGemmaStages, tyro.conf.subcommand("paligemma", prefix_name=False)]
    | Annotated[PaliGemmaTransfers, tyro.conf.subcommand("paligemma-transfer", prefix_name=False)]
)
