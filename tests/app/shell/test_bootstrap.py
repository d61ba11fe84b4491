"""What `tapetum bootstrap` says of a finished run: never better than its own figures."""

from pathlib import Path

import pytest

from tapetum.app.learn.bootstrap import Bootstrapped
from tapetum.systems.tap.bootstrap.config import DECIDING_SCORE
from tapetum.systems.tap.bootstrap.run import Outcome

CYCLE = {"median_px": None, "back_within_4px": 0.5}


@pytest.mark.parametrize(
    ("before", "after", "last", "step", "verdict", "better"),
    [
        (0.5521, 0.5524, 0.5523, 30, "0.552 before, 0.552 after; no different: the weights of step 30 are kept", False),
        (0.5524, 0.5526, 0.5523, 30, "0.552 before, 0.553 after; better: the weights of step 30 are kept", True),
        (0.552, 0.552, 0.5519, 0, "0.552 before, 0.552 after; no different at the end (0.552): the weights that it", False),
        (0.552, 0.552, 0.49, 0, "0.552 before, 0.552 after; worse at the end (0.490): the weights that it started from", False),
    ],
)
def test_better_is_said_of_what_is_printed(
    before: float, after: float, last: float, step: int, verdict: str, better: bool
) -> None:
    scores = ({DECIDING_SCORE: value} for value in (before, after, last))
    outcome = Outcome(Path("run/tracker.safetensors"), *scores, step, CYCLE, CYCLE)
    assert f"best threshold: {verdict}" in Bootstrapped(outcome, Path("run")).as_text()
    assert Bootstrapped(outcome, Path("run")).as_json()["better"] is better
