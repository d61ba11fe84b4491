"""`tapetum train longvideo`."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from tapetum.cli.options import LaunchOptions, options
from tapetum.cli.settings import WithSettings
from tapetum.longvideo.recipes import RECIPES, VideoTextRun

_FLAGS = {"bf16": tyro.conf.FlagConversionOff, "checkpointing": tyro.conf.FlagConversionOff}


@dataclass(frozen=True, kw_only=True)
class LongVideoTraining(WithSettings):
    """Teach a video encoder and a text tower that what belongs together is alike (LongViViT, MC-ViT), a stage a run.

    The weights are for tapetum.load, and for --start of the next stage. Under torchrun it runs on several processes.
    """

    recipe: Annotated[VideoTextRun, options(RECIPES, by="stage", required=("data",), markers=_FLAGS)]
    launch: LaunchOptions


LongVideoCommand = Annotated[LongVideoTraining, tyro.conf.subcommand("longvideo", prefix_name=False)]
