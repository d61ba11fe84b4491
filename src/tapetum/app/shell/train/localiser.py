"""`tapetum train localiser`."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from tapetum.app.shell.options import LaunchOptions, options
from tapetum.app.shell.settings import WithSettings
from tapetum.systems.perception_test.localiser.config import RECIPES, LocaliserRun


@dataclass(frozen=True, kw_only=True)
class LocaliserTraining(WithSettings):
    """Learn to find actions, or sounds, in time (ActionFormer; the Perception Test's tasks 3 and 4).

    The result is for `tapetum eval perception-test --task action --model RUN`. Under torchrun it runs on several processes.
    """

    recipe: Annotated[LocaliserRun, options(RECIPES, by="preset", required=("data",))]
    launch: LaunchOptions


LocaliserCommand = Annotated[LocaliserTraining, tyro.conf.subcommand("localiser", prefix_name=False)]
