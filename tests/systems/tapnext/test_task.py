"""TAPNext's task: its scores, its initial weights, its recipes; its losses are in tests/twins/test_tapnext.py."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tapetum.systems.tapnext import TapNext
from tapetum.systems.tapnext.recipes import NANO_RUN, PAPER, RECIPES, TINY_RUN
from tapetum.systems.tapnext.task import TapNextTask
from tapetum.tracks.training.clips import TrackedClip
from tapetum.tracks.training.facet_clips import SceneClips

FRAMES, SIZE = 4, 32


def made(**changes: object) -> TapNextTask:
    """Make a task of the tiny run with some fields changed."""
    run = replace(TINY_RUN, **changes)
    return TapNextTask(run, run.phases[0], run.model, SceneClips(1), lambda: [clip()], None)


def clip() -> TrackedClip:
    """Make a clip of noise with points that stand still."""
    rng = np.random.default_rng(0)
    xy = np.repeat(rng.uniform(4, 60, (5, 1, 2)), FRAMES, 1).astype(np.float32)
    return TrackedClip(rng.integers(0, 256, (FRAMES, 64, 64, 3), dtype=np.uint8), xy, rng.random((5, FRAMES)) < 0.8)


def test_scores_count_pixels_of_the_image_size() -> None:
    class Near(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.anchor = torch.nn.Parameter(torch.zeros(()))

        def forward(self, video: torch.Tensor, queries: torch.Tensor) -> object:
            places = queries[:, :, None, 1:].expand(-1, -1, FRAMES, -1) + 0.25 * torch.tensor([1.0, 0.0])
            return type("Made", (), {"xy": places, "visible_logits": torch.full(places.shape[:3], 2.0)})

    scores = made().evaluate(Near(), 0)
    assert scores["average_pts_within_thresh"] == pytest.approx(0.6)  # 0.25 pixels of 32 are 2 of 256: within 4, 8 and 16


def test_patches_begin_where_queries_are() -> None:
    network = made().model()
    config = network.config
    centre = torch.tensor([[[0.0, 8 * 5 + 4, 8 * 2 + 4]]])  # of the patch in row 2, column 5
    state = network.start(centre, config.image_size)
    assert (state.embeddings[0, 0] - network.position_embedding[2, 5]).abs().max() < 1e-4
    plain = made(sine_positions=False).model()
    assert (state.embeddings[0, 0] - plain.position_embedding[2, 5]).abs().max() > 0.1


def test_recipes_are_what_is_published() -> None:
    [phase] = PAPER.phases
    assert (phase.size, phase.frames, phase.points, phase.batch_size, phase.steps) == (256, 48, 256, 256, 300_000)
    assert (PAPER.occluded_weight, PAPER.sine_positions, PAPER.layers) == (0.0, False, "all")
    with torch.device("meta"):
        count = {name: sum(p.numel() for p in TapNext(run.model).parameters()) for name, run in RECIPES.items()}
    assert count["paper"] == 194_202_881
    assert 2 * count["nano"] <= 8_000_000
    assert [phase.frames for phase in NANO_RUN.phases] == sorted(phase.frames for phase in NANO_RUN.phases)


def test_samples_are_augmented_as_the_run_says() -> None:
    run = replace(TINY_RUN, roll=0.8, homography=0.7)
    clips = [TrackedClip(np.zeros((3, 8, 8, 3), np.uint8), np.zeros((1, 3, 2)), np.ones((1, 3), bool))]
    task = TapNextTask(run, replace(run.phases[0], motion=0.3), run.model, clips, list, None)
    shown = task.dataset().alterations
    assert (shown.roll, shown.homography, shown.motion) == (0.8, 0.7, 0.3)
