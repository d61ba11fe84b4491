"""Training of the localiser, from annotations and videos to a file of weights.

An example is a video as features of one length, and the targets of each anchor.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.data import Dataset

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_json
from tapetum.core.identity import Outdated, differing, stamp
from tapetum.core.reading import no_pipe, read_json
from tapetum.data.samples import Shuffle, sample_generator
from tapetum.hub.registry import weights_fingerprint
from tapetum.systems.perception_test.annotations import read_annotations
from tapetum.systems.perception_test.footage import VideoContent, find_videos
from tapetum.systems.perception_test.localiser.config import LocaliserRun
from tapetum.systems.perception_test.localiser.features import (
    MOTION,
    FeatureFiles,
    FeatureSource,
    VideoModels,
    load_source,
    split_names,
)
from tapetum.systems.perception_test.localiser.model import Localiser, anchors, assign_targets, resample
from tapetum.systems.perception_test.localiser.predict import LOCALISER_FILE, save
from tapetum.systems.perception_test.types import AnnotatedVideo
from tapetum.train import StepContext, Task, fit
from tapetum.train.launch import is_main
from tapetum.train.launch_config import Launch, train_config

LEAST_LEFT = 0.5
"""Share of a segment that must be in a part of a video for it to be there."""


@dataclass(frozen=True)
class LocaliserExample:
    """A video to learn from."""

    features: Float[np.ndarray, "t d"]
    segments: Float[np.ndarray, "n 2"]
    """Start and end as shares of the length."""
    labels: Int[np.ndarray, " n"]
    """Places among the classes."""


class LocaliserTask(Task, Dataset):
    """Videos in a shuffled order, some of them cut."""

    def __init__(self, run: LocaliserRun, examples: Sequence[LocaliserExample], classes: Sequence[int]):
        """`classes` are the ids of the data set."""
        self.run, self.examples, self.classes = run, examples, tuple(classes)
        self.order = Shuffle(len(examples), run.seed)
        self.at = anchors(run.network)

    def model(self) -> nn.Module:
        made = Localiser(self.run.network, self.examples[0].features.shape[1], len(self.classes))
        made.standardise(torch.from_numpy(np.concatenate([example.features for example in self.examples])))
        return made

    def dataset(self) -> "LocaliserTask":
        return self

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        example = self.examples[self.order(number)]
        rng = sample_generator(self.run.seed, number)
        first, last = 0.0, 1.0
        if rng.random() < self.run.crop:
            length = rng.uniform(0.5, 1.0)
            first = rng.uniform(0, 1 - length)
            last = first + length
        count, steps = len(example.features), self.run.network.length
        start, end = int(first * count), max(int(first * count) + 1, round(last * count))
        spans = (example.segments * count - start) / (end - start)
        cut = spans.clip(0, 1)
        length = spans[:, 1] - spans[:, 0]
        left = (cut[:, 1] - cut[:, 0]) > LEAST_LEFT * length
        segments = torch.from_numpy((cut[left] * steps).astype(np.float32)).reshape(-1, 2)
        labels = torch.from_numpy(example.labels[left])
        targets, distances = assign_targets(self.at, segments, labels, len(self.classes), self.run.network.radius)
        return {"features": resample(example.features[start:end], steps), "targets": targets, "distances": distances}

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor], context: StepContext
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        assert isinstance(model, Localiser)
        return model.loss(batch["features"], batch["targets"], batch["distances"])

    def describe(self) -> Mapping[str, Any]:
        return {**asdict(self.run), "videos_seen": len(self.examples), "classes": list(self.classes)}


def train_localiser(
    run: LocaliserRun, launch: Launch, say: Callable[[str], None] = print, video_models: VideoModels | None = None
) -> Path | None:
    """Train in the folder `launch.out`; the same call goes on after a stop. None if there is more to do.

    `video_models` as in `load_source`.
    Features are kept in `features` in that folder. Leaves the network (`localiser.safetensors`), whose path is returned. Raises
    BadInput for what the user can mend.
    """
    if not run.data:
        raise BadInput("there is no data; give --data with annotations of the train split")
    annotations = {name: video for name, video in read_annotations(run.data).items() if video.of(run.task)}
    if not annotations:
        raise BadInput(f"{run.data} has no segment of the task {run.task}; give the annotations of that task")
    classes = sorted({segment.label_id for video in annotations.values() for segment in video.of(run.task)})
    source = load_source(run.features, run.grid, run.frame_rate, video_models=video_models)
    cache = None if isinstance(source, FeatureFiles) else launch.out / "features"
    paths = find_videos(Path(run.videos), list(annotations)) if run.videos else {}
    say(f"{len(annotations)} videos, {len(classes)} classes of {run.task}s")
    made_by = stamp(
        features=[weights_fingerprint(name.removeprefix(MOTION)) for name in split_names(run.features)],
        grid=run.grid,
        frame_rate=run.frame_rate,
    )
    outdated, examples = Outdated(say), []
    for name, video in annotations.items():
        content = VideoContent(video.metadata, *paths.get(name, (None, None)))
        about = {} if cache is None else {**made_by, **stamp(video=content.path, sound=content.sound_path)}
        examples.append(_example(run, classes, video, _features(source, cache, name, content, about, outdated)))
    if cache is not None:
        outdated.say(cache, done=True)
    if len({example.features.shape[1] for example in examples}) > 1:
        raise BadInput(f"features of {run.features} have several widths; give those of one kind")
    task = LocaliserTask(run, examples, classes)
    config = train_config(run, launch, micro_batch=run.micro_batch, workers=0, warmup_steps=run.steps // 10, ema_decay=0.99)
    result = fit(task, config, launch.out, began=launch.began)
    if result.state == "stopped":
        return None
    path = launch.out / LOCALISER_FILE
    if is_main():
        model = cast(Localiser, result.model)
        model.load_state_dict(result.averages["ema"])
        save(model.eval(), run, tuple(classes), path)
    return path


def _example(run: LocaliserRun, classes: list[int], video: AnnotatedVideo, features: np.ndarray) -> LocaliserExample:
    places: Mapping[int, int] = {label: place for place, label in enumerate(classes)}
    segments = video.of(run.task)
    spans = np.array([[s.start_s, s.end_s] for s in segments]).reshape(-1, 2) / video.metadata.seconds
    return LocaliserExample(features, spans.clip(0, 1), np.array([places[s.label_id] for s in segments], np.int64))


def _features(
    source: FeatureSource, cache: Path | None, name: str, content: VideoContent, about: dict[str, Any], outdated: Outdated
) -> np.ndarray:
    """Features of a video; those that are in `cache`, NAME.npy, if NAME.json says that they are of the same."""
    path = None if cache is None else cache / f"{name}.npy"
    if path is None:
        return source.read(name, content)
    note = path.with_suffix(".json")
    if path.exists() and note.exists():
        if not (changed := differing(read_json(note), about)):
            return np.load(no_pipe(path), allow_pickle=False)
        outdated.add(changed)
    made = source.read(name, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    note.unlink(missing_ok=True)
    with whole_file(path, own=True) as temporary, open(temporary, "wb") as file:
        np.save(file, made)
    write_json(note, about)
    return made
