"""The example of RoboTAP: objects from motion, velocities from points, and a hand that ends where it was shown to."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.scripts import ROOT, script

robotap = script("examples/robotap.py")


def test_points_are_sorted_by_their_motion_though_some_are_hidden_or_lost() -> None:
    rng = np.random.default_rng(0)
    truth, start = np.repeat([0, 1, 2], (30, 15, 12)), rng.uniform(0, 100, (57, 2))
    xy = np.zeros((57, 20, 2))
    for k in range(3):
        for t in range(20):
            angle, scale = rng.uniform(-1, 1) * (t > 0), np.exp(rng.uniform(-0.3, 0.3) * (t > 0))
            turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            xy[truth == k, t] = start[truth == k] @ turn.T + rng.uniform(-20, 20, 2) * (t > 0)
    xy += rng.normal(0, 0.5, xy.shape)
    visible = rng.random((57, 20)) < 0.7
    visible[:, 0] = True
    xy[~visible] += 1000.0
    xy[5, 1:] = rng.uniform(0, 100, (19, 2))  # a track of nothing
    labels = robotap.cluster_points(xy, visible, rng)
    assert labels[5] == -1
    for k in range(3):
        assert len({*labels[(truth == k) & (np.arange(57) != 5)].tolist()}) == 1
    assert len({*labels.tolist()}) == 4


def project(hand: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Pixels of points on the plane DEPTH below a hand at z = 0, by one matrix a point; focal length 150, middle 80."""
    x, y, z, turn = hand
    pixels = []
    for px, py in places:
        right = np.cos(turn) * (px - x) + np.sin(turn) * (py - y)
        up = -np.sin(turn) * (px - x) + np.cos(turn) * (py - y)
        depth = robotap.DEPTH + z
        pixels.append([80 + 150 * right / depth, 80 - 150 * up / depth])
    return np.array(pixels)


@pytest.mark.parametrize("turn", [0.0, 0.9])
def test_the_velocity_is_that_of_the_camera_which_moves_points_to_their_goals(turn: float) -> None:
    places = np.random.default_rng(0).uniform(-0.1, 0.1, (6, 2))
    hand, step = np.array([0.02, -0.01, 0.0, turn]), np.array([3e-6, -2e-6, 1e-6, 4e-6])
    velocity = robotap.servo(project(hand, places), project(hand + step, places), 150, 80)
    right, up, down, spin = velocity / robotap.GAIN
    across = np.array([np.cos(turn) * right - np.sin(turn) * up, np.sin(turn) * right + np.cos(turn) * up])
    np.testing.assert_allclose([*across, -down, spin], step, rtol=1e-3, atol=1e-9)


@pytest.mark.slow
def test_the_hand_ends_at_the_goal_it_was_shown_and_does_not_by_all_points(tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    words = [sys.executable, str(ROOT / "examples" / "robotap.py"), "--pixels", "128", "--out", "film.mp4"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    if "cannot draw" in done.stderr:
        pytest.skip("no GL that MuJoCo can draw with; Debian's libosmesa6 is enough")
    assert done.returncode == 0, done.stderr
    ends = dict(re.findall(r"^(.*): ([\d.]+) m and .* at the end$", done.stdout, re.MULTILINE))
    assert float(ends["points of the object"]) < 0.01 < 0.03 < float(ends["all points"])
    assert (tmp_path / "film.mp4").stat().st_size > 0
