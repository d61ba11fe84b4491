"""Simulators behind the extra `[robot]`: seeds, cameras, experts; and what is said where one is missing or too new."""

import itertools
import os
import sys
from importlib import metadata, util
from pathlib import Path

import numpy as np
import pytest

from tapetum.core.errors import BadInput, MissingExtra, Remark, TapetumError
from tapetum.encoders import build, save
from tapetum.systems.adapters.demos import make_demos, read_demos
from tapetum.systems.adapters.recipes import recipe
from tapetum.systems.adapters.run import adapt
from tapetum.systems.adapters.worlds.rendering import choose_gl, simulator
from tapetum.systems.adapters.worlds.world import TASKS, make_world, roll
from tapetum.train.launch_config import Launch

here = util.find_spec("metaworld") is not None
there = pytest.mark.skipif(not here, reason="needs tapetum[robot], which pins MuJoCo 3.3.0")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.skipif(here, reason="Meta-World is installed")
def test_a_missing_simulator_is_named() -> None:
    with pytest.raises(MissingExtra, match=r"needs the package metaworld, .*pip install 'tapetum\[robot\]'"):
        make_world("drawer-open")


@pytest.mark.parametrize("version", ["3.2.7", "3.9.0", "4.0.0"])
def test_a_simulator_that_is_too_old_or_new_is_refused(version: str, monkeypatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: version)
    with pytest.raises(BadInput, match=f"MuJoCo {version} is installed, and the simulators work with 3.3.0 to 3.8"):
        simulator("metaworld")


@there
@pytest.mark.slow
@pytest.mark.parametrize("task", [task for task, where in TASKS.items() if where == "metaworld"])
def test_experts_do_the_papers_tasks(task: str) -> None:
    world = make_world(task, pixels=16)
    episode = roll(world, None, 3)
    assert episode.last
    assert len(episode.frames) == 200
    assert int(episode.successes.argmax()) < 160
    assert episode.own.shape == (200, 4)
    world.close()


@there
@pytest.mark.slow
def test_a_seed_makes_an_episode() -> None:
    world = make_world("drawer-open", pixels=32)
    one, other, again = (roll(world, None, seed, stop_after=0) for seed in (3, 4, 3))
    assert np.array_equal(one.frames, again.frames)
    assert np.array_equal(one.actions, again.actions)
    assert not np.array_equal(one.frames[0], other.frames[0])
    far = [world.reset(seed).frame for seed in (3, 53, 100_003)]  # episodes of a policy are not those of demonstrations
    assert not any(np.array_equal(*pair) for pair in itertools.combinations(far, 2))
    fresh = make_world("drawer-open", pixels=32)
    assert np.array_equal(roll(fresh, None, 3, stop_after=0).frames, one.frames)
    world.close()
    fresh.close()


@there
@pytest.mark.slow
@pytest.mark.parametrize("camera", ["left", "right", "corner", "corner2", "corner3", "corner4"])
def test_images_are_upright(camera: str) -> None:
    """The red arm comes down from above: more of it is in the upper half of the image than in the lower one."""
    world = make_world("drawer-open", camera, 64)
    frame = world.reset(0).frame.astype(int)
    red = (frame[..., 0] - frame[..., 1:].max(-1)) > 60
    assert red.sum() > 50
    assert red[:32].sum() > red[32:].sum()
    world.close()


@there
@pytest.mark.slow
def test_a_shift_changes_images_and_not_the_state() -> None:
    worlds = [make_world("hammer", "left", 32, shift=shift) for shift in (0.0, 1.0)]
    usual, shifted = (roll(world, None, 0, stop_after=0) for world in worlds)
    assert np.array_equal(usual.actions, shifted.actions)
    assert np.abs(usual.frames.astype(float) - shifted.frames).mean() > 10
    for world in worlds:
        world.close()


@there
@pytest.mark.slow
@pytest.mark.parametrize("task", [task for task, where in TASKS.items() if where == "kitchen"])
def test_the_expert_of_the_kitchen_does_its_tasks(task: str) -> None:
    world = make_world(task, pixels=16)
    for seed in (0, 3):
        episode = roll(world, None, seed)
        assert episode.last
        assert not episode.successes[:20].any()
        assert episode.actions.shape == (220, 9)
    again = roll(world, None, 3)
    assert np.array_equal(again.actions, episode.actions)
    world.close()


@there
def test_names_that_are_not() -> None:
    with pytest.raises(BadInput, match="no task 'drawer-opn'; did you mean drawer-open"):
        make_world("drawer-opn")
    with pytest.raises(BadInput, match="drawer-open has no camera 'under'; it has left, right, top, topview"):
        make_world("drawer-open", "under")
    with pytest.raises(BadInput, match="an episode of 900 steps"):
        make_world("drawer-open", horizon=900)


@there
@pytest.mark.slow
def test_a_policy_goes_from_demonstrations_to_a_film(tmp_path: Path) -> None:
    """Acceptance T-I of the notes, with fewer steps: it runs to its end."""
    world = make_world("drawer-open", "left", 32)
    make_demos(world, tmp_path / "demos", n=2)
    world.close()
    demos = read_demos(tmp_path / "demos")
    assert demos.actions.shape[1] == 4
    assert np.abs(demos.actions).max() <= 1
    save(build("vit-nano"), tmp_path / "trunk.safetensors")
    run = recipe(
        "clone", str(tmp_path / "demos"), trunk=str(tmp_path / "trunk.safetensors"), steps=4, rollouts=1, evaluations=1
    )
    finished = adapt(run, Launch(out=tmp_path / "run"))
    assert finished is not None
    assert finished.proof is not None
    assert finished.scores["success"] in (0.0, 1.0)


def test_what_the_user_says_of_opengl_is_kept(monkeypatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert choose_gl() == "glfw"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system's OpenGL is used")
@pytest.mark.parametrize(("draws", "chosen"), [("egl osmesa", "egl"), ("osmesa", "osmesa"), ("", None)])
def test_egl_then_osmesa_are_tried(monkeypatch, tmp_path, draws, chosen) -> None:
    """With a MuJoCo that draws with some only, as on machines that lack the libraries."""
    (tmp_path / "mujoco.py").write_text(
        "import os\n"
        f"if os.environ['MUJOCO_GL'] not in {draws.split()}:\n"
        "    raise AttributeError('no library of ' + os.environ['MUJOCO_GL'])\n"
        "class MjModel:\n    from_xml_string = staticmethod(str)\n"
        "class Renderer:\n    def __init__(self, *_): pass\n    update_scene = render = lambda self, *_: None\n"
        "MjData = str\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    if chosen is None:
        with pytest.raises(TapetumError, match=r"egl \(.*no library of egl\) nor with osmesa \(.*osmesa\); install libosmesa6"):
            choose_gl()
        assert "MUJOCO_GL" not in os.environ
        return
    with pytest.warns(Remark, match=f"MuJoCo draws with {chosen}"):
        assert choose_gl() == chosen
    assert os.environ.pop("MUJOCO_GL") == chosen
