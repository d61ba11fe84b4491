"""`tapetum train`: any system's recipe, the config of a whole run, and where and with what it runs.

Each command has a recipe's presets, and its fields as options.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import Annotated, Any

import tyro

from tapetum.app.commands import Group
from tapetum.app.learn.options import options
from tapetum.app.learn.recipes import recipe_command, recipe_options
from tapetum.app.verb import Listener, Result
from tapetum.core.provenance import DATA, guarding_data
from tapetum.systems.hip.recipes import RECIPES as HIP
from tapetum.systems.hip.recipes import HipRun
from tapetum.systems.longvideo.recipes import PRESETS as LONG_VIDEO
from tapetum.systems.longvideo.recipes import VideoTextRun
from tapetum.systems.odin.recipes import RECIPES as ODIN
from tapetum.systems.odin.recipes import OdinRun
from tapetum.systems.paligemma.masks.config import RECIPES as MASK_CODEC
from tapetum.systems.paligemma.masks.config import MaskCodecRun
from tapetum.systems.paligemma.recipes import TRANSFER, PaliGemmaTransfer
from tapetum.systems.paligemma.transfer.tasks import TASKS, task_run
from tapetum.systems.perception_test.localiser.config import RECIPES as LOCALISER
from tapetum.systems.perception_test.localiser.config import LocaliserRun
from tapetum.systems.tap.recipes import RECIPES as TAP
from tapetum.systems.tap.recipes import TAP_NANO, TapKubric, TapNano
from tapetum.systems.tapnext.recipes import RECIPES as TAPNEXT
from tapetum.systems.tapnext.recipes import TapNextRun
from tapetum.train.launch_config import Launch
from tapetum.transfer.config import COCO_RECIPES, FCN_RECIPES, CocoRun, FcnRun


@dataclass(frozen=True)
class TrainedModel(Result):
    """Result of a finished run."""

    weights: Path
    """File for `tapetum.load` or the system's own `load`."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Scores on examples that were never trained on, where the run makes any at its end."""

    def as_text(self) -> str:
        return "\n".join([*(f"{name}  {value:.4f}" for name, value in self.scores.items()), f"weights  {self.weights}"])


@guarding_data
def train(recipe: Any, launch: Launch, say: Callable[[str], None] = lambda text: None) -> TrainedModel | None:
    """Train by a recipe of `tapetum train` in the folder `launch.out`; the same call resumes a stopped run. Under torchrun all
    processes call it.

    Data at addresses are first copied to this machine. `say` receives remarks about the data, line by line. Returns None if
    `launch.minutes` or a signal ended the call before the run was done. Raises BadInput for errors the user can fix.
    """
    from tapetum.data.remote_folder import local_data

    with local_data(recipe, DATA) as local:
        return _train(local, launch, say)


_TRAINERS: Mapping[type, str] = {
    HipRun: "systems.hip.run:train_hip",
    PaliGemmaTransfer: "systems.paligemma.transfer.run:train_transfer",
    MaskCodecRun: "systems.paligemma.masks.task:train_masks",
    VideoTextRun: "systems.longvideo.run:train_longvideo",
    FcnRun: "transfer.fcn:train_fcn",
    CocoRun: "transfer.coco:train_coco",
    OdinRun: "systems.odin.task:train_odin",
    LocaliserRun: "systems.perception_test.localiser.run:train_localiser",
    TapKubric: "systems.tap.run:train_tap_kubric",
    TapNano: "systems.tap.run:train_tap_nano",
    TapNextRun: "systems.tapnext.run:train_tapnext",
}
"""What trains by each recipe; it returns the file of weights, or that and scores, or None if it was stopped."""


def _train(recipe: Any, launch: Launch, say: Callable[[str], None]) -> TrainedModel | None:
    more: tuple[Any, ...] = () if isinstance(recipe, TapKubric | TapNano | TapNextRun) else (say,)
    if isinstance(recipe, LocaliserRun):
        from tapetum.bench.perception_test import load_video_features

        more = say, load_video_features
    finished = resolve_name(f"tapetum.{_TRAINERS[type(recipe)]}")(recipe, launch, *more)
    if isinstance(recipe, HipRun | PaliGemmaTransfer):
        return finished and TrainedModel(finished.weights, finished.scores)
    return finished and TrainedModel(*(finished if isinstance(finished, tuple) else (finished,)))


_DATA = ("data",)
_SWITCHES = "bf16", "checkpointing", "freeze", "masks", "public_losses", "sine_positions"
_FLAGS: dict[str, Any] = dict.fromkeys(_SWITCHES, tyro.conf.FlagConversionOff)
_START = {"start": tyro.conf.arg(name="weights")}
_SIZE = tyro.constructors.PrimitiveConstructorSpec(
    nargs=(1, 2),
    metavar="N|ROWS COLUMNS",
    instance_from_str=lambda words: (int(words[0]), int(words[-1])),
    is_instance=lambda value: True,
    str_from_instance=lambda size: [str(size)] if size is None else [str(n) for n in size],
)
"""One number for squares, or two."""


_TAP_NANO_HELP = {
    "tap-nano": "Train the bundled point tracker on synthetic scenes.",
    "causal-tap-nano": "Make the bundled point tracker one for live use, which sees frames one by one.",
    "more-tap-nano": "Train the bundled point tracker further.",
}


def _tap_nano(recipe: str) -> type:
    shown = options({"": TAP_NANO[recipe]}, hidden=("name", "model", "phases"), markers=_FLAGS | _START)
    return recipe_options(_TAP_NANO_HELP[recipe], Annotated[TapNano, shown])


_TASKS = {"": TRANSFER} | {name: task_run(name) for name, task in TASKS.items() if task.recipes}
_OPTIONS: dict[str, type] = {
    **{recipe: _tap_nano(recipe) for recipe in _TAP_NANO_HELP},
    "tap-kubric": recipe_options(
        "Train TAPIR or a relative on Kubric's point tracks as the paper does; under torchrun on several processes.",
        Annotated[TapKubric, options(TAP, by="preset", required=_DATA, markers=_START)],
    ),
    "tapnext": recipe_options(
        """Train TAPNext, the recurrent point tracker, on synthetic scenes or on Kubric's point tracks.

        --preset nano is some hours of one processor; paper has what is published of the authors' run. Under torchrun it runs on
        several processes.
        """,
        Annotated[TapNextRun, options(TAPNEXT, by="preset", hidden=("name", "model", "phases"), markers=_FLAGS | _START)],
    ),
    "hip": recipe_options(
        """Train HiP on raw images, sound, video or points: masked auto-encoding, then classes.

        Under torchrun it runs on several processes. What is not given is as the layout's recipe has it: the paper's sizes for
        imagenet, audioset, voc, modelnet40 and kinetics, small ones for parquet and shards.
        """,
        Annotated[
            HipRun,
            options(
                HIP,
                by="layout",
                required=_DATA,
                hidden=("weights",),
                markers={"image": (_SIZE, tyro.conf.arg(aliases=["--size"])), "bf16": tyro.conf.FlagConversionOff},
            ),
        ],
    ),
    "paligemma-transfer": recipe_options(
        "Teach a PaliGemma a task of your own, from lines of JSON with image, prefix and suffix; or one of papers (--task).",
        Annotated[
            PaliGemmaTransfer,
            options(
                _TASKS,
                by="task",
                required=_DATA,
                markers=_FLAGS | _START | {"task": tyro.conf.arg(metavar="TASK")},
                pick=lambda task, given: task_run(task, given.get("image_size")) if task else TRANSFER,
            ),
        ],
    ),
    "paligemma-masks": recipe_options(
        """Train the codec that writes masks as 16 tokens (All in Tokens), on masks of scenes or of COCO's files.

        --size small is an hour of one processor; official has the sizes and settings of the published one.
        """,
        Annotated[MaskCodecRun, options(MASK_CODEC, by="size", required=_DATA)],
    ),
    "odin": recipe_options(
        """Learn objects and representations together, from images without labels (Odin).

        The encoder is for `tapetum embed --model RUN`, the whole network for `tapetum discover --model RUN`. Under torchrun it
        runs on several processes.
        """,
        Annotated[OdinRun, options(ODIN, by="preset", required=_DATA, markers=_FLAGS)],
    ),
    "longvideo": recipe_options(
        """Teach a video encoder and a text tower that what belongs together is alike (LongViViT, MC-ViT), or a frozen language
        model to see what a frozen encoder sees, a stage a run.

        The weights are for tapetum.load, and for --start of the next stage. Under torchrun it runs on several processes.
        """,
        Annotated[VideoTextRun, options(LONG_VIDEO, by=("stage", "preset"), required=_DATA, markers=_FLAGS)],
    ),
    "fcn": recipe_options(
        """Fine-tune an encoder to segment PASCAL VOC, Cityscapes, CamVid or ADE20K, and score it: mean IoU.

        Folders are those of the data sets. The encoder may be one of tapetum pretrain or train odin, or a published one.
        """,
        Annotated[FcnRun, options(FCN_RECIPES, by="layout", required=("data", "encoder"), markers=_FLAGS)],
    ),
    "coco": recipe_options(
        """Fine-tune an encoder to find the boxes and masks of COCO's things and score it: box AP and mask AP.

        Mask R-CNN, or FCOS with --preset fcos; needs the extra [coco]. The encoder may be one of tapetum pretrain or train
        odin, or a published one.
        """,
        Annotated[CocoRun, options(COCO_RECIPES, by="preset", required=("data", "encoder"), markers=_FLAGS)],
    ),
    "localiser": recipe_options(
        """Learn to find actions, or sounds, in time (ActionFormer; the Perception Test's tasks 3 and 4).

        The result is for `tapetum eval perception-test --task action --model RUN`. Under torchrun it runs on several processes.
        """,
        Annotated[LocaliserRun, options(LOCALISER, by="preset", required=_DATA)],
    ),
}


def _work(given: Any, launch: Launch, listener: Listener) -> TrainedModel | None:
    return train(given.recipe, launch, listener.line)


COMMANDS = Group(
    """Train a model; the same command goes on where a run was stopped.""",
    {name: recipe_command(name, options, _work) for name, options in _OPTIONS.items()},
)
