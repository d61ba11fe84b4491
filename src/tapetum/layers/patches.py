"""Images to patches and videos to tubelets: as tokens by a linear layer, and as bare pixels both ways.

Sources: ViT (arXiv 2010.11929), section 3.1; tubelets, and their weights from those of an image network, ViViT (arXiv
2103.15691), sections 3.2 and 3.5; the order of the pixels of a patch (row, column, colour) is that of MAE (arXiv 2111.06377).
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.core.errors import BadInput


def grid_of(size: tuple[int, ...], patch: tuple[int, ...]) -> tuple[int, ...]:
    """Give how many patches fit along each axis. Raises BadInput where they do not divide it."""
    if any(side % part or side < part for side, part in zip(size, patch, strict=True)):
        shown, parts = ("x".join(map(str, values)) for values in (size, patch))
        raise BadInput(f"patches of {parts} do not divide {shown}; resize so that each side is a multiple")
    return tuple(side // part for side, part in zip(size, patch, strict=True))


def to_patches(images: Float[Tensor, "b c h w"], patch: int) -> Float[Tensor, "b n k"]:
    """Cut images into square patches, row by row; the k = patch * patch * c numbers of one are in order row, column, colour.

    >>> images = torch.rand(2, 3, 8, 12)
    >>> bool((from_patches(to_patches(images, 4), 4, (2, 3)) == images).all())
    True
    """
    b, c = images.shape[:2]
    rows, columns = grid_of((images.shape[2], images.shape[3]), (patch, patch))
    x = images.reshape(b, c, rows, patch, columns, patch)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(b, rows * columns, patch * patch * c)


def from_patches(patches: Float[Tensor, "b n k"], patch: int, grid: tuple[int, int]) -> Float[Tensor, "b c h w"]:
    """Put patches of a grid of (rows, columns) together again; the inverse of `to_patches`."""
    rows, columns = grid
    x = patches.reshape(patches.shape[0], rows, columns, patch, patch, -1)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(x.shape[0], x.shape[5], rows * patch, columns * patch)


def to_tubelets(video: Float[Tensor, "b c t h w"], patch: tuple[int, int, int]) -> Float[Tensor, "b n k"]:
    """Cut videos into boxes of (frames, rows, columns), by frame, row and column.

    The k numbers of one are in order frame, row, column, colour.
    """
    b, c = video.shape[:2]
    (t, h, w), (p, q, r) = grid_of((video.shape[2], video.shape[3], video.shape[4]), patch), patch
    x = video.reshape(b, c, t, p, h, q, w, r)
    return x.permute(0, 2, 4, 6, 3, 5, 7, 1).reshape(b, t * h * w, p * q * r * c)


def from_tubelets(
    tubelets: Float[Tensor, "b n k"], patch: tuple[int, int, int], grid: tuple[int, int, int]
) -> Float[Tensor, "b c t h w"]:
    """Put tubelets of a grid of (frames, rows, columns) together again; the inverse of `to_tubelets`."""
    x = tubelets.reshape(tubelets.shape[0], *grid, *patch, -1)
    x = x.permute(0, 7, 1, 4, 2, 5, 3, 6)
    return x.reshape(x.shape[0], x.shape[1], *(g * p for g, p in zip(grid, patch, strict=True)))


class ImagePatches(nn.Conv2d):
    """A linear layer on each square patch of an image, which is brought to the precision of the weight."""

    def __init__(self, patch: int, width: int, channels: int = 3, bias: bool = True):
        super().__init__(channels, width, patch, stride=patch, bias=bias)
        _start(self)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b rows columns d"]:
        """Give the grid of tokens. Raises BadInput if the patches do not divide the image."""
        grid_of((images.shape[2], images.shape[3]), (self.kernel_size[0], self.kernel_size[1]))
        return super().forward(images.to(self.weight.dtype)).movedim(1, -1)


class VideoTubelets(nn.Conv3d):
    """A linear layer on each box of (frames, rows, columns) of a video, which is brought to the precision of the weight."""

    def __init__(self, patch: tuple[int, int, int], width: int, channels: int = 3, bias: bool = True):
        super().__init__(channels, width, patch, stride=patch, bias=bias)
        _start(self)

    def forward(self, video: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b frames rows columns d"]:
        """Give the grid of tokens. Raises BadInput if the tubelets do not divide the video."""
        k = self.kernel_size
        grid_of((video.shape[2], video.shape[3], video.shape[4]), (k[0], k[1], k[2]))
        return super().forward(video.to(self.weight.dtype)).movedim(1, -1)


def inflate(
    weight: Float[Tensor, "d c h w"], frames: int, how: Literal["central", "average"] = "central"
) -> Float[Tensor, "d c t h w"]:
    """Make the weights of tubelets of `frames` frames from those of image patches (ViViT, section 3.5).

    central: the middle frame (number frames // 2) as for an image, and 0 elsewhere. average: each frame has its part, so that
    a video that stands still gives what its image gave.
    """
    if how == "average":
        return (weight / frames)[:, :, None].expand(-1, -1, frames, -1, -1).clone()
    out = torch.zeros(*weight.shape[:2], frames, *weight.shape[2:], dtype=weight.dtype, device=weight.device)
    out[:, :, frames // 2] = weight
    return out


def _start(layer: nn.Conv2d | nn.Conv3d) -> None:
    """Draw weights as for a linear layer on the pixels (Xavier), biases 0."""
    fan_in, fan_out = layer.weight[0].numel(), layer.weight.shape[0]
    bound = math.sqrt(6 / (fan_in + fan_out))
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
