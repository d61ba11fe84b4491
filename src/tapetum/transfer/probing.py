"""Common parts of probes: features computed once, a validation part, and the same sweep for every encoder."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tapetum.core.devices import full_precision
from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.core.identity import stamp
from tapetum.core.reading import no_pipe
from tapetum.data.labelled import ImageSequence
from tapetum.encoders.batching import look_by_size, run_in_batches
from tapetum.encoders.features import Encoder
from tapetum.train.config import TrainConfig
from tapetum.train.optim import learning_rate
from tapetum.train.process_group import compute_shared, shares_evaluation
from tapetum.transfer.config import ProbeConfig


@dataclass(frozen=True)
class Labelled:
    """Features of images and their classes."""

    features: Float[Tensor, "n *shape"]
    """Pooled vectors (n, c), or tokens (n, t, c)."""
    labels: Int64[Tensor, " n"]

    def __post_init__(self) -> None:
        if len(self.features) != len(self.labels) or not len(self.labels):
            raise BadInput(
                f"there are {len(self.features)} features and {len(self.labels)} labels; give one for each, 1 or more"
            )
        if self.labels.dtype != torch.int64 or self.labels.ndim != 1:
            kind = f"{self.labels.dtype} {tuple(self.labels.shape)}"
            raise BadInput(f"labels are {kind}; give one class an image as whole numbers, int64 (n,)")

    def rows(self, which: Tensor) -> "Labelled":
        """Select some of them."""
        return Labelled(self.features[which], self.labels[which])


@dataclass(frozen=True)
class Probed:
    """What a probe found."""

    accuracy: float
    """Share of the test part that is right, by the setting that was best on the held-out part."""
    chosen: float
    """That setting."""
    tried: tuple[tuple[float, float], ...]
    """Every setting with its share on the held-out part."""
    head: nn.Module
    """From features to logits."""


_TOGETHER = 64
"""Images of a batch."""


@full_precision()
def features_of(
    encoder: Encoder,
    images: ImageSequence,
    *,
    kept: Path | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Float[Tensor, "n c"]:
    """Compute the pooled vectors of images, on the CPU.

    Args:
        encoder: stays in eval mode; it prepares the images.
        images: by number.
        kept: folder in which to store them, under a name derived from the weights and the images; None: nowhere.
        tell: called with the number done and the total.
    """
    file = kept / f"features-{_name(encoder, images)}.safetensors" if kept else None
    if file is not None and file.is_file():
        try:
            return load_file(no_pipe(file))["features"]
        except (SafetensorError, KeyError, OSError):
            pass  # it is made anew
    device = next(encoder.parameters()).device
    encoder.eval()

    def look(prepared: Tensor) -> Tensor:
        return encoder(prepared).pooled

    def compute(number: int) -> Tensor:
        start = number * _TOGETHER
        shown = [images[k] for k in range(start, min(start + _TOGETHER, len(images)))]
        if len({image.shape for image in shown}) == 1:
            prepared = encoder.prepare(np.stack(shown)).to(device)
            made = look(prepared) if shares_evaluation() else run_in_batches(prepared, look, encoder)
        else:
            made = look_by_size([encoder.prepare(image[None]).to(device) for image in shown], look, encoder)
        tell(start + len(shown), len(images))
        return made.float().cpu()

    with torch.inference_mode():
        outputs = compute_shared(compute, -(-len(images) // _TOGETHER))
    features = torch.cat(outputs).clone()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file, own=True) as temporary:
            save_file({"features": features}, temporary)
    return features


def _name(encoder: Encoder, images: ImageSequence) -> str:
    """A name for the features of these images by these weights."""
    mixed = hashlib.blake2b(f"{encoder.preprocessing}False{len(images)}".encode(), digest_size=10)
    for name, tensor in sorted(encoder.state_dict().items()):
        mixed.update(name.encode("utf-8", "surrogatepass"))
        mixed.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    content = getattr(images, "content", images.__getitem__)  # of files: what is in them, without decoding it
    mixed.update(json.dumps([stamp(image=content(k)) for k in range(len(images))]).encode())
    return mixed.hexdigest()


def split(count: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split 0..count-1 into a training and a held-out part, at least one of each."""
    order = torch.from_numpy(np.random.default_rng([seed, 2707]).permutation(count))
    validation = min(max(1, round(share * count)), count - 1)
    if validation < 1:
        raise BadInput(f"there are {count} examples to learn from; give 2 or more")
    return order[validation:], order[:validation]


def swept(train: Labelled, test: Labelled, config: ProbeConfig, learned: Callable[[Labelled, float], nn.Module]) -> Probed:
    """Try every setting on the same split, train with the best on everything, and score that one.

    Args:
        train: training examples; a part is held out to choose.
        test: scored once.
        config: the settings.
        learned: trains a head on examples with a setting.
    """
    own, validation = (train.rows(which) for which in split(len(train.labels), config.validation_share, config.seed))
    tried = tuple((setting, accuracy(learned(own, setting), validation)) for setting in config.tried)
    chosen = max(tried, key=lambda entry: entry[1])[0]
    head = learned(train, chosen)
    return Probed(accuracy(head, test), chosen, tried, head)


@torch.no_grad()
def accuracy(head: nn.Module, examples: Labelled, together: int = 1024) -> float:
    """Compute the fraction of examples whose largest logit is that of their class."""
    parts = zip(examples.features.split(together), examples.labels.split(together), strict=True)
    right = sum(int((head(x).argmax(1) == y).sum()) for x, y in parts)
    return right / len(examples.labels)


def learn(head: nn.Module, examples: Labelled, lr: float, config: ProbeConfig) -> nn.Module:
    """Train a head by SGD with momentum 0.9 and a cosine to zero; features fit in memory, so this does not use `fit`."""
    steps = config.epochs * -(-len(examples.labels) // config.batch_size)
    plan = TrainConfig(steps=steps, batch_size=1, lr=lr) if lr > 0 else None
    optimizer = torch.optim.SGD(head.parameters(), lr=lr, momentum=0.9)
    head.train()
    with torch.enable_grad():
        for step, which in zip(range(steps), _batches(len(examples.labels), config), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, plan) if plan else 0.0
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(head(examples.features[which]), examples.labels[which])
            loss.backward()
            optimizer.step()
    return head.eval()


def _batches(count: int, config: ProbeConfig) -> "Sequence[Tensor]":
    batches: list[Tensor] = []
    for epoch in range(config.epochs):
        order = torch.from_numpy(np.random.default_rng([config.seed, epoch, 2708]).permutation(count))
        batches += order.split(config.batch_size)
    return batches


class Standardised(nn.Module):
    """Normalise each channel by mean and standard deviation of some features, then apply a head."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: Float[Tensor, "n *shape c"], head: nn.Module, standardise: bool = True):
        super().__init__()
        rows = features.flatten(0, -2)
        deviation, mean = torch.std_mean(rows, 0, correction=0)
        self.register_buffer("mean", mean if standardise else torch.zeros_like(mean))
        self.register_buffer("scale", 1 / deviation.clamp(min=1e-6) if standardise else torch.ones_like(mean))
        self.head = head

    def forward(self, x: Float[Tensor, "n *shape c"]) -> Float[Tensor, "n k"]:
        """Compute logits."""
        return self.head((x - self.mean) * self.scale)
