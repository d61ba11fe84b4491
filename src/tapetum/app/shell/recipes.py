"""Commands that train: a recipe and a `Launch` opened up into options, a file of settings, and what is printed at the end."""

from collections.abc import Callable
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from tapetum.app.shell.commands import Command, print_result, with_json
from tapetum.app.shell.options import options
from tapetum.app.shell.settings import WithSettings, settings_of, with_settings
from tapetum.app.verb import Result
from tapetum.train.launch_config import Launch

LaunchOptions = Annotated[Launch, options({"": Launch(out=Path())}, required=("out",), hidden=("settings",))]
"""Type of a field that says where and with what a training command runs."""


@dataclass(frozen=True, kw_only=True)
class RecipeOptions(WithSettings):
    """Options of a command that trains by a recipe."""

    recipe: Any
    launch: LaunchOptions


def recipe_options(help: str, recipe: Any, base: type = RecipeOptions) -> type:
    """Make a dataclass of options with the field `recipe` of an annotated type, see `tapetum.app.shell.options`."""
    made = make_dataclass("RecipeOptions", [("recipe", recipe)], bases=(base,), frozen=True, kw_only=True)
    made.__doc__ = help
    return made


def recipe_command(
    verb: str,
    name: str,
    given_options: type,
    work: Callable[[Any, Launch, Callable[[str], None]], Result | None],
    *,
    product: str = "weights",
    aside: bool = False,
) -> Command:
    """Make the command of a recipe.

    Args:
        verb: begins the command that repeats a run, as its settings.toml says.
        name: of the recipe, in that file.
        given_options: a dataclass such as `RecipeOptions`.
        work: trains for options, a launch and a function that takes lines about it; None where it was stopped before its end.
        product: the key of the JSON that is null where it was stopped.
        aside: lines about it go to stderr, as they do with --json.
    """
    kind = with_json(given_options)

    def run(given: Any) -> None:
        from tapetum.app.shell.output import note, print_json, stopped
        from tapetum.train.launch import is_main

        main, out = is_main(), given.launch.out
        say = (note if aside or given.json else print) if main else _silent
        result = work(given, replace(given.launch, settings=settings_of(given, name, verb)), say)
        if result is None:
            if main and given.json:
                print_json({product: None, "out": str(out)})
            stopped(out, say if main else None)
        elif main:
            print_result(result, given.json)

    return Command(kind, run, lambda words: with_settings(kind, name, words))


def _silent(text: str) -> None:
    """Print nothing: another process does."""
