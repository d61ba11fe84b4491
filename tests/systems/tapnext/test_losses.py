"""The losses of TAPNext, against loops over single numbers."""

import math

import pytest
import torch
from torch import Tensor

from tapetum.systems.tapnext.model import TapNextPredictions
from tapetum.systems.tapnext.task import make_targets, tracking_losses
from tapetum.tracks.training.tracker_task import add_terms

VIDEO, IMAGE, BINS = (30, 40), (20, 16), 24
QUERIES, FRAMES = 3, 5


def drawn(seed: int) -> tuple[TapNextPredictions, Tensor, Tensor, Tensor]:
    """Predictions of two clips, queries on frames 0, 2 and 4, positions in and around the video, and what is hidden."""
    draw = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, QUERIES, FRAMES, 2, BINS, generator=draw)
    xy = torch.rand(2, QUERIES, FRAMES, 2, generator=draw) * torch.tensor([56.0, 42.0]) - 8
    hidden = torch.rand(2, QUERIES, FRAMES, generator=draw) < 0.4
    queries = torch.cat([torch.tensor([0.0, 2.4, 3.6]).expand(2, 3)[..., None], torch.zeros(2, QUERIES, 2)], -1)
    image_xy = torch.rand(2, QUERIES, FRAMES, 2, generator=draw) * 16
    image_xy[0, 0, 0] = xy[0, 0, 0] * torch.tensor([16 / 40, 20 / 30]) + 0.3  # within the square part of Huber's
    visible = torch.randn(2, QUERIES, FRAMES, generator=draw)
    return TapNextPredictions(logits, visible, image_xy, image_xy), queries, xy, hidden


def loops(
    one: TapNextPredictions, queries: Tensor, xy: Tensor, hidden: Tensor, occluded_weight: float, as_public: bool
) -> list[float]:
    """Coordinates, position and visibility, number by number, as the module's table says."""
    entropies, entropy_weights, hubers, huber_weights, crosses, cross_weights = ([] for _ in range(6))
    for b in range(2):
        for q in range(QUERIES):
            for t in range(FRAMES):
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
    known = torch.arange(FRAMES) >= torch.tensor([0, 2, 4])[:, None]
    assert torch.equal((logits.grad != 0).flatten(3).any(-1), known & ~hidden)
    assert torch.equal(visible.grad != 0, known.expand_as(hidden))


def test_a_batch_without_any_visible_point_has_a_loss() -> None:
    one, queries, xy, hidden = drawn(0)
    losses = tracking_losses([one], make_targets(queries, xy, torch.ones_like(hidden), VIDEO, IMAGE))
    assert float(losses["coordinates"]) == float(losses["position"]) == 0
    assert math.isfinite(float(add_terms(losses)[0]))
