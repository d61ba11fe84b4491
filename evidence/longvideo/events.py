"""Ordered events as a small task: linear layers over a video's pooled vector say the words of each event.

For `claims.py`. Where a video has segments, the mean of the last one's tokens is in the place of the pooled vector. A
caption scores the sum of the log-probabilities of its words. An image encoder learns the colour and the shape of what a frame
shows; video encoders can start from it (`inflated`).
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from tapetum.encoders.config import Preprocessing, ViTConfig
from tapetum.encoders.vit import ViT
from tapetum.systems.longvideo.config import VideoConfig
from tapetum.systems.longvideo.encoder import VideoEncoder
from tapetum.systems.longvideo.weights import continue_from, inflate
from tapetum.train import StepContext, Task
from tapetum_world.ordered_events import COLOURS, MOTIONS, SHAPES, OrderedEventsConfig, gallery, make_ordered_events
from tapetum_world.training.longvideo_sources import add_time_codes, validation_number

LISTS = [*COLOURS], [*SHAPES], [*MOTIONS]
MOST = 8
"""Events for which there are linear layers."""


class Teller(nn.Module):
    """An encoder, and linear layers that say the words of up to eight events."""

    def __init__(self, video: VideoConfig):
        super().__init__()
        self.encoder = VideoEncoder(video)
        widen(self.encoder.blocks, video.width, self.encoder.tubelets.positions)
        self.norm = nn.LayerNorm(video.width)
        self.head = nn.Linear(video.width, MOST * 12)

    def forward(self, video: Tensor, samples: tuple[int, ...]) -> Tensor:
        """Give the log-probabilities of words, (b, events, 3, 4)."""
        features = self.encoder(video.float() / 127.5 - 1, samples=samples)
        pooled = features.pooled if self.encoder.config.memory == "joint" else features.tokens[:, -1].mean(1)
        return self.head(self.norm(pooled)).unflatten(1, (MOST, 3, 4)).log_softmax(-1)


@torch.no_grad()
def widen(blocks: nn.Module, width: int, positions: Tensor) -> None:
    """Make the first weights of a narrow network as large as it needs: it is slow to begin at a deviation of 0.02."""
    for layer in blocks.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.mul_(width**-0.5 / 0.02)
    positions.mul_(15)  # as great as what the patches hold


class StillsTask(Task):
    """Say the colour and the shape of what one frame shows, with the image ViT that a video encoder has the blocks of."""

    def __init__(self, video: VideoConfig, world: OrderedEventsConfig, seed: int):
        self.video, self.world, self.seed = video, replace(world, length=2), seed

    def model(self) -> ViT:
        """Make a new network, which has a class for each colour and for each shape."""
        video = self.video
        own = {"width": video.width, "depth": video.depth, "heads": video.heads, "mlp_width": video.mlp_width}
        grid = {"patch": video.tubelet[1], "image_size": video.size, "class_token": False, "pooling": "mean", "classes": 8}
        grey = Preprocessing(size=video.size, mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5))
        made = ViT(ViTConfig(**own, **grid), grey)
        widen(made.blocks, video.width, made.positions.data)
        return made.train()

    def dataset(self) -> "Films":
        """Give videos by number, of which one frame is looked at."""
        return Films(self.seed, self.world)

    def loss(self, model: nn.Module, batch: Any, context: StepContext) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the cross entropy of colour and shape of the first event."""
        _, video, words = batch
        images = video[:, 0].movedim(-1, 1).float() / 127.5 - 1
        said = model.head(model(images).pooled).unflatten(1, (2, 4))  # pyright: ignore[reportCallIssue]
        right = (said.argmax(-1) == words[:, 0, :2]).float().mean()
        return F.cross_entropy(said.flatten(0, 1), words[:, 0, :2].flatten()), {"words": right}

    def describe(self) -> Mapping[str, Any]:
        """List what decides what is learned."""
        return {"video": asdict(self.video), "world": asdict(self.world), "stills": True}


def inflated(image_encoder: ViT, video: VideoConfig) -> Teller:
    """Make a network that starts from an image encoder, with sines of time added to its positions."""
    made = Teller(video)
    names = "frames", "size", "tubelet", "attention", "mask_ratio"
    made.encoder = inflate(image_encoder, "vivit-nano", **{name: getattr(video, name) for name in names})
    add_time_codes(made.encoder.tubelets.positions.data)
    return made


class Films(Dataset[tuple[int, Tensor, Tensor]]):
    """Videos by number, with the numbers of their words."""

    def __init__(self, seed: int, world: OrderedEventsConfig):
        self.seed, self.world = seed, world

    def __getitem__(self, number: int) -> tuple[int, Tensor, Tensor]:
        made = make_ordered_events(self.seed, number, self.world)
        return number, torch.from_numpy(made.video), numbers(made.caption)


def numbers(caption: str) -> Tensor:
    """The words of a caption as numbers, (events, 3)."""
    rows = [event.split() for event in caption.split(", ")]
    return torch.tensor([[each.index(word) for each, word in zip(LISTS, row, strict=True)] for row in rows])


class EventsTask(Task):
    """Say what happens, in its order."""

    def __init__(self, video: VideoConfig, world: OrderedEventsConfig, seed: int, start: Teller | None = None):
        self.video, self.world, self.seed, self.start = video, world, seed, start

    def model(self) -> Teller:
        """Make a new network, or go on from an earlier one."""
        made = Teller(self.video)
        if self.start is not None:
            made.encoder = continue_from(self.start.encoder, **_changes(self.start.encoder.config, self.video))
            made.norm.load_state_dict(self.start.norm.state_dict())
            made.head.load_state_dict(self.start.head.state_dict())
        return made.train()

    def dataset(self) -> Films:
        """Give videos by number."""
        return Films(self.seed, self.world)

    def loss(self, model: nn.Module, batch: Any, context: StepContext) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the cross entropy of the words."""
        number, video, words = batch
        said = model(video, tuple(number.tolist()))[:, : self.world.events]
        return F.nll_loss(said.flatten(0, 2), words.flatten()), {"words": (said.argmax(-1) == words).float().mean()}

    def describe(self) -> Mapping[str, Any]:
        """List what decides what is learned."""
        return {"video": asdict(self.video), "world": asdict(self.world), "start": self.start is not None}


def _changes(old: VideoConfig, new: VideoConfig) -> dict[str, Any]:
    """Fields that differ."""
    return {name: getattr(new, name) for name in asdict(new) if getattr(new, name) != getattr(old, name)}


@torch.no_grad()
def score(model: Teller, world: OrderedEventsConfig, seed: int, count: int) -> dict[str, float]:
    """Score on videos that are never learned from."""
    films = Films(seed, world)
    found = order = words = 0.0
    for first in range(0, count, 32):
        held = tuple(validation_number(k) for k in range(first, min(first + 32, count)))
        said = model(torch.stack([films[number][1] for number in held]), held)[:, : world.events]
        for number, row in zip(held, said, strict=True):
            shown = gallery(seed, number, world)
            each = torch.stack([row.gather(2, numbers(caption)[..., None]).sum() for caption in shown.captions])
            found += int(each.argmax()) == shown.answer
            own = [*shown.orders]
            order += own[int(each[own].argmax())] == shown.answer
            right = numbers(shown.captions[shown.answer])
            words += float((row.argmax(-1) == right).float().mean())
    return {"found": found / count, "order": order / count, "words": words / count}
