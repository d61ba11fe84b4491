"""`tapetum train tap-nano`, `causal-tap-nano`, `more-tap-nano` and `tap-kubric`."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from tapetum.app.shell.options import LaunchOptions, options
from tapetum.app.shell.settings import WithSettings
from tapetum.systems.tap.training.recipes import SCHEDULES, TAP_NANO, TapKubric, TapNano

_HIDDEN = "name", "model", "phases"
_MARKERS = {"start": tyro.conf.arg(name="weights")}


@dataclass(frozen=True, kw_only=True)
class TapNanoScenes(WithSettings):
    """Train the bundled point tracker on synthetic scenes."""

    recipe: Annotated[TapNano, options({"": TAP_NANO["tap-nano"]}, hidden=_HIDDEN, markers=_MARKERS)]
    launch: LaunchOptions


@dataclass(frozen=True, kw_only=True)
class CausalTapNanoScenes(WithSettings):
    """Make the bundled point tracker one for live use, which sees frames one by one."""

    recipe: Annotated[TapNano, options({"": TAP_NANO["causal-tap-nano"]}, hidden=_HIDDEN, markers=_MARKERS)]
    launch: LaunchOptions


@dataclass(frozen=True, kw_only=True)
class MoreTapNanoScenes(WithSettings):
    """Train the bundled point tracker further."""

    recipe: Annotated[TapNano, options({"": TAP_NANO["more-tap-nano"]}, hidden=_HIDDEN, markers=_MARKERS)]
    launch: LaunchOptions


@dataclass(frozen=True, kw_only=True)
class Kubric(WithSettings):
    """Train TAPIR or a relative on Kubric's point tracks as the paper does; under torchrun on several processes."""

    recipe: Annotated[
        TapKubric,
        options(
            SCHEDULES,
            by="schedule",
            about="Steps, batch size and weight decay: the paper's, or those of the public configuration.",
            required=("data",),
            markers=_MARKERS,
        ),
    ]
    launch: LaunchOptions


TapCommand = (
    Annotated[TapNanoScenes, tyro.conf.subcommand("tap-nano", prefix_name=False)]
    | Annotated[CausalTapNanoScenes, tyro.conf.subcommand("causal-tap-nano", prefix_name=False)]
    | Annotated[MoreTapNanoScenes, tyro.conf.subcommand("more-tap-nano", prefix_name=False)]
    | Annotated[Kubric, tyro.conf.subcommand("tap-kubric", prefix_name=False)]
)
