"""Predicted errors: cues of known tracks, the bundled model on hard clips, and files that are refused."""

import pickle
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tapetum
from tapetum.bench.baselines import OwnTracker
from tapetum.core.errors import BadInput
from tapetum.core.identity import fingerprint
from tapetum.hub.registry import known, location
from tapetum.systems.tap.tracking.cues import FEW, LIVE, NETWORK, TrackCues, group_cues, live_cue_array
from tapetum.systems.tap.tracking.error_model import (
    CueRecorder,
    ErrorModel,
    errors_file,
    learn_errors,
    load_error_model,
    with_errors,
)
from tapetum.systems.tap.tracking.tracker import TapirTracker
from tapetum.tracks.training.clips import TrackedClip
from tapetum.types import Tracks

FRAMES = 6


@pytest.fixture(scope="module")
def tracker() -> TapirTracker:
    return tapetum.load("tapir-nano")


def texture(height: int = 96, width: int = 128, seed: int = 0) -> np.ndarray:
    coarse = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))
    image = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0)
    return (image * 255).byte().numpy()


QUERIES = np.array([[0, 30, 30], [0, 80, 60], [0, 60, 40], [0, 100, 80], [0, 50.5, 70]], np.float32)


def affine_tracks() -> tuple[torch.Tensor, torch.Tensor]:
    """Places (n, t, 2) of points that rotate, grow and shift together."""
    start = torch.rand(20, 2, generator=torch.Generator().manual_seed(3)) * 200
    turns = torch.linspace(0, 0.8, FRAMES)
    maps = torch.stack([torch.stack([turns.cos(), -turns.sin()], -1), torch.stack([turns.sin(), turns.cos()], -1)], 1)
    grown = maps * torch.linspace(1, 1.4, FRAMES)[:, None, None]
    xy = torch.einsum("tij,nj->nti", grown, start) + torch.linspace(0, 30, FRAMES)[:, None]
    return xy, torch.ones(20, FRAMES, dtype=torch.bool)


def test_points_of_one_affine_motion_carry_each_other() -> None:
    xy, visible = affine_tracks()
    at = torch.zeros(20, dtype=torch.long)
    apart = group_cues(xy, visible, at)
    assert apart[..., 2].nan_to_num(0).max() < 0.01
    assert apart[..., 3].mean() > 0.2
    xy[4, 3] += 20
    moved = group_cues(xy, visible, at)
    assert moved[4, 3, 0] > np.log1p(15)  # none of its neighbours carries it there
    assert moved[4, 2, 2] < 0.01
    torch.testing.assert_close(group_cues(xy, visible, at, slice(3, 6)), moved[3:6], equal_nan=True)


def test_a_still_clip_is_matched_back_to_its_queries(tracker: TapirTracker) -> None:
    seen: list[TrackCues] = []

    class Watch:
        few = False

        def predict(self, cues: TrackCues, xy: np.ndarray, *_: object) -> tuple[np.ndarray, np.ndarray]:
            seen.append(cues)
            return np.zeros(xy.shape[:2], np.float32), np.zeros(xy.shape[:2], np.float32)

    watched = TapirTracker(tracker.model)
    watched.error_model = Watch()  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    watched.track(np.stack([texture()] * FRAMES), QUERIES)
    cues = seen[0]
    assert cues.network[..., NETWORK - 4].float().expm1().max() < 4  # there and back
    assert cues.correlation.min() > 0.99
    assert cues.network.isfinite().all()
    watched.track(np.stack([texture()] * FRAMES), QUERIES, window=3, overlap=1)
    assert seen[1].network[:, -1, NETWORK - 4].isnan().all()  # the query's frame is in another window
    assert seen[1].network[..., : NETWORK - 4].isfinite().all()


@pytest.mark.parametrize("clip", ["one frame", "noise", "still", "black"])
def test_errors_of_hard_clips_are_finite_and_none_at_queries(tracker: TapirTracker, clip: str) -> None:
    frames = {"one frame": 1}.get(clip, FRAMES)
    video = np.stack([texture()] * frames)
    if clip == "noise":
        video = np.random.default_rng(0).integers(0, 256, video.shape, dtype=np.uint8)
    tracks = tracker.track(video * (clip != "black"), QUERIES)
    assert tracks.error_px is not None and tracks.chance_wrong is not None  # noqa: PT018
    assert tracks.error_px.shape == tracks.visible.shape
    assert (tracks.error_px[:, 0] == 0).all()
    assert (tracks.chance_wrong[:, 0] == 0).all()
    if clip == "still":
        assert tracks.chance_wrong[tracks.visible].max() < 0.2
    if clip == "noise":
        assert tracks.chance_wrong[:, 1:].mean() > 0.5


def test_errors_are_in_pixels_of_the_video(tracker: TapirTracker) -> None:
    model = tracker.error_model
    assert model is not None
    xy, _ = affine_tracks()
    queries = np.zeros((20, 3), np.float32)
    queries[:, 1:] = xy[:, 0]
    sure = np.full((20, FRAMES), 0.7, np.float32)
    small = model.predict(TrackCues(20, FRAMES, (256, 256)), xy.numpy(), sure, queries)
    queries[:, 1:] *= 2
    large = model.predict(TrackCues(20, FRAMES, (512, 512)), xy.numpy() * 2, sure, queries)
    np.testing.assert_allclose(large[0], 2 * small[0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(large[1], small[1], atol=1e-4)


def test_corrections_have_errors_and_leave_others_alone(tracker: TapirTracker) -> None:
    video = np.stack([texture()] * 4)
    tracks = tracker.track(video, QUERIES)
    better = tracker.correct(video, tracks, [(1, 2, 81, 60)])
    assert tracks.error_px is not None and better.error_px is not None and better.chance_wrong is not None  # noqa: PT018
    others = [0, 2, 3, 4]
    np.testing.assert_array_equal(better.error_px[others], tracks.error_px[others])
    assert (better.error_px[1, [0, 2]] == 0).all()
    assert (better.error_px[1, [1, 3]] > 0).all()
    old = replace(tracks, error_px=None, chance_wrong=None)
    assert tracker.correct(video, old, [(1, 2, 81, 60)]).error_px is None


def test_a_model_of_another_tracker_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "errors.safetensors"
    ErrorModel("0" * 64, FEW).save(path)
    assert load_error_model(path, "0" * 64).inward.in_features == FEW
    with pytest.raises(BadInput, match="predicts errors of another tracker"):
        load_error_model(path, "1" * 64)
    ErrorModel("0" * 64, 8).save(path)
    with pytest.raises(BadInput, match="looks at 8 cues"):
        load_error_model(path, "0" * 64)
    with pytest.raises(BadInput, match="holds no error model"):
        load_error_model(location(known()["tapir-nano"]), "1" * 64)


class Jumping:
    """Follows `truth`, as sure everywhere; some points jump off once, and stay off."""

    def __init__(self, truth: np.ndarray, share: float = 0.2):
        self.truth, self.share, self.rng = truth, share, np.random.default_rng(0)

    def track(self, video: np.ndarray, queries: np.ndarray) -> Tracks:
        rows = [int(np.abs(self.truth[:, int(t)] - (x, y)).sum(-1).argmin()) for t, x, y in queries]
        xy, sure = self.truth[rows].copy(), self.rng.uniform(0.6, 0.9, (len(rows), len(video))).astype(np.float32)
        for row, (t, _, _) in zip(xy, queries, strict=True):
            if self.rng.random() < self.share and t + 4 < len(row):
                row[int(t) + 3 :] += 30
        return Tracks(xy, np.ones(sure.shape, bool), sure, queries)


def own(truth: np.ndarray, share: float = 0.2) -> OwnTracker:
    return OwnTracker(Jumping(truth, share), "own.py:Jumping")


def test_a_tracker_without_cues_learns_its_errors_from_its_tracks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(40, 200, (30, 1, 2)) + np.linspace(0, 20, 14)[:, None] + rng.normal(0, 0.3, (30, 14, 2))
    clip = TrackedClip(np.zeros((14, 256, 256, 3), np.uint8), truth.astype(np.float32), np.ones((30, 14), bool))
    (code := tmp_path / "own.py").write_text("1")
    model, scores = learn_errors(Jumping(clip.xy), [clip] * 16, code)
    assert model.few
    assert 0.02 < scores["wrong"] < 0.1
    assert scores["caught"] > 0.9
    assert scores["by_confidence"] < 0.3

    tracker, queries = own(clip.xy), np.column_stack([np.zeros(30), clip.xy[:, 0]]).astype(np.float32)
    assert with_errors(tracker, code).track(clip.video, queries).error_px is None
    model.save(errors_file(code))
    tracks = with_errors(tracker, code).track(clip.video, queries)
    assert tracks.error_px is not None and tracks.chance_wrong is not None  # noqa: PT018
    off = np.linalg.norm(tracks.xy - clip.xy, axis=-1) > 8
    assert off.any()
    assert tracks.chance_wrong[off].mean() > 0.5
    assert tracks.chance_wrong[~off].mean() < 0.1
    assert np.median(tracks.error_px[off]) > 10
    assert (tracks.chance_wrong[:, 0] == 0).all()
    code.write_text("2")
    with pytest.raises(BadInput, match="predicts errors of another tracker"):
        with_errors(own(clip.xy), code)
    with pytest.raises(BadInput, match="none is wrong"):
        learn_errors(Jumping(clip.xy, 0), [clip] * 4, code)


@pytest.mark.parametrize("copied", [deepcopy, lambda tracker: pickle.loads(pickle.dumps(tracker))])
def test_a_copy_of_a_tracker_with_predicted_errors_tracks_by_itself(copied: Callable, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth, queries = rng.uniform(40, 200, (5, 8, 2)).astype(np.float32), np.zeros((5, 3), np.float32)
    queries[:, 1:] = truth[:, 0]
    (code := tmp_path / "own.py").write_text("1")
    ErrorModel(fingerprint(code), FEW).save(errors_file(code))
    video = np.zeros((8, 256, 256, 3), np.uint8)
    original = with_errors(own(truth, 0), code)
    copy = copied(original)
    original.tracker.truth = truth + 50
    np.testing.assert_array_equal((tracks := copy.track(video, queries)).xy, truth)
    assert tracks.chance_wrong is not None
    assert copy.error_model is not original.error_model


def test_points_on_flat_ground_are_far_off_by_prediction(tracker: TapirTracker) -> None:
    image = texture(160, 320)
    image[:, 100:220] = 128  # a wall without texture
    video = np.stack([image[20 + 2 * t : 116 + 2 * t, 60 + 4 * t : 188 + 4 * t] for t in range(8)])
    tracks = tracker.track(video, np.array([[0, 90, 30], [0, 100, 60], [0, 95, 80], [0, 20, 40], [0, 15, 70]], np.float32))
    assert tracks.error_px is not None
    assert tracks.error_px[:3, 1:].mean() > 2 * tracks.error_px[3:, 1:].mean()


def test_a_network_without_a_second_pass_has_errors_of_its_tracks(tmp_path: Path) -> None:
    (weights := tmp_path / "tracker.safetensors").write_bytes(b"weights")
    ErrorModel(fingerprint(weights), FEW).save(errors_file(weights))
    tracker = with_errors(tapetum.tap.build("causal-tapir-nano"), weights)
    video = np.stack([texture()] * 3)
    clicks = np.array([[0, 30, 30], [2, 32, 30], [0, 80, 60]], np.float32)
    tracks = tracker.track(video, clicks, ids=["a", "a", "b"])
    assert tracks.chance_wrong is not None
    assert (tracks.chance_wrong == 0).tolist() == [[True, False, True], [True, False, False]]
    assert tracker.track(video, clicks[:1], reference=video[0]).chance_wrong is None
    assert tracker.correct(video, tracks, [(1, 1, 81, 60)]).chance_wrong[1].tolist()[:2] == [0, 0]
    copy = deepcopy(tracker)
    with torch.no_grad():
        tracker.model.mixer.outward.weight.fill_(torch.nan)
    assert np.isfinite(copy.to("cpu").track(video, clicks[:1]).xy).all()


@pytest.fixture(scope="module")
def live() -> TapirTracker:
    tracker = tapetum.load("causal-tapir-nano")
    tracker.live_error_model = ErrorModel("", LIVE)
    return tracker


def walk(tracker: TapirTracker, video: np.ndarray, places: np.ndarray) -> list[np.ndarray]:
    """Chances of points of the first frame, frame by frame."""
    resolutions = tracker.model.refinements((video.shape[1], video.shape[2]))
    stream, chances = tracker.start(video[0], places, refinement_resolutions=resolutions), []
    for frame in video:
        stream, points = tracker.step(replace(stream, recent=None), frame)
        assert points.chance_wrong is not None
        chances.append(points.chance_wrong)
    return chances


def moving(frames: int = FRAMES) -> np.ndarray:
    image = texture(160, 320)
    return np.stack([image[20 + 2 * t : 116 + 2 * t, 60 + 4 * t : 188 + 4 * t] for t in range(frames)])


def test_live_frames_have_the_chances_of_what_is_known_until_then(live: TapirTracker) -> None:
    video = moving()
    chances = np.stack(walk(live, video, QUERIES[:, 1:]), 1)
    assert (chances[:, 0] == 0).all()
    assert np.ptp(chances[:, 1:]) > 1e-3
    np.testing.assert_array_equal(np.stack(walk(live, video[:4], QUERIES[:, 1:]), 1), chances[:, :4])
    whole = TapirTracker(live.model)
    whole.error_model = recorder = CueRecorder()  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    whole.track(video, QUERIES)
    assert recorder.cues is not None and live.live_error_model is not None  # noqa: PT018
    arrays = (torch.from_numpy(recorder.tracks[name]) for name in ("xy", "confidence", "queries"))
    with torch.inference_mode():
        expected = live.live_error_model(live_cue_array(recorder.cues, *arrays))[..., 1].sigmoid()
    np.testing.assert_allclose(chances[:, 1:], expected[:, 1:], atol=0.01)  # the cues of whole tracks are float16


def test_live_points_have_their_own_chances(live: TapirTracker) -> None:
    video = moving()
    both = walk(live, video, QUERIES[:, 1:])
    stream = live.start(video[0], QUERIES[2:, 1:], refinement_resolutions=live.model.refinements((96, 128)))
    stream, _ = live.step(stream, video[0])
    stream, points = live.step(live.add(stream, video[1], QUERIES[:2, 1:]), video[1])
    assert np.equal(points.chance_wrong, 0).tolist() == [False, False, False, True, True]
    stream, points = live.step(live.keep(stream, [2, 0]), video[2])
    assert points.chance_wrong is not None
    np.testing.assert_allclose(points.chance_wrong, both[2][[4, 2]], atol=1e-4)
    plain = live.start(video[0], QUERIES[:, 1:], polish=False)
    assert live.step(plain, video[0])[1].chance_wrong is None


def test_an_error_model_of_live_frames_lies_beside_the_weights(tmp_path: Path) -> None:
    (weights := tmp_path / "tracker.safetensors").write_bytes(b"weights")
    ErrorModel(fingerprint(weights), LIVE).save(errors_file(weights, live=True))
    tracker = with_errors(tapetum.tap.build("causal-tapir-nano"), weights)
    assert tracker.live_error_model.inward.in_features == LIVE
    assert tracker.error_model is None
    ErrorModel(fingerprint(weights), FEW).save(errors_file(weights, live=True))
    with pytest.raises(BadInput, match=f"looks at {FEW} cues, and there are {LIVE}"):
        with_errors(tapetum.tap.build("causal-tapir-nano"), weights)
