"""TAPNext in self-training: its labels, its losses on pseudo-labels against loops over single numbers, and who teaches whom."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from tapetum.systems.tap.bootstrap.config import Ingredients
from tapetum.systems.tap.bootstrap.samples import FootageSample, collate_footage, show_clip
from tapetum.systems.tap.bootstrap.task import BootstrapTask
from tapetum.systems.tapnext import TapNext
from tapetum.systems.tapnext.family import TapNextFamily
from tapetum.systems.tapnext.model import TapNextPredictions
from tapetum.systems.tapnext.recipes import TINY_RUN
from tapetum.systems.tapnext.tracker import TapNextTracker
from tapetum.tracks.training.data import TapSample
from tapetum.tracks.training.self_training import FootageTargets
from tapetum.train import StepContext

FRAMES, SIZE, POINTS = 5, 48, 6  # the network sees 32x32, and writes positions in 256x256


def network(seed: int) -> TapNext:
    """Build the tiny network with random weights."""
    torch.manual_seed(seed)
    return TapNext(TINY_RUN.model)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (FRAMES, SIZE, SIZE, 3), dtype=np.uint8)


def showing(settings: Ingredients) -> FootageSample:
    """A batch of one clip of noise."""
    sample = show_clip(np.random.default_rng(1), noise(), settings, SIZE, FRAMES, 1)
    return collate_footage([sample])


def task_of(family: TapNextFamily, **changes: object) -> BootstrapTask:
    settings = replace(Ingredients(points=POINTS, stride=1, confident=0.0, proximity=False), **changes)
    return BootstrapTask(SIZE, settings, family)  # pyright: ignore[reportAbstractUsage]


def test_a_teacher_says_what_the_tracker_says_before_its_query_too() -> None:
    queries = torch.tensor([[[0.0, 10, 12], [2.0, 30, 20], [4.0, 5, 40]]])
    model = network(0).eval()
    video = torch.from_numpy(noise()).float()[None] / 127.5 - 1
    with torch.no_grad():
        taught = TapNextFamily("none").estimate(model, video, queries)
    tracks = TapNextTracker(model).track(noise(), queries[0].numpy())
    torch.testing.assert_close(taught.tracks[0], torch.from_numpy(tracks.xy), atol=1e-3, rtol=0)
    torch.testing.assert_close((-taught.occlusion[0]).sigmoid(), torch.from_numpy(tracks.confidence), atol=1e-5, rtol=0)
    near = (-taught.expected_dist[0]).sigmoid()
    assert near[[0, 1, 2], [0, 2, 4]].tolist() == [1, 1, 1]
    torch.testing.assert_close(near[0, 1:], model(*_seen(video, queries)).certainty[0, 0, 1:], atol=1e-5, rtol=1e-4)


def _seen(video: torch.Tensor, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.nn.functional.interpolate(video[0].permute(0, 3, 1, 2), (32, 32), mode="bilinear", antialias=True)
    return images.permute(0, 2, 3, 1)[None], queries * torch.tensor([1, 32 / SIZE, 32 / SIZE])


def counted(targets: FootageTargets) -> Iterator[tuple[tuple[int, int, int], list[float]]]:
    """Every entry from its query on, and its target in pixels of 256x256."""
    for at in np.ndindex(1, POINTS, FRAMES):
        b, n, t = at
        if t >= targets.queries[b, n, 0]:
            x, y = targets.xy[at].tolist()
            rows = targets.maps[b, t].tolist()
            yield at, [min(max((row[0] * x + row[1] * y + row[2]) * 256 / SIZE, 0.0), 255.0) for row in rows[:2]]


def loops(layers: list[TapNextPredictions], targets: FootageTargets, rebalance: float) -> list[float]:
    """Coordinates, position and visibility, number by number: means over what counts, averaged over the layers."""
    means = []
    for layer in layers:
        sums, weights = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
        for at, place in counted(targets):
            visible, mask = not targets.occluded[at], float(targets.mask[at])
            scores = layer.logits[at].tolist()
            entropy = sum(
                math.log(sum(map(math.exp, row))) - row[round(min(max(v - 0.5, 0.0), 255.0))]
                for row, v in zip(scores, place, strict=True)
            )
            distance, logit = math.dist(layer.image_xy[at].tolist(), place), layer.visible_logits[at].item()
            huber = distance**2 / 2 if distance < 1 else distance - 0.5
            terms = entropy, 0.1 * huber, math.log1p(math.exp(-logit if visible else logit))
            for k, weight in enumerate((mask * visible, mask * visible, mask * (1 + rebalance * visible))):
                sums[k] += weight * terms[k]
                weights[k] += weight
        means.append([s / w for s, w in zip(sums, weights, strict=True)])
    return np.mean(means, 0).tolist()


@pytest.mark.parametrize("rebalance", [0.0, 1.0])
def test_losses_on_pseudo_labels_are_those_of_a_loop(rebalance: float) -> None:
    draw, family, model = torch.Generator().manual_seed(0), TapNextFamily("none", rebalance=rebalance), network(0)
    batch = showing(Ingredients(points=POINTS))
    xy = torch.rand(1, POINTS, FRAMES, 2, generator=draw) * SIZE
    queries = torch.cat([torch.tensor([0.0, 0, 1, 2, 3, 4])[None, :, None], xy[:, :, 0]], -1)
    warped = torch.einsum("btij,bntj->bnti", batch.maps[..., :2, :2], xy) + batch.maps[:, None, :, :2, 2]
    targets = FootageTargets(
        size=SIZE,
        queries=queries,
        xy=xy,
        warped_xy=warped,
        occluded=torch.rand(1, POINTS, FRAMES, generator=draw) < 0.4,
        mask=(torch.rand(1, POINTS, FRAMES, generator=draw) < 0.7).float(),
        maps=batch.maps,
    )
    layers = family.predict(model, batch.spoilt, queries)
    assert len(layers) == TINY_RUN.model.depth
    loss, logs = family.footage_loss(model, layers, targets)
    expected = loops(layers, targets, rebalance)
    assert [float(logs[name]) for name in ("coordinates", "position", "visibility")] == pytest.approx(expected, rel=1e-4)
    assert loss.item() == pytest.approx(sum(expected), rel=1e-4)
    final = family.final(layers)
    torch.testing.assert_close(final.tracks, layers[-1].image_xy * (SIZE / 256))
    assert torch.equal(final.occlusion, -layers[-1].visible_logits)


def test_the_student_learns_from_the_teacher_and_the_teacher_from_nobody() -> None:
    task, student, teacher = task_of(TapNextFamily("none", rebalance=1.0)), network(0), network(1).eval()
    batch = showing(task.settings)
    with torch.no_grad():
        for each in (student, teacher):
            each.visible_head[-1].bias.fill_(3.0)  # nearly all is seen, so that there is something to learn
    loss, logs = task.loss(student, batch, StepContext(teachers={"ema": teacher}))
    loss.backward()
    assert [name for name, p in student.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert all(p.grad is None for p in teacher.parameters())
    other, _ = task.loss(student, batch, StepContext(teachers={"ema": student.eval()}))
    assert abs(float(other) - float(loss)) > 1e-3
    assert 0 < float(logs["frames_kept"]) < 1  # frames before the student's query do not count


def test_synthetic_clips_are_learned_in_pixels_of_what_the_network_sees() -> None:
    draw = torch.Generator().manual_seed(0)
    queries = torch.tensor([[[0.0, 10, 12], [2.0, 30, 20]]])
    video, hidden = torch.from_numpy(noise()).float()[None] / 127.5 - 1, torch.zeros(1, 2, FRAMES, dtype=torch.bool)
    xy = torch.rand(1, 2, FRAMES, 2, generator=draw) * SIZE
    family, model = TapNextFamily("none"), network(0)
    loss, logs = family.clip_loss(model, TapSample(video, queries, xy, hidden))
    frames, points = _seen(video, queries)
    smaller = family.clip_loss(model, TapSample(frames, points, xy * (32 / SIZE), hidden))[0]
    torch.testing.assert_close(loss, smaller)
    assert float(loss) == pytest.approx(sum(float(logs[name]) for name in ("coordinates", "position", "visibility")))
