"""BootsTAP's losses, held against cases worked out by hand; whole runs, made tiny."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import tapetum
from tapetum.errors import BadInput
from tapetum.tap import weights
from tapetum.tap.bootstrap.config import Ingredients
from tapetum.tap.bootstrap.footage import Footage
from tapetum.tap.bootstrap.labels import Labels, keep_mask, polished_estimate, pseudo_labels, teach, warp_queries, warp_tracks
from tapetum.tap.bootstrap.recipes import DECIDING_SCORE, BootstrapRun
from tapetum.tap.bootstrap.run import bootstrap
from tapetum.tap.bootstrap.run_task import FootageTask, start_network
from tapetum.tap.bootstrap.showings import FootageSample, FootageSamples, moving_queries, show_clip
from tapetum.tap.bootstrap.task import BootstrapTask
from tapetum.tap.bootstrap.unlabelled_scores import CycleErrors, check_clips, cycle_errors, grid, split
from tapetum.tap.network.model import Tapir
from tapetum.tap.network.types import Estimate, Trajectories
from tapetum.tap.training.clips import Tracked
from tapetum.tap.training.data import TapSamples
from tapetum.tap.training.task import PointTask
from tapetum.train import Moment
from tapetum.train.launch_config import Launch

Drift = Callable[..., np.ndarray]
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


def estimate(xy: list, hidden: list) -> Estimate:
    occlusion = torch.tensor(hidden).float() * 20 - 10
    return Estimate(torch.tensor(xy).float(), occlusion, torch.full_like(occlusion, -10.0))


def test_pseudo_labels_by_hand() -> None:
    # one clip, two points, four frames; the first is hidden in frame 1 and outside the picture in frame 3
    taught = estimate([[[[1, 1], [2, 2], [3, 3], [99, 4]], [[5, 5], [6, 6], [7, 7], [8, 8]]]], [[[0, 1, 0, 0], [1, 1, 1, 1]]])
    queries = torch.tensor([[[0.0, 1.5, 1.5], [2.0, 7.5, 7.5]]])
    for draw, frame in ((0.0, 0), (0.49, 0), (0.51, 2), (0.99, 2)):
        labels = pseudo_labels(taught, queries, torch.full((1, 2), draw), 16, Ingredients())
        assert labels.frame[0, 0] == frame
        assert labels.place[0, 0].tolist() == [frame + 1, frame + 1]
        assert labels.usable.tolist() == [[True, False]]
        assert labels.occluded.tolist() == [[[False, True, False, False], [True] * 4]]
    plain = pseudo_labels(taught, queries, torch.zeros(1, 2), 16, Ingredients(requery=False))
    assert plain.frame.tolist() == [[0, 2]]
    assert plain.place.tolist() == [[[1.5, 1.5], [7.5, 7.5]]]


def test_what_the_teacher_is_unsure_of_does_not_count() -> None:
    # seen and near; seen, perhaps far (1/2); perhaps hidden (0.62); hidden; seen and hardly far (0.73)
    occlusion = torch.tensor([[[-20.0, -20.0, 0.5, 20.0, -20.0]]])
    taught = Estimate(torch.ones(1, 1, 5, 2), occlusion, torch.tensor([[[-20.0, 0.0, -20.0, 20.0, -1.0]]]))
    queries, draw = torch.zeros(1, 1, 3), torch.tensor([[0.99]])
    labels = pseudo_labels(taught, queries, draw, 16, Ingredients(confident=0.7))
    assert labels.sure.tolist() == [[[True, False, False, True, True]]]
    assert labels.frame.tolist() == [[4]]
    assert keep_mask(labels, taught, queries, 16, replace(BARE, confident=0.7)).tolist() == [[[1, 0, 0, 1, 1]]]
    unsure = pseudo_labels(Estimate(taught.tracks, occlusion, torch.zeros(1, 1, 5)), queries, draw, 16, Ingredients())
    assert not unsure.usable.any()
    assert pseudo_labels(taught, queries, draw, 16, Ingredients(confident=0.0)).sure.all()


def test_labels_are_made_exact_and_believed_where_pictures_agree() -> None:
    coarse = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    still = torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0) * 2 - 1
    video = still.expand(1, 4, -1, -1, -1).clone()
    video[:, 3] = 0  # nothing to be seen
    queries = torch.tensor([[[0.0, 30, 30], [1.0, 40, 25]]])
    places = queries[0, :, None, 1:].expand(2, 4, 2)[None]
    taught = Estimate(places + 0.8, torch.full((1, 2, 4), 1.5), torch.full((1, 2, 4), 0.5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        better = polished_estimate(taught, video, queries)
    torch.testing.assert_close(better.tracks[:, :, :3], places[:, :, :3], rtol=0, atol=0.02)
    torch.testing.assert_close(better.tracks[:, :, 3], taught.tracks[:, :, 3])
    for logit, before in ((better.occlusion, 1.5), (better.expected_dist, 0.5)):
        assert logit[0].tolist() == [[-5, -5, -5, before]] * 2


def test_masks_by_hand() -> None:
    xy = torch.zeros(1, 3, 5, 2)
    hidden, sure = torch.zeros(1, 3, 5, dtype=torch.bool), torch.ones(1, 3, 5, dtype=torch.bool)
    labels = Labels(xy, hidden, sure, torch.tensor([[True, True, False]]), torch.tensor([[4, 1, 4]]), xy[:, :, 0])
    queries = torch.tensor([[[1.0, 0, 0], [1.0, 0, 0], [1.0, 0, 0]]])
    found = estimate([[[[0, 0]] * 5, [[0, 3.9]] * 5, [[0, 0]] * 5]], [[[0] * 5] * 3])
    none, every = replace(BARE, cycle=False), replace(BARE, cycle=True, proximity=True)
    assert keep_mask(labels, found, queries, 256, none)[0].tolist() == [[1] * 5, [1] * 5, [0] * 5]
    # nearer to frame 1 than to frame 4: 0, 1, 2; a student on the teacher's own frame keeps all
    assert keep_mask(labels, found, queries, 256, every)[0].tolist() == [[1, 1, 1, 0, 0], [1] * 5, [0] * 5]
    lost = estimate([[[[0, 0]] * 5, [[0, 4.1]] * 5, [[0, 0]] * 5]], [[[1, 1, 0, 0, 0], [0] * 5, [0] * 5]])
    assert keep_mask(labels, lost, queries, 256, every).sum() == 0  # hidden on the way back; too far
    assert keep_mask(labels, lost, queries, 128, every).sum() == 0  # 4.1 px there are 8.2
    assert keep_mask(labels, found, queries, 128, every)[0, 1].sum() == 0


def test_places_go_through_their_frames_map_and_back_also_under_autocast() -> None:
    rng = np.random.default_rng(0)
    sample = show_clip(rng, np.zeros((6, 64, 64, 3), np.uint8), Ingredients(points=5), 64, 6, 1)
    maps = sample.maps[None]
    tracks = torch.rand(1, 5, 6, 2) * 64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        there = warp_tracks(maps, tracks)
        back = warp_tracks(torch.linalg.inv(maps), there)
        some = warp_queries(maps, torch.tensor([[0, 1, 2, 3, 5]]), tracks[:, range(5), [0, 1, 2, 3, 5]])
    torch.testing.assert_close(back, tracks, rtol=0, atol=1e-3)
    torch.testing.assert_close(some, there[:, range(5), [0, 1, 2, 3, 5]])
    t = 3
    wide = sample.maps[t, 0, 0] * tracks[0, :, t, 0] + sample.maps[t, 0, 2]
    torch.testing.assert_close(there[0, :, t, 0], wide)


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
        return Trajectories(tracks, logits, sure, (Estimate(tracks, logits, sure),))


def scene(points: int = 6, frames: int = 8) -> tuple[torch.Tensor, torch.Tensor, FootageSample]:
    rng = np.random.default_rng(1)
    start = rng.uniform(20, 40, (points, 1, 2))
    xy = torch.from_numpy(start + rng.uniform(-1, 1, (points, 1, 2)) * np.arange(frames)[:, None]).float()[None]
    hidden = torch.zeros(1, points, frames, dtype=torch.bool)
    sample = show_clip(rng, np.zeros((frames, 64, 64, 3), np.uint8), Ingredients(points=points), 64, frames, 1)
    time = torch.from_numpy(rng.integers(frames, size=points))
    queries = torch.cat([time[:, None].float(), xy[0, range(points), time]], -1)
    sample = replace(sample, queries=queries)
    batch = FootageSample(*(getattr(sample, part.name)[None] for part in fields(FootageSample)))
    return xy, hidden, batch


class Alone(BootstrapTask):
    def model(self) -> nn.Module:
        raise AssertionError


def test_a_student_that_agrees_has_no_position_loss_and_one_that_is_off_has_hubers() -> None:
    xy, hidden, batch = scene()
    still = torch.eye(3).expand_as(batch.maps)
    teacher = Knows(xy, hidden, still)
    task = Alone(64, Ingredients(points=6, proximity=False, cycle=True), matching_weight=0.0)
    student = Knows(xy, hidden, batch.maps)
    loss, logs = task.footage_loss(student, batch, teacher)
    assert loss < 1e-4
    assert logs["tracks_kept"] == logs["frames_kept"] == 1
    # the student was asked for places on the teacher's tracks, as they are in its own picture
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
    free = Alone(64, Ingredients(points=6, proximity=False), matching_weight=0.0)
    assert free.footage_loss(far, batch, teacher)[0] > 0.5


def test_rebalance_weighs_visible_frames_of_pseudo_labels() -> None:
    xy, hidden, batch = scene()
    teacher = Knows(xy, hidden, torch.eye(3).expand_as(batch.maps))
    student = Knows(xy, hidden.logical_not(), batch.maps)
    occlusion = []
    for rebalance in (0.0, 1.0):
        settings = Ingredients(points=6, rebalance=rebalance)
        occlusion.append(Alone(64, settings, matching_weight=0.0).footage_loss(student, batch, teacher)[1]["occlusion"])
    assert float(occlusion[1]) == pytest.approx(2 * float(occlusion[0]), rel=1e-5)


def test_what_the_student_sees() -> None:
    clip = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    same = show_clip(np.random.default_rng(5), clip, replace(BARE, points=4), 32, 8, 1)
    torch.testing.assert_close(same.video, same.spoilt)
    torch.testing.assert_close(same.maps, torch.eye(3).expand(8, 3, 3))
    spoilt = show_clip(np.random.default_rng(5), clip, Ingredients(points=4, stride=1, area=(0.3, 0.4)), 32, 8, 1)
    torch.testing.assert_close(spoilt.video, same.video)
    assert (spoilt.spoilt == -1).all(-1).float().mean() > 0.4  # black around the window
    seen = {show_clip(np.random.default_rng(k), clip, BARE, 32, 8, 1).video[0].sum().item() for k in range(40)}
    assert len(seen) > 15  # begins, directions and mirrors differ
    q = show_clip(np.random.default_rng(0), clip, Ingredients(points=500), 32, 8, 2).queries
    assert set(q[:, 0].tolist()) == set(range(8))
    assert (q[:, 1:] >= 0).all()
    assert (q[:, 1:] < 32).all()


@pytest.mark.parametrize(
    ("length", "between", "apart", "taught"), [(20, True, 2, 15), (20, False, 1, 8), (15, True, 2, 15), (14, True, 1, 8)]
)
def test_the_teacher_sees_the_frames_between(length: int, between: bool, apart: int, taught: int) -> None:
    clip = np.random.default_rng(0).integers(0, 256, (length, 32, 32, 3), dtype=np.uint8)
    settings = replace(BARE, stride=2, between=between, points=4)
    sample = show_clip(np.random.default_rng(5), clip, settings, 32, 8, 2)
    assert sample.frames.tolist() == list(range(0, 8 * apart, apart))
    torch.testing.assert_close(sample.spoilt, sample.video[sample.frames])
    assert len(sample.video) == settings.length(8) == 15  # so that samples make a batch
    assert (sample.video[:taught] == -1).flatten(1).all(1).sum() == 0
    assert (sample.video[taught:] == -1).all()  # nothing


@pytest.mark.parametrize("most", [1, 2, 3])
def test_strides_of_a_pair_cost_the_same(videos: Path, recipe: BootstrapRun, tmp_path: Path, most: int) -> None:
    bootstrap(videos, recipe, Launch(out=tmp_path, workers=0, threads=1, minutes=0))
    footage = Footage(tmp_path / "footage")
    shown = FootageSamples(footage, range(3), replace(recipe.settings, stride=most), size=32, frames=5, seed=1)
    samples = [shown[k] for k in range(40)]
    assert [int(sample.frames[1]) for sample in samples] == [shown.stride(k) for k in range(40)]
    assert {shown.stride(k) for k in range(40)} == set(range(1, most + 1))
    assert {shown.stride(k) + shown.stride(k + 1) for k in range(0, 40, 2)} == {most + 1}


class Listens(nn.Module):
    """A tracker that says that points move right by a pixel a frame, from where they were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []

    def forward(self, video: torch.Tensor, queries: torch.Tensor) -> Trajectories:
        self.lengths.append(video.shape[1])
        moved = torch.arange(video.shape[1]) - queries[..., :1]
        tracks = queries[:, :, None, 1:] + torch.stack([moved, torch.zeros_like(moved)], -1)
        return Trajectories(tracks, torch.zeros_like(moved), moved)


def test_a_teacher_is_asked_for_its_own_frames_and_answers_for_the_students() -> None:
    video, draw = torch.zeros(2, 9, 16, 16, 3), torch.zeros(2, 1)
    frames = torch.tensor([[0, 2, 4, 6, 8], [0, 1, 2, 3, 4]])
    queries = torch.tensor([[[3.0, 5, 5]], [[3.0, 5, 5]]])
    batch = FootageSample(video, frames, video[:, :5], torch.eye(3).expand(2, 5, 3, 3), queries, draw)
    teacher = Listens()
    told = teach(teacher, batch, replace(BARE, polish=False))
    assert teacher.lengths == [9, 5]
    assert told.tracks[:, 0, :, 0].tolist() == [[-1, 1, 3, 5, 7], [2, 3, 4, 5, 6]]
    assert told.expected_dist[:, 0].tolist() == [[-6, -4, -2, 0, 2], [-3, -2, -1, 0, 1]]


def test_queries_are_drawn_where_the_picture_changes() -> None:
    clip = np.full((6, 64, 64, 3), 99, np.uint8)
    clip[2, 8:16, 40:48] = 200  # there for a moment, gone before and after
    found = moving_queries(np.random.default_rng(0), clip, 300)
    here = (found[:, 1] >= 40) & (found[:, 1] < 48) & (found[:, 2] >= 8) & (found[:, 2] < 16)
    assert here.mean() > 0.9
    assert set(found[here, 0].tolist()) == {1.0, 2.0, 3.0}
    still = moving_queries(np.random.default_rng(0), clip[:1].repeat(3, 0), 500)
    assert len({tuple(cell) for cell in (still[:, 1:] // 8).tolist()}) == 64  # everywhere, if nothing does
    assert moving_queries(np.random.default_rng(0), clip[:1], 5).shape == (5, 3)
    half = show_clip(np.random.default_rng(0), clip, replace(BARE, moving=0.5, points=200), 64, 6, 1).queries
    at = (half[:, 2] >= 8) & (half[:, 2] < 16) & (half[:, 0] > 0) & (half[:, 0] < 5)
    assert 90 < at.sum() < 125


@pytest.mark.parametrize(
    "bad", [{"area": (0.0, 1.0)}, {"aspect": (2.0, 1.0)}, {"quality": (0, 10)}, {"points": 0}, {"stride": 0}, {"moving": 1.5}]
)
def test_settings_that_make_no_sense_are_refused(bad: dict) -> None:
    with pytest.raises(BadInput, match="wanted"):
        Ingredients(**bad)


def test_cycle_errors_by_hand() -> None:
    def track(video: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Everything moves right by a pixel a frame; going back it arrives a pixel too far down."""
        n, t = len(queries), len(video)
        xy = queries[:, None, 1:] + np.stack([np.arange(t) - queries[:, :1], np.zeros((n, t))], -1)
        xy[queries[:, 0] > 0, :, 1] += 1
        return xy, np.ones((n, t), bool)

    video = np.zeros((5, 128, 64, 3), np.uint8)
    queries = grid(video.shape[1:], 4)
    assert queries[0].tolist() == [0, 8, 16]
    errors = cycle_errors(track, video, queries)
    assert errors.judged.all()
    np.testing.assert_allclose(errors.error, 2.0)  # a pixel of 128 is two of 256
    edge = np.array([[0, 62.0, 5.0]], np.float32)  # leaves the picture
    assert np.isnan(cycle_errors(track, video, edge).error).all()
    assert CycleErrors(np.array([np.nan, 1, 9])).summary()["back_within_4px"] == pytest.approx(1 / 3)


# whole runs -----------------------------------------------------------------------------------------------------------------


def files_of(run: Path) -> dict[str, bytes]:
    names = {f.name: f for f in (run / "run" / "checkpoints" / "step_00000006").glob("*.safetensors")}
    return {name: file.read_bytes() for name, file in {**names, "tracker": run / "tracker.safetensors"}.items()}


def log_of(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "run" / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("time", "samples_per_s")} for line in lines]


def test_a_run_stops_goes_on_and_gives_a_tracker(videos: Path, recipe: BootstrapRun, tmp_path: Path) -> None:
    whole = bootstrap(videos, recipe, Launch(out=tmp_path / "whole", workers=0, threads=1))
    assert bootstrap(videos, recipe, Launch(out=tmp_path / "cut", workers=0, threads=1, minutes=0)) is None
    cut = bootstrap(videos, recipe, Launch(out=tmp_path / "cut", workers=1, threads=1))
    assert whole is not None
    assert cut is not None
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "cut")
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "cut")
    assert replace(whole, file=cut.file) == cut
    scores = [line["eval"][DECIDING_SCORE] for line in log_of(tmp_path / "whole") if "eval" in line]
    assert len(scores) == 3
    assert whole.after[DECIDING_SCORE] == max([*scores, whole.before[DECIDING_SCORE]])
    tracker = tapetum.load(tmp_path / "whole")  # the folder is the tracker's name
    assert tracker.model.config == tapetum.load(recipe.model).model.config
    assert tracker.track(videos / "0.mp4", [[0, 10, 10]]).xy.shape == (1, 13, 2)
    assert not (tmp_path / "whole" / "scenes").exists()
    with pytest.raises(BadInput, match=r"is of a run with other settings: cycle False \(now True\); go on"):
        bootstrap(
            videos, replace(recipe, settings=replace(recipe.settings, cycle=True)), Launch(out=tmp_path / "cut", workers=0)
        )
    parts = {key.split("/")[0] for key in log_of(tmp_path / "whole")[-1]["metrics"]}
    assert parts == {"synthetic", "footage"}


@pytest.mark.parametrize("confidence", [0.45, 0.75])
def test_calling_more_points_visible_is_not_taken_for_better(confidence: float) -> None:
    rng = np.random.default_rng(0)
    xy = rng.uniform(4, 28, (6, 5, 2)).astype(np.float32)
    visible = rng.random((6, 5)) < 0.6
    visible[:, 0] = True

    class Scored(PointTask):
        def checks(self) -> list[Tracked]:
            return [Tracked(np.zeros((5, 32, 32, 3), np.uint8), xy, visible)]

    class Right(nn.Module):
        """Knows all places, and which are seen, but how sure it is of them is as asked."""

        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(()))

        def forward(self, video: torch.Tensor, queries: torch.Tensor) -> Trajectories:
            sure = torch.from_numpy(np.where(visible, confidence, 0.01)).float()[None]
            estimate = Estimate(torch.from_numpy(xy)[None], -sure.logit(), torch.full_like(sure, -20.0))
            return Trajectories(estimate.tracks, estimate.occlusion, estimate.expected_dist, (estimate,))

    scores = Scored(32, 6).evaluate(Right(), 0)
    assert scores[DECIDING_SCORE] == pytest.approx(1)
    assert scores["average_jaccard"] == pytest.approx(float(confidence > 0.5), abs=1e-6)


def test_weights_that_got_worse_are_not_kept(videos: Path, recipe: BootstrapRun, tmp_path: Path) -> None:
    # a rate at which nothing survives: whatever the start was worth, the end is worth less
    out = bootstrap(videos, replace(recipe, lr=30.0, mixer_lr=1.0), Launch(out=tmp_path, workers=0, threads=1))
    assert out is not None
    ours, start = load_file(out.file), load_file(recipe.model)
    if out.step == 0:
        assert all(torch.equal(ours[name], start[name]) for name in start)
        assert out.after == out.before
    assert out.after[DECIDING_SCORE] >= out.before[DECIDING_SCORE]
    assert out.after[DECIDING_SCORE] >= out.last[DECIDING_SCORE]


@pytest.mark.parametrize(
    "change",
    [
        {"shrink": False},
        {"spoil": False},
        {"requery": False},
        {"cycle": True},
        {"proximity": False},
        {"synthetic": False},
        {"separate_moments": True},
        {"stride": 1},
        {"between": False},
        {"moving": 0.0},
        {"matching": False},
        {"second_look": False},
        {"teacher": "start"},
    ],
)
def test_every_ingredient_can_be_left_out(videos: Path, recipe: BootstrapRun, tmp_path: Path, change: dict) -> None:
    run = replace(recipe, settings=Ingredients(points=8, **change), steps=2, scored=1)
    out = bootstrap(videos, run, Launch(out=tmp_path, workers=0, threads=1))
    assert out is not None
    line = log_of(tmp_path)[-1]
    assert np.isfinite(line["loss"])
    assert any(key.endswith("frames_kept") for key in line["metrics"])
    assert any(key.startswith("synthetic/") for key in line["metrics"]) == run.settings.synthetic


def test_gradients_reach_every_parameter_from_footage_alone(videos: Path, recipe: BootstrapRun, tmp_path: Path) -> None:
    bootstrap(videos, recipe, Launch(out=tmp_path, workers=0, threads=1, minutes=0))
    task = FootageTask(recipe, tmp_path / "footage", tmp_path)
    model = task.model().train()
    batch = task.collate([task.dataset()[0]])["footage"]
    loss, _ = task.loss(model, batch, Moment(teachers={"ema": task.model().eval()}))
    loss.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without in ([], ["matching.position.bias"])  # added to logits before a softmax
    rates = {id(p): group["lr_scale"] for group in task.parameter_groups(model) for p in group["params"]}
    assert {rates[id(p)] for p in model.mixer.parameters()} == {0.2}
    assert {rates[id(p)] for p in model.backbone.parameters()} == {1.0}
    assert len(rates) == len(list(model.parameters()))


@pytest.mark.parametrize(("polish", "stride", "most"), [(False, 1, 1.02), (True, 1, 1.06), (False, 3, 1.22)])
def test_a_step_costs_a_teachers_forward_and_a_students_forward_and_backward(
    videos: Path, recipe: BootstrapRun, tmp_path: Path, polish: bool, stride: int, most: float
) -> None:
    """With strides up to 3 the teacher sees 18 frames of the students' 10 in every step: 4.8 forward passes instead of 4."""
    settings = replace(
        recipe.settings, separate_moments=True, polish=polish, stride=stride
    )  # apart, so that the ledger tells them apart
    recipe = replace(recipe, settings=settings)
    bootstrap(videos, recipe, Launch(out=tmp_path, workers=0, threads=1))
    per_step = json.loads((tmp_path / "run" / "ledger.json").read_text())["sessions"][0]["flops_per_step"]
    teacher = per_step["synthetic/forward"]  # the same network on a clip of the same size
    footage = per_step["footage/forward"] + per_step["footage/backward"]
    assert 0.98 < footage / (2 * teacher + per_step["synthetic/backward"]) < most


def test_both_looks_learn_where_the_tracker_takes_two(videos: Path, recipe: BootstrapRun, tmp_path: Path) -> None:
    start = Tapir(replace(tapetum.load(recipe.model).model.config, second_look=True))
    start.load_state_dict(tapetum.load(recipe.model).model.state_dict())
    torch.nn.init.constant_(start.matching.occlusion_out.bias, -5.0)  # all is seen, so that both looks differ
    weights.save(start, tmp_path / "twice.safetensors")
    recipe = replace(recipe, model=str(tmp_path / "twice.safetensors"))
    bootstrap(videos, recipe, Launch(out=tmp_path / "out", workers=0, threads=1, minutes=0))
    found = {}
    for twice in (True, False):
        run = replace(recipe, settings=replace(recipe.settings, second_look=twice))
        task = FootageTask(run, tmp_path / "out" / "footage", tmp_path / "out")
        model, teacher = task.model().train(), task.model().eval()
        assert isinstance(model, Tapir)
        assert model.config.second_look is twice
        batch = task.collate([task.dataset()[0]])
        found[twice] = [task.loss(model, part, Moment(teachers={"ema": teacher}))[0].item() for part in batch.values()]
    assert all(abs(one - two) > 1e-4 for one, two in zip(found[True], found[False], strict=True))
    assert start_network(recipe).config.second_look  # what comes out is used as before


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_matching_learns_from_pseudo_labels_too(videos: Path, recipe: BootstrapRun, tmp_path: Path, weight: float) -> None:
    bootstrap(videos, recipe, Launch(out=tmp_path, workers=0, threads=1, minutes=0))
    told = {}
    for matching in (True, False):
        run = replace(recipe, settings=replace(recipe.settings, matching=matching, confident=0.0))
        task = FootageTask(run, tmp_path / "footage", tmp_path)
        task.matching_weight = weight
        batch = task.collate([task.dataset()[0]])["footage"]
        loss, told[matching] = task.loss(task.model().train(), batch, Moment(teachers={"ema": task.model().eval()}))
        told[matching] = {**told[matching], "loss": loss.detach()}
    assert ("matching" in told[True]) == (weight > 0)
    added = weight * float(told[True].get("matching", 0))
    assert float(told[True]["loss"] - told[False]["loss"]) == pytest.approx(added, rel=1e-5, abs=1e-6)
    assert added > 0 or not weight


def test_extra_convolutions_begin_as_norms(recipe: BootstrapRun) -> None:
    larger = start_network(replace(recipe, extra_convs=2))
    assert larger.config.extra_convs == 2
    assert all(not block.narrow.weight.any() for block in larger.backbone.extra)
    known = tapetum.load(recipe.model).model.state_dict()
    assert all(torch.equal(larger.state_dict()[name], value) for name, value in known.items())


def test_warped_clips_of_the_footage_are_shown_beside_scenes(videos: Path, recipe: BootstrapRun, tmp_path: Path) -> None:
    bootstrap(videos, recipe, Launch(out=tmp_path, workers=0, threads=1, minutes=0))
    run = replace(recipe, scenes=2, picture_clips=3, iterations=1)
    task = FootageTask(run, tmp_path / "footage", tmp_path)
    synthetic = task.samples()[1]
    assert isinstance(synthetic, TapSamples)
    assert len(synthetic.clips) == 5
    warped = next(k for k in range(5) if synthetic.order(k) >= 2)
    assert synthetic[warped].video.shape == (run.frames, run.size, run.size, 3)
    model = task.model()
    assert isinstance(model, Tapir)
    assert model.config.iterations == 1
    assert start_network(run).config.iterations > 1


def test_a_control_learns_nothing_of_the_footage(videos: Path, recipe: BootstrapRun, tmp_path: Path) -> None:
    bootstrap(videos, recipe, Launch(out=tmp_path, workers=0, threads=1, minutes=0))
    settings = replace(recipe.settings, synthetic=True, weight=0.0)
    task = FootageTask(replace(recipe, settings=settings), tmp_path / "footage", tmp_path)
    model, batch = task.model().train(), task.collate([task.dataset()[0]])
    loss, told = task.loss(model, batch, Moment())
    alone, _ = task.loss(model, batch["synthetic"], Moment())
    assert loss.item() == pytest.approx(alone.item(), rel=1e-6)
    assert all(name.startswith("synthetic/") for name in told)


def test_held_out_clips_are_never_learned_from(videos: Path, recipe: BootstrapRun, tmp_path: Path) -> None:
    bootstrap(videos, recipe, Launch(out=tmp_path, workers=0, threads=1, minutes=0))
    footage = Footage(tmp_path / "footage")
    learned, held = split(footage)
    assert sorted(learned + held) == [0, 1, 2]
    assert held == [2]
    shown = FootageTask(recipe, tmp_path / "footage", tmp_path).samples()[0]
    assert {shown.numbers[shown.order(n)] for n in range(20)} == set(learned)
    stills = {file.name.rpartition("-")[0].rpartition("-")[0] for file in (tmp_path / "stills").iterdir()}
    assert stills == {Path(footage.clips[n].shard).stem for n in learned}
    twice = [check_clips(footage, held, 2, size=32, frames=5, seed=1) for _ in range(2)]
    for a, b in zip(*twice, strict=True):
        np.testing.assert_array_equal(a.video, b.video)
    one = Footage(tmp_path / "footage")
    one.clips = one.clips[:1]
    assert split(one) == ([0], [0])


SCRIPT = """
import sys
from pathlib import Path
from tapetum.tap.bootstrap.config import Ingredients
from tapetum.tap.bootstrap.recipes import BootstrapRun
from tapetum.tap.bootstrap.run import bootstrap
from tapetum.train.launch_config import Launch

videos, model, out = sys.argv[1:]
run = BootstrapRun(
    model=model, settings=Ingredients(points=8), steps=6, clips=2, frames=5, size=32, scenes=3, checks=2, scored=3, bf16=False
)
bootstrap(videos, run, Launch(out=Path(out), workers=0, threads=1))
"""


@pytest.mark.slow
def test_two_processes_learn_as_one_and_kills_change_nothing(videos: Path, tiny: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    (tmp_path / "script.py").write_text(SCRIPT)
    alone = [sys.executable, str(tmp_path / "script.py"), str(videos), str(tiny)]
    pair = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *alone[1:]]
    for line, name in ((alone, "one"), (pair, "two")):
        done = subprocess.run([*line, str(tmp_path / name)], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    for ours, theirs in zip(log_of(tmp_path / "one"), log_of(tmp_path / "two"), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
    killed = tmp_path / "killed"
    log, dice = killed / "run" / "log.jsonl", np.random.default_rng(0)
    for _ in range(3):
        before = log.stat().st_size if log.exists() else 0
        process = subprocess.Popen([*alone, str(killed)], env=environment, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (log.exists() and log.stat().st_size > before):
            time.sleep(0.05)
        time.sleep(dice.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert subprocess.run([*alone, str(killed)], env=environment).returncode == 0
    assert files_of(killed) == files_of(tmp_path / "one")


def test_a_model_that_is_not_there_leaves_nothing(videos: Path, recipe: BootstrapRun, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no weights named"):
        bootstrap(videos, replace(recipe, model="nobody"), Launch(out=tmp_path / "out", workers=0))
    assert not (tmp_path / "out").exists()
    shutil.rmtree(tmp_path, ignore_errors=True)
