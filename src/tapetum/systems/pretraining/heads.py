"""Heads on an encoder that is pre-trained, which are left behind afterwards; and what networks with heads share."""

from jaxtyping import Float
from torch import Tensor, nn

from tapetum.encoders.features import Encoder


class Learner(nn.Module):
    """An encoder with a method's heads on it."""

    def __init__(self, encoder: Encoder, **heads: nn.Module):
        super().__init__()
        self.encoder, self.heads = encoder, nn.ModuleDict(heads)


def projection(in_width: int, hidden: int, out_width: int, layers: int = 2, last_norm: bool = False) -> nn.Sequential:
    """Build linear layers with batch norm and ReLU between; `last_norm`: a batch norm without gain after the last, too.

    SimCLR (arXiv 2002.05709, section 4.2), BYOL (2006.07733, section 3.3), MoCo v3 (2104.02057, with 3 layers).
    """
    stack = nn.Sequential()
    for _ in range(layers - 1):
        stack.extend([nn.Linear(in_width, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()])
        in_width = hidden
    stack.append(nn.Linear(in_width, out_width, bias=not last_norm))
    if last_norm:
        stack.append(nn.BatchNorm1d(out_width, affine=False))
    return stack


def use_batch_statistics(teacher: nn.Module) -> nn.Module:
    """Set the batch norms of a network in eval mode to use the statistics of each batch, and follow none; returns it.

    So the moving averages of BYOL and DINO normalise as their students do, as published.
    """
    for module in teacher.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.training, module.track_running_stats = True, False
    return teacher


def feature_std(features: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
    """Compute the share of the features' length that differs between images: 0 where all are one vector.

    >>> import torch
    >>> float(feature_std(torch.ones(4, 3))), float(feature_std(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])))
    (0.0, 1.0)
    """
    x = features.detach().float()
    variance = (x - x.mean(0)).square().sum() / x.square().sum().clamp(min=1e-20)
    return variance.sqrt()
