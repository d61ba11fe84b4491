"""A class for every pixel from an encoder's maps: a linear head, UperNet, and a fully convolutional head (FCN).

    linear    maps, all brought to the size of the finest, side by side -> 1x1 -> as large as the image
              (of a ViT's one map this is the linear decoder of Segmenter, arXiv 2105.05633, section 3.2)

    upernet   (arXiv 1807.10221, section 3.1)
              coarsest map -> means of 1, 2, 3 and 6 cells a side, beside it (pyramid pooling) --.
              the others   -> 1x1 ------------------------------------------------ + <-- twice the size
                                                                                   | 3x3
              all levels at the size of the finest, side by side -> 3x3 -> 1x1 -> as large as the image

    fcn       coarsest map -> 3x3 -> 3x3, both with holes of 6 cells -> 1x1 -> as large as the image
              (arXiv 1411.4038 as of MoCo, arXiv 1911.05722, appendix); a ResNet's last stage keeps the size of the one before

For an encoder with one map UperNet gets four, of 4, 2, 1 and 1/2 times its size, as usual for ViTs.

Differs from the paper: the four maps of a ViT are resized, not learned (transposed convolutions in BEiT's code).
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.encoders.features import Encoder
from tapetum.encoders.resnet import ResNet
from tapetum.metrics.masks import Confusion

IGNORED = 255
"""The number of pixels that don't count."""
_BINS = 1, 2, 3, 6
_OF_ONE = 4.0, 2.0, 1.0, 0.5

Maps = Sequence[Float[Tensor, "b _ _ _"]]
Head = Literal["linear", "upernet", "fcn"]


class LinearSegmenter(nn.Module):
    """One linear layer on the cells of all maps, normalised."""

    def __init__(self, map_channels: Sequence[int], classes: int):
        super().__init__()
        width = sum(map_channels)
        self.norm, self.classes = nn.BatchNorm2d(width), nn.Conv2d(width, classes, 1)
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.zeros_(self.classes.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, maps: Maps) -> Float[Tensor, "b k h w"]:
        """Compute logits of the cells of the finest map."""
        size = maps[0].shape[-2:]
        return self.classes(self.norm(torch.cat([_sized(features, size) for features in maps], 1)))


def _convolved(inward: int, outward: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = kernel // 2 * dilation
    return nn.Sequential(
        nn.Conv2d(inward, outward, kernel, padding=padding, dilation=dilation, bias=False), nn.BatchNorm2d(outward), nn.ReLU()
    )


def _sized(x: Tensor, size: Sequence[int]) -> Tensor:
    size = (int(size[0]), int(size[1]))
    return x if x.shape[-2:] == size else F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class UperNet(nn.Module):
    """Pyramid pooling and a feature pyramid, fused."""

    def __init__(self, map_channels: Sequence[int], classes: int, width: int = 256):
        super().__init__()
        self.one = len(map_channels) == 1
        channels = tuple(map_channels) * (4 if self.one else 1)
        self.pooled = nn.ModuleList(_convolved(channels[-1], width, 1) for _ in _BINS)
        self.top = _convolved(channels[-1] + len(_BINS) * width, width, 3)
        self.lateral = nn.ModuleList(_convolved(c, width, 1) for c in channels[:-1])
        self.smooth = nn.ModuleList(_convolved(width, width, 3) for _ in channels[:-1])
        self.fuse = _convolved(len(channels) * width, width, 3)
        self.classes = nn.Conv2d(width, classes, 1)

    def forward(self, maps: Maps) -> Float[Tensor, "b k h w"]:
        """Compute logits of the cells of the finest map."""
        if self.one:
            rows, columns = maps[0].shape[-2:]
            maps = [_sized(maps[0], [max(1, int(rows * s)), max(1, int(columns * s))]) for s in _OF_ONE]
        coarse = maps[-1]
        means = [pool(F.adaptive_avg_pool2d(coarse, bins)) for bins, pool in zip(_BINS, self.pooled, strict=True)]
        above = self.top(torch.cat([coarse, *(_sized(mean, coarse.shape[-2:]) for mean in means)], 1))
        levels = [above]
        for features, lateral, smooth in zip(maps[-2::-1], self.lateral[::-1], self.smooth[::-1], strict=True):
            above = lateral(features) + _sized(above, features.shape[-2:])
            levels.insert(0, smooth(above))
        size = levels[0].shape[-2:]
        return self.classes(self.fuse(torch.cat([_sized(level, size) for level in levels], 1)))


class Fcn(nn.Module):
    """Two dilated convolutions on the coarsest map."""

    def __init__(self, map_channels: Sequence[int], classes: int, width: int = 256):
        super().__init__()
        self.first, self.second = _convolved(map_channels[-1], width, 3, 6), _convolved(width, width, 3, 6)
        self.classes = nn.Conv2d(width, classes, 1)
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.zeros_(self.classes.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, maps: Maps) -> Float[Tensor, "b k h w"]:
        """Compute logits of the cells of the coarsest map."""
        return self.classes(self.second(self.first(maps[-1])))


def keep_size(encoder: Encoder) -> Encoder:
    """Let a ResNet's last stage keep the previous stage's size: dilation instead of stride, with the same receptive field.

    As torchvision does with `replace_stride_with_dilation`. Other encoders are unchanged.
    """
    if isinstance(encoder, ResNet):
        for k, block in enumerate(encoder.stages[-1].children()):
            for conv in block.modules():
                if isinstance(conv, nn.Conv2d):
                    conv.stride = (1, 1)
                    if k and conv.kernel_size == (3, 3):
                        conv.dilation, conv.padding = (2, 2), (2, 2)
        encoder.strides = (*encoder.strides[:-1], encoder.strides[-2])
    return encoder


class Segmenter(nn.Module):
    """An encoder and a head."""

    def __init__(self, encoder: Encoder, classes: int, head: Head = "linear", width: int = 256):
        """Put a head with random weights on an encoder. Raises BadInput for an unknown kind."""
        super().__init__()
        heads = {"linear": LinearSegmenter, "upernet": UperNet, "fcn": Fcn}
        if head not in heads or classes < 2:
            raise BadInput(f"a segmenter of {classes} classes with the head {head!r}; wanted 2 or more, {', '.join(heads)}")
        self.encoder = keep_size(encoder) if head == "fcn" else encoder
        channels = encoder.map_channels
        self.head = LinearSegmenter(channels, classes) if head == "linear" else heads[head](channels, classes, width)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h w"]:
        """Compute logits of every pixel of prepared images."""
        return _sized(self.head(self.encoder(images).maps), images.shape[-2:])


def pixel_loss(logits: Float[Tensor, "b k h w"], truth: Int64[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """Compute the mean cross entropy of the labelled pixels; 0 if there are none.

    >>> float(pixel_loss(torch.zeros(1, 4, 2, 2), torch.full((1, 2, 2), IGNORED)))
    0.0
    """
    counted = (truth != IGNORED).sum().clamp(min=1)
    return F.cross_entropy(logits.float(), truth, ignore_index=IGNORED, reduction="sum") / counted


@torch.no_grad()
def confusions(
    model: nn.Module, batches: Iterable[tuple[Float[Tensor, "b 3 h w"], Int64[Tensor, "b h w"]]], classes: int
) -> Int64[np.ndarray, "n k k"]:
    """Count the pixels of each prepared image by true (row) and predicted class; the sum over images is a `Confusion`'s."""
    counts = []
    model.eval()
    for images, truth in batches:
        predicted = model(images).argmax(1).cpu().numpy()
        for one, right in zip(predicted, truth.cpu().numpy(), strict=True):
            counted = Confusion(classes, IGNORED)
            counted.add(one.astype(np.int64), right)
            counts.append(counted.counts)
    return np.stack(counts)
