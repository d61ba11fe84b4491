"""Fine-tuning of a whole network on the classes of pixels, with the loop of `tapetum.train`, at several rates.

Layers nearer to the input learn more slowly (layer-wise rates: ELECTRA, arXiv 2003.10555; BEiT, arXiv 2106.08254): a weight's
rate is the run's times `layer_decay` for each layer between it and the output. The head and the last norm use the
full rate.

"Where Should I Spend My FLOPs?" (arXiv 2209.15589) transfers to segmentation; its method is not published, and this is ours:
random scale of 0.5 to 2, crop, mirror; one scale in evaluation. The cost of transfer is in the ledgers of these runs, not in
that of pre-training.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.utils.data import Dataset

from tapetum.core.errors import BadInput
from tapetum.data.samples import Shuffle, sample_generator
from tapetum.encoders.features import Encoder
from tapetum.metrics.masks import Confusion
from tapetum.train import StepContext, Task, TrainConfig, fit
from tapetum.train.optim import Layers
from tapetum.transfer.config import FineTuneConfig
from tapetum.transfer.probing import split
from tapetum.transfer.segmentation import IGNORED, Head, Segmenter, confusions, pixel_loss

_IN_BLOCK = re.compile(r".*\.\d+(?=\.|$)|.+")
"""The block in the name of a module: all up to the last number."""


def encoder_layers(encoder: Encoder) -> Layers:
    """List an encoder's layers from input to output: the modules before its blocks, then each block.

    Last norms and last convolutions are in none.
    """
    blocks = list(dict.fromkeys(_IN_BLOCK.match(name)[0] for name in encoder.adapter_addresses()))  # type: ignore[index]
    first = [
        *(module for name, module in encoder.named_children() if re.match(r"(stem|patches|norm_before)", name)),
        *(p for name, p in encoder.named_parameters(recurse=False) if name in ("positions", "class_token", "registers")),
    ]
    return [first, *([encoder.get_submodule(name)] for name in blocks)]


class _Numbers(Dataset[int]):
    """The sample numbers; images are made in `collate`, which knows the task."""

    def __getitem__(self, number: int) -> int:
        return number


class FineTuneTask(Task):
    """A task that `fine_tune` sweeps."""

    def __init__(self, encoder: Callable[[], Encoder], config: FineTuneConfig, examples: int):
        """`encoder` makes a new copy of the pre-trained encoder; a tenth of this many examples is held out."""
        self.encoder, self.config = encoder, config
        own, validation = split(examples, 0.1, config.seed)
        self.own, self.validation = own.numpy(), validation.numpy()
        self.order = Shuffle(len(self.own), config.seed)

    def dataset(self) -> Dataset:
        return _Numbers()

    def layers(self, model: nn.Module) -> Layers:
        return encoder_layers(model.encoder)  # type: ignore[arg-type]

    def describe(self) -> Mapping[str, Any]:
        return {name: value for name, value in asdict(self.config).items() if name != "learning_rates"}

    def chosen(self, numbers: Sequence[int]) -> list[int]:
        """Load the examples for these samples."""
        return [int(self.own[self.order(number)]) for number in numbers]

    def score(self, model: nn.Module, part: Literal["validation", "test"]) -> float:
        """Compute the score on the held-out or the test part; more is better."""
        raise NotImplementedError


class Segmented(Protocol):
    """Images with a number per pixel, or 255, by index; such as `tapetum.data.segmentation` provides."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names."""
        ...

    def __len__(self) -> int: ...

    def read(self, k: int) -> tuple[UInt8[np.ndarray, "h w 3"], Int64[np.ndarray, "h w"]]:
        """Read image k."""
        ...


class SegmentationTask(FineTuneTask):
    """A class for every pixel; the score is the mean IoU."""

    def __init__(
        self, encoder: Callable[[], Encoder], train: Segmented, test: Segmented, config: FineTuneConfig, head: Head = "linear"
    ):
        super().__init__(encoder, config, len(train))
        if config.size is None:
            raise BadInput("segmentation has no size; give FineTuneConfig(size=(rows, columns)) that the encoder takes")
        self.train_part, self.test_part, self.size = train, test, config.size
        self.head: Head = head

    def model(self) -> nn.Module:
        return Segmenter(self.encoder(), len(self.train_part.classes), self.head).train()

    def describe(self) -> Mapping[str, Any]:
        return {**super().describe(), "head": self.head}

    def collate(self, items: Sequence[int]) -> dict[str, Tensor]:
        made = []
        for number, k in zip(items, self.chosen(items), strict=True):
            image, truth = self.train_part.read(k)
            made.append(cropped(image, truth, self.size, sample_generator(self.config.seed, number)))
        return self._batch(made)

    def _batch(self, made: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        if not hasattr(self, "_how"):
            self._how = self.encoder().preprocessing
        mean, std = (torch.tensor(value)[:, None, None] for value in (self._how.mean, self._how.std))
        images = torch.stack([(image - mean) / std for image, _ in made])
        return {"image": images, "truth": torch.stack([truth for _, truth in made])}

    def loss(self, model: nn.Module, batch: Any, context: StepContext) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        return pixel_loss(model(batch["image"]), batch["truth"]), {}

    def score(self, model: nn.Module, part: Literal["validation", "test"]) -> float:
        counted = Confusion(len(self.train_part.classes), IGNORED)
        counted.counts += self.count(model, part).sum(0)
        return counted.mean_iou

    def count(self, model: nn.Module, part: Literal["validation", "test"]) -> Int64[np.ndarray, "n k k"]:
        """Count the pixels of each whole image, resized to the task's size, by true (row) and predicted class."""
        data = self.train_part if part == "validation" else self.test_part
        which = self.validation.tolist() if part == "validation" else list(range(len(data)))
        device = next(model.parameters()).device

        def batches() -> Any:
            for start in range(0, len(which), self.config.batch_size):
                rows = (data.read(k) for k in which[start : start + self.config.batch_size])
                batch = self._batch([cropped(image, truth, self.size, None) for image, truth in rows])
                yield batch["image"].to(device), batch["truth"]

        return confusions(model, batches(), len(data.classes))


@dataclass(frozen=True)
class FineTuned:
    """What a sweep of fine-tuning found."""

    score: float
    """On the test part, by the rate that was best on the held-out part."""
    learning_rate: float
    """That rate."""
    tried: tuple[tuple[float, float], ...]
    """Every rate with its score on the held-out part."""
    model: nn.Module
    """With the weights of that run."""


def fine_tune_config(config: FineTuneConfig, learning_rate: float, **settings: Any) -> TrainConfig:
    """Make the loop's config for fine-tuning at one rate; `settings` are further fields of it."""
    return TrainConfig(
        steps=config.steps,
        batch_size=config.batch_size,
        lr=learning_rate,
        layer_decay=config.layer_decay,
        weight_decay=config.weight_decay,
        warmup_steps=min(round(config.warmup * config.steps), config.steps - 1),
        seed=config.seed,
        **settings,
    )


def fine_tune(task: FineTuneTask, out: Path, **settings: Any) -> FineTuned | None:
    """Fine-tune once at every rate, each in its own folder in `out`, and score the best on the test part.

    None if a signal or `max_minutes` stopped it; the same call continues. `settings` are further fields of
    `TrainConfig`, such as device or workers.
    """
    config, tried = task.config, []
    for learning_rate in config.learning_rates:
        result = fit(task, fine_tune_config(config, learning_rate, **settings), out / f"rate-{learning_rate:g}")
        if result.state == "stopped":
            return None
        tried.append((task.score(result.model, "validation"), learning_rate, result.model))
    best = max(tried, key=lambda entry: entry[0])
    return FineTuned(
        task.score(best[2], "test"), best[1], tuple((learning_rate, score) for score, learning_rate, _ in tried), best[2]
    )


def cropped(
    image: UInt8[np.ndarray, "h w 3"], truth: Int64[np.ndarray, "h w"], size: tuple[int, int], rng: np.random.Generator | None
) -> tuple[Float[Tensor, "3 H W"], Int64[Tensor, "H W"]]:
    """Resize an image (0..255) and its target to `size`: whole without `rng`, else scaled by 0.5 to 2, cropped and mirrored.

    Pixels beyond the image are grey and do not count.
    """
    scale = 1.0 if rng is None else _scale(rng)
    rows, columns = (max(1, round(side * scale)) for side in size)
    x, y = scaled(image, truth, (rows, columns))
    return (x, y) if rng is None else _cut(x, y, size, rng)


def cut_at_own_scale(
    image: UInt8[np.ndarray, "h w 3"], truth: Int64[np.ndarray, "h w"], size: tuple[int, int], rng: np.random.Generator
) -> tuple[Float[Tensor, "3 H W"], Int64[Tensor, "H W"]]:
    """Scale an image by 0.5 to 2, keeping its aspect ratio, then crop and mirror it."""
    scale = _scale(rng)
    rows, columns = (max(1, round(side * scale)) for side in truth.shape)
    return _cut(*scaled(image, truth, (rows, columns)), size, rng)


def scaled(
    image: UInt8[np.ndarray, "h w 3"], truth: Int64[np.ndarray, "h w"], size: tuple[int, int]
) -> tuple[Float[Tensor, "3 H W"], Int64[Tensor, "H W"]]:
    """Resize an image (0..255) and its target."""
    x = torch.from_numpy(np.array(image)).movedim(-1, 0)[None].float()
    x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)[0]
    y = F.interpolate(torch.from_numpy(np.array(truth))[None, None].double(), size, mode="nearest-exact")
    return x, y[0, 0].long()


def _scale(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(0.5), np.log(2.0))))


def _cut(x: Tensor, y: Tensor, size: tuple[int, int], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    below, right = max(size[0] - y.shape[0], 0), max(size[1] - y.shape[1], 0)
    x, y = F.pad(x, (0, right, 0, below), value=127.0), F.pad(y, (0, right, 0, below), value=IGNORED)
    top, left = (int(rng.integers(0, have - want + 1)) for have, want in zip(y.shape, size, strict=True))
    x, y = x[:, top : top + size[0], left : left + size[1]], y[top : top + size[0], left : left + size[1]]
    return (x.flip(-1), y.flip(-1)) if rng.random() < 0.5 else (x, y)
