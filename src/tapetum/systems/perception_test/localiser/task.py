"""Training of the localiser: videos as features of one length, and the targets of each anchor."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.data import Dataset

from tapetum.data.samples import Shuffle, sample_generator
from tapetum.systems.perception_test.localiser.config import LocaliserRun
from tapetum.systems.perception_test.localiser.decode import resample
from tapetum.systems.perception_test.localiser.model import Localiser, anchors, assign_targets
from tapetum.train import StepContext, Task

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
        """Make a new network that knows the scale of the features."""
        made = Localiser(self.run.network, self.examples[0].features.shape[1], len(self.classes))
        made.standardise(torch.from_numpy(np.concatenate([example.features for example in self.examples])))
        return made

    def dataset(self) -> "LocaliserTask":
        """Make the videos by number."""
        return self

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Make features, classes and distances of a sample."""
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
        """Compute the network's loss."""
        assert isinstance(model, Localiser)
        return model.loss(batch["features"], batch["targets"], batch["distances"])

    def describe(self) -> Mapping[str, Any]:
        """List what the run depends on."""
        return {**asdict(self.run), "videos_seen": len(self.examples), "classes": list(self.classes)}
