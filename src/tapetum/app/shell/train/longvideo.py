"""`tapetum train longvideo`."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from tapetum.app.plan import plan_training
from tapetum.app.shell.options import LaunchOptions, options
from tapetum.app.shell.settings import WithSettings
from tapetum.systems.longvideo.recipes import RECIPES, VideoTextRun

_FLAGS = {"bf16": tyro.conf.FlagConversionOff, "checkpointing": tyro.conf.FlagConversionOff}


@dataclass(frozen=True, kw_only=True)
class LongVideoTraining(WithSettings):
    """Teach a video encoder and a text tower that what belongs together is alike (LongViViT, MC-ViT), or a frozen language
    model to see what a frozen encoder sees, a stage a run.

    The weights are for tapetum.load, and for --start of the next stage. Under torchrun it runs on several processes.
    """

    recipe: Annotated[VideoTextRun, options(RECIPES, by="stage", required=("data",), markers=_FLAGS)]
    launch: LaunchOptions
    plan: bool = False
    """Only say what it will cost: tokens, memories, bytes, FLOPs and time of a clip, a step and the run."""

    def planned(self) -> list[str] | None:
        """Give what is to be printed instead of training, if that was asked for."""
        return plan_training(self.recipe).lines() if self.plan else None


LongVideoCommand = Annotated[LongVideoTraining, tyro.conf.subcommand("longvideo", prefix_name=False)]
