"""BootsTAP's losses, held against cases worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tapetum.systems.tap.bootstrap.config import BootstrapRun, Ingredients
from tapetum.systems.tap.bootstrap.family import TapirFamily, warp_tracks
from tapetum.systems.tap.bootstrap.samples import FootageSample, collate_footage, show_clip
from tapetum.systems.tap.bootstrap.task import BootstrapTask
from tapetum.systems.tap.types import TrackEstimate, Trajectories
from tapetum.tracks.training.data import empty_clips
from tapetum.train import StepContext


class Knows(nn.Module):
    """A tracker that answers with given tracks, as seen through given maps, moved by `off` pixels."""

    def __init__(self, xy: torch.Tensor, hidden: torch.Tensor, maps: torch.Tensor, off: float = 0.0):
        super().__init__()
        self.xy, self.hidden, self.maps = xy, hidden, maps
        self.off = nn.Parameter(torch.tensor(off))
        self.asked = torch.zeros(0)

    def forward(self, video: torch.Tensor, queries: torch.Tensor) -> Trajectories:
        self.asked = queries
        tracks = warp_tracks(self.maps, self.xy + torch.stack([self.off, torch.zeros(())]))
        logits = self.hidden.float() * 40 - 20
        sure = torch.full_like(logits, -20.0)
        return Trajectories(tracks, logits, sure, (TrackEstimate(tracks, logits, sure),))


def scene(points: int = 6, frames: int = 8) -> tuple[torch.Tensor, torch.Tensor, FootageSample]:
    rng = np.random.default_rng(1)
    start = rng.uniform(20, 40, (points, 1, 2))
    xy = torch.from_numpy(start + rng.uniform(-1, 1, (points, 1, 2)) * np.arange(frames)[:, None]).float()[None]
    hidden = torch.zeros(1, points, frames, dtype=torch.bool)
    sample = show_clip(rng, np.zeros((frames, 64, 64, 3), np.uint8), Ingredients(points=points), 64, frames, 1)
    time = torch.from_numpy(rng.integers(frames, size=points))
    queries = torch.cat([time[:, None].float(), xy[0, range(points), time]], -1)
    sample = replace(sample, queries=queries)
    batch = collate_footage([sample])
    return xy, hidden, batch


def alone(settings: Ingredients) -> BootstrapTask:
    """A task of which the loss alone is computed, without matching's."""
    family = TapirFamily(BootstrapRun(size=64, settings=settings), matching_weight=0.0)
    return BootstrapTask(64, settings, family)  # pyright: ignore[reportAbstractUsage]


def test_a_student_that_agrees_has_no_position_loss_and_one_that_is_off_has_hubers() -> None:
    xy, hidden, batch = scene()
    still = torch.eye(3).expand_as(batch.maps)
    teacher = Knows(xy, hidden, still)
    task = alone(Ingredients(points=6, proximity=False, cycle=True))
    student = Knows(xy, hidden, batch.maps)
    loss, logs = task.footage_loss(student, batch, teacher)
    assert loss < 1e-4
    assert logs["tracks_kept"] == logs["frames_kept"] == logs["teacher_sees"] == logs["within_2px"] == 1
    # the student was asked for places on the teacher's tracks, as they are in its own image
    t = student.asked[0, :, 0].long()
    torch.testing.assert_close(student.asked[0, :, 1:], warp_tracks(batch.maps, xy)[0, range(6), t], atol=1e-3, rtol=0)
    off = Knows(xy, hidden, batch.maps, off=0.5)  # half a pixel of 64 is two of 256: 0.05 * 2^2 / 2 a place, two iterates
    loss, logs = task.footage_loss(off, batch, teacher)
    assert float(logs["position"]) == pytest.approx(2 * 0.05 * 2.0, rel=1e-3)
    loss.backward()
    assert off.off.grad != 0
    assert teacher.off.grad is None
    far = Knows(xy, hidden, batch.maps, off=1.25)  # five pixels of 256: the cycle fails everywhere
    assert task.footage_loss(far, batch, teacher)[0] == 0
    free = alone(Ingredients(points=6, proximity=False))
    partly = xy.clone()
    partly[0, :3] += 3  # pixels along each axis: three of six points are not within 2
    assert float(free.footage_loss(Knows(partly, hidden, batch.maps), batch, teacher)[1]["within_2px"]) == pytest.approx(0.5)
    assert free.footage_loss(far, batch, teacher)[0] > 0.5
    whole = xy.round()
    partly = whole.clone()
    partly[0, :3, :, 0] += 2  # exactly 2 pixels are not within 2, as in TAP-Vid
    still = Knows(whole, hidden, torch.eye(3).expand_as(batch.maps))
    unmoved = replace(batch, maps=torch.eye(3).expand_as(batch.maps))
    student = Knows(partly, hidden, unmoved.maps)
    assert float(free.footage_loss(student, unmoved, still)[1]["within_2px"]) == 0.5


def test_losses_of_clips_and_footage_are_added_up_and_what_weighs_nothing_is_not_computed() -> None:
    xy, hidden, batch = scene()
    still = torch.eye(3).expand_as(batch.maps)
    teacher, student = Knows(xy, hidden, still), Knows(xy, hidden, batch.maps, off=0.5)
    context = StepContext(teachers={"ema": teacher})
    clip = empty_clips(1, 2, 8, 1)
    for weight in (0.0, 0.25):
        task = alone(Ingredients(points=6, proximity=False, weight=weight))
        task.family.clip_loss = lambda model, sample: (torch.tensor(3.0), {"position": torch.tensor(1.0)})
        footage = float(task.loss(student, batch, context)[0])
        assert task.loss(student, clip, context)[0] == 3
        student.asked = None
        total, logs = task.loss(student, {"footage": batch, "synthetic": clip}, context)
        assert float(total) == pytest.approx(3 + weight * footage)
        assert ("footage/loss" in logs) == (student.asked is not None) == (weight > 0)
