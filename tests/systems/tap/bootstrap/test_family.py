"""What a teacher says becomes labels: which count, where they lie in a student's frames; by hand."""

import numpy as np
import pytest
import torch

from tapetum.systems.tap.bootstrap.config import BootstrapRun, Ingredients
from tapetum.systems.tap.bootstrap.family import TapirFamily, polished_estimate, pseudo_labels, warp_queries, warp_tracks
from tapetum.systems.tap.bootstrap.samples import show_clip
from tapetum.systems.tap.tracking.cues import TrackCues
from tapetum.systems.tap.types import TrackEstimate


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
