"""The training task of TAPNext: which layers its loss is of, what it logs, its scores, its initial weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tapetum.systems.tapnext import TapNext
from tapetum.systems.tapnext.recipes import NANO_RUN, PAPER, RECIPES, TINY_RUN
from tapetum.systems.tapnext.task import TapNextTask, make_targets, tracking_losses
from tapetum.tracks.training.clips import TrackedClip
from tapetum.tracks.training.data import TapSample
from tapetum.train import StepContext
from tapetum.world.training.point_clips import SceneClips

FRAMES, SIZE = 4, 32
CONTEXT = StepContext(step=0, steps=1)


def made(**changes: object) -> TapNextTask:
    """Make a task of the tiny run with some fields changed."""
    run = replace(TINY_RUN, **changes)
    return TapNextTask(run, run.phases[0], run.model, SceneClips(1), lambda: [clip()], None)


def clip() -> TrackedClip:
    """Make a clip of noise with points that stand still."""
    rng = np.random.default_rng(0)
    xy = np.repeat(rng.uniform(4, 60, (5, 1, 2)), FRAMES, 1).astype(np.float32)
    return TrackedClip(rng.integers(0, 256, (FRAMES, 64, 64, 3), dtype=np.uint8), xy, rng.random((5, FRAMES)) < 0.8)


def batch() -> TapSample:
    """Make a batch of two clips with queries on several frames."""
    draw = torch.Generator().manual_seed(0)
    video = torch.rand(2, FRAMES, SIZE, SIZE, 3, generator=draw) * 2 - 1
    xy = torch.rand(2, 3, FRAMES, 2, generator=draw) * SIZE
    times = torch.tensor([0.0, 1.0, 3.0]).expand(2, 3)
    queries = torch.cat([times[..., None], xy[:, range(3), times[0].long()]], -1)
    return TapSample(video, queries, xy, torch.rand(2, 3, FRAMES, generator=draw) < 0.3)


def test_layers_end_with_the_prediction() -> None:
    task = made()
    torch.manual_seed(0)
    network, samples = task.model(), batch()
    layers = network.predict_layers(samples.video, samples.queries)
    assert len(layers) == TINY_RUN.model.depth
    whole = network(samples.video, samples.queries)
    torch.testing.assert_close(layers[-1].logits, whole.logits)
    torch.testing.assert_close(layers[-1].visible_logits, whole.visible_logits)
    assert (layers[0].logits - whole.logits).abs().max() > 0.01
    torch.testing.assert_close(whole.image_xy * (SIZE / 256), whole.xy)


@pytest.mark.parametrize("layers", ["all", "last"])
def test_the_loss_is_of_all_layers_or_of_the_last(layers: str) -> None:
    task, samples = made(layers=layers, occluded_weight=0.1), batch()
    torch.manual_seed(0)
    network = task.model()
    total, logs = task.loss(network, samples, CONTEXT)
    every = network.predict_layers(samples.video, samples.queries)
    targets = make_targets(samples.queries, samples.xy, samples.occluded, (SIZE, SIZE), (256, 256), occluded_weight=0.1)
    expected = tracking_losses(every if layers == "all" else every[-1:], targets)
    torch.testing.assert_close(total, sum(expected.values()))
    for name in ("coordinates", "position", "visibility"):
        torch.testing.assert_close(logs[name], expected[name].detach())
    counted = [(b, q, t) for b in range(2) for q, start in enumerate((0, 1, 3)) for t in range(FRAMES) if t > start]
    visible = [at for at in counted if not samples.occluded[at]]
    near = [float((every[-1].xy[at] - samples.xy[at]).norm()) * 8 < 8 for at in visible]
    assert float(logs["within_8px"]) == pytest.approx(sum(near) / len(near))
    right = [bool(every[-1].visible_logits[at] > 0) != bool(samples.occluded[at]) for at in counted]
    assert float(logs["visible_accuracy"]) == pytest.approx(sum(right) / len(right))


def test_every_parameter_learns() -> None:
    task = made()
    network = task.model().train()
    task.loss(network, batch(), CONTEXT)[0].backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


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
