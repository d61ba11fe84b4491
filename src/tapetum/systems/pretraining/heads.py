"""What stands on an encoder while it is pre-trained, and is left behind afterwards."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.encoders.features import Encoder
from tapetum.encoders.vit import start_linear
from tapetum.layers.linear import linear


class Layers(nn.Sequential):
    """Layers one after the other, the linear ones at the speed of the processor."""

    def forward(self, input: Tensor) -> Tensor:
        """Pass through all of them."""
        for layer in self:
            input = linear(input, layer) if isinstance(layer, nn.Linear) else layer(input)
        return input


def projection(inward: int, hidden: int, outward: int, layers: int = 2, last_norm: bool = False) -> Layers:
    """Make linear layers with batch norm and ReLU between; `last_norm`: a batch norm without gain after the last, too.

    SimCLR (arXiv 2002.05709, section 4.2), BYOL (2006.07733, section 3.3), MoCo v3 (2104.02057, with 3 layers).
    """
    stack = Layers()
    for _ in range(layers - 1):
        stack.extend([nn.Linear(inward, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()])
        inward = hidden
    stack.append(nn.Linear(inward, outward, bias=not last_norm))
    if last_norm:
        stack.append(nn.BatchNorm1d(outward, affine=False))
    return stack


class DinoHead(nn.Module):
    """Three layers with GELU to a unit vector, whose cosines with learned prototypes are the output.

    DINO (arXiv 2104.14294, appendix C); its weight norm with gain 1 is the unit length of the prototypes.
    """

    def __init__(self, inward: int, hidden: int, bottleneck: int, prototypes: int):
        super().__init__()
        self.layers = Layers(
            nn.Linear(inward, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.prototypes = nn.Linear(bottleneck, prototypes, bias=False)
        self.layers.apply(start_linear)

    def forward(self, x: Float[Tensor, "b c"], frozen: bool = False) -> Float[Tensor, "b k"]:
        """Give the cosines; `frozen`: the prototypes learn nothing."""
        weight = F.normalize(self.prototypes.weight, dim=-1)
        weight = weight.detach() if frozen else weight
        rows = F.normalize(self.layers(x), dim=-1)
        return F.linear(rows, weight)


class Learner(nn.Module):
    """An encoder with what a method puts on it."""

    def __init__(self, encoder: Encoder, **heads: nn.Module):
        super().__init__()
        self.encoder, self.heads = encoder, nn.ModuleDict(heads)


def by_batch(teacher: nn.Module) -> nn.Module:
    """Let the batch norms of a network in eval mode use the statistics of each batch, and follow none; returns it.

    So the slow averages of BYOL and DINO see as their students do, as published.
    """
    for module in teacher.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.training, module.track_running_stats = True, False
    return teacher


def spread(features: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
    """Measure how much of the features differs between images: 0 where all are one vector, 1 where nothing is common.

    >>> import torch
    >>> float(spread(torch.ones(4, 3))), float(spread(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])))
    (0.0, 1.0)
    """
    x = features.detach().float()
    own = (x - x.mean(0)).square().sum() / x.square().sum().clamp(min=1e-20)
    return own.sqrt()
