"""Key-value recall as a training task (`tapetum_world.recall`): which form of memory finds the queried value?

The input of the linear layer is a setting: the mean of the last segment's tokens (the question alone, without memory), the mean
of all, or both concatenated. With `pooling="late"` in the encoder's settings, blocks over the means of moments precede the
linear layer: MC-ViT's late temporal fusion, which may find the pair without a memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import Dataset

from tapetum.systems.longvideo.config import VideoConfig
from tapetum.systems.longvideo.encoder import VideoEncoder
from tapetum.train import StepContext, Task
from tapetum_world.recall import RecallConfig, make_recall

ReadOut = Literal["last", "all", "both"]
SMALL = VideoConfig(
    width=96,
    depth=4,
    heads=4,
    mlp_width=384,
    size=(64, 64),
    frames=128,
    memory="consolidated",
    memories=16,
    memory_grad="through",
)
"""For a core: 128 tokens a segment, of which 16 are remembered."""
_CHECKS = 1 << 32
"""Numbers of videos from here on are never learned from."""


@dataclass(frozen=True, kw_only=True)
class RecallRun:
    """A run: the network and its videos."""

    video: VideoConfig = SMALL
    """The encoder."""
    world: RecallConfig = field(default_factory=RecallConfig)
    """The videos."""
    read_out: ReadOut = "both"
    """Input of the linear layer."""
    seed: int = 0
    """Of videos and memories."""
    checks: int = 256
    """Videos to score with."""
    start: float | None = None
    """Deviation of the first weights of the blocks' linear layers; None: 0.02, at which narrow networks are slow to begin."""


class RecallModel(nn.Module):
    """An encoder and a linear layer that predicts the value."""

    def __init__(self, run: RecallRun):
        super().__init__()
        self.run = run
        self.encoder = VideoEncoder(replace(run.video, seed=run.seed))
        self.norm = nn.LayerNorm(run.video.width * (1 + (run.read_out == "both")))
        self.head = nn.Linear(self.norm.normalized_shape[0], run.world.values)

    def forward(self, video: Float[Tensor, "b t h w 3"], samples: tuple[int, ...]) -> Float[Tensor, "b values"]:
        """Compute the logits of the values."""
        features = self.encoder(video, samples=samples)
        slots = self.run.world.segment_frames // self.run.video.tubelet[0]
        tokens = features.tokens.flatten(1, 2)
        last = tokens[:, -slots * self.run.video.grid[0] * self.run.video.grid[1] :].mean(1)
        read = {"last": [last], "all": [features.pooled], "both": [last, features.pooled]}[self.run.read_out]
        return self.head(self.norm(torch.cat(read, -1)))


class RecallVideos(Dataset[tuple[int, Tensor, int]]):
    """Videos by number."""

    def __init__(self, run: RecallRun):
        self.run = run

    def __getitem__(self, number: int) -> tuple[int, Tensor, int]:
        made = make_recall(self.run.seed, number, self.run.world)
        return number, torch.from_numpy(made.video), made.label


class RecallTask(Task):
    """Classification of the value."""

    def __init__(self, run: RecallRun):
        self.run = run

    def model(self) -> RecallModel:
        reader = RecallModel(self.run)
        if self.run.start is not None:
            with torch.no_grad():
                for layer in reader.encoder.blocks.modules():
                    if isinstance(layer, nn.Linear):
                        layer.weight.mul_(self.run.start / 0.02)  # as `start_linear` drew them
        return reader.train()

    def dataset(self) -> RecallVideos:
        return RecallVideos(self.run)

    def collate(self, items: Sequence[tuple[int, Tensor, int]]) -> dict[str, Any]:
        numbers, videos, labels = zip(*items, strict=True)
        return {"number": numbers, "video": torch.stack(videos), "label": torch.tensor(labels)}

    def loss(
        self, model: nn.Module, batch: Mapping[str, Any], context: StepContext
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        logits = model(batch["video"].float() / 127.5 - 1, batch["number"])
        right = (logits.argmax(1) == batch["label"]).float().mean()
        return F.cross_entropy(logits, batch["label"]), {"accuracy": right}

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        assert isinstance(model, RecallModel)
        return {"accuracy": accuracy(model, self.run.world, self.run.checks)}

    def describe(self) -> Mapping[str, Any]:
        return asdict(self.run)


@torch.no_grad()
def accuracy(model: RecallModel, world: RecallConfig, count: int, batch: int = 32) -> float:
    """Compute the accuracy on `count` videos of a world, which may be longer than the training videos."""
    device, right = next(model.parameters()).device, 0
    for first in range(0, count, batch):
        numbers = tuple(range(_CHECKS + first, _CHECKS + min(first + batch, count)))
        made = [make_recall(model.run.seed, number, world) for number in numbers]
        video = torch.stack([torch.from_numpy(one.video) for one in made]).to(device).float() / 127.5 - 1
        predicted = model(video, numbers).argmax(1).tolist()
        right += sum(value == one.label for value, one in zip(predicted, made, strict=True))
    return right / count
