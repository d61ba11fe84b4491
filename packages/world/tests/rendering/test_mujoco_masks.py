"""Masks, boxes and depth against a second renderer: MuJoCo's own, where there is a GL to draw with."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from support.scripts import script
from tapetum_world.bodies.files import save_episode
from tapetum_world.rendering import GroundTruth

pytest.importorskip("mujoco")
still_life = script("packages/world/tests/world_support/still_life.py")
LOOK = Path(__file__).with_name("mujoco_look.py")
TRY = 'import mujoco; mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco><worldbody/></mujoco>"), 8, 8).render()'


@cache
def drawing():
    """Environment in which MuJoCo can draw, or None."""
    for kind in ("egl", "osmesa"):
        environment = {**os.environ, "MUJOCO_GL": kind}
        if subprocess.run([sys.executable, "-c", TRY], env=environment, capture_output=True).returncode == 0:
            return environment
    return None


def simulated(story, seed):
    from tapetum_world.physics import make_episode

    return make_episode(seed, story, seconds=1.5, frame_rate=8.0, size=(160, 160))


EPISODES = {
    "table": (lambda: still_life.table((160, 200), 3, per_frame=1), 1),
    "garden": (lambda: still_life.garden((160, 200), 3, per_frame=1), 2),
    "kitchen": (lambda: still_life.kitchen((160, 160), 3, per_frame=1), 0),
    "put-and-take": (lambda: simulated("put-and-take", 3), 11),
    "cover": (lambda: simulated("cover", 2), 11),
    "topple": (lambda: simulated("topple", 1), 11),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EPISODES)
def test_masks_and_depth_are_those_of_another_renderer(name, tmp_path):
    environment = drawing()
    if environment is None:
        pytest.skip("no GL that MuJoCo can draw with; Debian's libosmesa6 is enough")
    make, frame = EPISODES[name]
    episode = make()
    save_episode(episode, tmp_path / "episode.npz")
    subprocess.run(
        [sys.executable, LOOK, tmp_path / "episode.npz", str(frame), tmp_path / "out.npz"], env=environment, check=True
    )
    with np.load(tmp_path / "out.npz") as stored:
        bodies, depth = stored["bodies"], stored["depth"]
    truth = GroundTruth(episode).masks(frame)
    near = truth.depth < 15  # MuJoCo's endless plane ends, and its depth is float32
    differ = (bodies != truth.bodies) & near
    padded = np.pad(truth.bodies, 1, mode="edge")
    h, w = bodies.shape
    around = np.stack([padded[i : i + h, j : j + w] for i in range(3) for j in range(3)])
    inside = (around == truth.bodies).all(0)
    assert len(np.unique(bodies)) >= 5
    assert not (differ & inside).any(), "bodies differ away from every outline"
    assert differ.sum() < 0.004 * near.sum()
    same = inside & near & ~differ
    assert np.abs(depth / truth.depth - 1)[same].max() < 0.01
    assert np.median(np.abs(depth / truth.depth - 1)[same]) < 1e-4
    shown = np.append(episode.instance, 0)[bodies]
    for i, seen in zip(truth.ids, truth.visible, strict=True):
        union = ((shown == i) | seen).sum()
        if union > 150:
            assert ((shown == i) & seen).sum() / union > 0.93, i
