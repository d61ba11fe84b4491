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


def lines_of(log: Path) -> list[dict]:
    return [{k: v for k, v in json.loads(line).items() if k not in CLOCK} for line in log.read_text().splitlines()]


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
    for line, wanted in zip(ours, recorded, strict=True):
        assert line.keys() == wanted.keys()
        for name, value in wanted.items():
            assert line[name] == pytest.approx(value, rel=1e-6), name
