"""Time of stages, by a clock that is set by hand."""

import contextlib

import pytest

from tapetum.core import stages


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(stages.time, "perf_counter", lambda: now[0])
    return now


def test_a_stage_within_another_counts_for_itself_alone(clock: list[float]) -> None:
    with stages.timed() as seconds:
        clock[0] = 1
        with stages.stage("track"):
            clock[0] = 3
            with stages.stage("features"):
                clock[0] = 7
            clock[0] = 8
        with contextlib.suppress(KeyError), stages.stage("track"):
            clock[0] = 18
            raise KeyError
        clock[0] = 20
    assert dict(seconds) == {stages.OTHER: 3, "track": 13, "features": 4}
