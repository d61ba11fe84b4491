"""Models of other systems on the Perception Test, by name: point trackers, PaliGemma, networks of `perception_test` itself.

`load_predictors` names them by task, as the option --model of `tapetum eval perception-test` describes.

Video models also provide features over time to its localiser:

    NAME           weights with a video encoder, such as mcvit-films: its tokens of each time step, pooled to a small grid
    motion:NAME    a tracker, such as tapir-nano: how a grid of points moves from frame to frame

Points are tracked for `SPAN_S` seconds from the grid, then the grid is placed again, so that content that enters the image
later is tracked too. A row has (dx, dy, visible) for each point: image widths and heights per second, 0 if it is occluded.
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, UInt8

from tapetum.bench.own import Benchmark
from tapetum.core.devices import full_precision
from tapetum.core.errors import BadInput, check_several
from tapetum.data.entries import dumps
from tapetum.systems.perception_test.dataset import open_split
from tapetum.systems.perception_test.evaluate import score
from tapetum.systems.perception_test.footage import VideoContent, find_videos
from tapetum.systems.perception_test.localiser.features import MOTION, FeatureSource
from tapetum.systems.perception_test.predicting import Predictor, Predictors
from tapetum.systems.perception_test.types import AnnotatedVideo, below_video
from tapetum.tracks.tracker import Tracker
from tapetum.types import Boxes

if TYPE_CHECKING:
    from tapetum.systems.longvideo.streaming import StreamingModel
    from tapetum.systems.paligemma.answers import Answerer

TRACKER, ANSWERER = "tapir-nano", "paligemma-nano-2"
TOGETHER = 3
"""Objects named in one prompt: models are trained on few at a time."""
FRAMES = 4
"""Frames of a video that a model of images is shown, evenly spread, the last among them."""
POINTS = 4
"""Rows and columns of the grid of points."""
SPAN_S = 2.0
"""Seconds for which points are tracked before the grid is laid anew."""
_VIDEO_LOADER = "tapetum.systems.longvideo.weights:load"


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Settings of the models of all tasks."""

    train: Mapping[str, AnnotatedVideo] | None = None
    """Annotations that rules learn from."""
    shots: int = -1
    """Of frequency: right answers to the same question that are looked at; all for -1."""
    frames: int = FRAMES
    features: Path | None = None
    """Folder of NAME.npy with the features (t, d) that a localiser wants, where it does not make them."""
    seed: int = 0
    device: str | None = None


class PerceptionTestVideos(Benchmark):
    """A tracker on objects and points of the validation split, or a model of images or video, untrained, on its questions."""

    tasks = "point", "object", "mcqa", "grounded"  # in the order of the scores: the first is the headline

    def items(self, data: Path) -> Mapping[str, tuple[AnnotatedVideo, Path, Path | None]]:
        """List the annotated videos that are there, each with its files."""
        items: dict[str, tuple[AnnotatedVideo, Path, Path | None]] = {}
        for each in open_split(data, "valid", challenge=False):
            with suppress(BadInput):
                items[each.name] = each.truth, *find_videos(data, [each.name])[each.name]
        return items

    def load(self, model: str, device: str | None) -> Predictors:
        """Load what answers the tasks that the model can. Raises BadInput for a model of neither kind."""
        options = ModelOptions(device=device)
        try:
            return load_predictors(dict.fromkeys(self.tasks[:2], model), options)
        except BadInput:
            return load_predictors(dict.fromkeys(self.tasks[2 : 3 if is_video_model(model) else 4], model), options)

    def score(self, model: Predictors, item: tuple[AnnotatedVideo, Path, Path | None]) -> Mapping[str, float]:
        """Compute the headline of each task, and its weight: the questions that it is the mean of, or 1."""
        video, row = item[0], {"frames": item[0].metadata.frames}
        for tasks, predictor in model:
            here, content = [task for task in tasks if video.of(task)], VideoContent(video.metadata, *item[1:])
            for task, value in (predictor.predict(video, content, here) if here else {}).items():
                predictions = {video.metadata.video_id: below_video(task, json.loads(dumps(value)))}
                scores = score(task, {video.metadata.video_id: video}, predictions)
                name, number = next(iter(scores.numbers.items()))
                if math.isfinite(number):
                    row |= {f"{task} {name}": number, f"{task} weight": scores.counts.get("questions", 1)}
        return row

    def summary(self, rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """Average over videos, of questions over all of them."""
        totals = {}
        names = {name for row in rows for name in row if not name.endswith(("frames", "weight"))}
        for name in sorted(names, key=lambda name: self.tasks.index(name.split()[0])):
            weighted = [(row[name], row[f"{name.split()[0]} weight"]) for row in rows if name in row]
            totals[name] = sum(value * weight for value, weight in weighted) / sum(weight for _, weight in weighted)
        if not totals:
            raise BadInput("the videos have nothing that this model answers; give annotations of more tasks, or another model")
        return totals


class ImageOptions:
    """Scores options by their likelihood under a PaliGemma as answers to frames of the video, averaged over frames.

    log p(option | image, "answer en QUESTION"), over all its tokens and the end token; an image model can give no more.
    """

    def __init__(self, answerer: "Answerer", frames: int = FRAMES):
        """`frames` of a video are shown, one at a time. Raises BadInput if there are none."""
        if frames < 1:
            raise BadInput(f"frames is {frames}; give 1 or more")
        self.answerer, self.frames = answerer, frames

    @full_precision()
    def score_options(self, video: UInt8[np.ndarray, "t h w 3"], question: str, options: Sequence[str]) -> list[float]:
        """Compute the mean log-probability of each option."""
        import torch

        from tapetum.systems.paligemma import prompts
        from tapetum.systems.paligemma.images import prepare

        check_several(options, "options")
        answerer, model = self.answerer, self.answerer.model
        last = len(video) - 1
        shown = np.unique(np.linspace(last if self.frames == 1 else 0, last, self.frames).round().astype(int))
        pixels = torch.stack([prepare(video[[k]], model.config.image_size) for k in shown]).to(answerer.device)
        prefix = answerer.padded([answerer.prefix(prompts.answer(question))] * len(shown))
        answers = answerer.padded([answerer.tokens.encode_suffix(option) for option in options])
        with torch.inference_mode():
            log_likelihoods = model.score(pixels, prefix, answers[None].expand(len(shown), -1, -1))
        return log_likelihoods.sum(-1).mean(0).tolist()


class PromptedBoxes:
    """Finds boxes with PaliGemma's `detect` prompt."""

    def __init__(self, answerer: "Answerer"):
        self.answerer = answerer

    def find_boxes(self, image: UInt8[np.ndarray, "h w 3"], names: Sequence[str]) -> Boxes:
        from tapetum.systems.paligemma import prompts

        check_several(names, "names")
        detected = []
        for k in range(0, len(names), TOGETHER):
            [reply] = self.answerer.ask([image[None]], [prompts.detect(list(names[k : k + TOGETHER]))], 256)
            detected.append(self.answerer.find(reply, image.shape[1], image.shape[0], masks=False).boxes)
        return Boxes(
            xyxy=np.concatenate([boxes.xyxy for boxes in detected]),
            labels=[label for boxes in detected for label in boxes.labels],
            scores=np.concatenate([boxes.scores for boxes in detected]),
        )


def load_predictors(models: Mapping[str, str], options: ModelOptions) -> list[tuple[tuple[str, ...], Predictor]]:
    """Load the model of each task, given as {task: name}; tasks with the same tracker share its pass over a video.

    Raises BadInput for a name that no model of the task has, and for rules that lack annotations to learn from.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for task, name in models.items():
        if task == "joint":
            raise BadInput("joint has no model; predict object and point, each into a file of its own")
        kind = {"object": "places", "point": "places", "action": "times", "sound": "times"}.get(task, task)
        groups.setdefault((kind, name), []).append(task)
    return [(tuple(tasks), _load(kind, name, options)) for (kind, name), tasks in groups.items()]


def _load(kind: str, name: str, options: ModelOptions) -> Predictor:
    from tapetum.bench.baselines import load_tracker
    from tapetum.systems.perception_test import baselines

    def train() -> Mapping[str, AnnotatedVideo]:
        if options.train is None:
            raise BadInput(f"{name} learns from annotations; give those of the train split with --train FILE.json")
        return options.train

    if kind == "places":
        return baselines.StaticPlaces() if name == "static" else baselines.TrackedPlaces(load_tracker(name, options.device))
    if kind == "times":
        from tapetum.systems.perception_test.localiser.predict import LocaliserPredictor

        if name == "prior":
            return baselines.PriorWindows(train())
        return LocaliserPredictor.load(name, options.features, options.device, load_video_features)
    if kind == "grounded":
        from tapetum.systems.perception_test.grounded_baseline import GroundedWords

        words, _, tracker = name.partition("+")
        chosen = "random" if words == "random-object" else "words"
        detector = PromptedBoxes(_answerer(ANSWERER if chosen == "random" else words, options.device))
        carried = load_tracker(tracker or TRACKER, options.device)
        return GroundedWords(detector, carried, options.train, chosen=chosen, seed=options.seed)
    if name == "random":
        return baselines.Frequency({}, 0, options.seed)
    if name == "frequency":
        return baselines.Frequency(train() if options.shots else {}, options.shots, options.seed)
    if is_video_model(name):
        return baselines.ChosenOptions(VideoOptions(load_video_model(name, options.device)))
    return baselines.ChosenOptions(ImageOptions(_answerer(name, options.device), options.frames))


def _answerer(name: str, device: str | None) -> "Answerer":
    from tapetum.hub.registry import known, resolve
    from tapetum.systems.paligemma.answers import Answerer

    if name in known() or not Path(name).exists():
        resolve(name, "ask")
    return Answerer.load(name, device=device)


def load_video_features(name: str, grid: int, frame_rate: float, device: str | None) -> FeatureSource | None:
    """Load a video model as a source of features; None for other names. Raises BadInput for a missing tracker."""
    if name.startswith(MOTION):
        from tapetum.bench.baselines import load_tracker

        return PointMotion(load_tracker(name.removeprefix(MOTION), device))
    return VideoEncoderFeatures(load_video_model(name, device), grid, frame_rate) if is_video_model(name) else None


def is_video_model(name: str) -> bool:
    """Check whether a name or file refers to weights of a video encoder with a text tower or a language model."""
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
    """Tokens of a video encoder for each of its time steps, pooled to a small grid."""

    def __init__(self, model: "StreamingModel", grid: int, frame_rate: float):
        """`grid` 0 averages over the image."""
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
    """Motion of a grid of points, placed again every `SPAN_S` seconds."""

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
    """Scores options with a video model: by similarity with a text tower, by likelihood with a language model."""

    def __init__(self, model: "StreamingModel"):
        """Uses as many frames as the encoder was trained on, evenly spaced."""
        self.model = model.eval()

    def score_options(self, video: UInt8[np.ndarray, "t h w 3"], question: str, options: Sequence[str]) -> list[float]:
        from tapetum.bench.longvideo import encode_for_options
        from tapetum.bench.longvideo_tasks import PROTOCOLS, score_options
        from tapetum.systems.longvideo.streaming import FrameSelection
        from tapetum.video import open_video

        selection = FrameSelection(frames=self.model.config.video.frames, spread=True)
        with open_video(video) as opened:
            encoded = encode_for_options(self.model, opened, selection)
        return score_options(self.model, encoded, question, options, PROTOCOLS["papers"])
