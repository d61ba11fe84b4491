"""Polishing with fixed shapes, for accelerators, against the one that follows points from their queries on, for CPUs."""

import numpy as np
import torch

from systems.tap.tracking.test_polish import FRAMES, film, of, rough, truth  # noqa: F401
from tapetum.systems.tap.tracking.polish import ACCEPTED, polish_clip, polished


def test_it_is_what_is_done_on_a_cpu(film, truth, rough) -> None:  # noqa: F811
    """Queries on first, middle and last frames, between frames, after the end, on plain ground; frames that show nothing."""
    frames = film.copy()
    frames[2:4] = np.random.default_rng(0).integers(0, 256, frames[2:4].shape)
    frames[:, 45:60, 50:70] = 90
    queries = truth[0].clone()
    queries[3, 0], queries[4, 0], queries[5, 0] = 1.5, FRAMES + 2, 3
    confidence = torch.rand(rough.shape[:2], generator=torch.Generator().manual_seed(2))
    before = rough.clone(), confidence.clone()
    expected, sure = polished(of(frames), queries, rough, confidence)
    found, also_sure = polish_clip(torch.from_numpy(frames), queries, rough, confidence)
    assert 0.2 < (expected != rough).any(-1).float().mean() < 0.8
    assert (expected[3:5] == rough[3:5]).all()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(also_sure, sure, rtol=0, atol=1e-4)
    assert torch.equal((found != rough).any(-1), (expected != rough).any(-1))
    assert (also_sure[(found != rough).any(-1)] > confidence.min()).all()
    assert torch.equal(rough, before[0])  # not changed in place
    assert torch.equal(confidence, before[1])


def test_it_is_exact_at_the_size_of_the_images_that_are_aligned(film, truth, rough) -> None:  # noqa: F811
    """A clip of 480 x 640 pixels, aligned at 256 x 341."""
    queries, xy = truth
    frames = torch.from_numpy(film).permute(0, 3, 1, 2).float()
    large = torch.nn.functional.interpolate(frames, scale_factor=4, mode="bicubic").clamp(0, 255).byte().permute(0, 2, 3, 1)
    exact, sure = polish_clip(large, queries * torch.tensor([1.0, 4, 4]), 4 * rough, torch.zeros(xy.shape[:2]))
    assert (exact / 4 - xy).norm(dim=-1).max() < 0.15
    assert (sure > ACCEPTED).all()
