"""The base class of convolutional encoders: from maps to `Features`, convolutions padded as TensorFlow and JAX do, and feature
pyramids.

A feature pyramid (arXiv 1612.03144, section 3): an encoder's maps at one width, each combined with the coarser ones.

    maps[3] --1x1--+-------------------> 3x3 --> out[3] (--every second cell--> out[4])
                   | to twice the size
    maps[2] --1x1--+-------------------> 3x3 --> out[2]
                   ...

Enlarging copies nearest cells to exactly the size of the finer map, so images may have any size.
"""

import re
from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.encoders.features import Encoder, Features


class ConvolutionalEncoder(Encoder):
    """An encoder that outputs its last map: its cells are the tokens, their mean is the pooled vector."""

    stages: nn.Sequential
    takes_bfloat16 = True

    def see(self, images: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b c h w"], ...]:
        """Compute the maps of prepared images, finest first; the last one is pooled."""
        raise NotImplementedError

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Features:
        """Encode prepared images of any size, in the precision of the weights; see `prepare`."""
        maps = self.see(self.checked(images).to(next(self.parameters()).dtype))
        last = maps[-1]
        rows, columns = last.shape[-2:]
        return Features(tokens=last.flatten(2).mT, grid=(int(rows), int(columns)), pooled=last.mean((2, 3)), maps=maps)

    def adapter_addresses(self) -> tuple[str, ...]:
        """List the names of all stages' blocks, after each of which an adapter fits, in the order of the forward pass."""
        return tuple(name for name, _ in self.named_modules() if re.fullmatch(r"stages\.\d+\.\d+", name))


def make_head(width: int, classes: int) -> nn.Linear | None:
    """Make the classifier of a pooled vector, or none for 0 classes."""
    return nn.Linear(width, classes) if classes else None


class FeaturePyramid(nn.Module):
    """The pyramid over maps with the given channels, finest first."""

    def __init__(self, map_channels: Sequence[int], width: int = 256, extra_level: bool = False):
        """Make a pyramid with random weights.

        Args:
            map_channels: channels of each map, finest first.
            width: channels of the outputs.
            extra_level: add a level of half the size: every second cell of the coarsest.
        """
        super().__init__()
        if not map_channels:
            raise BadInput("a feature pyramid needs a map or more; give the channels of each, finest first")
        self.extra_level = extra_level
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in map_channels)
        self.output = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in map_channels)
        for module in (*self.lateral, *self.output):
            nn.init.kaiming_uniform_(module.weight, a=1)  # pyright: ignore[reportArgumentType]
            nn.init.zeros_(module.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, maps: Sequence[Float[Tensor, "b _ _ _"]]) -> tuple[Float[Tensor, "b c _ _"], ...]:
        """Compute the levels of the pyramid, finest first, for `Features.maps`."""
        if len(maps) != len(self.lateral):
            raise BadInput(f"{len(maps)} maps come to a pyramid of {len(self.lateral)}; make it for this encoder")
        levels: list[Tensor] = []
        above = None
        for lateral, output, features in reversed(list(zip(self.lateral, self.output, maps, strict=True))):
            here = lateral(features)
            if above is not None:
                here = here + F.interpolate(above, size=here.shape[-2:], mode="nearest")
            above = here
            levels.insert(0, output(here))
        if self.extra_level:
            levels.append(levels[-1][:, :, ::2, ::2])
        return tuple(levels)
