"""Stacking by colour: what the expert does, what counts as done, and that a policy is learned from it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from tapetum.core.errors import BadInput, TapetumError
from tapetum.encoders import build, save
from tapetum.systems.adapters.demos import make_demos, read_demos
from tapetum.systems.adapters.recipes import recipe
from tapetum.systems.adapters.run import adapt
from tapetum.systems.adapters.worlds.stacking import TRIPLETS, Stacking
from tapetum.systems.adapters.worlds.world import make_world, roll
from tapetum.train.launch_config import Launch

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def world() -> Iterator[Stacking]:
    """A triplet; tests are left out where MuJoCo is missing or cannot draw."""
    try:
        made = make_world("triplet-1", pixels=24, horizon=40)
    except TapetumError as error:
        pytest.skip(str(error))
    yield cast(Stacking, made)
    made.close()


def test_the_names_are_those_of_the_recipes() -> None:
    assert set(TRIPLETS) == {f"triplet-{k}" for k in range(1, 6)}
    with pytest.raises(BadInput, match="has no camera 'top'; it has front, side"):
        make_world("triplet-1", "top")


def test_experts_stack_every_triplet_and_it_stays_so(world: Stacking) -> None:
    for task in TRIPLETS:
        one = make_world(task, pixels=16)
        episode = roll(one, None, 1)
        assert episode.last
        assert not episode.successes[:15].any()
        assert len(episode.frames) == 100
        one.close()


def test_a_seed_makes_an_episode(world: Stacking) -> None:
    one, other, again = (roll(world, None, seed, stop_after=0) for seed in (3, 4, 3))
    assert np.array_equal(one.frames, again.frames)
    assert np.array_equal(one.actions, again.actions)
    assert not np.array_equal(one.frames[0], other.frames[0])
    assert one.own.shape[1:] == (4,)
    assert set(one.own[:, 3].tolist()) == {0.0, 1.0}  # with and without a block


def test_only_red_on_blue_with_the_cup_away_is_done(world: Stacking) -> None:
    """Green on blue is not, nor red above blue while it is held, under the cup, or touching nothing."""
    world.reset(0)
    joints = [world._data.joint(world._model.body(f"block{k}").jntadr[0]) for k in range(3)]
    red, green, blue = world.sizes
    for on, height in ((1, green), (0, red)):
        world.reset(0)
        joints[on].qpos[:2] = joints[2].qpos[:2]
        joints[on].qpos[2] = 2 * blue + height
        for _ in range(5):
            world.step(np.array([0.0, 0.0, 0.0, -1.0]))
        assert world.success == (on == 0)
    cup = [world._data.joint(axis) for axis in "xyz"]
    for joint, place in zip(cup, (*joints[2].qpos[:2], 2 * (blue + red) - 0.14), strict=True):
        joint.qpos = place
    world._mujoco.mj_forward(world._model, world._data)
    assert not world.success
    cup[2].qpos += 0.1
    joints[0].qpos[2] += 0.05
    world._mujoco.mj_forward(world._model, world._data)
    assert not world.success  # above, and touching nothing
    episode_before = 0
    world.reset(2)
    while not world.success:
        world.step(world.expert())
        above = np.hypot(*(world._block(0) - world._block(2))[:2]) < blue
        episode_before += bool(above and world._holding is not None and not world.success)
    assert episode_before > 0


PLAY = """
import os, sys
import numpy as np
from tapetum.systems.adapters.worlds.world import make_world, roll
played = roll(make_world("triplet-3", pixels=24, shift=float(sys.argv[1])), None, 1, stop_after=0)
np.savez(sys.argv[2], frames=played.frames, actions=played.actions)
os._exit(0)
"""


@pytest.mark.usefixtures("world")
def test_a_shift_changes_the_look_and_not_the_state(tmp_path: Path) -> None:
    """Each in a process of its own: some OpenGLs end a process that draws a third world after others."""
    played = []
    for shift in ("0", "1"):
        subprocess.run([sys.executable, "-c", PLAY, shift, tmp_path / f"{shift}.npz"], check=True)
        played.append(np.load(tmp_path / f"{shift}.npz"))
    usual, other = played
    assert np.array_equal(usual["actions"], other["actions"])
    assert np.abs(usual["frames"].astype(float) - other["frames"]).mean() > 20
    with pytest.raises(BadInput, match="shift is 2; give 0 to 1"):
        make_world("triplet-3", shift=2)


def test_a_policy_is_cloned_from_it(world: Stacking, tmp_path: Path) -> None:
    played, frames = make_demos(world, tmp_path / "demos", n=3)
    assert played == 3
    assert len(read_demos(tmp_path / "demos")) == frames < 150
    trunk = tmp_path / "trunk.safetensors"
    save(build("vit-nano", width=32, heads=2, mlp_width=64, patch=8, image_size=(24, 24), pooling="mean"), trunk)
    few = {"steps": 3, "batch_size": 4, "rollouts": 1, "evaluations": 1}
    finished = adapt(
        recipe("clone", str(tmp_path / "demos"), trunk=str(trunk), own="concat", **few), Launch(out=tmp_path / "run")
    )
    assert finished is not None
    assert finished.scores["success"] in (0.0, 1.0)
