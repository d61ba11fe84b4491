"""A checkpoint of an older version goes on to the losses that it recorded (tests/golden/make_train_golden.py)."""

import json
import shutil
from pathlib import Path

import pytest

from support.forks import Forks
from support.scripts import GOLDEN

SCRIPT = GOLDEN / "make_train_golden.py"
RECORDED = GOLDEN / "train"
CLOCK = "time", "samples_per_s"
BIASED = "loss", "grad_norm", "taught/loss", "score"
"""What a processor's rounding moves. The first layer's bias stands before a batch norm, which takes it away again: its gradient
is rounding alone, and Adam makes a step of up to the learning rate of it, either way. Losses while learning don't see that bias
(`alone/loss` agrees to 1e-7 between kernels), but the teacher's first layer does, of which `taught/loss` is made, and so does
the evaluation, where the norm's averages lag behind."""


def lines_of(log: Path) -> list[dict]:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [{k: v for k, v in _flat(line).items() if k not in CLOCK} for line in lines]


def _flat(line: dict) -> dict:
    return {inner: v for k, value in line.items() for inner, v in (value.items() if isinstance(value, dict) else [(k, value)])}


@pytest.mark.slow
@pytest.mark.parametrize("resumed", [True, False])
def test_losses_are_those_that_were_recorded(tmp_path: Path, resumed: bool, forks: Forks) -> None:
    if resumed:
        shutil.copytree(RECORDED, tmp_path / "run")
    errors = tmp_path / "errors"
    assert forks.start(SCRIPT, tmp_path / "run", errors=errors).wait() == 0, errors.read_text()
    assert ("goes on after step 6 of 12" in errors.read_text()) == resumed
    ours, recorded = lines_of(tmp_path / "run" / "log.jsonl"), lines_of(RECORDED / "log.jsonl")
    assert len(ours) == len(recorded) == 12
    walked = 0.0
    for line, wanted in zip(ours, recorded, strict=True):
        assert line.keys() == wanted.keys()
        walked += wanted["lr"]  # as far as a bias may have gone; 32 of them go their own ways, and their mean a sixth of that
        for name, value in wanted.items():
            if name == "score":
                bound = pytest.approx(value, abs=walked)
            elif name in BIASED:  # squares of residuals whose size is the root of the loss
                bound = pytest.approx(value, rel=2 / 6 * walked / wanted["taught/loss"] ** 0.5)
            else:
                bound = pytest.approx(value, rel=1e-5)
            assert line[name] == bound, f"{name} of step {wanted['step']}"
