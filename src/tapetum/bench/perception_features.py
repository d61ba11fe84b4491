"""Models of video on the Perception Test: features over time for its localiser, and scores of options for its questions.

    NAME           weights with a video encoder, such as mcvit-films: its tokens of each time step, pooled to a small grid
    motion:NAME    a tracker, such as tapir-nano: how a grid of points moves from frame to frame

Points are tracked for `SPAN_S` seconds from where the grid puts them, then from the grid again, so that what enters the image
later is followed too. A row has for each point (dx, dy, visible): image widths and heights a second, 0 where it is hidden.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, UInt8

from tapetum.core.errors import BadInput
from tapetum.systems.perception_test.baselines.content import VideoContent
from tapetum.systems.perception_test.localiser.features import MOTION, FeatureSource
from tapetum.tracks.tracker import Tracker

if TYPE_CHECKING:
    from tapetum.systems.longvideo.streaming import StreamingModel

POINTS = 4
"""Rows and columns of the grid of points."""
SPAN_S = 2.0
"""Seconds for which points are tracked before the grid is laid anew."""
_VIDEO_LOADER = "tapetum.systems.longvideo.weights:load"


def load_video_features(name: str, grid: int, frame_rate: float, device: str | None) -> FeatureSource | None:
    """Load a source of features that is a model of video; None for others. Raises BadInput for a tracker that is not there."""
    if name.startswith(MOTION):
        from tapetum.bench.baselines import load_tracker

        return PointMotion(load_tracker(name.removeprefix(MOTION), device))
    return VideoEncoderFeatures(load_video_model(name, device), grid, frame_rate) if is_video_model(name) else None


def is_video_model(name: str) -> bool:
    """Check whether a name or a file stands for weights of a video encoder with a text tower or a language model."""
    from tapetum.hub.loading import find_loader

    try:
        return find_loader(name) == _VIDEO_LOADER
    except BadInput:
        return False


def load_video_model(name: str, device: str | None) -> "StreamingModel":
    """Load such weights. Raises BadInput for an encoder without words."""
    from tapetum.systems.longvideo.captioner import Captioner
    from tapetum.systems.longvideo.video_text import VideoText
    from tapetum.systems.longvideo.weights import load

    model = load(name, device)
    if not isinstance(model, VideoText | Captioner):
        raise BadInput(f"{name} has no text tower and no language model; give such as mcvit-films")
    return model


class VideoEncoderFeatures:
    """Tokens of a video encoder, pooled to a small grid, for each of its time steps."""

    def __init__(self, model: "StreamingModel", grid: int, frame_rate: float):
        """`grid` 0 takes the mean over the image."""
        self.model, self.grid, self.frame_rate = model.eval(), max(grid, 1), frame_rate

    def read(self, name: str, content: VideoContent) -> Float32[np.ndarray, "t d"]:
        """Compute the features of the video's frames, (time steps, grid * grid * channels). Raises BadInput without a grid."""
        import torch
        from torch.nn.functional import adaptive_avg_pool2d

        from tapetum.systems.longvideo.streaming import FrameSelection, stream_features
        from tapetum.video import open_video

        config, rows = self.model.config.video, []
        if config.kernels:
            raise BadInput("tubelets of several shapes have no grid of tokens; give a video encoder with one kernel")
        columns = config.size[1] // config.tubelet[2]
        with open_video(content.frames, frame_rate=content.metadata.frame_rate) as video, torch.inference_mode():
            for _, _, features in stream_features(self.model, video, FrameSelection(frame_rate=self.frame_rate)):
                tokens = features.tokens[features.valid]  # in the order of time, rows, columns
                maps = tokens.unflatten(0, (-1, config.size[0] // config.tubelet[1], columns)).permute(0, 3, 1, 2)
                rows.append(adaptive_avg_pool2d(maps.float(), self.grid).flatten(1).cpu().numpy())
        return np.concatenate(rows)


class PointMotion:
    """Motion of a grid of points, laid anew every `SPAN_S` seconds."""

    def __init__(self, tracker: Tracker):
        self.tracker = tracker

    def read(self, name: str, content: VideoContent) -> Float32[np.ndarray, "t d"]:
        """Compute velocity and visibility of each point for each frame; the first frame has no velocity."""
        frames, rate = content.frames, content.metadata.frame_rate
        height, width = frames.shape[1:3]
        places = (np.arange(POINTS) + 0.5) / POINTS
        y, x = np.meshgrid(places * height, places * width, indexing="ij")
        queries = np.stack([np.zeros(x.size), x.ravel(), y.ravel()], 1)
        span, rows = max(1, round(SPAN_S * rate)), [np.zeros((1, x.size, 3), np.float32)]
        for start in range(0, len(frames) - 1, span):
            tracks = self.tracker.track(frames[start : start + span + 1], queries)
            visible = tracks.visible[:, 1:] & tracks.visible[:, :-1]
            velocity = np.diff(tracks.xy, axis=1) * rate / (width, height) * visible[..., None]
            rows.append(np.concatenate([velocity, visible[..., None]], 2).swapaxes(0, 1).astype(np.float32))
        return np.concatenate(rows).reshape(len(frames), -1)


class VideoOptions:
    """Scores options by a model of video: by similarity with a text tower, by likelihood with a language model."""

    def __init__(self, model: "StreamingModel"):
        """As many frames are shown as the encoder was trained on, evenly spread."""
        self.model = model.eval()

    def score_options(self, video: UInt8[np.ndarray, "t h w 3"], question: str, options: Sequence[str]) -> list[float]:
        """Score each option."""
        from tapetum.bench.longvideo_protocols import PROTOCOLS, score_options
        from tapetum.systems.longvideo.captioner import Captioner
        from tapetum.systems.longvideo.streaming import FrameSelection, embed_for_answers, encode_video
        from tapetum.video import open_video

        selection = FrameSelection(frames=self.model.config.video.frames, spread=True)
        with open_video(video) as opened:
            if isinstance(self.model, Captioner):
                encoded = encode_video(self.model, opened, selection)
            else:
                encoded = embed_for_answers(self.model, opened, selection)
        return score_options(self.model, encoded, question, options, PROTOCOLS["papers"])
