"""Training commands: a recipe and a `Launch` expanded into options."""

from collections.abc import Callable
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from tapetum.app.commands import Command, with_json
from tapetum.app.learn.options import options
from tapetum.app.verb import Listener, Result, Stopped
from tapetum.train.launch_config import Launch

LaunchOptions = Annotated[Launch, options({"": Launch(out=Path())}, required=("out",), hidden=("settings",))]
"""Type of a field that says where and with what a training command runs."""


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """Options of a command that trains by a recipe."""

    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml")] = None
    """File of settings, such as the settings.toml of every run; what the command line says wins."""
    dry: bool = False
    """Only say what the run costs: steps, warm-up, parameters, FLOPs, memory, time and energy. Counts data that are there."""
    recipe: Any
    launch: LaunchOptions


def recipe_options(help: str, recipe: Any) -> type:
    """Build an options dataclass with the field `recipe` of an annotated type, see `tapetum.app.learn.options`."""
    made = make_dataclass("RecipeOptions", [("recipe", recipe)], bases=(RecipeOptions,), frozen=True, kw_only=True)
    made.__doc__ = help
    return made


def recipe_command(
    name: str,
    given_options: type,
    train: Callable[[Any, Launch, Listener], Result | None],
    *,
    product: str = "weights",
    measure: Callable[[Any, Launch, float], Any] = lambda recipe, launch, flops: None,
) -> Command:
    """Build the command of a recipe, of which files of settings have the `name`.

    `train` does the work for options, a launch and a listener; it returns None if stopped early: then the JSON key `product`
    is null. For --dry, `measure` predicts what a recipe whose micro-batch costs some FLOPs takes on this machine, if it can.
    """

    def work(given: Any, listener: Listener) -> Result:
        if given.dry:
            from tapetum.app.learn.dry import PlannedRun
            from tapetum.bench.plans import plan_run

            named = {"data": str(given.data)} if hasattr(given, "data") else {}  # without a word before it
            plan = plan_run(replace(given.recipe, **named), given.launch)
            first = plan.phases[0]
            micro_batch = first.step_flops / first.config.batch_size * first.micro_batch
            return PlannedRun(plan, measure(given.recipe, given.launch, micro_batch))
        return train(given, given.launch, listener) or Stopped(given.launch.out, product)

    return Command(with_json(given_options), work, recipe=name)
