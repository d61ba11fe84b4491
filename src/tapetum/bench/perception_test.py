"""Models of other systems on the Perception Test, by name: trackers of points, PaliGemma, networks of `perception_test` itself.

| task          | name                                   | what it is                                                        |
|---------------|----------------------------------------|-------------------------------------------------------------------|
| object, point | static; a tracker such as tapir-nano   | stays; is carried                                                 |
| action, sound | prior; a file of a localiser           | the same windows always; found in features                        |
| mcqa          | frequency; random; a PaliGemma         | what was right most often; the lot; the likeliest option          |
|               | a model of video such as mcvit-nano    | the option most like the video                                    |
| grounded      | random-object, a PaliGemma; +TRACKER   | words find boxes, a tracker (by default tapir-nano) carries them   |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from tapetum.core.devices import full_precision
from tapetum.core.errors import BadInput, check_several
from tapetum.systems.perception_test.baselines.content import Predictor
from tapetum.systems.perception_test.types import JOINT, AnnotatedVideo
from tapetum.types import Boxes

if TYPE_CHECKING:
    from tapetum.systems.paligemma.answers import Answerer

TRACKER, ANSWERER = "tapir-nano", "paligemma-nano"
TOGETHER = 3
"""Objects named in one prompt: models are trained on few at a time."""
FRAMES = 4
"""Frames of a video that a model of images is shown, evenly spread, the last among them."""


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Settings of the models of all tasks."""

    train: Mapping[str, AnnotatedVideo] | None = None
    """Annotations that rules learn from."""
    shots: int = -1
    """Of frequency: right answers to the same question that are looked at; all for -1."""
    frames: int = FRAMES
    """Frames that a model of images sees of a video."""
    features: Path | None = None
    """Folder of NAME.npy with the features (t, d) that a localiser wants, where it does not make them."""
    seed: int = 0
    device: str | None = None


class ImageOptions:
    """Scores options by how likely a PaliGemma finds them as answers to images out of the video, the mean over these.

    log p(option | image, "answer en QUESTION"), all its tokens and the end: all that a model of images can say.
    """

    def __init__(self, answerer: "Answerer", frames: int = FRAMES):
        """`frames` of a video are shown, one at a time. Raises BadInput for none."""
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
        shown = (
            np.unique(np.linspace(0, len(video) - 1, self.frames).round().astype(int)) if self.frames > 1 else [len(video) - 1]
        )
        pixels = torch.stack([prepare(video[[k]], model.config.image_size) for k in shown]).to(answerer.device)
        prefix = answerer.padded([answerer.prefix(prompts.answer(question))] * len(shown))
        answers = answerer.padded([answerer.tokens.encode_suffix(option) for option in options])
        with torch.inference_mode():
            log_likelihoods = model.score(pixels, prefix, answers[None].expand(len(shown), -1, -1))
        return log_likelihoods.sum(-1).mean(0).tolist()


class PromptedBoxes:
    """Finds boxes by PaliGemma's `detect`."""

    def __init__(self, answerer: "Answerer", tokens: int = 256):
        """`tokens`: the most of an answer."""
        self.answerer, self.tokens = answerer, tokens

    def find_boxes(self, image: UInt8[np.ndarray, "h w 3"], names: Sequence[str]) -> Boxes:
        """Detect the named objects."""
        from tapetum.systems.paligemma import prompts

        check_several(names, "names")
        parts = [list(names[k : k + TOGETHER]) for k in range(0, len(names), TOGETHER)]
        detected = []
        for part in parts:
            [reply] = self.answerer.ask([image[None]], [prompts.detect(part)], self.tokens)
            detected.append(self.answerer.find(reply, image.shape[1], image.shape[0], masks=False).boxes)
        return Boxes(
            xyxy=np.concatenate([boxes.xyxy for boxes in detected]),
            labels=[label for boxes in detected for label in boxes.labels],
            scores=np.concatenate([boxes.scores for boxes in detected]),
        )


def load_predictors(models: Mapping[str, str], options: ModelOptions) -> list[tuple[tuple[str, ...], Predictor]]:
    """Load what answers each task, given as {task: name}; tasks with one tracker share its pass over a video.

    Raises BadInput for a name that no model of the task has, and rules without annotations to learn from.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for task, name in models.items():
        if task in JOINT:
            raise BadInput(f"{task} has no model; predict {' and '.join(JOINT[task])}, each into a file of its own")
        kind = {"object": "places", "point": "places", "action": "times", "sound": "times"}.get(task, task)
        groups.setdefault((kind, name), []).append(task)
    made = {"places": _places, "times": _times, "mcqa": _options, "grounded": _grounded}
    return [(tuple(tasks), made[kind](name, options)) for (kind, name), tasks in groups.items()]


def _places(name: str, options: ModelOptions) -> Predictor:
    from tapetum.bench.baselines import load_tracker
    from tapetum.systems.perception_test.baselines.tracking import StaticPlaces, TrackedPlaces

    return StaticPlaces() if name == "static" else TrackedPlaces(load_tracker(name, options.device))


def _times(name: str, options: ModelOptions) -> Predictor:
    if name == "prior":
        from tapetum.systems.perception_test.baselines.windows import PriorWindows

        return PriorWindows(_train(name, options))
    from tapetum.bench.perception_features import load_video_features
    from tapetum.systems.perception_test.localiser.predict import LocaliserPredictor

    return LocaliserPredictor.load(name, options.features, options.device, load_video_features)


def _options(name: str, options: ModelOptions) -> Predictor:
    from tapetum.bench.perception_features import VideoOptions, is_video_model, load_video_model
    from tapetum.systems.perception_test.baselines.multiple_choice import ChosenOptions, Frequency

    if name == "random":
        return Frequency({}, 0, options.seed)
    if name == "frequency":
        return Frequency(_train(name, options) if options.shots else {}, options.shots, options.seed)
    if is_video_model(name):
        return ChosenOptions(VideoOptions(load_video_model(name, options.device)))
    return ChosenOptions(ImageOptions(_answerer(name, options.device), options.frames))


def _grounded(name: str, options: ModelOptions) -> Predictor:
    from tapetum.bench.baselines import load_tracker
    from tapetum.systems.perception_test.baselines.grounded import GroundedWords

    words, _, tracker = name.partition("+")
    chosen = "random" if words == "random-object" else "words"
    detector = PromptedBoxes(_answerer(ANSWERER if chosen == "random" else words, options.device))
    carried = load_tracker(tracker or TRACKER, options.device)
    return GroundedWords(detector, carried, options.train, chosen=chosen, seed=options.seed)


def _train(name: str, options: ModelOptions) -> Mapping[str, AnnotatedVideo]:
    if options.train is None:
        raise BadInput(f"{name} learns from annotations; give those of the train split with --train FILE.json")
    return options.train


def _answerer(name: str, device: str | None) -> "Answerer":
    from tapetum.hub.registry import known, resolve
    from tapetum.systems.paligemma.answers import Answerer

    if name in known() or not Path(name).exists():
        resolve(name, "ask")
    return Answerer.load(name, device=device)
