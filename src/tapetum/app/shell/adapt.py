"""`tapetum adapt`: an encoder that learns something new and loses nothing; `tapetum adapt verify` proves it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.adapt import VerifyOptions, adapt, verify
from tapetum.app.shell.options import LaunchOptions, options
from tapetum.app.shell.output import note, print_json, stopped, terminal
from tapetum.app.shell.settings import WithSettings, settings_of, with_settings
from tapetum.systems.adapters.recipes import RECIPES, AdaptRun
from tapetum.train.launch import is_main

if TYPE_CHECKING:
    from tapetum.systems.adapters.run import Finished

_MARKERS = {"cache": tyro.conf.FlagConversionOff}


@dataclass(frozen=True, kw_only=True)
class Learn(WithSettings):
    """Teach an encoder a task with small adapters and a head; the encoder itself is not changed.

    classify learns the names of images in a folder with a folder for each class, segment a class for every pixel (laid out as
    VOC), clone what the demonstrations of `tapetum data demos` show. The same command goes on where a run was stopped.
    """

    data: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DATA")]
    """Folder of the data, or one parquet file."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the result as JSON instead of text."""
    recipe: Annotated[AdaptRun, options(RECIPES, by="task", about="What is learned.", hidden=("data",), markers=_MARKERS)]
    launch: LaunchOptions

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        launch = replace(self.launch, settings=settings_of(self, "adapt"))
        finished = adapt(replace(self.recipe, data=str(self.data)), launch, note if is_main() else lambda text: None)
        if finished is None:
            if is_main() and self.json:
                print_json({"weights": None, "out": str(self.launch.out)})
            stopped(self.launch.out, note if is_main() else None)
        elif not is_main():
            return
        elif self.json:
            print_json(_content(finished))
        else:
            print(_text(finished))


@dataclass(frozen=True, kw_only=True)
class Verify(VerifyOptions):
    """Prove that the encoder under an adapter is bit for bit what it was when the adapter was saved."""

    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            found = verify.run(self, listener)
        if self.json:
            print_json(found.as_json())
            return
        print(f"adapter  {found.adapter} in {found.file}\ntrunk    {found.trunk}")
        print(f"before   {found.before}\nnow      {found.now}")
        print(
            f"equal    {found.tensors} weights and buffers, bit for bit; and {found.outputs} outputs of the trunk with the "
            "adapter attached and off"
        )


@dataclass(frozen=True, kw_only=True)
class Adapt:
    """Teach an encoder something new without changing it; prove that it has not changed.

    `tapetum adapt DATA ...` is short for `tapetum adapt learn DATA ...`.
    """

    action: (
        Annotated[Learn, tyro.conf.subcommand("learn", prefix_name=False)]
        | Annotated[Verify, tyro.conf.subcommand("verify", prefix_name=False)]
    )

    @staticmethod
    def spelled(words: Sequence[str]) -> list[str]:
        """Add `learn` where the first word is data."""
        short = bool(words) and words[0] not in ("learn", "verify", "-h", "--help")
        return ["learn", *words] if short else list(words)

    @staticmethod
    def prepared(words: Sequence[str]) -> list[str]:
        """Add what the file of --config says."""
        learns = bool(words) and words[0] == "learn"
        return ["learn", *with_settings(Learn, "adapt", words[1:])] if learns else list(words)

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        self.action.run()


def _content(finished: "Finished") -> dict[str, Any]:
    return {
        "weights": str(finished.weights),
        "scores": dict(finished.scores),
        "parameters": dict(finished.parameters),
        "proof": finished.proof and finished.proof.as_json(),
        "film": finished.film and str(finished.film),
    }


def _text(finished: "Finished") -> str:
    rows = [f"{name}  {value:.4f}" for name, value in finished.scores.items()]
    rows.append("learned  " + ", ".join(f"{section} {count:,}" for section, count in finished.parameters.items()))
    if finished.proof is not None:
        rows.append(f"the trunk is what it was, bit for bit: {finished.proof.now}")
    if finished.film is not None:
        rows.append(f"film  {finished.film}")
    return "\n".join([*rows, f"weights  {finished.weights}"])
