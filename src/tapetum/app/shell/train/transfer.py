"""`tapetum train fcn` and `tapetum train coco`: what an encoder is good for, after learning on."""

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from tapetum.app.shell.options import LaunchOptions, options
from tapetum.app.shell.settings import WithSettings
from tapetum.transfer.recipes import COCO_RECIPES, FCN_RECIPES, CocoRun, FcnRun

_FLAGS: dict[str, Any] = dict.fromkeys(("bf16", "freeze", "masks"), tyro.conf.FlagConversionOff)


@dataclass(frozen=True, kw_only=True)
class FcnTraining(WithSettings):
    """Fine-tune an encoder to segment PASCAL VOC, Cityscapes, CamVid or ADE20K, and score it: mean IoU.

    Folders are those of the data sets. The encoder may be one of tapetum pretrain or train odin, or a published one.
    """

    recipe: Annotated[FcnRun, options(FCN_RECIPES, by="layout", required=("data", "encoder"), markers=_FLAGS)]
    launch: LaunchOptions


@dataclass(frozen=True, kw_only=True)
class CocoTraining(WithSettings):
    """Fine-tune an encoder to find the boxes and masks of COCO's things with Mask R-CNN, and score it: box AP and mask AP.

    Needs the extra [coco]. The encoder may be one of tapetum pretrain or train odin, or a published one.
    """

    recipe: Annotated[CocoRun, options(COCO_RECIPES, by="preset", required=("data", "encoder"), markers=_FLAGS)]
    launch: LaunchOptions


FcnCommand = Annotated[FcnTraining, tyro.conf.subcommand("fcn", prefix_name=False)]
CocoCommand = Annotated[CocoTraining, tyro.conf.subcommand("coco", prefix_name=False)]
