"""`tapetum train paligemma` and `paligemma-nano`: a PaliGemma trained on images of scenes."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import tyro

from tapetum.app.learn.options import options
from tapetum.app.learn.recipes import recipe_command, recipe_options
from tapetum.app.learn.train import TrainedModel
from tapetum.app.verb import Listener
from tapetum.core.provenance import DATA, guarding_data
from tapetum.systems.paligemma.recipes import PRESETS, PaliGemmaStage, published_stage
from tapetum.train.launch_config import Launch
from tapetum_world.training.paligemma.recipes import RECIPES, NanoRun

_DATA = ("data",)
_FLAGS: dict[str, Any] = {"bf16": tyro.conf.FlagConversionOff}


@guarding_data
def train(
    recipe: PaliGemmaStage | NanoRun, launch: Launch, say: Callable[[str], None] = lambda text: None
) -> TrainedModel | None:
    """Train in the folder `launch.out`, like `tapetum.app.learn.train.train`; None if the run is unfinished."""
    from tapetum.data.remote_folder import local_data
    from tapetum_world.training.paligemma.stages import train_nano, train_stage

    with local_data(recipe, DATA) as local:
        finished = train_nano(local, launch, say) if isinstance(local, NanoRun) else train_stage(local, launch, say)
    return finished and TrainedModel(finished.weights, finished.scores)


def _work(given: Any, launch: Launch, listener: Listener) -> TrainedModel | None:
    return train(given.recipe, launch, listener.line)


def _stage_of(names: tuple[str, str], given: Mapping[str, Any]) -> PaliGemmaStage:
    """Find the settings of a stage; published ones for the given model."""
    stage, preset = names
    return published_stage(stage, given.get("model") or "") if preset == "paper" else PRESETS[names]


paligemma = recipe_command(
    "paligemma",
    recipe_options(
        "Train a PaliGemma on images of scenes, stage after stage: the vision encoder alone, all tasks, larger images.",
        Annotated[
            PaliGemmaStage,
            options(
                PRESETS,
                by=("stage", "preset"),
                required=_DATA,
                markers={**_FLAGS, "start": tyro.conf.arg(name="weights")},
                pick=_stage_of,
            ),
        ],
    ),
    _work,
)
paligemma_nano = recipe_command(
    "paligemma-nano",
    recipe_options(
        """Train a small PaliGemma on images of scenes in three phases: what is in each cell, all tasks, all tasks cooled down.

        The weights are for `tapetum ask`, `detect` and `segment` with --model RUN/model.safetensors.
        """,
        Annotated[NanoRun, options(RECIPES, by="preset", required=_DATA, markers=_FLAGS)],
    ),
    _work,
)
