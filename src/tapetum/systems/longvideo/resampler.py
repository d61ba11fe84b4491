"""What stands between a frozen video encoder and a frozen language model (LongViViT, arXiv 2312.07395, section 3.4).

    tokens -> mean over time -> resampler -> latents        cells of the grid become a few vectors, for any length of video
    x + tanh(a) attention(norm(x), latents), then x + tanh(b) mlp(norm(x))      before a block of the language model

Source of both: Flamingo (arXiv 2204.14198, section 2.2 and appendix A.1). Gates begin at 0, so at first the language model is
itself, to the bit.

Differs from the papers: numbers of latents and blocks of LongViViT stand in an appendix that could not be read; the resampler
adds no codes of time, which the mean has taken away.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.layers.transformer import Attention, Mlp, start_linear
from tapetum.systems.longvideo.encoder import VideoFeatures


class CellMeans:
    """Means over time of the tokens of each cell, in constant memory while segments come."""

    def __init__(self, cells: int):
        self.cells = cells
        self.total: Tensor | None = None
        self.count: Tensor | None = None

    def add(self, features: VideoFeatures) -> "CellMeans":
        """Add the tokens of segments that were seen."""
        tokens, valid = features.tokens.flatten(1, 2), features.valid.flatten(1, 2)
        places = features.places.flatten(1, 2)
        kind = torch.promote_types(tokens.dtype, torch.float32)
        there = valid.to(kind)
        total = tokens.new_zeros(len(tokens), self.cells, tokens.shape[2], dtype=kind)
        total = total.scatter_add(1, places[..., None].expand_as(tokens), tokens.to(kind) * there[..., None])
        count = there.new_zeros(len(tokens), self.cells).scatter_add(1, places, there)
        self.total = total if self.total is None else self.total + total
        self.count = count if self.count is None else self.count + count
        return self

    def means(self) -> Float[Tensor, "b cells d"]:
        """Give the means; zeros where a cell was never seen."""
        assert self.total is not None
        assert self.count is not None
        return self.total / self.count.clamp(min=1)[..., None]


class ResamplerBlock(nn.Module):
    """Latents look at the cells and at each other, then think."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.cell_norm, self.norm, self.mlp_norm = (nn.LayerNorm(width, eps=1e-6) for _ in range(3))
        self.attention, self.mlp = Attention(width, heads), Mlp(width, 4 * width)

    def forward(self, latents: Float[Tensor, "b l d"], cells: Float[Tensor, "b c d"]) -> Float[Tensor, "b l d"]:
        """Give the latents after it."""
        own = self.norm(latents)
        latents = latents + self.attention(own, torch.cat([self.cell_norm(cells), own], 1))
        return latents + self.mlp(self.mlp_norm(latents))


class Resampler(nn.Module):
    """Learned latents look at the cells of a video, block by block, and are brought to the language model's width."""

    def __init__(self, width: int, out: int, latents: int, depth: int, heads: int):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(latents, width) * 0.02)
        self.blocks = nn.ModuleList(ResamplerBlock(width, heads) for _ in range(depth))
        self.norm, self.out = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, out)
        self.apply(start_linear)

    def forward(self, cells: Float[Tensor, "b c d"]) -> Float[Tensor, "b l w"]:
        """Give a few vectors a video."""
        latents = self.latents.to(cells.dtype).expand(len(cells), -1, -1)
        for block in self.blocks:
            latents = block(latents, cells)
        return self.out(self.norm(latents))


class GatedLook(nn.Module):
    """Tokens of a text look at the latents of a video, through gates that begin at 0."""

    def __init__(self, width: int):
        super().__init__()
        self.norm, self.mlp_norm = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, max(1, width // 64) if width % 64 == 0 else 1)
        self.mlp = Mlp(width, 4 * width)
        self.gate, self.mlp_gate = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))
        self.apply(start_linear)

    def forward(self, x: Float[Tensor, "b n w"], latents: Float[Tensor, "b l w"]) -> Float[Tensor, "b n w"]:
        """Give the tokens after it."""
        x = x + torch.tanh(self.gate) * self.attention(self.norm(x), latents.to(x.dtype))
        return x + torch.tanh(self.mlp_gate) * self.mlp(self.mlp_norm(x))
