"""Covariances of live positions: on values derived by hand, and on noise whose effect is known."""

import numpy as np
import torch

from tapetum.systems.tap.tracking.follower import NETWORK_FACTOR, network_covariance, position_covariance
from tapetum.systems.tap.tracking.polish import Anchors
from tapetum.tracks.patches import PATCH_LEAST, grey, patch_covariance


def textured(height: int = 120, width: int = 160) -> torch.Tensor:
    rng = np.random.default_rng(0)
    image = np.kron(rng.uniform(20, 230, (height // 4, width // 4)), np.ones((4, 4)))
    return grey(np.repeat(image[None, :, :, None], 3, -1).astype(np.uint8))[0]


def test_an_error_above_six_pixels_is_as_likely_as_the_head_says() -> None:
    likely = torch.tensor([0.5, 0.1, 0.01])
    covariance = network_covariance(torch.logit(likely), (256, 256), factor=1.0)
    variance = covariance[:, 0, 0]
    torch.testing.assert_close(torch.exp(-36 / (2 * variance)), likely)
    assert (covariance[:, 0, 1] == 0).all()
    wide = network_covariance(torch.logit(likely), (512, 1024), factor=1.0)
    torch.testing.assert_close(wide[:, 0, 0], 16 * variance)
    torch.testing.assert_close(wide[:, 1, 1], 4 * variance)


def test_patches_of_noisy_frames_scatter_as_their_covariance_says() -> None:
    image, place, level = textured(), torch.tensor([[80.5, 60.5]]), 12.0  # on a pixel, so that samples are independent
    g = torch.Generator().manual_seed(1)
    anchors, errors, claims = Anchors.at(image, place), [], []
    for _ in range(60):
        noisy = image + level * torch.randn(image.shape, generator=g)
        xy, affine, score = anchors.patches.align(noisy, place[:, None], anchors.affine)
        aligned = Anchors(anchors.patches, xy, affine, anchors.motion, anchors.aligned, place)
        errors.append((xy - place)[0])
        claims.append(patch_covariance(aligned.patches, aligned.affine, score, (120, 160), factor=1.0, least=0.0)[0])
    scatter, claimed = torch.stack(errors).square().mean(0), torch.stack(claims).mean(0).diagonal()
    ratio = scatter / claimed
    assert ((ratio > 0.6) & (ratio < 1.7)).all(), ratio


def test_each_point_has_the_covariance_of_what_gave_its_position() -> None:
    anchors = Anchors.at(textured(), torch.tensor([[50.0, 40.0], [90.0, 60.0]]))
    anchors = Anchors(anchors.patches, anchors.xy, anchors.affine, anchors.motion, torch.tensor([True, False]), anchors.xy)
    logits = torch.zeros(2)
    both = position_covariance(logits, (120, 160), anchors, torch.tensor([1.0, 0.2]))
    torch.testing.assert_close(both[0], PATCH_LEAST**2 * torch.eye(2))
    torch.testing.assert_close(both[1], network_covariance(logits, (120, 160), NETWORK_FACTOR)[1])
