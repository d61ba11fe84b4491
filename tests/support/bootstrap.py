"""For tests of BootsTAP: settings that leave everything out, and outputs of a network made by hand."""

import torch

from tapetum.systems.tap.bootstrap.config import Ingredients
from tapetum.systems.tap.types import TrackEstimate

BARE = Ingredients(
    stride=1,
    moving=0.0,
    shrink=False,
    spoil=False,
    requery=False,
    cycle=False,
    confident=0.0,
    proximity=False,
    rebalance=0.0,
    synthetic=False,
)


def estimate(xy: list, hidden: list) -> TrackEstimate:
    """Build an estimate that is sure of places `xy` and of what is `hidden`."""
    occlusion = torch.tensor(hidden).float() * 20 - 10
    return TrackEstimate(torch.tensor(xy).float(), occlusion, torch.full_like(occlusion, -10.0))
