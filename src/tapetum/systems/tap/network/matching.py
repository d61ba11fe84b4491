"""Stage 1 of TAPIR, matching: the cost volume of a point and every frame on its own, and the heads on it.

Source: TAPIR (arXiv 2306.08637), section 3.1, after TAP-Net (arXiv 2211.03726). The map of correlations between a query
and a frame goes through a small shared convolution; one head turns it into a position, another into two logits: is the
point occluded, and is the position likely to be wrong.

Differs from the public PyTorch code: the soft-argmax keeps its gradient, so that the position head can learn. The paper
takes a softmax over the whole map, cuts out a disc around the maximum and divides by what is left; that is a softmax over
the disc, which is what is computed here.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.layers.precision import is_autocast
from tapetum.layers.sampling import constant
from tapetum.systems.tap.config import TapirConfig
from tapetum.systems.tap.network.correlation import all_correlations

DISC_RADIUS = 5
"""Cells strictly nearer than this to the maximum take part in the soft-argmax."""


def soft_argmax(heatmap: Float[Tensor, "m h w"]) -> Float[Tensor, "m 2"]:
    """Compute the mean (x, y) of cell centres, weighted by softmax(heat) over the disc around each map's maximum.

    >>> heatmap = torch.full((1, 9, 9), -1e9)
    >>> heatmap[0, 2, 6] = 0.0
    >>> soft_argmax(heatmap).tolist()
    [[6.5, 2.5]]
    """
    height, width = heatmap.shape[-2:]
    flat = heatmap.float().flatten(1)
    best = flat.argmax(1)
    reach = range(1 - DISC_RADIUS, DISC_RADIUS)
    disc = [(dy, dx) for dy in reach for dx in reach if dy**2 + dx**2 < DISC_RADIUS**2]
    dy, dx = constant(disc, heatmap, torch.long).unbind(1)
    y = (best // width)[:, None] + dy
    x = (best % width)[:, None] + dx
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    place = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    weight = flat.gather(1, place).masked_fill(~inside, -torch.inf).softmax(1)
    return torch.stack([(weight * (x + 0.5)).sum(1), (weight * (y + 0.5)).sum(1)], -1)


class Matching(nn.Module):
    """Heads on the cost volume of query features and lowres maps: a position, an occlusion and an expected-distance logit."""

    def __init__(self, config: TapirConfig):
        super().__init__()
        trunk, strided, hidden = config.matching_channels
        self.temperature = config.softmax_temperature
        self.trunk = nn.Conv2d(1, trunk, 3, padding=1)
        self.position = nn.Conv2d(trunk, 1, 3, padding=1)
        self.occlusion_conv = nn.Conv2d(trunk, strided, 3, 2)
        self.occlusion_hidden = nn.Linear(strided, hidden)
        self.occlusion_out = nn.Linear(hidden, 2)

    def forward(
        self, query: Float[Tensor, "b n c"], maps: Float[Tensor, "b t h w c"]
    ) -> tuple[Float[Tensor, "b n t 2"], Float[Tensor, "b n t"], Float[Tensor, "b n t"], Float[Tensor, "b n t h w"]]:
        """Compute positions (x, y) in raster coordinates of the maps, the two logits, and the logits of all cells."""
        batch, frames, height, width = maps.shape[:4]
        # One channel, last: so that the convolutions of the heads run channels-last, which is several times faster backward.
        cost_volume = all_correlations(query[:, :, None], maps).reshape(-1, height, width, 1).permute(0, 3, 1, 2)  # btn 1 h w
        if not is_autocast(cost_volume):
            cost_volume = cost_volume.to(self.trunk.weight.dtype)
        trunk = F.relu(self.trunk(cost_volume), inplace=not torch.is_grad_enabled())
        heatmap = self.position(trunk)[:, 0].float() * self.temperature
        position = soft_argmax(heatmap)
        same = F.pad(trunk, (width % 2, 1, height % 2, 1))
        strided = F.relu(self.occlusion_conv(same))
        pooled = F.avg_pool2d(strided, strided.shape[-2:]).flatten(1)
        logits = self.occlusion_out(F.relu(self.occlusion_hidden(pooled))).float()
        both = torch.cat([position, logits], -1).view(batch, frames, -1, 4).transpose(1, 2)
        heatmap = heatmap.view(batch, frames, -1, height, width).transpose(1, 2)
        return both[..., :2], both[..., 2], both[..., 3], heatmap
