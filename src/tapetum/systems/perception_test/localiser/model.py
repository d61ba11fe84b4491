"""The localiser's network: features over time in; for each anchor of a feature pyramid, classes and distances to both ends out.

ActionFormer (Zhang, Wu and Li, arXiv 2202.07925, section 3), small.

    features (t, d) ─► 2 convolutions ─► blocks ─► level 0 ─► block, half as long ─► level 1 ─► ...     attention sees a window
                                                     │                                 │
                                                     └─ heads (shared) ──► classes, ◄──┘
                                                                           distances / stride

Anchor k of a level of stride s lies at (k + 1/2) s steps. A segment is the target of an anchor that lies within it and within
`radius` strides of its middle, if its farther end is as far as the level is for; of several the shortest, with the classes of
all as short. `decode_segments` turns the outputs into segments in seconds, suppressed class by class by soft-NMS (Bodla et al.,
arXiv 1704.04503; Gaussian).

Differs from the paper: videos are resized to one length, so there is no padding and no mask (as the Perception Test's baseline
has it); attention has no convolutions on queries, keys and values; anchors lie in the middle of their steps.
"""

import math
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tapetum.layers.transformer import Attention, Block, Mlp
from tapetum.metrics.localisation import temporal_iou
from tapetum.systems.perception_test.localiser.config import LocaliserConfig

PRIOR = 0.01
"""Probability of a class at an anchor, before anything is learned."""
ALPHA, GAMMA = 0.25, 2.0
"""Of the focal loss (arXiv 1708.02002): weight of a class that is there, and power that lowers easy anchors."""
NORMALISER, MOMENTUM = 100.0, 0.9
"""First value of the moving average of the positive anchors of a batch, and its momentum."""


class Convolution(nn.Module):
    """A convolution over time, of tokens (b, t, c); with `norm` also normalised and rectified."""

    def __init__(self, inner: int, outer: int, *, norm: bool = True, stride: int = 1, groups: int = 1):
        super().__init__()
        self.filter = nn.Conv1d(inner, outer, 3, stride, 1, groups=groups)
        self.norm = nn.LayerNorm(outer) if norm else None

    def forward(self, x: Float[Tensor, "b t c"]) -> Float[Tensor, "b u e"]:
        x = self.filter(x.transpose(1, 2)).transpose(1, 2)
        return x if self.norm is None else F.relu(self.norm(x))


class Localiser(nn.Module):
    """Features (b, steps, channels) in, logits and distances of all anchors out."""

    mean: Tensor
    scale: Tensor
    normaliser: Tensor

    def __init__(self, config: LocaliserConfig, channels: int, classes: int):
        super().__init__()
        self.config = config
        width = config.width
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("normaliser", torch.tensor(NORMALISER))
        self.embed = nn.Sequential(Convolution(channels, width), Convolution(width, width))
        self.stem = nn.ModuleList(_block(config) for _ in range(config.stem))
        self.downsample = nn.ModuleList(
            Convolution(width, width, norm=False, stride=2, groups=width) for _ in range(config.levels - 1)
        )
        self.pyramid = nn.ModuleList(_block(config) for _ in range(config.levels - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(config.levels))
        self.classify = nn.Sequential(Convolution(width, width), Convolution(width, classes, norm=False))
        self.regress = nn.Sequential(Convolution(width, width), Convolution(width, 2, norm=False))
        self.level_scale = nn.Parameter(torch.ones(config.levels))
        nn.init.constant_(_bias(self.classify[1]), -math.log((1 - PRIOR) / PRIOR))
        nn.init.ones_(_bias(self.regress[1]))

    def standardise(self, features: Float[Tensor, "n d"]) -> None:
        """Set mean and standard deviation of each channel to those of training features."""
        deviation, mean = torch.std_mean(features, 0, correction=0)
        self.mean.copy_(mean)
        self.scale.copy_(1 / deviation.clamp(min=1e-4))

    def forward(self, features: Float[Tensor, "b t d"]) -> tuple[Float[Tensor, "b p k"], Float[Tensor, "b p 2"]]:
        """Compute logits of the classes, and distances in strides, of all anchors, level by level (`anchors`)."""
        x = self.embed((features - self.mean) * self.scale)
        for block in self.stem:
            x = block(x, mask=local_mask(x.shape[1], self.config.window, x.device))
        logits, distances = [], []
        for level in range(self.config.levels):
            if level:
                x = self.downsample[level - 1](x)
                x = self.pyramid[level - 1](x, mask=local_mask(x.shape[1], self.config.window, x.device))
            normed = self.norms[level](x)
            logits.append(self.classify(normed))
            distances.append(F.relu(self.regress(normed) * self.level_scale[level]))
        return torch.cat(logits, 1), torch.cat(distances, 1)

    def loss(
        self, features: Float[Tensor, "b t d"], targets: Float[Tensor, "b p k"], target_distances: Float[Tensor, "b p 2"]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute focal loss of classes and distance-IoU loss of ends, divided by a moving count of positive anchors."""
        logits, distances = self(features)
        positive = targets.sum(-1) > 0
        if self.training:
            with torch.no_grad():
                self.normaliser.mul_(MOMENTUM).add_(positive.sum().clamp(min=1), alpha=1 - MOMENTUM)
        classes = focal_loss(logits, targets).sum() / self.normaliser
        each = distance_iou(distances.flatten(0, 1), target_distances.flatten(0, 1)).view(positive.shape)
        ends = torch.where(positive, each, 0.0).sum() / self.normaliser  # by no indexing, which would wait for the device
        return classes + ends, {"classes": classes.detach(), "ends": ends.detach(), "finding": positive.sum().float()}


def anchors(config: LocaliserConfig) -> Float[Tensor, "p 4"]:
    """Compute place, least and greatest distance of the farther end, and stride, of every anchor, in steps."""
    rows = []
    for level in range(config.levels):
        stride = 2**level
        least = 0.0 if level == 0 else float(config.shortest * 2 ** (level - 1))
        most = math.inf if level == config.levels - 1 else float(config.shortest * 2**level)
        at = (torch.arange(config.length // stride) + 0.5) * stride
        rows.append(torch.stack([at, *(torch.full_like(at, value) for value in (least, most, float(stride)))], 1))
    return torch.cat(rows)


def assign_targets(
    at: Float[Tensor, "p 4"], segments: Float[Tensor, "n 2"], labels: Int[Tensor, " n"], classes: int, radius: float
) -> tuple[Float[Tensor, "p k"], Float[Tensor, "p 2"]]:
    """Assign targets to anchors: classes, and distances to both ends in strides (0 for an anchor without a target)."""
    if not len(segments):
        return torch.zeros(len(at), classes), torch.zeros(len(at), 2)
    place, least, most, stride = (column[:, None] for column in at.T)
    start, end = segments.T
    middle = (start + end) / 2
    ends = torch.stack([place - start, end - place], -1)
    inside = (place > torch.maximum(middle - radius * stride, start)) & (place < torch.minimum(middle + radius * stride, end))
    farther = ends.max(-1).values
    fits = inside & (farther >= least) & (farther <= most)
    length = torch.where(fits, (end - start).expand_as(fits), torch.inf)
    shortest, which = length.min(1)
    among = fits & (length <= shortest[:, None] + 1e-3)
    targets = (among.float() @ F.one_hot(labels, classes).float()).clamp(max=1)
    distances = ends[torch.arange(len(at)), which] / stride
    return targets, torch.where(fits.any(1)[:, None], distances, 0.0)


def focal_loss(logits: Float[Tensor, "*s"], targets: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    """Compute cross entropy weighted down where it is small already (arXiv 1708.02002)."""
    probability = torch.sigmoid(logits)
    correct = probability * targets + (1 - probability) * (1 - targets)
    weight = ALPHA * targets + (1 - ALPHA) * (1 - targets)
    return weight * (1 - correct) ** GAMMA * F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def distance_iou(predicted: Float[Tensor, "n 2"], target: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """Compute 1 - overlap + (distance of middles / length of both)^2 of segments given by distances to both ends."""
    common = torch.minimum(predicted, target).sum(-1)
    union = predicted.sum(-1) + target.sum(-1) - common
    together = torch.maximum(predicted, target).sum(-1)
    apart = ((predicted[:, 1] - predicted[:, 0]) - (target[:, 1] - target[:, 0])) / 2
    return 1 - common / union.clamp(min=1e-8) + (apart / together.clamp(min=1e-8)).square()


def local_mask(count: int, window: int, device: torch.device) -> Bool[Tensor, "n n"]:
    """Make the attention mask of `count` tokens that see those at most half a window away."""
    at = torch.arange(count, device=device)
    return (at[:, None] - at).abs() <= window // 2


def _block(config: LocaliserConfig) -> Block:
    width = config.width
    return Block(
        Attention(width, config.heads), Mlp(width, 4 * width), partial(nn.LayerNorm, width), width=width, dropout=config.dropout
    )


def _bias(layer: nn.Module) -> Tensor:
    assert isinstance(layer, Convolution)
    assert layer.filter.bias is not None
    return layer.filter.bias


SHORTEST_S = 0.05
"""Seconds below which nothing is a segment."""


def decode_segments(
    logits: Float[Tensor, "p k"],
    distances: Float[Tensor, "p 2"],
    anchors: Float[Tensor, "p 4"],
    config: LocaliserConfig,
    seconds: float,
) -> list[tuple[int, float, float, float]]:
    """Decode (class, score, start, end) in seconds of a video that is `seconds` long, best first."""
    probabilities = logits.sigmoid().flatten().double().numpy()
    order = np.argsort(-probabilities, kind="stable")[: config.before]
    order = order[probabilities[order] > config.least_score]
    anchor, label = np.divmod(order, logits.shape[1])
    reach = distances.double().numpy()[anchor] * anchors.double().numpy()[anchor, 3:]
    place = anchors.double().numpy()[anchor, 0]
    spans = np.stack([place - reach[:, 0], place + reach[:, 1]], 1).clip(0, config.length) * (seconds / config.length)
    long = spans[:, 1] - spans[:, 0] > SHORTEST_S
    spans, scores, label = spans[long], probabilities[order][long], label[long]
    segments = []
    for k in np.unique(label):
        mine = np.flatnonzero(label == k)
        kept, reduced = soft_nms(spans[mine], scores[mine], config.sigma, config.least_score)
        segments += [
            (int(k), float(s), *map(float, spans[mine[i]])) for i, s in zip(kept.tolist(), reduced.tolist(), strict=True)
        ]
    return sorted(segments, key=lambda row: -row[1])[: config.most]


def soft_nms(
    spans: Float[np.ndarray, "n 2"], scores: Float[np.ndarray, " n"], sigma: float, least: float
) -> tuple[np.ndarray, Float[np.ndarray, " m"]]:
    """Suppress overlapping segments: those that stay, best first, and their lowered scores; those that fall below `least` go.

    >>> kept, scores = soft_nms(np.array([[0.0, 2], [0, 2], [5, 6]]), np.array([0.9, 0.8, 0.5]), 0.5, 0.01)
    >>> kept.tolist(), scores.round(3).tolist()
    ([0, 2, 1], [0.9, 0.5, 0.108])
    """
    weights = np.exp(-np.square(temporal_iou(spans, spans)) / sigma)
    scores, left = np.array(scores, np.float64), np.ones(len(scores), bool)
    kept: list[int] = []
    while left.any():
        best = int(np.where(left, scores, -np.inf).argmax())
        kept.append(best)
        left[best] = False
        scores = np.where(left, scores * weights[best], scores)
        left &= scores >= least
    return np.array(kept, np.int64), scores[kept]


def resample(features: Float[np.ndarray, "t d"], steps: int) -> Float[Tensor, "steps d"]:
    """Resize features over time, linearly, to a number of steps (torch's interpolate without aligned corners)."""
    rows = torch.from_numpy(np.ascontiguousarray(features, np.float32)).T[None]
    return torch.nn.functional.interpolate(rows, size=steps, mode="linear", align_corners=False)[0].T.contiguous()
