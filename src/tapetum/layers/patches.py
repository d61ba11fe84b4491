"""Images and videos to grids of tokens, by a linear layer on each patch or by convolutions, and the positions of the tokens.

Sources: patches, ViT (arXiv 2010.11929, section 3.1); tubelets and their weights from those of an image network, ViViT
(2103.15691, sections 3.2 and 3.5); the order of a patch's pixels (row, column, colour), and sine positions of a grid (half of
the channels code the column, then half the row), MAE (2111.06377); convolutions in place of patches, Early Convolutions Help
Transformers See Better (2106.14881): 3x3 convolutions of stride 2 with batch norm and ReLU, whose channels double as the image
halves, then a 1x1 convolution.

    patch 16, width 256:   image -> 32 -> 64 [blocks] -> 128 [blocks] -> 256 -> 1x1 -> tokens

How a learned grid of positions is interpolated for another size, by library or model:

    timm          bicubic, corners on corners of the raster, widened filter when shrinking (antialias)
    transformers  bicubic, corners on corners of the raster, the filter never widened
    big_vision    linear, centres of the corner cells on centres of the corner cells (scipy's zoom of order 1)

Differs from 2106.14881: residual blocks (arXiv 1512.03385) may stand between the convolutions of stride 2; the paper's stem has
as many parameters as one block of the transformer, this one as many as its settings make it. A video's frames pass the
convolutions one by one; the last, 1x1, layer joins the frames of a tubelet.

Rotary positions: pairs of channels of a query or key are rotated by an angle that depends on its position.

    text    angle = position * wavelength ** (-2 i / d), for a token's place in a sequence
    grid    the first half of the angles by row, the second by column; each axis runs from -1 to 1, whatever its length, times
            2 pi; d / 4 frequencies 100 ** (-4 k / d) per axis

Channel i is rotated with channel i + d / 2.

Sources: RoFormer (arXiv 2104.09864); halves of a head instead of neighbours, GPT-NeoX (2204.06745) and Gemma (2403.08295);
the grid, DINOv3 (2508.10104).

Differs from DINOv3: coordinates are not shifted and scaled at random in training, and frequencies are float32, as in
transformers and timm (the original stores its periods in bfloat16).
"""

import math
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tapetum.core.errors import BadInput

_GRID_BASE = 100.0
"""Of the frequencies of rotary positions of a grid."""


def rotary_angles(
    positions: Int[Tensor, "#b n"], width: int, wavelength: float = 10_000.0
) -> tuple[Float[Tensor, "#b 1 n d"], Float[Tensor, "#b 1 n d"]]:
    """Compute cosines and sines of position * wavelength ** (-2 i / width); the sines of the first half are negated."""
    half = width // 2
    speed = wavelength ** -(torch.arange(half, device=positions.device, dtype=torch.float32) / half)
    angle = positions[:, None, :, None].float() * speed
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


def apply_rotary(
    x: Float[Tensor, "b h n d"], cos: Float[Tensor, "*#s n d"], sin: Float[Tensor, "*#s n d"]
) -> Float[Tensor, "b h n d"]:
    """Rotate channels i and i + d / 2 of each head; the sine of the first of two is negated."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin).to(x.dtype)


class Rotation(NamedTuple):
    """Cosines and sines that rotate the queries and keys of a sequence, in float32; see `apply_rotary`."""

    cos: Float[Tensor, "n d"]
    sin: Float[Tensor, "n d"]

    def apply(self, x: Float[Tensor, "b h n d"]) -> Float[Tensor, "b h n d"]:
        """Rotate queries or keys."""
        return apply_rotary(x, self.cos, self.sin)


def grid_rotation(grid: tuple[int, int], width: int, prefix: int = 0, device: torch.device | None = None) -> Rotation:
    """Compute the rotation of the cells of a grid of (rows, columns), row by row, after `prefix` tokens that are not rotated.

    Args:
        grid: rows and columns of any size.
        width: channels of a head, a multiple of 4.
        prefix: tokens before the grid.
        device: of the result.
    """
    rows, columns = (torch.arange(count, device=device, dtype=torch.float32) for count in grid)
    rows, columns = (2 * math.pi * (2 * (at + 0.5) / len(at) - 1) for at in (rows, columns))
    speed = _GRID_BASE ** -(torch.arange(width // 4, device=device, dtype=torch.float32) / (width // 4))
    by_row, by_column = rows.repeat_interleave(grid[1])[:, None] * speed, columns.repeat(grid[0])[:, None] * speed
    angle = F.pad(torch.cat((by_row, by_column), -1), (0, 0, prefix, 0))  # (prefix + rows * columns, width / 2)
    cos, sin = angle.cos(), angle.sin()
    return Rotation(torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1))


Resample = Literal["timm", "big_vision", "transformers"]
"""Whose interpolation of a learned grid of positions."""


def grid_of(size: tuple[int, ...], patch: tuple[int, ...]) -> tuple[int, ...]:
    """Compute how many patches fit along each axis. Raises BadInput if they do not divide it."""
    if any(side % part or side < part for side, part in zip(size, patch, strict=True)):
        shown, parts = ("x".join(map(str, values)) for values in (size, patch))
        raise BadInput(f"patches of {parts} do not divide {shown}; resize so that each side is a multiple")
    return tuple(side // part for side, part in zip(size, patch, strict=True))


def to_patches(images: Float[Tensor, "b c h w"], patch: int) -> Float[Tensor, "b n k"]:
    """Cut images into square patches, row by row; the k = patch * patch * c values of one are in order row, column, colour.

    >>> to_patches(torch.rand(2, 3, 8, 12), 4).shape
    torch.Size([2, 6, 48])
    """
    b, c = images.shape[:2]
    rows, columns = grid_of((images.shape[2], images.shape[3]), (patch, patch))
    x = images.reshape(b, c, rows, patch, columns, patch)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(b, rows * columns, patch * patch * c)


class ImagePatches(nn.Conv2d):
    """A linear layer on each square patch of an image, which is converted to the precision of the weight."""

    def __init__(self, patch: int, width: int, bias: bool = True):
        super().__init__(3, width, patch, stride=patch, bias=bias)
        _start(self)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b rows columns d"]:
        """Compute the grid of tokens. Raises BadInput if the patches do not divide the image."""
        grid_of((images.shape[2], images.shape[3]), (self.kernel_size[0], self.kernel_size[1]))
        return super().forward(images.to(self.weight.dtype)).movedim(1, -1)


class VideoTubelets(nn.Conv3d):
    """A linear layer on each box of (frames, rows, columns) of a video, which is converted to the precision of the weight."""

    def __init__(self, patch: tuple[int, int, int], width: int):
        super().__init__(3, width, patch, stride=patch)
        _start(self)

    def forward(self, video: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b frames rows columns d"]:
        """Compute the grid of tokens. Raises BadInput if the tubelets do not divide the video."""
        k = self.kernel_size
        grid_of((video.shape[2], video.shape[3], video.shape[4]), (k[0], k[1], k[2]))
        return super().forward(video.to(self.weight.dtype)).movedim(1, -1)


def inflate_weight(
    weight: Float[Tensor, "d c h w"], frames: int, how: Literal["central", "average"] = "central"
) -> Float[Tensor, "d c t h w"]:
    """Make the weights of tubelets of `frames` frames from those of image patches (ViViT, section 3.5).

    central: the middle frame (number frames // 2) as for an image, and 0 elsewhere. average: every frame contributes equally,
    so that a static video gives the same result as its image.
    """
    if how == "average":
        return (weight / frames)[:, :, None].expand(-1, -1, frames, -1, -1).clone()
    out = torch.zeros(*weight.shape[:2], frames, *weight.shape[2:], dtype=weight.dtype, device=weight.device)
    out[:, :, frames // 2] = weight
    return out


def _start(layer: nn.Conv2d | nn.Conv3d) -> None:
    """Draw weights as for a linear layer on the pixels (Xavier), biases 0."""
    fan_in, fan_out = math.prod(layer.weight.shape[1:]), layer.weight.shape[0]
    bound = math.sqrt(6 / (fan_in + fan_out))
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class ResidualConvolutions(nn.Module):
    """x + two 3x3 convolutions of it, each with batch norm, and ReLU."""

    def __init__(self, channels: int):
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.first_norm, self.second_norm = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        nn.init.zeros_(self.second_norm.weight)  # the block begins as the identity

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(x + self.second_norm(self.second(y)))


class ConvolutionalStem(nn.Module):
    """Convolutions that turn patches of `patch` pixels (a power of two) into cells of `width` channels."""

    def __init__(self, patch: int, width: int, blocks: int = 0):
        super().__init__()
        self.patch = patch
        halvings = patch.bit_length() - 1
        layers: list[nn.Module] = []
        before = 3
        for level in range(halvings):
            channels = width >> (halvings - 1 - level)
            layers += [nn.Conv2d(before, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
            if 0 < level < halvings - 1:
                layers += [ResidualConvolutions(channels) for _ in range(blocks)]
            before = channels
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, width, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b rows columns width"]:
        """Raises BadInput if patches do not divide the images."""
        grid_of((images.shape[2], images.shape[3]), (self.patch, self.patch))
        # Channels last: of the layouts, the one that the CPU's bfloat16 convolutions are fast in.
        return self.layers(images.contiguous(memory_format=torch.channels_last)).permute(0, 2, 3, 1)


class TubeletStem(nn.Module):
    """The same convolutions on each frame of a video; the last layer turns a tubelet of (frames, rows, columns) into a cell."""

    def __init__(self, patch: tuple[int, int, int], width: int, blocks: int = 0):
        super().__init__()
        self.patch = patch
        *layers, last = ConvolutionalStem(patch[1], width, blocks).layers
        self.layers = nn.Sequential(*layers)
        self.last = nn.Conv3d(width, width, (patch[0], 1, 1), (patch[0], 1, 1))
        self.inflate(last)

    @torch.no_grad()
    def inflate(self, last: nn.Module) -> None:
        """Set the last layer from that of an image's stem: a static video gives the same result as its image."""
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        assert self.last.bias is not None
        self.last.weight.copy_(inflate_weight(last.weight, self.patch[0], "average"))
        self.last.bias.copy_(last.bias)

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b frames rows columns width"]:
        """Raises BadInput if tubelets do not divide the video."""
        grid_of((video.shape[2], video.shape[3], video.shape[4]), self.patch)
        frames = video.movedim(2, 1).flatten(0, 1).to(self.last.weight.dtype)
        cells = self.layers(frames.contiguous(memory_format=torch.channels_last))
        return self.last(cells.unflatten(0, (len(video), -1)).movedim(1, 2)).movedim(1, -1)


def merge_tokens(tokens: Float[Tensor, "b n c"], grid: tuple[int, int], merge: int) -> Float[Tensor, "b m d"]:
    """Join the channels of each square of `merge` by `merge` tokens of a grid of (rows, columns), row by row.

    Raises BadInput if squares do not divide the grid.
    """
    if merge == 1:
        return tokens
    rows, columns = grid
    if rows % merge or columns % merge:
        raise BadInput(
            f"squares of {merge} x {merge} tokens do not divide a grid of {rows} x {columns}; give images of another size"
        )
    squares = tokens.unflatten(1, (rows // merge, merge, columns // merge, merge))  # b R merge C merge c
    return squares.transpose(2, 3).flatten(3).flatten(1, 2)


def sine_1d(at: Float[Tensor, " n"], width: int, wavelength: float = 10_000.0, inclusive: bool = False) -> Float[Tensor, "n c"]:
    """Encode positions on a line: `width` / 2 sines, then as many cosines, of at * wavelength ** (-2 i / width); in
    float64.

    `inclusive`: the exponent is -i / (width / 2 - 1), so that the last pair of channels has the wavelength itself
    (tensor2tensor's codes).
    """
    if width % 2 or (inclusive and width < 4):
        raise BadInput(f"sine codes have pairs of channels, not {width}; give an even number")
    speed = wavelength ** -(torch.arange(width // 2, dtype=torch.float64) / (width / 2 - inclusive))
    angle = at.double()[:, None] * speed
    return torch.cat((angle.sin(), angle.cos()), 1)


def sine_2d(grid: tuple[int, int], width: int) -> Float[Tensor, "n c"]:
    """Encode the cells of a grid of (rows, columns), row by row, as MAE does; float32. The width is a multiple of 4."""
    rows, columns = grid
    row = torch.arange(rows).repeat_interleave(columns)
    column = torch.arange(columns).repeat(rows)
    return torch.cat((sine_1d(column.double(), width // 2), sine_1d(row.double(), width // 2)), 1).float()


def interpolate(
    positions: Float[Tensor, "n c"], grid: tuple[int, int], new_grid: tuple[int, int], how: Resample = "timm"
) -> Float[Tensor, "m c"]:
    """Interpolate learned positions of a grid of (rows, columns), row by row, to another, by method `how`.

    Raises BadInput if the positions are not of that grid, or for an unknown method.
    """
    if how not in get_args(Resample):
        raise BadInput(f"there is no way {how!r} to interpolate positions; it is one of {', '.join(get_args(Resample))}")
    if positions.shape[0] != grid[0] * grid[1]:
        raise BadInput(
            f"{positions.shape[0]} positions are not a grid of {grid[0]} x {grid[1]}; give those without other tokens"
        )
    if grid == new_grid:
        return positions
    x = positions.to(torch.promote_types(positions.dtype, torch.float32)).unflatten(0, grid).movedim(-1, 0)[None]
    if how == "big_vision":
        x = F.interpolate(x, size=new_grid, mode="bilinear", align_corners=True)
    else:
        x = F.interpolate(x, size=new_grid, mode="bicubic", align_corners=False, antialias=how == "timm")
    return x[0].movedim(0, -1).flatten(0, 1).to(positions.dtype)
