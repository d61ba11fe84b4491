"""The uncertainty of live points: a 2x2 covariance of each position in a frame.

Not part of TAPIR. Of two sources, the one that gave the position counts:

    network   the expected-distance head says how likely an error above 6 pixels (of 256) is. A round Gaussian of variance s^2
              errs by more than d with the probability exp(-d^2 / 2 s^2), which gives s^2 = 18 / -ln p.
    patch     where a patch was aligned (`polish`), the residual's variance 2 (1 - correlation) times S S^T, with S the rows of
              `Patches.solve` that belong to the position. Along an edge the ellipse is long.

Each source has a factor, fitted on training scenes so that 68 of 100 ellipses of one standard deviation contain the true
position; `python evidence/live/covariance.py` prints them.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tapetum.layers.sampling import scale_xy
from tapetum.systems.tap.network.types import Size
from tapetum.systems.tap.tracking.polish import Anchors, reduced

EXPECTED_DISTANCE = 6.0
"""Pixels of 256, of which the head says how likely an error above them is."""
NETWORK_FACTOR = 0.492
PATCH_FACTOR = 137.0
PATCH_LEAST = 0.02
"""Pixels of the patch's image: the least standard deviation of an aligned position."""


def network_covariance(
    expected_dist: Float[Tensor, " n"], size: Size, factor: float = NETWORK_FACTOR
) -> Float[Tensor, "n 2 2"]:
    """Compute covariances (x, y) in pixels of a frame of (height, width) `size` from expected-distance logits."""
    far = torch.sigmoid(expected_dist.float()).clamp(1e-6, 0.98)
    variance = factor * EXPECTED_DISTANCE**2 / (-2 * far.log())
    to_frame = scale_xy(variance.new_ones(1, 2), (256, 256), size)
    return torch.diag_embed(variance[:, None] * to_frame.square())


def patch_covariance(
    anchors: Anchors, score: Float[Tensor, " n"], size: Size, factor: float = PATCH_FACTOR, least: float = PATCH_LEAST
) -> Float[Tensor, "n 2 2"]:
    """Compute covariances (x, y) in pixels of a frame of (height, width) `size` where patches aligned with this `score`."""
    solve = anchors.patches.solve[..., :2]
    residual = 2 * (1 - score.float()).clamp(min=0)
    inside = anchors.affine @ (solve.mT @ solve) @ anchors.affine.mT * (factor * residual)[:, None, None]
    inside = inside + least**2 * torch.eye(2, device=inside.device)
    to_frame = scale_xy(inside.new_ones(1, 2), reduced(*size), size)
    return inside * to_frame[:, :, None] * to_frame[:, None]


def position_covariance(
    expected_dist: Float[Tensor, " n"], size: Size, anchors: Anchors | None = None, score: Float[Tensor, " n"] | None = None
) -> Float[Tensor, "n 2 2"]:
    """Compute the covariance of each point's position: from its patch if that was aligned, else from the network."""
    network = network_covariance(expected_dist, size)
    if anchors is None or score is None:
        return network
    aligned: Bool[Tensor, " n"] = anchors.aligned
    return torch.where(aligned[:, None, None], patch_covariance(anchors, score, size), network)
