"""`tapetum train odin`."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from tapetum.app.shell.options import LaunchOptions, options
from tapetum.app.shell.settings import WithSettings
from tapetum.systems.odin.recipes import RECIPES, OdinRun


@dataclass(frozen=True, kw_only=True)
class OdinTraining(WithSettings):
    """Learn objects and representations together, from images without labels (Odin).

    The encoder is for `tapetum embed --model RUN`, the whole network for `tapetum discover --model RUN`. Under torchrun it runs
    on several processes.
    """

    recipe: Annotated[OdinRun, options(RECIPES, by="preset", required=("data",), markers={"bf16": tyro.conf.FlagConversionOff})]
    launch: LaunchOptions


OdinCommand = Annotated[OdinTraining, tyro.conf.subcommand("odin", prefix_name=False)]
