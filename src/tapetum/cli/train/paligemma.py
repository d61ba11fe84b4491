"""`tapetum train paligemma` and `paligemma-transfer`."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from tapetum.cli.options import LaunchOptions, options
from tapetum.cli.settings import WithSettings
from tapetum.paligemma.recipes import STAGES, TRANSFER, PaliGemmaStage, PaliGemmaTransfer

_MARKERS = {"bf16": tyro.conf.FlagConversionOff, "start": tyro.conf.arg(name="weights")}


@dataclass(frozen=True, kw_only=True)
class PaliGemmaStages(WithSettings):
    """Train a small PaliGemma on pictures of scenes, stage after stage: the eye alone, all tasks, larger pictures."""

    recipe: Annotated[PaliGemmaStage, options(STAGES, by="stage", required=("data",), markers=_MARKERS)]
    launch: LaunchOptions


@dataclass(frozen=True, kw_only=True)
class PaliGemmaTransfers(WithSettings):
    """Teach a PaliGemma a task of your own, from lines of JSON with image, prefix and suffix."""

    recipe: Annotated[PaliGemmaTransfer, options({"": TRANSFER}, required=("data",), markers=_MARKERS)]
    launch: LaunchOptions


PaliGemmaCommand = (
    Annotated[PaliGemmaStages, tyro.conf.subcommand("paligemma", prefix_name=False)]
    | Annotated[PaliGemmaTransfers, tyro.conf.subcommand("paligemma-transfer", prefix_name=False)]
)
