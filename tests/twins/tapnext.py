"""TAPNext once more, in 64 bits, one clip and one frame at a time; gradients are torch's.

Network: arXiv 2504.05579, section 3, on the recurrent blocks of Griffin (2402.19427, section 2) and attention within frames of
TRecViT (2412.14294). Losses: those that the product's docs describe. The product's network is what its golden tensors compare
with the public code; this one knows neither.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from twins import loop
from twins.tapir import entropy, gelu, linear, scaled

Size = tuple[int, int]


@dataclass(frozen=True)
class Choices:
    """The network, and what is learned from it; sizes are (height, width)."""

    image: Size
    """In which queries and positions are written."""
    patch: int
    width: int
    depth: int
    heads: int
    bins: int
    radius: int
    exact: bool
    """As the code of TAPNext++ in torch: GELU is exact after attention and in the heads, whose norms add 1e-5, and an embedded
    position fades beyond the last pixel."""
    every: bool = True
    """All layers learn, or the last alone."""
    hidden: float = 0.0
    """Weight of what is hidden inside the image."""
    public: bool = False


def embedded(c: Choices, xy: Tensor) -> Tensor:
    """A table of sines and cosines of every pixel, read between them at (x, y)."""
    height, width = c.image
    frequencies = 10_000.0 ** (-torch.arange(c.width // 4) / (c.width // 4 - 1))

    def waves(count: int) -> Tensor:
        angles = torch.arange(count)[:, None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], 1).float()

    across, down = waves(width), waves(height)
    table = torch.cat([across.expand(height, -1, -1), down[:, None].expand(-1, width, -1)], 2)
    place = (xy / torch.tensor([width, height]) * 2 - 1).view(1, 1, 1, 2)
    padding = "zeros" if c.exact else "border"
    return F.grid_sample(table.permute(2, 0, 1)[None], place, padding_mode=padding, align_corners=False).flatten()


def rms(p: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x / ((x**2).mean(-1, keepdim=True) + 1e-6).sqrt() * (1 + p[f"{name}.weight"])


def norm(p: Mapping[str, Tensor], name: str, x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / ((centred**2).mean(-1, keepdim=True) + eps).sqrt() * p[f"{name}.weight"] + p[f"{name}.bias"]


def gate(p: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Blocks of channels, each with a matrix of its own."""
    weight, bias = p[f"{name}.weight"], p[f"{name}.bias"]
    parts = x.split(weight.shape[1], -1)
    return torch.sigmoid(torch.cat([part @ w + b for part, w, b in zip(parts, weight, bias, strict=True)], -1))


def over_time(p: Mapping[str, Tensor], at: str, x: Tensor) -> Tensor:
    """Griffin's recurrence over frames of tokens [t, n, c], with its gated MLP."""
    normed = rms(p, f"{at}.norm", x)
    value, taps = linear(p, f"{at}.value", normed), p[f"{at}.conv_weight"]
    states: list[Tensor] = []
    for t in range(len(x)):
        mixed = p[f"{at}.conv_bias"] + sum(taps[-1 - k] * value[t - k] for k in range(min(len(taps), t + 1)))
        keep = torch.exp(-8 * gate(p, f"{at}.lru.decay_gate", mixed) * F.softplus(p[f"{at}.lru.decay"]))  # eq. 3
        new = mixed * gate(p, f"{at}.lru.input_gate", mixed)
        states.append(keep * states[-1] + (1 - keep**2).sqrt() * new if t else new)  # eq. 4
    x = x + linear(p, f"{at}.out", torch.stack(states) * gelu(linear(p, f"{at}.gate", normed)))
    opened, up = linear(p, f"{at}.mlp.gate_up", rms(p, f"{at}.mlp_norm", x)).chunk(2, -1)
    return x + linear(p, f"{at}.mlp.out", gelu(opened) * up)


def within(p: Mapping[str, Tensor], c: Choices, at: str, x: Tensor, shown: Tensor) -> Tensor:
    """Attention among the tokens of one frame [n, c], of which some are `shown` to others; each sees itself."""
    normed, size = norm(p, f"{at}.attention_norm", x, 1e-6), c.width // c.heads
    q, k, v = (linear(p, f"{at}.attention.{name}", normed).unflatten(1, (c.heads, size)) for name in ("query", "key", "value"))
    logits = torch.einsum("nhd,mhd->hnm", q, k) / size**0.5
    weights = torch.softmax(logits.masked_fill(~shown, -torch.inf), 2)
    x = x + linear(p, f"{at}.attention.out", torch.einsum("hnm,mhd->nhd", weights, v).flatten(1))
    inner = linear(p, f"{at}.mlp.hidden", norm(p, f"{at}.mlp_norm", x, 1e-6))
    return x + linear(p, f"{at}.mlp.out", F.gelu(inner) if c.exact else gelu(inner))


def head(p: Mapping[str, Tensor], c: Choices, name: str, x: Tensor) -> Tensor:
    for k in (0, 3):
        x = norm(p, f"{name}.{k + 1}", linear(p, f"{name}.{k}", x), 1e-5 if c.exact else 1e-6)
        x = F.gelu(x) if c.exact else gelu(x)
    return linear(p, f"{name}.6", x)


def layers(
    p: Mapping[str, Tensor], c: Choices, video: Tensor, queries: Tensor, since: Sequence[int] | None = None
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """After each block: logits [n, t, 2, bins] of x and y, places [n, t, 2] in pixels of `image`, logits [n, t] of visibility.
    Other tokens see a point from frame `since` on, by default always."""
    frames, height, width = video.shape[:3]
    grid = (height // c.patch, width // c.patch)
    patches = F.conv2d(video.permute(0, 3, 1, 2), p["patches.weight"], p["patches.bias"], stride=c.patch)
    own = p["position_embedding"].permute(2, 0, 1)[None]
    if own.shape[2:] != grid:
        own = F.interpolate(own, grid, mode="bicubic", align_corners=False)
    images = (patches + own).flatten(2).transpose(1, 2)
    points, first = [], since or [0] * len(queries)
    for query in queries:
        own = p["query_token"] + embedded(c, scaled(query[1:], (height, width), c.image))
        when = int(query[0].round())
        points.append([p["unknown_token"] if t < when else own if t == when else p["mask_token"] for t in range(frames)])
    x = torch.cat([images, torch.stack([torch.stack(each) for each in points], 1)], 1)
    predictions = []
    for number in range(c.depth):
        x, rows = over_time(p, f"blocks.{number}.temporal", x), []
        for t in range(frames):
            shown = torch.tensor([True] * images.shape[1] + [t >= begin for begin in first])
            rows.append(within(p, c, f"blocks.{number}.spatial", x[t], shown))
        x = torch.stack(rows)
        of = x[:, images.shape[1] :].transpose(0, 1)
        if number == c.depth - 1:
            of = norm(p, "norm", of, 1e-5 if c.exact else 1e-6)
        down, across = head(p, c, "coordinate_head", of).chunk(2, -1)
        logits = torch.stack([across, down], 2)
        away = torch.arange(c.bins) - logits.argmax(-1, keepdim=True)
        share = torch.softmax(logits / 2, -1) * (away.abs() <= c.radius)
        place = (share / share.sum(-1, keepdim=True) * (torch.arange(c.bins) + 0.5)).sum(-1)
        predictions.append((logits, place, head(p, c, "visible_head", of)[..., 0]))
    return predictions


def clip_loss(p: Mapping[str, Tensor], c: Choices, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    """Means over what counts of the terms of each layer, averaged over the layers; numbers of the last one."""
    names = ("coordinates", "position", "visibility")
    sums, counts, right = torch.zeros(c.depth, 3), torch.zeros(3), torch.zeros(3, 2)
    for b, video in enumerate(batch["video"]):
        size = tuple(video.shape[1:3])
        every = layers(p, c, video, batch["queries"][b])
        for n, t in np.ndindex(*batch["occluded"].shape[1:]):
            truth, when = scaled(batch["xy"][b, n, t], size, c.image), int(batch["queries"][b, n, 0].round())
            visible, known = not batch["occluded"][b, n, t], c.public or t >= when
            side = torch.tensor([c.image[1], c.image[0]])
            inside = bool(((truth >= 0) & (truth < side)).all())
            place = truth.clamp(min=0).minimum(side - 1.0)
            located = known * (1.0 if visible else 0.0 if c.public else c.hidden * inside)
            weights = torch.tensor([1.0 if c.public else located, located, float(known)])
            counts += weights
            for layer, (logits, xy, shown) in enumerate(every):
                label = (place - 0.5).clamp(0, c.bins - 1).round().long()
                log = torch.log_softmax(logits[n, t], -1)
                distance = (((xy[n, t] - place) ** 2).sum() + 1e-12).sqrt()
                huber = distance**2 / 2 if distance < 1 else distance - 0.5
                visibility = entropy(shown[n, t], torch.tensor(float(visible)))
                terms = torch.stack([-log[0, label[0]] - log[1, label[1]], 0.1 * huber, visibility])
                sums[layer] = sums[layer] + terms * weights
            error = float((every[-1][1][n, t] - truth).detach().norm())
            counted = float(t > when)
            for k, good in enumerate((error < 8, error < 2, bool(every[-1][2][n, t] > 0) == visible)):
                of = counted if k == 2 else counted * visible
                right[k] += torch.tensor([of * good, of])
    terms = (sums if c.every else sums[-1:]).mean(0) / counts.clamp(min=1e-6)  # where nothing counts: 0
    logs: dict[str, Tensor] = dict(zip(names, terms, strict=True))
    logs |= dict(zip(("within_8px", "within_2px", "visible_accuracy"), right[:, 0] / right[:, 1].clamp(min=1e-6), strict=True))
    return terms.sum(), logs


class Training(loop.Run):
    """A run on clips with exact tracks."""

    def __init__(self, start: loop.Parameters, settings: loop.Settings, choices: Choices):
        super().__init__(start, settings)
        self.choices, self.numbers = choices, []

    def gradients(self, *batch: Any) -> tuple[float, Any]:
        p = {name: torch.tensor(x, requires_grad=True) for name, x in self.p.items()}
        loss, logs = clip_loss(p, self.choices, batch[0])
        made = torch.autograd.grad(loss, list(p.values()), allow_unused=True)
        zeros = {name: np.zeros_like(x) for name, x in self.p.items()}
        self.numbers.append({key: float(x.detach()) for key, x in logs.items()})
        return float(loss.detach()), zeros | {n: g.numpy() for n, g in zip(p, made, strict=True) if g is not None}

    def step(self, micro_batches: Any) -> None:
        self.numbers = []
        super().step(micro_batches)
        self.log[-1] |= {name: float(np.mean([each[name] for each in self.numbers])) for name in self.numbers[0]}
