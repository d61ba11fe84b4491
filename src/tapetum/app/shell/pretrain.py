"""`tapetum pretrain METHOD`: an encoder from a folder of images; a command a method."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, get_args

import tyro

from tapetum.app.pretrain import pretrain
from tapetum.app.shell.options import LaunchOptions, options
from tapetum.app.shell.output import print_json, stopped
from tapetum.app.shell.settings import WithSettings, settings_of, with_settings
from tapetum.core.errors import BadInput
from tapetum.systems.pretraining.config import METHODS, Method
from tapetum.systems.pretraining.recipes import RECIPES, PretrainRun
from tapetum.train.launch import is_main

if TYPE_CHECKING:
    from tapetum.app.pretrain import PretrainedEncoder


def _recipe(method: Method) -> Any:
    """The options of one method: those of all, and its own settings."""
    others = (name for name in METHODS if name != method)
    return options(
        RECIPES[method],
        by="preset",
        required=("data",),
        hidden=("method", *others),
        markers={"bf16": tyro.conf.FlagConversionOff},
    )


@dataclass(frozen=True, kw_only=True)
class _Command(WithSettings):
    recipe: PretrainRun
    launch: LaunchOptions
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the result as JSON instead of text."""


@dataclass(frozen=True, kw_only=True)
class Supervised(_Command):
    """Classes by cross entropy; needs a folder a class."""

    recipe: Annotated[PretrainRun, _recipe("supervised")]


@dataclass(frozen=True, kw_only=True)
class Clip(_Command):
    """Images and texts that find each other; needs captions (cat.txt beside cat.jpg), or makes them of classes."""

    recipe: Annotated[PretrainRun, _recipe("clip")]


@dataclass(frozen=True, kw_only=True)
class SimClr(_Command):
    """Two views of an image that find each other among all others."""

    recipe: Annotated[PretrainRun, _recipe("simclr")]


@dataclass(frozen=True, kw_only=True)
class Byol(_Command):
    """Prediction of what a slow average says of another view; no negatives."""

    recipe: Annotated[PretrainRun, _recipe("byol")]


@dataclass(frozen=True, kw_only=True)
class Dino(_Command):
    """Small crops that say what a slow average says of large ones."""

    recipe: Annotated[PretrainRun, _recipe("dino")]


@dataclass(frozen=True, kw_only=True)
class Mae(_Command):
    """A ViT that sees a quarter of the patches and draws the others."""

    recipe: Annotated[PretrainRun, _recipe("mae")]


Action = (
    Annotated[Supervised, tyro.conf.subcommand("supervised", prefix_name=False)]
    | Annotated[Clip, tyro.conf.subcommand("clip", prefix_name=False)]
    | Annotated[SimClr, tyro.conf.subcommand("simclr", prefix_name=False)]
    | Annotated[Byol, tyro.conf.subcommand("byol", prefix_name=False)]
    | Annotated[Dino, tyro.conf.subcommand("dino", prefix_name=False)]
    | Annotated[Mae, tyro.conf.subcommand("mae", prefix_name=False)]
)
COMMANDS = {about.name: kind for kind, about in map(get_args, get_args(Action))}
"""Commands by method."""


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Teach an encoder on a folder of images; the same command goes on where a run was stopped.

    What it costs is said before the first step. At the end there is an encoder for `tapetum embed --model RUN`, curves, and a
    page of images with those that are most alike. Under torchrun it runs on several processes.
    """

    method: Action

    @staticmethod
    def prepared(words: Sequence[str]) -> list[str]:
        """Add what the file of --config says."""
        if not words or words[0] not in COMMANDS:
            return list(words)
        return with_settings(COMMANDS[words[0]], words[0], words)

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        command, main = self.method, is_main()
        out = command.launch.out
        launch = replace(command.launch, settings=settings_of(command, command.recipe.method, "pretrain"))
        made = pretrain(command.recipe, launch, print if main and not command.json else lambda text: None)
        if made is None:
            if main and command.json:
                print_json({"encoder": None, "out": str(out)})
            stopped(out, print if main and not command.json else None)
            return
        if not main:
            return
        if command.json:
            print_json(made.as_json())
        else:
            print(_text(made, str(out)))
        if made.collapsed_at is not None:
            raise BadInput(f"the features collapsed at step {made.collapsed_at + 1}; try a lower --base-lr, in another folder")


def _text(made: "PretrainedEncoder", out: str) -> str:
    lines = [
        f"encoder     {made.encoder}    tapetum embed photos/ --model {out} --out vectors.npz",
        f"curves      {made.curves}",
        f"neighbours  {made.neighbours}",
    ]
    if made.damaged:
        lines.append(
            f"skipped     {len(made.damaged)} of {made.images:,} images could not be read: {', '.join(made.damaged[:3])}"
        )
    return "\n".join(lines)
