"""`tapetum train`: any system's recipe, the config of a whole run, and where and with what it runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from tapetum.app.verb import Result
from tapetum.core.provenance import DATA, guarding_data
from tapetum.systems.hip.recipes import HipRun
from tapetum.systems.longvideo.recipes import VideoTextRun
from tapetum.systems.odin.recipes import OdinRun
from tapetum.systems.paligemma.masks.config import MaskCodecRun
from tapetum.systems.paligemma.recipes import PaliGemmaTransfer
from tapetum.systems.perception_test.localiser.config import LocaliserRun
from tapetum.systems.tap.recipes import TapKubric, TapNano
from tapetum.systems.tapnext.recipes import TapNextRun
from tapetum.train.launch_config import Launch
from tapetum.transfer.config import CocoRun, FcnRun


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
    OdinRun: "systems.odin.run:train_odin",
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
