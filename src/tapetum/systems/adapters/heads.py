"""Heads on an encoder: for image classes, pixel classes, actions, and your own tasks.

Features of images of one scene differ little, so a head standardises them first, by a batch norm as in R3M (arXiv
2203.12601). Statistics measured once do not suffice: each step, adapters move features by many of these small deviations, which
invalidates what the head has learned (with such a head, adapters learned more slowly than none).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.core.plugins import given_reference
from tapetum.encoders.features import Features
from tapetum.layers.convolution import Standardize


class FeatureNorm(nn.BatchNorm1d):
    """A batch norm of the last axis, without gains and offsets; its running statistics start from measured ones."""

    def __init__(self, width: int):
        super().__init__(width, affine=False)

    def measure(self, features: Float[Tensor, "n width"]) -> None:
        """Initialise with the statistics of these features."""
        assert self.running_mean is not None
        assert self.running_var is not None
        self.running_mean.copy_(features.float().mean(0))
        self.running_var.copy_(features.float().var(0, correction=0))

    def forward(self, input: Float[Tensor, "*n width"]) -> Float[Tensor, "*n width"]:
        """Standardise features: mean 0 and deviation 1 in training, nearly so in evaluation."""
        return super().forward(input.flatten(0, -2)).view(input.shape)


def zero_linear(width: int, outputs: int) -> nn.Linear:
    """Build a linear layer whose outputs are 0 at first."""
    layer = nn.Linear(width, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class PixelHead(nn.Module):
    """A linear layer on each map of the encoder, with results upsampled to the finest and summed."""

    def __init__(self, channels: Sequence[int], classes: int):
        super().__init__()
        self.norms = nn.ModuleList(FeatureNorm(width) for width in channels)
        self.outs = nn.ModuleList(zero_linear(width, classes) for width in channels)

    def measure(self, features: Features) -> None:
        """Take the figures of these features."""
        for norm, feature_map in zip(self.norms, features.maps, strict=True):
            norm.measure(feature_map.movedim(1, -1).flatten(0, 2))  # pyright: ignore[reportCallIssue]

    def forward(self, maps: Sequence[Float[Tensor, "b _c _h _w"]]) -> Float[Tensor, "b classes h w"]:
        """Compute logits at the resolution of the finest map."""
        size, total = maps[0].shape[-2:], None
        for norm, out, feature_map in zip(self.norms, self.outs, maps, strict=True):
            logits = out(norm(feature_map.movedim(1, -1))).movedim(-1, 1)
            logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
            total = logits if total is None else total + logits
        assert total is not None
        return total


class PolicyHead(nn.Module):
    """Map the pooled vector and the robot's own state to an action: linear, or two layers of 256 with ReLU."""

    def __init__(self, width: int, actions: int, own: int = 0, hidden: tuple[int, ...] = (256, 256)):
        super().__init__()
        self.norm, self.own_norm, self.action = FeatureNorm(width), Standardize(own), Standardize(actions)
        layers: list[nn.Module] = []
        inward = width + own
        for outward in hidden:
            layers += [nn.Linear(inward, outward), nn.ReLU()]
            inward = outward
        self.layers = nn.Sequential(*layers, nn.Linear(inward, actions))

    def measure(self, pooled: Float[Tensor, "n e"], own: Float[Tensor, "n p"], actions: Float[Tensor, "n a"]) -> None:
        """Take the statistics of demonstrations."""
        self.norm.measure(pooled)
        self.action.measure(actions)
        if self.own_norm.mean.numel():
            self.own_norm.measure(own)

    def forward(self, pooled: Float[Tensor, "b e"], own: Float[Tensor, "b p"]) -> Float[Tensor, "b a"]:
        """Compute standardised actions; see `actions`."""
        features = self.norm(pooled)
        if self.own_norm.mean.numel():
            features = torch.cat((features, self.own_norm(own)), 1)
        return self.layers(features)

    def actions(self, standardised: Float[Tensor, "b a"]) -> Float[Tensor, "b a"]:
        """Compute actions in the demonstrations' units."""
        return standardised * self.action.deviation + self.action.mean


class FeatureHead(nn.Module):
    """Any module on standardised pooled vectors, or on the maps: for classes and for your own tasks."""

    def __init__(self, width: int | None, out: nn.Module):
        """`width` is that of the pooled vectors; None for a head on maps."""
        super().__init__()
        self.norm, self.out = None if width is None else FeatureNorm(width), out

    def measure(self, features: Features) -> None:
        """Take the figures of these features."""
        if self.norm is not None:
            self.norm.measure(features.pooled)

    def forward(self, features: Any) -> Tensor:
        """Compute the outputs of the head."""
        return self.out(features if self.norm is None else self.norm(features))


def reads_maps(about: Mapping[str, Any]) -> bool:
    """Check whether a head takes the encoder's maps rather than its pooled vectors."""
    return about["task"] == "segment" or about.get("reads") == "maps"


def make_head(about: Mapping[str, Any]) -> nn.Module:
    """Make the head described in a file's header.

    Raises BadInput for an unknown one, or one of your own task whose class is not given in this process.
    """
    if about.get("reads"):
        from tapetum.systems.adapters.own import own_task

        cls = own_task(given_reference(str(about["task"]), "task"))
        width = about["width"]
        return FeatureHead(None if reads_maps(about) else width, cls.head(width, **about["sizes"]))
    try:
        if about["task"] == "classify":
            return FeatureHead(int(about["width"]), zero_linear(int(about["width"]), len(about["classes"])))
        if about["task"] == "segment":
            return PixelHead([int(c) for c in about["channels"]], len(about["classes"]))
        if about["task"] == "clone":
            hidden = tuple(int(h) for h in about["hidden"])
            return PolicyHead(int(about["width"]), int(about["actions"]), int(about["own"]), hidden)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"the head in the file cannot be read ({str(error)[:80]}); get the file again") from error
    raise BadInput(f"the file has a head for {about['task']!r}, which this tapetum does not know; get a newer one")
