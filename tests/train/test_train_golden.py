"""A checkpoint of an older version goes on to the losses that it recorded (tests/golden/make_train_golden.py)."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden" / "train"
SCRIPT = GOLDEN.with_name("make_train_golden.py")
CLOCK = "time", "samples_per_s"


def lines_of(log: Path) -> list[dict]:
    return [{k: v for k, v in json.loads(line).items() if k not in CLOCK} for line in log.read_text().splitlines()]


@pytest.mark.parametrize("resumed", [True, False])
def test_losses_are_those_that_were_recorded(tmp_path: Path, resumed: bool) -> None:
    if resumed:
        shutil.copytree(GOLDEN, tmp_path / "run")
    run = subprocess.run([sys.executable, SCRIPT, tmp_path / "run"], capture_output=True, text=True, check=True)
    assert ("resuming after step 6 of 12" in run.stderr) == resumed
    ours, recorded = lines_of(tmp_path / "run" / "log.jsonl"), lines_of(GOLDEN / "log.jsonl")
    assert len(ours) == len(recorded) == 12
    for line, wanted in zip(ours, recorded, strict=True):
        assert line.keys() == wanted.keys()
        for name, value in wanted.items():
            assert line[name] == pytest.approx(value, rel=1e-6), name
