"""The losses of TAPNext, against loops over single numbers; its task: layers, what it logs, its scores, its initial weights."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tapetum.systems.tapnext import TapNext
from tapetum.systems.tapnext.model import TapNextPredictions
from tapetum.systems.tapnext.recipes import NANO_RUN, PAPER, RECIPES, TINY_RUN
from tapetum.systems.tapnext.task import TapNextTask, make_targets, tracking_losses
from tapetum.tracks.training.clips import TrackedClip
from tapetum.tracks.training.data import TapSample
from tapetum.tracks.training.facet_clips import SceneClips
from tapetum.tracks.training.tracker_task import add_terms
from tapetum.train import StepContext

VIDEO, IMAGE, BINS = (30, 40), (20, 16), 24
QUERIES, TIMES = 3, 5


def drawn(seed: int) -> tuple[TapNextPredictions, Tensor, Tensor, Tensor]:
    """Predictions of two clips, queries on frames 0, 2 and 4, positions in and around the video, and what is hidden."""
    draw = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, QUERIES, TIMES, 2, BINS, generator=draw)
    xy = torch.rand(2, QUERIES, TIMES, 2, generator=draw) * torch.tensor([56.0, 42.0]) - 8
    hidden = torch.rand(2, QUERIES, TIMES, generator=draw) < 0.4
    queries = torch.cat([torch.tensor([0.0, 2.4, 3.6]).expand(2, 3)[..., None], torch.zeros(2, QUERIES, 2)], -1)
    image_xy = torch.rand(2, QUERIES, TIMES, 2, generator=draw) * 16
    image_xy[0, 0, 0] = xy[0, 0, 0] * torch.tensor([16 / 40, 20 / 30]) + 0.3  # within the square part of Huber's
    visible = torch.randn(2, QUERIES, TIMES, generator=draw)
    return TapNextPredictions(logits, visible, image_xy, image_xy), queries, xy, hidden


def loops(
    one: TapNextPredictions, queries: Tensor, xy: Tensor, hidden: Tensor, occluded_weight: float, as_public: bool
) -> list[float]:
    """Coordinates, position and visibility, number by number, as the module's table says."""
    entropies, entropy_weights, hubers, huber_weights, crosses, cross_weights = ([] for _ in range(6))
    for b in range(2):
        for q in range(QUERIES):
            for t in range(TIMES):
                at = [float(xy[b, q, t, 0]) * 16 / 40, float(xy[b, q, t, 1]) * 20 / 30]
                inside = 0 <= at[0] < 16 and 0 <= at[1] < 20
                known = t >= round(float(queries[b, q, 0]))
                visible = not bool(hidden[b, q, t])
                located = 1.0 if visible else occluded_weight if inside else 0.0
                if as_public:
                    huber_weight, entropy_weight, cross_weight = float(visible), 1.0, 1.0
                else:
                    huber_weight = entropy_weight = located * known
                    cross_weight = float(known)
                target = [min(max(at[0], 0.0), 15.0), min(max(at[1], 0.0), 19.0)]
                entropy = 0.0
                for axis in (0, 1):
                    scores = [float(s) for s in one.logits[b, q, t, axis]]
                    label = round(min(max(target[axis] - 0.5, 0.0), BINS - 1.0))
                    entropy -= scores[label] - math.log(sum(math.exp(s) for s in scores))
                distance = math.dist(target, [float(v) for v in one.image_xy[b, q, t]])
                logit = float(one.visible_logits[b, q, t])
                entropies.append(entropy)
                hubers.append(distance**2 / 2 if distance < 1 else distance - 0.5)
                crosses.append(math.log1p(math.exp(-logit if visible else logit)))
                entropy_weights.append(entropy_weight)
                huber_weights.append(huber_weight)
                cross_weights.append(cross_weight)

    def mean(values: list[float], weights: list[float]) -> float:
        return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)

    return [mean(entropies, entropy_weights), 0.1 * mean(hubers, huber_weights), mean(crosses, cross_weights)]


@pytest.mark.parametrize(("occluded_weight", "as_public"), [(0.0, False), (0.2, False), (0.0, True)])
def test_losses_are_those_of_a_loop(occluded_weight: float, as_public: bool) -> None:
    first, queries, xy, hidden = drawn(0)
    second, *_ = drawn(1)
    targets = make_targets(queries, xy, hidden, VIDEO, IMAGE, occluded_weight=occluded_weight, as_public=as_public)
    every = [loops(one, queries, xy, hidden, occluded_weight, as_public) for one in (first, second)]
    alone = tracking_losses([first], targets, as_public=as_public)
    both = tracking_losses([first, second], targets, as_public=as_public)
    for name, one, two in zip(("coordinates", "position", "visibility"), *every, strict=True):
        assert float(alone[name]) == pytest.approx(one, rel=1e-5)
        assert float(both[name]) == pytest.approx((one + two) / 2, rel=1e-5)
    assert float(add_terms(alone)[0]) == pytest.approx(sum(every[0]), rel=1e-5)


def test_what_does_not_count_has_no_gradient() -> None:
    one, queries, xy, hidden = drawn(0)
    logits, visible = one.logits.requires_grad_(True), one.visible_logits.requires_grad_(True)
    targets = make_targets(queries, xy, hidden, VIDEO, IMAGE)
    add_terms(tracking_losses([TapNextPredictions(logits, visible, one.xy, one.image_xy)], targets))[0].backward()
    assert logits.grad is not None
    assert visible.grad is not None
    known = torch.arange(TIMES) >= torch.tensor([0, 2, 4])[:, None]
    assert torch.equal((logits.grad != 0).flatten(3).any(-1), known & ~hidden)
    assert torch.equal(visible.grad != 0, known.expand_as(hidden))


def test_a_batch_without_any_visible_point_has_a_loss() -> None:
    one, queries, xy, hidden = drawn(0)
    losses = tracking_losses([one], make_targets(queries, xy, torch.ones_like(hidden), VIDEO, IMAGE))
    assert float(losses["coordinates"]) == float(losses["position"]) == 0
    assert math.isfinite(float(add_terms(losses)[0]))


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


def test_samples_are_augmented_as_the_run_says() -> None:
    run = replace(TINY_RUN, roll=0.8, homography=0.7)
    clips = [TrackedClip(np.zeros((3, 8, 8, 3), np.uint8), np.zeros((1, 3, 2)), np.ones((1, 3), bool))]
    task = TapNextTask(run, replace(run.phases[0], motion=0.3), run.model, clips, list, None)
    shown = task.dataset().alterations
    assert (shown.roll, shown.homography, shown.motion) == (0.8, 0.7, 0.3)
