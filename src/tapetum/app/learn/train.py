"""`tapetum train`: any system's recipe, the config of a whole run, and where and with what it runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

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

Recipe = (
    LocaliserRun
    | TapNano
    | TapKubric
    | TapNextRun
    | HipRun
    | MaskCodecRun
    | OdinRun
    | PaliGemmaTransfer
    | VideoTextRun
    | FcnRun
    | CocoRun
)


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
def train(recipe: Recipe, launch: Launch, say: Callable[[str], None] = lambda text: None) -> TrainedModel | None:
    """Train in the folder `launch.out`; the same call resumes a stopped run. Under torchrun all processes call it.

    Data at addresses are first copied to this machine. `say` receives remarks about the data, line by line. Returns None if
    `launch.minutes` or a signal ended the call before the run was done. Raises BadInput for errors the user can fix.
    """
    from tapetum.data.remote_folder import local_data

    with local_data(recipe, DATA) as local:
        return _train(local, launch, say)


def _train(recipe: Recipe, launch: Launch, say: Callable[[str], None]) -> TrainedModel | None:
    if isinstance(recipe, HipRun):
        from tapetum.systems.hip.run import train_hip

        finished = train_hip(recipe, launch, say)
        return finished and TrainedModel(finished.weights, finished.scores)
    if isinstance(recipe, PaliGemmaTransfer):
        from tapetum.systems.paligemma.transfer.run import train_transfer

        finished = train_transfer(recipe, launch, say)
        return finished and TrainedModel(finished.weights, finished.scores)
    if isinstance(recipe, MaskCodecRun):
        from tapetum.systems.paligemma.masks.task import train_masks

        return (made := train_masks(recipe, launch, say)) and TrainedModel(*made)
    if isinstance(recipe, VideoTextRun):
        from tapetum.systems.longvideo.run import train_longvideo

        return (made := train_longvideo(recipe, launch, say)) and TrainedModel(*made)
    if isinstance(recipe, FcnRun):
        from tapetum.transfer.fcn import train_fcn

        return (made := train_fcn(recipe, launch, say)) and TrainedModel(*made)
    if isinstance(recipe, CocoRun):
        from tapetum.transfer.coco import train_coco

        return (made := train_coco(recipe, launch, say)) and TrainedModel(*made)
    if isinstance(recipe, OdinRun):
        from tapetum.systems.odin.run import train_odin

        weights = train_odin(recipe, launch, say)
    elif isinstance(recipe, LocaliserRun):
        from tapetum.bench.perception_test import load_video_features
        from tapetum.systems.perception_test.localiser.run import train_localiser

        weights = train_localiser(recipe, launch, say, load_video_features)
    elif isinstance(recipe, TapKubric):
        from tapetum.systems.tap.run import train_tap_kubric

        weights = train_tap_kubric(recipe, launch)
    elif isinstance(recipe, TapNextRun):
        from tapetum.systems.tapnext.run import train_tapnext

        weights = train_tapnext(recipe, launch)
    else:
        from tapetum.systems.tap.run import train_tap_nano

        weights = train_tap_nano(recipe, launch)
    return weights and TrainedModel(weights)
