"""`tapetum train paligemma-masks`."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from tapetum.app.shell.options import LaunchOptions, options
from tapetum.app.shell.settings import WithSettings
from tapetum.systems.paligemma.masks.config import RECIPES, MaskCodecRun


@dataclass(frozen=True, kw_only=True)
class PaligemmaMasks(WithSettings):
    """Train the codec that writes masks as 16 tokens (All in Tokens), on masks of scenes or of COCO's files.

    --size small is an hour of one processor; official has the sizes and settings of the published one.
    """

    recipe: Annotated[MaskCodecRun, options(RECIPES, by="size", required=("data",))]
    launch: LaunchOptions


MaskCodecCommand = Annotated[PaligemmaMasks, tyro.conf.subcommand("paligemma-masks", prefix_name=False)]
