"""Prediction of tasks 3 and 4 by a localiser."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tapetum.core.errors import BadInput
from tapetum.systems.perception_test.baselines.content import VideoContent
from tapetum.systems.perception_test.localiser.decode import decode_segments, resample
from tapetum.systems.perception_test.localiser.features import FeatureSource, VideoModels, load_source
from tapetum.systems.perception_test.localiser.model import anchors
from tapetum.systems.perception_test.localiser.weights import TrainedLocaliser, load
from tapetum.systems.perception_test.submission import segment_row
from tapetum.systems.perception_test.types import AnnotatedVideo


class LocaliserPredictor:
    """Predicts the segments of a video from its features."""

    def __init__(self, trained: TrainedLocaliser, source: FeatureSource):
        """`source` gives the features that it was trained on."""
        self.trained, self.source = trained, source

    @classmethod
    def load(
        cls,
        name_or_path: str,
        folder: Path | None = None,
        device: str | None = None,
        video_models: VideoModels | None = None,
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
