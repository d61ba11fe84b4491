"""Points that were hidden for long: found again elsewhere, shown only once a second sign confirms it, at a bounded cost."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from support.networks import tracker
from tapetum.core.errors import BadInput
from tapetum.systems.tap.tracking import redetection
from tapetum.systems.tap.tracking.polish import Patches
from tapetum.systems.tap.tracking.redetection import (
    LIKELY_FRAMES,
    LOST_AFTER,
    POINTS_PER_FRAME,
    PointEstimates,
    Redetection,
    correlate,
)

POINTS = [[20.0, 15.0], [40.0, 30.0], [50.5, 8.0]]
Drift = Callable[..., np.ndarray]


def texture(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Sixty waves of 6 to 25 pixels, summed at any places."""
    rng = np.random.default_rng(0)
    angle, phase = torch.tensor(rng.uniform(0, 6.28, (2, 60)), dtype=torch.float32)
    pace = 6.28 / torch.tensor(rng.uniform(6, 25, 60), dtype=torch.float32)
    along = x[..., None] * angle.cos() + y[..., None] * angle.sin()
    return 128 + 8 * (along * pace + phase).sin().sum(-1)


def test_a_patch_is_recognised_though_it_is_turned_nearer_and_brighter() -> None:
    y, x = torch.meshgrid(torch.arange(96) + 0.5, torch.arange(96) + 0.5, indexing="ij")
    angle, scale, place = 0.4, 1.3, torch.tensor([40.0, 52.0])
    turn = scale * torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=torch.float32)
    back = torch.stack([x, y], -1) - place
    source = back @ torch.linalg.inv(turn).T + torch.tensor([48.0, 48.0])
    patches = Patches.cut(texture(x, y), torch.tensor([[48.0, 48.0], [30.0, 60.0]]))
    warp, correlation = correlate(patches, 0.8 * texture(*source.unbind(-1)) + 30, torch.stack([place + 1.5, place]))
    assert correlation[0] > 0.99
    torch.testing.assert_close(warp[0], turn, atol=0.02, rtol=0)
    assert correlation[1] < 0.8, "another patch is not there"


def test_lost_points_take_turns() -> None:
    nothing = Patches(torch.zeros(20, 1), torch.zeros(20, 1, 6), torch.zeros(20, dtype=torch.bool))
    state = Redetection.start(nothing)
    for _ in range(LOST_AFTER):
        assert not state.lost.any()
        state = state.count(torch.arange(20) == 3)
    sought = []
    for _ in range(5):
        state, index = state._take_turns()
        assert len(index) == POINTS_PER_FRAME
        sought += index.tolist()
    assert set(sought) == set(range(20)) - {3}
    assert max(map(sought.count, sought)) - min(map(sought.count, sought)) <= 1, "none comes more often than another"
    assert not state.count(torch.ones(20, dtype=torch.bool)).lost.any()


def correlating(*by: float):
    """In place of `correlate`: these correlations, and no warp."""
    return lambda patches, image, xy: (torch.eye(2).repeat(len(xy), 1, 1), torch.tensor(by[: len(xy)]))


def lose(stream, rows: list[int]):
    """The stream with some of its points lost."""
    hidden = stream.redetection.hidden.index_fill(0, torch.tensor(rows), LOST_AFTER)
    return replace(stream, redetection=replace(stream.redetection, hidden=hidden))


@pytest.mark.parametrize("polish", [False, True])
def test_a_lost_point_is_shown_where_its_patch_agrees_and_else_hidden(
    drift: Drift, polish: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, one = drift(0, 8), tracker(causal=True)
    stream = one.start(frames[0], POINTS, polish=polish, redetect=True)
    for frame in frames[:6]:
        stream, _ = one.step(stream, frame)
    stream = lose(stream, [0, 2])
    monkeypatch.setattr(redetection, "CONFIDENCE_ALONE", -1.0)
    monkeypatch.setattr(redetection, "CONFIDENCE", 2.0)

    monkeypatch.setattr(redetection, "correlate", correlating(0.0, 0.0))
    after, tracks = one.step(stream, frames[6])
    assert not tracks.visible[[0, 2]].any()
    assert (tracks.confidence[[0, 2]] <= 0.5).all()
    assert after.redetection.hidden[[0, 2]].tolist() == [LOST_AFTER + 1] * 2

    monkeypatch.setattr(redetection, "correlate", correlating(0.0, 0.97))
    after, tracks = one.step(stream, frames[6])
    assert tracks.visible.tolist()[0] is False
    assert tracks.visible[2]
    assert tracks.confidence[2] == pytest.approx(0.97)
    assert after.redetection.hidden[[0, 2]].tolist() == [LOST_AFTER + 1, 0]
    with torch.inference_mode():
        features, point = one._features(frames[6][None], stream.resolutions), stream.points.select(torch.tensor([2]))
        alone = PointEstimates.of(one.model.trajectories(features, point, keep_state=True))
    if not polish:
        np.testing.assert_allclose(tracks.xy[2], alone.xy[0], atol=1e-4)
    torch.testing.assert_close(after.mixer[0][0][0][2:3], alone.state[0][0][0], atol=1e-5, rtol=0)
    usual, _ = one.step(replace(stream, redetection=None), frames[6])
    torch.testing.assert_close(after.mixer[0][0][0][:2], usual.mixer[0][0][0][:2])

    monkeypatch.setattr(redetection, "CONFIDENCE", -1.0)
    after, _ = one.step(stream, frames[6])
    torch.testing.assert_close(after.mixer[0][0][0][2], usual.mixer[0][0][0][2])  # a place with its past keeps that


def test_a_lower_correlation_will_do_in_some_frames_in_a_row(drift: Drift, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, one = drift(0, 8), tracker(causal=True)
    stream = lose(one.start(frames[0], POINTS, redetect=True, polish=False), [0, 1, 2])
    monkeypatch.setattr(redetection, "CONFIDENCE", -1.0)
    likely, unlikely = redetection.LIKELY + 0.1, redetection.LIKELY - 0.1
    for hidden, level in enumerate([likely, unlikely, *[likely] * (LIKELY_FRAMES - 1)], LOST_AFTER + 1):  # one frame too few
        monkeypatch.setattr(redetection, "correlate", correlating(level, level, level))
        stream, tracks = one.step(stream, frames[1])
        assert not tracks.visible.any()
        assert stream.redetection.hidden.tolist() == [hidden] * 3
    _, expected = one.step(replace(stream, redetection=None), frames[2])
    stream, tracks = one.step(stream, frames[2])
    assert (stream.redetection.hidden <= 1).all(), "they are lost no longer"
    np.testing.assert_array_equal(tracks.xy, expected.xy)


def test_points_that_are_not_lost_are_tracked_as_without(drift: Drift) -> None:
    frames, one = drift(1, 5), tracker(causal=True)
    streams = [one.start(frames[0], POINTS, redetect=redetect) for redetect in (False, True)]
    for number, frame in enumerate(frames):
        if number == 2:
            streams = [one.add(one.keep(stream, [2, 0]), frame, [[10.0, 10.0]]) for stream in streams]
            assert len(streams[1].redetection.hidden) == len(streams[1].redetection.patches.plain) == 3
        (first, plain), (second, both) = (one.step(stream, frame) for stream in streams)
        streams = [first, second]
        np.testing.assert_array_equal(plain.xy, both.xy)
        np.testing.assert_array_equal(plain.confidence, both.confidence)
    assert one.step(lose(streams[1], [0, 1, 2]), np.zeros_like(frames[0]))[1].confidence.max() == 0


def test_what_redetect_needs(drift: Drift) -> None:
    frames = drift(2, 1)
    with pytest.raises(BadInput, match="these are of a reference"):
        tracker(causal=True).start(frames[0], POINTS, reference=frames[0], redetect=True)
