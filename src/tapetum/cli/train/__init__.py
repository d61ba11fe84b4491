"""`tapetum train`: whole training runs by name; one file a system, each with its commands as a union."""

from dataclasses import dataclass

from tapetum.cli.train.hip import HipCommand
from tapetum.cli.train.tap import TapCommand
from tapetum.train.launch import is_main
from tapetum.verbs.train import train


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a model; the same command goes on where a run was stopped."""

    recipe: TapCommand | HipCommand

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        command, main = self.recipe, is_main()
        trained = train(command.recipe, command.launch, print if main else lambda text: None)
        if not main:
            return
        if trained is None:
            print(f"stopped; the same command goes on from {command.launch.out}")
            return
        for name, value in trained.scores.items():
            print(f"{name}  {value:.4f}")
        print(f"weights  {trained.weights}")
