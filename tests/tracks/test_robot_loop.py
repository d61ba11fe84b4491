"""The example that closes a loop: an arm stays above a tracked point, and does so far better than an arm that stays."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.scripts import ROOT
from tapetum.video import open_video

pytest.importorskip("mujoco")


def run(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    words = [sys.executable, str(ROOT / "examples" / "robot_loop.py"), *options]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    if "cannot draw" in done.stderr:
        pytest.skip("no GL that MuJoCo can draw with; Debian's libosmesa6 is enough")
    return done


@pytest.mark.slow
def test_the_arm_follows_the_point(tmp_path: Path) -> None:
    done = run("--seconds", "2", "--pixels", "96", "--click", "60", "40", "--out", "film.mp4", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    means = re.findall(r"^(this arm|arm that stays): ([\d.]+) m in the mean", done.stdout, re.MULTILINE)
    distance = {name: float(metres) for name, metres in means}
    assert distance["this arm"] < 0.02 < 0.1 < distance["arm that stays"]
    with open_video(tmp_path / "film.mp4") as film:
        assert (len(film), film.width, film.height) == (50, 192, 96)


@pytest.mark.slow
def test_a_click_beside_the_plate_is_refused_in_one_line(tmp_path: Path) -> None:
    done = run("--pixels", "96", "--click", "3", "3", folder=tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: there is no plate at pixel 3, 3; click on it\n")
