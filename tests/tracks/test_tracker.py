"""What every tracker keeps: those of all families of weights, the baseline, and a user's own class."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support import networks, tapnext
from tapetum.bench.baselines import BASELINES, load_tracker
from tapetum.core.errors import BadInput
from tapetum.hub import registry
from tapetum.systems.tapnext import from_official
from tapetum.systems.tapnext.tracker import TapNextTracker

OWN = """
import numpy as np
from tapetum.types import Tracks

class Stays:
    def track(self, video, queries, *, progress=None):
        xy = np.repeat(np.asarray(queries, np.float32)[:, None, 1:], len(video), axis=1)
        visible = np.ones(xy.shape[:2], bool)
        return Tracks(xy=xy, visible=visible, confidence=visible.astype(np.float32), queries=queries)
"""


def _tapnext(seed: int = 0) -> TapNextTracker:
    config = replace(tapnext.TINY, image_size=(64, 64), video_size=(64, 64))
    return TapNextTracker(from_official(tapnext.public_state(config, seed=seed)))


NETWORKS: dict[str, Callable[..., Any]] = {
    "tapir": networks.tracker,
    "tapir in two passes": lambda **seed: networks.tracker(second_pass=True, polish=True, **seed),
    "causal tapir": lambda **seed: networks.tracker(causal=True, **seed),
    "causal tapir, polished": lambda **seed: networks.tracker(causal=True, polish=True, **seed),
    "tapnext": _tapnext,
}
"""A network with random weights of each kind, by a seed."""
LOADERS = {"tapetum.systems.tap.tracking.tracker:load", "tapetum.systems.tapnext.tracker:load"}
"""What loads the weights of these families."""
LIVE = ("causal tapir", "causal tapir, polished", "tapnext")
EVERY = (*NETWORKS, *BASELINES, "own")
QUERIES = np.array([[0, 20.5, 15], [3, 40, 30.25], [7, 3, 44]], np.float32)
POINTS = [[20.0, 15.0], [40.0, 30.0], [50.5, 8.0]]


@pytest.fixture(scope="module")
def video() -> np.ndarray:
    """A random image that slides by 2 pixels a frame."""
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8))
    wide = np.asarray(coarse.resize((80, 48), Image.Resampling.BICUBIC))
    return np.stack([wide[:, 2 * t : 2 * t + 64] for t in range(8)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """(name, seed=0) -> a tracker; the same one for the same arguments."""
    file = tmp_path_factory.mktemp("own") / "own_still.py"
    file.write_text(OWN)
    trackers: dict[tuple[str, int], Any] = {}

    def tracker(name: str, seed: int = 0) -> Any:
        if (name, seed) not in trackers:
            others = {"own": f"{file}:Stays"}
            trackers[name, seed] = (
                NETWORKS[name](seed=seed) if name in NETWORKS else load_tracker(others.get(name, name), device="cpu")
            )
        return trackers[name, seed]

    return tracker


def _steps(tracker: Any, video: np.ndarray, points: Any = POINTS) -> list[Any]:
    stream, steps = tracker.start(video[0], points), []
    for frame in video:
        stream, seen = tracker.step(stream, frame)
        steps.append(seen)
    return steps


def test_every_family_of_weights_is_here() -> None:
    assert {entry.loader for entry in registry.known().values() if "track" in entry.verbs} == LOADERS
    for name in BASELINES:
        assert hasattr(BASELINES[name](), "track")


@pytest.mark.parametrize("name", EVERY)
def test_tracks_have_a_row_for_each_query_and_are_finite(made: Callable[..., Any], video: np.ndarray, name: str) -> None:
    tracks = made(name).track(video, QUERIES)
    assert tracks.xy.shape == (3, 8, 2)
    assert tracks.visible.shape == tracks.confidence.shape == (3, 8)
    assert tracks.visible.dtype == bool
    assert np.isfinite(tracks.xy).all()
    assert ((tracks.confidence >= 0) & (tracks.confidence <= 1)).all()
    np.testing.assert_array_equal(tracks.visible, tracks.confidence > 0.5)
    np.testing.assert_array_equal(tracks.queries, QUERIES)
    assert made(name).track(video[:1], QUERIES[:1]).xy.shape == (1, 1, 2)


@pytest.mark.parametrize("name", NETWORKS)
def test_frames_at_a_time_change_nothing_and_progress_ends_with_the_video(
    made: Callable[..., Any], video: np.ndarray, name: str
) -> None:
    seen: list[tuple[int, int]] = []
    whole = made(name).track(video, QUERIES, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (8, 8)
    few = made(name).track(video, QUERIES, frame_chunk=2)
    np.testing.assert_allclose(few.xy, whole.xy, atol=1e-3)
    np.testing.assert_allclose(few.confidence, whole.confidence, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ([[0, np.nan, 3]], "query 0 is t=0, x=nan"),
        ([[0, 3, 3], [0, np.inf, 3]], "query 1"),
        ([[8, 3, 3]], r"t must be in 0\.\.7"),
        ([[7.5, 3, 3]], r"t must be in 0\.\.7"),
        ([[-1, 3, 3]], "query 0"),
        ([[0, 64.5, 3]], r"x in 0\.\.64"),
        ([[0, 3, 49]], r"y in 0\.\.48"),
        ([[0, 3]], "shape"),
        ([], "shape"),
        ([["a", 1, 2]], "not numbers"),
        ([[1, 2, 3], [1, 2]], "not numbers"),
    ],
)
def test_bad_queries_are_refused(made: Callable[..., Any], video: np.ndarray, name: str, queries: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        made(name).track(video, queries)
    assert "\n" not in str(caught.value)


# --- frames one by one --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LIVE)
def test_frame_by_frame_gives_the_tracks_of_the_video(made: Callable[..., Any], video: np.ndarray, name: str) -> None:
    tracker = made(name)
    stream, steps = tracker.start(video[0], POINTS), []
    for frame in video:  # patches of recent frames are of live tracking alone
        stream, now = tracker.step(replace(stream, recent=None) if hasattr(stream, "recent") else stream, frame)
        steps.append(now)
    whole = tracker.track(video, np.insert(np.float32(POINTS), 0, 0, axis=1))
    np.testing.assert_allclose(np.stack([seen.xy for seen in steps], 1), whole.xy, atol=1e-3)
    np.testing.assert_allclose(np.stack([seen.confidence for seen in steps], 1), whole.confidence, atol=1e-4)
    np.testing.assert_array_equal(np.stack([seen.visible for seen in steps], 1), whole.visible)


@pytest.mark.parametrize("name", LIVE)
def test_frames_may_lie_in_memory_as_they_like(made: Callable[..., Any], video: np.ndarray, name: str) -> None:
    frames = video[:3]
    tall = np.zeros((3, 2 * frames.shape[1], *frames.shape[2:]), np.uint8)
    tall[:, ::2] = frames
    fixed = frames.copy()
    fixed.flags.writeable = False
    views = {
        "a view of BGR as RGB": np.ascontiguousarray(frames[..., ::-1])[..., ::-1],
        "a mirrored view of a mirrored copy": np.ascontiguousarray(frames[:, :, ::-1])[:, :, ::-1],
        "every other row": tall[:, ::2],
        "columns first": np.ascontiguousarray(frames.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3),
        "read only": fixed,
    }

    def followed(video: np.ndarray) -> np.ndarray:
        tracker = made(name)
        stream = tracker.add(tracker.start(video[0], POINTS[:2]), video[0], POINTS[2:])
        places = []
        for frame in video:
            stream, seen = tracker.step(stream, frame)
            places.append(seen.xy)
        return np.stack(places)

    wanted = followed(frames)
    for view_name, view in views.items():
        np.testing.assert_array_equal(followed(view), wanted, err_msg=view_name)


@pytest.mark.parametrize("name", LIVE)
def test_ids_stay_with_their_points(made: Callable[..., Any], video: np.ndarray, name: str) -> None:
    tracker = made(name)
    stream, seen = tracker.step(tracker.start(video[0], POINTS), video[0])
    assert seen.ids.tolist() == [0, 1, 2]
    stream = tracker.add(tracker.keep(stream, [2, 0]), video[1], [[10, 10]])
    stream, seen = tracker.step(stream, video[1])
    assert seen.ids.tolist() == [2, 0, 3]
    stream = tracker.keep(stream, np.array([False, True, False]))
    stream, seen = tracker.step(stream, video[2])
    assert seen.ids.tolist() == [0]
    stream = tracker.add(tracker.keep(stream, []), video[3], [[12, 9], [30, 20]])
    assert tracker.step(stream, video[3])[1].ids.tolist() == [4, 5], "the id of a point that was let go is not given again"
    assert len(stream) == 2
    with pytest.raises(BadInput, match="truths of shape"):
        tracker.keep(stream, [True, False, True])


@pytest.mark.parametrize("name", LIVE)
def test_a_frame_of_one_colour_shows_no_point(made: Callable[..., Any], video: np.ndarray, name: str) -> None:
    tracker = made(name)
    stream, before = tracker.step(tracker.start(video[0], POINTS), video[0])
    assert before.confidence.any()
    for level in (0, 255):
        stream, tracks = tracker.step(stream, np.full_like(video[0], level))
        assert not tracks.visible.any()
        assert not tracks.confidence.any()
    assert tracker.step(stream, video[1])[1].confidence.any()


@pytest.mark.parametrize("name", LIVE)
def test_the_stream_of_another_tracker_is_refused(made: Callable[..., Any], video: np.ndarray, name: str) -> None:
    tracker = made(name)
    stream = tracker.start(video[0], POINTS)
    other = made("causal tapir" if name == "tapnext" else "tapnext")
    for one, message in ((made(name, seed=1), "of a tracker of other weights"), (other, "of another kind of tracker")):
        for ask in (lambda one=one: one.step(stream, video[0]), lambda one=one: one.add(stream, video[0], [[10, 10]])):
            with pytest.raises(BadInput, match=message):
                ask()
    assert len(tracker.step(stream, video[0])[1].xy) == 3


@pytest.mark.parametrize("name", LIVE)
def test_bad_points_and_frames_are_refused(made: Callable[..., Any], video: np.ndarray, name: str) -> None:
    tracker = made(name)
    for frame, points, message in (
        (video[0], [[65, 1]], "query 0 is"),
        (video[0], [[0, 1, 1]], r"give \(n, 2\)"),
        (video[0], [1, 1], r"give \(n, 2\)"),
        (video[0] / 255, [[1, 1]], "uint8"),
    ):
        with pytest.raises(BadInput, match=message):
            tracker.start(frame, points)
    with pytest.raises(BadInput, match="40x64"):
        tracker.step(tracker.start(video[0], [[1, 1]]), video[1, :40])
