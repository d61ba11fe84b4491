"""Swin: a transformer whose cells attend within their window, with windows that shift from block to block (arXiv 2103.14030).

    images --4x4 patches, norm--> stage 0 --merge 2x2--> stage 1 --merge--> stage 2 --merge--> stage 3 --norm--> maps[3]
                                    maps[0]                maps[1]            maps[2]             mean: pooled

    even block: windows of 7 x 7          odd block: the grid is rolled by 3, so that windows straddle the former borders;
    +---+---+                             what the rolling brought together from opposite ends may not look at each other
    +---+---+                             (`_regions`)

Grids that windows do not divide are padded with zeros at the right and bottom. An axis
with one window is not shifted.

Differs from the paper: maps are the raw outputs of the stages, without the norms that detectors add; the last has its norm.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tapetum.encoders.config import Preprocessing
from tapetum.encoders.convolutional import ConvolutionalEncoder, make_head
from tapetum.encoders.convolutional_config import SwinConfig
from tapetum.layers.transformer import DropPath, Mlp, attend, start_linear

_EPS = 1e-5
_NEVER = -100.0  # added to the logits of cells that may not see each other, as everyone's Swin does


class WindowAttention(nn.Module):
    """Attention inside windows, with a learned bias for every offset between two cells."""

    def __init__(self, width: int, heads: int, window: int):
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.offset_bias = nn.Parameter(nn.init.trunc_normal_(torch.empty((2 * window - 1) ** 2, heads), std=0.02))
        self.register_buffer("offsets", _offsets(window), persistent=False)
        self.offsets: Tensor

    def forward(self, x: Float[Tensor, "b h w c"], shift: tuple[int, int]) -> Float[Tensor, "b h w c"]:
        """Let each cell attend to its window, rows and columns rolled by `shift`; sides are multiples of the window."""
        b, rows, columns, c = x.shape
        cells = split_windows(x.roll((-shift[0], -shift[1]), (1, 2)), self.window)  # (b, windows, n, c)
        heads = self.qkv(cells.flatten(0, 1)).unflatten(-1, (3, self.heads, c // self.heads))
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind()  # each (b * windows, heads, n, width)
        bias = self.offset_bias[self.offsets].permute(2, 0, 1)[None].to(query.dtype)
        if any(shift):
            region = split_windows(_regions((rows, columns), self.window, shift, x.device)[None, :, :, None], self.window)
            apart = (region != region.mT)[0, :, None]  # (windows, 1, n, n)
            bias = (bias + _NEVER * apart).repeat(b, 1, 1, 1)
        x = self.out(attend(query, key, value, bias).transpose(1, 2).flatten(2))
        return join_windows(x.unflatten(0, (b, -1)), rows, columns).roll(shift, (1, 2))


def split_windows(x: Float[Tensor, "b h w c"], window: int) -> Float[Tensor, "b windows n c"]:
    """Split a grid into windows of window * window cells."""
    b, h, w, c = x.shape
    return x.view(b, h // window, window, w // window, window, c).transpose(2, 3).reshape(b, -1, window * window, c)


def join_windows(x: Float[Tensor, "b windows n c"], rows: int, columns: int) -> Float[Tensor, "b h w c"]:
    """Undo `split_windows`."""
    b, _, n, c = x.shape
    window = round(n**0.5)
    return x.view(b, rows // window, columns // window, window, window, c).transpose(2, 3).reshape(b, rows, columns, c)


def _offsets(window: int) -> Int[Tensor, "n n"]:
    """Number the offset of every pair of cells of a window: row offset times (2 * window - 1) plus column offset."""
    cell = torch.arange(window)
    place = torch.stack(torch.meshgrid(cell, cell, indexing="ij"), -1).flatten(0, 1)
    apart = place[:, None] - place[None] + window - 1
    return apart[..., 0] * (2 * window - 1) + apart[..., 1]


def _regions(size: tuple[int, int], window: int, shift: tuple[int, int], device: torch.device) -> Int[Tensor, "h w"]:
    """Number the nine parts of a rolled grid whose cells were neighbours before."""

    def part(side: int, by: int) -> Tensor:
        place = torch.arange(side, device=device)
        return (place >= side - window).long() + (place >= side - by).long() if by else torch.zeros_like(place)

    return 3 * part(size[0], shift[0])[:, None] + part(size[1], shift[1])


class SwinBlock(nn.Module):
    """Attention in windows and an MLP, each after a norm and with a residual connection."""

    def __init__(self, width: int, heads: int, window: int, shift: int, drop_path: float):
        super().__init__()
        self.window, self.shift = window, shift
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width, eps=_EPS), nn.LayerNorm(width, eps=_EPS)
        self.attention, self.mlp = WindowAttention(width, heads, window), Mlp(width, 4 * width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Apply attention, then the MLP."""
        rows, columns = x.shape[1:3]
        down, right = -rows % self.window, -columns % self.window
        filled = F.pad(self.attention_norm(x), (0, 0, 0, right, 0, down))
        shift = tuple(self.shift if side > self.window else 0 for side in filled.shape[1:3])
        x = x + self.drop_path(self.attention(filled, shift)[:, :rows, :columns])
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))


class Merge(nn.Module):
    """Merge four neighbours into one cell of twice the channels; an odd row or column is padded with zeros."""

    def __init__(self, width: int):
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(4 * width, eps=_EPS), nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h2 w2 c2"]:
        """Merge 2 x 2 cells: first the left column's, then the right's."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, -1)))


class Swin(ConvolutionalEncoder):
    """A Swin transformer; its four maps have strides 4, 8, 16 and 32, its pooled vector is the mean of the last."""

    config: SwinConfig
    strides = (4, 8, 16, 32)

    def __init__(self, config: SwinConfig, preprocessing: Preprocessing):
        super().__init__(config, preprocessing)
        self.stem, self.stem_norm = nn.Conv2d(3, config.width, 4, 4), nn.LayerNorm(config.width, eps=_EPS)
        self.stages, self.merges = nn.Sequential(), nn.ModuleList()
        last, number = max(sum(config.depths) - 1, 1), 0
        for i, (depth, heads) in enumerate(zip(config.depths, config.heads, strict=True)):
            if i:
                self.merges.append(Merge(config.channels[i - 1]))
            stage = nn.Sequential()
            for j in range(depth):
                shift = config.window // 2 if j % 2 else 0
                drop_path = config.drop_path * number / last
                stage.append(SwinBlock(config.channels[i], heads, config.window, shift, drop_path))
                number += 1
            self.stages.append(stage)
        self.norm = nn.LayerNorm(config.channels[-1], eps=_EPS)
        self.map_channels, self.width = config.channels, config.channels[-1]
        self.head = make_head(self.width, config.classes)
        self.apply(start_linear)

    def see(self, images: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b c h w"], ...]:
        """Compute the maps of the four stages; the last is normalised."""
        down, right = (-int(side) % 4 for side in images.shape[-2:])
        x = self.stem_norm(self.stem(F.pad(images, (0, right, 0, down))).movedim(1, -1))
        maps = []
        for i, stage in enumerate(self.stages):
            x = stage(self.merges[i - 1](x) if i else x)
            maps.append(self.norm(x) if i == 3 else x)
        return tuple(grid.movedim(-1, 1) for grid in maps)
