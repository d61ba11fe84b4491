"""The memory that MC-ViT is compared with: past segments pooled by learned convolutions (MeMViT, arXiv 2201.08383).

    store   the normalised tokens of the segment, without gradient
    recall  of the last segment: its keys' and values' streams, each by a depthwise convolution over (moments, rows, columns)
            with steps of 4 x 2 x 2; of the one before: what was made of it then, without gradient

Projections to keys and values come after the pooling, as in MeMViT's code; every other layer remembers, the odd ones do not.

Differs from MeMViT: no relative positions of memories (ours are in the tokens); grids smaller than a step are pooled whole.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.layers.transformer import Block
from tapetum.systems.longvideo.config import VideoConfig
from tapetum.systems.longvideo.memory import LayerMemory, Projected

_KERNEL, _STEP, _CLIPS = (7, 3, 3), (4, 2, 2), 2


class Compression(nn.Module):
    """Learned pooling of past segments."""

    def __init__(self, config: VideoConfig):
        super().__init__()
        self.config = config

        def pool() -> nn.Conv3d:
            padding = (_KERNEL[0] // 2, _KERNEL[1] // 2, _KERNEL[2] // 2)
            layer = nn.Conv3d(config.width, config.width, _KERNEL, _STEP, padding, groups=config.width, bias=False)
            with torch.no_grad():  # begins as an average
                layer.weight.fill_(1 / layer.weight[0].numel())
            return layer

        self.keys, self.values = (nn.ModuleList(pool() for _ in range(config.depth)) for _ in range(2))

    def recall(self, number: int, block: Block, memory: LayerMemory) -> Projected | None:
        """Give keys and values of the last segments."""
        if number % 2:
            return None
        fresh = memory.rows
        pairs = [(self._pooled(self.keys[number], fresh), self._pooled(self.values[number], fresh))]
        if memory.projected is not None:
            pairs.insert(0, (memory.projected[0][:, 0], memory.projected[1][:, 0]))
        key_rows, value_rows = (torch.cat(parts, 1) for parts in zip(*pairs, strict=True))
        key, _ = block.attention.project(key_rows)  # pyright: ignore
        _, value = block.attention.project(value_rows)  # pyright: ignore
        return key, value

    def store(self, number: int, block: Block, rows: Tensor, old: LayerMemory | None) -> LayerMemory:
        """Keep this segment as it is, and of the one before what is made of it."""
        with torch.no_grad():
            normed = block.attention_norm(rows)
            projected = None
            if old is not None and number % 2 == 0 and _CLIPS > 1:
                made = (self._pooled(self.keys[number], old.rows), self._pooled(self.values[number], old.rows))
                projected = (made[0][:, None], made[1][:, None])
        return LayerMemory(normed, torch.ones_like(normed[..., 0]), projected)

    def _pooled(self, layer: nn.Module, rows: Float[Tensor, "b n d"]) -> Float[Tensor, "b m d"]:
        grid = self.config.grid
        x = rows.unflatten(1, (-1, *grid)).movedim(-1, 1)
        return layer(x).flatten(2).mT
