"""`tapetum train`: whole training runs by name; one file a system, each with its commands as a union."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from tapetum.app.shell.output import stopped
from tapetum.app.shell.settings import settings_of, with_settings
from tapetum.app.shell.train.hip import HipCommand
from tapetum.app.shell.train.localiser import LocaliserCommand
from tapetum.app.shell.train.longvideo import LongVideoCommand, LongVideoTraining
from tapetum.app.shell.train.odin import OdinCommand
from tapetum.app.shell.train.paligemma import PaliGemmaCommand
from tapetum.app.shell.train.paligemma_masks import MaskCodecCommand
from tapetum.app.shell.train.tap import TapCommand
from tapetum.app.shell.train.transfer import CocoCommand, FcnCommand
from tapetum.app.train import train
from tapetum.train.launch import is_main

Command = (
    TapCommand
    | HipCommand
    | PaliGemmaCommand
    | MaskCodecCommand
    | OdinCommand
    | LongVideoCommand
    | FcnCommand
    | CocoCommand
    | LocaliserCommand
)
RECIPES = {about.name: kind for kind, about in map(get_args, get_args(Command))}
"""Commands by the name of their recipe."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a model; the same command goes on where a run was stopped."""

    recipe: Command

    @staticmethod
    def prepared(words: Sequence[str]) -> list[str]:
        """Add what the file of --config says."""
        if not words or words[0] not in RECIPES:
            return list(words)
        return with_settings(RECIPES[words[0]], words[0], words)

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        command, main = self.recipe, is_main()
        if isinstance(command, LongVideoTraining) and (lines := command.planned()) is not None:
            print("\n".join(lines))
            return
        [name] = [name for name, kind in RECIPES.items() if kind is type(command)]
        launch = replace(command.launch, settings=settings_of(command, name))
        trained = train(command.recipe, launch, print if main else lambda text: None)
        if trained is None:
            stopped(command.launch.out, print if main else None)
            return
        if not main:
            return
        for name, value in trained.scores.items():
            print(f"{name}  {value:.4f}")
        print(f"weights  {trained.weights}")
