"""`tapetum train hip`."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from tapetum.app.shell.options import LaunchOptions, options
from tapetum.app.shell.settings import WithSettings
from tapetum.systems.hip.recipes import RECIPES, HipRun

_SIZE = tyro.constructors.PrimitiveConstructorSpec(
    nargs=(1, 2),
    metavar="N|ROWS COLUMNS",
    instance_from_str=lambda words: (int(words[0]), int(words[-1])),
    is_instance=lambda value: True,
    str_from_instance=lambda size: [str(size)] if size is None else [str(n) for n in size],
)
"""One number for squares, or two."""


@dataclass(frozen=True, kw_only=True)
class Hip(WithSettings):
    """Train HiP on raw images, sound, video or points: masked auto-encoding, then classes.

    Under torchrun it runs on several processes. What is not given is as the layout's recipe has it: the paper's sizes for
    imagenet, audioset, voc, modelnet40 and kinetics, small ones for parquet and shards.
    """

    recipe: Annotated[
        HipRun,
        options(
            RECIPES,
            by="layout",
            required=("data",),
            hidden=("weights",),
            markers={"image": (_SIZE, tyro.conf.arg(aliases=["--size"])), "bf16": tyro.conf.FlagConversionOff},
        ),
    ]
    launch: LaunchOptions


HipCommand = Annotated[Hip, tyro.conf.subcommand("hip", prefix_name=False)]
