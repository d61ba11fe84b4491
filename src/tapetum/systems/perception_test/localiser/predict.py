"""A trained localiser: its file, and the prediction of tasks 3 and 4 with it.

The file is of safetensors; its header says config, classes and features as JSON under the key "localiser".
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tapetum.core.errors import BadInput
from tapetum.hub.headed import blueprint, check_fit, read_headed, save_headed
from tapetum.systems.perception_test.footage import VideoContent
from tapetum.systems.perception_test.localiser.config import LocaliserConfig, LocaliserRun
from tapetum.systems.perception_test.localiser.features import FeatureSource, VideoModels, load_source
from tapetum.systems.perception_test.localiser.model import Localiser, anchors, decode_segments, resample
from tapetum.systems.perception_test.predictions import segment_row
from tapetum.systems.perception_test.types import AnnotatedVideo

LOCALISER_FILE = "localiser.safetensors"
"""Name of the network in the folder of a run."""


@dataclass(frozen=True)
class TrainedLocaliser:
    """A network, and what it is for."""

    model: Localiser
    task: str
    classes: tuple[int, ...]
    """Ids of the data set, in the order of the logits."""
    features: str
    """As `LocaliserRun.features`."""
    grid: int
    frame_rate: float


def save(model: Localiser, run: LocaliserRun, classes: tuple[int, ...], path: str | os.PathLike[str]) -> None:
    """Write weights and what they are for, or nothing."""
    about = {name: getattr(run, name) for name in ("task", "features", "grid", "frame_rate")}
    save_headed(
        model, path, "localiser", {**about, "config": asdict(run.network), "classes": classes, "channels": len(model.mean)}
    )


def load(name_or_path: str | os.PathLike[str], device: Any = None, dtype: Any = None) -> TrainedLocaliser:
    """Load a file that `save` wrote, or the folder of a run, in evaluation mode. Raises BadInput for anything else."""
    path = Path(name_or_path)
    path = path / LOCALISER_FILE if path.is_dir() else path
    about, tensors = read_headed(path, "localiser", "network of tapetum train localiser")
    try:
        config, classes = LocaliserConfig(**about["config"]), tuple(int(k) for k in about["classes"])
        channels = int(about["channels"])
        with blueprint({**about, "classes": len(classes)}, len(tensors), path):
            expected = Localiser(config, channels, len(classes)).state_dict()
        about_run = str(about["task"]), classes, str(about["features"]), int(about["grid"]), float(about["frame_rate"])
    except (BadInput, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise BadInput(f"the config in {path} cannot be read ({str(error)[:100]}); train it again") from error
    check_fit(expected, tensors, path)
    model = Localiser(config, channels, len(classes))
    model.load_state_dict(tensors)
    return TrainedLocaliser(model.to(device=device, dtype=dtype).eval(), *about_run)


class LocaliserPredictor:
    """Predicts the segments of a video from its features."""

    def __init__(self, trained: TrainedLocaliser, source: FeatureSource):
        """`source` gives the features that it was trained on."""
        self.trained, self.source = trained, source

    @classmethod
    def load(
        cls, name_or_path: str, folder: Path | None = None, device: str | None = None, video_models: VideoModels | None = None
    ) -> "LocaliserPredictor":
        """Load a file or the folder of a run; `folder` has its features now, `video_models` as in `load_source`.

        Raises BadInput for others.
        """
        if not Path(name_or_path).exists():
            raise BadInput(
                f"there is no localiser {name_or_path}; give prior, or the folder of a run of tapetum train localiser"
            )
        trained = load(name_or_path, device)
        return cls(trained, load_source(trained.features, trained.grid, trained.frame_rate, folder, device, video_models))

    def predict(self, video: AnnotatedVideo, content: VideoContent, tasks: Sequence[str]) -> dict[str, Any]:
        """Predict the segments of a video. Raises BadInput for another task than its own, and features of another width."""
        if list(tasks) != [self.trained.task]:
            raise BadInput(
                f"this localiser finds {self.trained.task}s; name one for {' and '.join(tasks)}, such as sound=FOLDER"
            )
        model, name = self.trained.model, video.metadata.video_id
        features = self.source.read(name, content)
        if features.shape[1] != len(model.mean):
            raise BadInput(
                f"the features of {name} have {features.shape[1]} numbers a step; the localiser knows {len(model.mean)}"
            )
        shown = resample(features, model.config.length)[None].to(model.mean)
        with torch.inference_mode():
            logits, distances = (segments[0].float().cpu() for segments in model(shown))
        at = anchors(model.config)
        segments = decode_segments(logits, distances, at, model.config, video.metadata.seconds)
        classes = self.trained.classes
        return {self.trained.task: [segment_row(classes[k], f"{score:.6g}", *span) for k, score, *span in segments]}
