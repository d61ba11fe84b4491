"""What a teacher says becomes labels: which count, where they lie in a student's frames; by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from support.bootstrap import BARE, estimate
from tapetum.systems.tap.bootstrap.config import BootstrapRun, Ingredients
from tapetum.systems.tap.bootstrap.family import (
    PseudoLabels,
    TapirFamily,
    keep_mask,
    polished_estimate,
    pseudo_labels,
    teach,
    warp_queries,
    warp_tracks,
)
from tapetum.systems.tap.bootstrap.samples import FootageSample, show_clip
from tapetum.systems.tap.tracking.cues import TrackCues
from tapetum.systems.tap.types import TrackEstimate, Trajectories


def test_pseudo_labels_by_hand() -> None:
    # one clip, two points, four frames; the first is hidden in frame 1 and outside the image in frame 3
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
    taught = TrackEstimate(torch.ones(1, 1, 5, 2), occlusion, torch.tensor([[[-20.0, 0.0, -20.0, 20.0, -1.0]]]))
    queries, draw = torch.zeros(1, 1, 3), torch.tensor([[0.99]])
    labels = pseudo_labels(taught, queries, draw, 16, Ingredients(confident=0.7))
    assert labels.sure.tolist() == [[[True, False, False, True, True]]]
    assert labels.frame.tolist() == [[4]]
    assert keep_mask(labels, taught, queries, 16, replace(BARE, confident=0.7)).tolist() == [[[1, 0, 0, 1, 1]]]
    unsure = pseudo_labels(TrackEstimate(taught.tracks, occlusion, torch.zeros(1, 1, 5)), queries, draw, 16, Ingredients())
    assert not unsure.usable.any()
    assert pseudo_labels(taught, queries, draw, 16, Ingredients(confident=0.0)).sure.all()


def test_labels_are_made_exact_and_believed_where_images_agree() -> None:
    coarse = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    still = torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0) * 2 - 1
    video = still.expand(1, 4, -1, -1, -1).clone()
    video[:, 3] = 0  # nothing to be seen
    queries = torch.tensor([[[0.0, 30, 30], [1.0, 40, 25]]])
    places = queries[0, :, None, 1:].expand(2, 4, 2)[None]
    taught = TrackEstimate(places + 0.8, torch.full((1, 2, 4), 1.5), torch.full((1, 2, 4), 0.5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        better = polished_estimate(taught, video, queries)
    torch.testing.assert_close(better.tracks[:, :, :3], places[:, :, :3], rtol=0, atol=0.02)
    torch.testing.assert_close(better.tracks[:, :, 3], taught.tracks[:, :, 3])
    for logit, before in ((better.occlusion, 1.5), (better.expected_dist, 0.5)):
        assert logit[0].tolist() == [[-5, -5, -5, before]] * 2


class Doubts:
    """Doubts the first point everywhere, and no other."""

    few = False

    def predict(self, cues: TrackCues, xy: np.ndarray, *_: object) -> tuple[np.ndarray, np.ndarray]:
        assert cues.network[..., :21].isfinite().all()
        assert cues.correlation.isfinite().all()
        chance = np.full(xy.shape[:2], 0.01, np.float32)
        chance[0] = 0.5
        return chance, chance


@pytest.mark.parametrize("autocast", [False, True])
def test_what_the_error_model_of_the_start_doubts_does_not_count(autocast: bool) -> None:
    coarse = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    still = torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0) * 2 - 1
    video, queries = still.expand(1, 4, -1, -1, -1).clone(), torch.tensor([[[0.0, 30, 30], [1.0, 40, 25]]])
    family = TapirFamily(BootstrapRun(model="tapir-nano", size=64))
    network = family.learner().eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        assert family.estimate(network, video, queries).tracks.isfinite().all()  # with the bundled error model
        family.errors = Doubts()  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
        labels = pseudo_labels(family.estimate(network, video, queries), queries, torch.zeros(1, 2), 64, Ingredients())
    assert not labels.occluded.any()
    assert labels.sure.tolist() == [[[False] * 4, [True] * 4]]
    once = TapirFamily(BootstrapRun(model="tapir-nano", settings=Ingredients(second_pass=False)))
    assert once.errors is None


def test_masks_by_hand() -> None:
    xy = torch.zeros(1, 3, 5, 2)
    hidden, sure = torch.zeros(1, 3, 5, dtype=torch.bool), torch.ones(1, 3, 5, dtype=torch.bool)
    labels = PseudoLabels(xy, hidden, sure, torch.tensor([[True, True, False]]), torch.tensor([[4, 1, 4]]), xy[:, :, 0])
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
    batch = FootageSample(video, frames, video[:, :5], torch.eye(3).expand(2, 5, 3, 3), queries, draw, (9, 5))
    teacher = Listens()
    told = teach(TapirFamily(BootstrapRun(settings=replace(BARE, polish=False))), teacher, batch)
    assert teacher.lengths == [9, 5]
    assert told.tracks[:, 0, :, 0].tolist() == [[-1, 1, 3, 5, 7], [2, 3, 4, 5, 6]]
    assert told.expected_dist[:, 0].tolist() == [[-6, -4, -2, 0, 2], [-3, -2, -1, 0, 1]]
