"""The painted world, demonstrations, and how often a policy does a task."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.systems.adapters.demos import make_demos, read_demos
from tapetum.systems.adapters.worlds.world import GOAL, NEAR, STEP, Observation, ReachWorld, make_world, roll, try_out


def test_the_expert_reaches_the_goal_and_stays() -> None:
    world = ReachWorld(pixels=8)
    for seed in range(30):
        episode = roll(world, None, seed)
        assert episode.last
        first = int(episode.successes.argmax())
        assert episode.successes[first:].all()
        way = np.abs(world.goal - episode.own[0]).max()
        assert way / STEP - 2 <= first <= way / STEP + 1  # as quickly as can be
        assert np.abs(episode.actions).max() <= 1


def test_a_seed_makes_an_episode_and_images_show_the_state() -> None:
    one, again, other = (roll(ReachWorld(pixels=32), None, seed) for seed in (3, 3, 4))
    assert np.array_equal(one.frames, again.frames)
    assert np.array_equal(one.actions, again.actions)
    assert not np.array_equal(one.frames[0], other.frames[0])
    world = ReachWorld(pixels=64, distractors=0)
    frame = world.reset(7).frame.astype(float)
    red = (frame[..., 0] - frame[..., 1]) > 100
    rows, columns = np.nonzero(red)
    # raster pixels to the table's -1..1; the gripper may hide a part of the disc
    assert np.abs((columns.mean() + 0.5) / 32 - 1 - world.goal[0]) < 0.06
    assert np.abs((rows.mean() + 0.5) / 32 - 1 - world.goal[1]) < 0.06
    assert frame[rows[0] + 2, columns[0]].round().astype(int).tolist() == [round(255 * c) for c in GOAL]


def test_a_shift_changes_images_and_nothing_else() -> None:
    usual, shifted = (roll(ReachWorld(shift=shift), None, 0) for shift in (0.0, 1.0))
    assert np.array_equal(usual.actions, shifted.actions)
    assert np.abs(usual.frames.astype(float) - shifted.frames).mean() > 20


def test_chance_does_not_reach() -> None:
    generator = np.random.default_rng(0)
    tried = try_out(ReachWorld(pixels=8), lambda seen: generator.uniform(-1, 1, 2), 40)
    assert tried["success"] is not None
    assert tried["success"] < 0.2
    still = try_out(ReachWorld(pixels=8), lambda seen: np.zeros(2), 40)["any"]
    assert still is not None
    assert still < 0.05 + NEAR


def test_noise_is_done_and_not_recorded() -> None:
    plain, noisy = (roll(ReachWorld(), None, 0, noise=noise) for noise in (0.0, 0.5))
    assert np.array_equal(plain.actions[0], noisy.actions[0])
    assert not np.allclose(plain.own[1], noisy.own[1])
    moved = np.diff(noisy.own, axis=0) / STEP
    assert np.abs(moved - noisy.actions[:-1]).max() > 0.1


@pytest.mark.parametrize("action", [np.zeros(3), np.array([np.nan, 0.0]), np.zeros((1, 2))])
def test_actions_that_are_none_end_the_episode(action) -> None:
    with pytest.raises(BadInput, match="reach-disc wants 2 finite numbers"):
        roll(ReachWorld(), lambda seen: action, 0)


def test_demonstrations_go_to_a_folder_and_back(tmp_path: Path) -> None:
    told = []
    played, frames = make_demos(ReachWorld(pixels=24), tmp_path / "d", n=3, seed=5, progress=lambda *a: told.append(a))
    demos = read_demos(tmp_path / "d")
    assert (played, told) == (3, [(1, 3), (2, 3), (3, 3)])
    assert (demos.task, demos.camera, demos.seeds, demos.horizon, len(demos)) == ("reach-disc", "top", (5, 6, 7), 30, frames)
    episode = roll(ReachWorld(pixels=24), None, 6, stop_after=5)
    own = demos.some([1])
    assert np.array_equal(own.frames, episode.frames)
    assert np.array_equal(own.actions, episode.actions)
    assert own.seeds == (6,)
    with pytest.raises(BadInput, match="holds demonstrations already"):
        make_demos(ReachWorld(), tmp_path / "d", n=1)


class Hopeless(ReachWorld):
    def expert(self):
        return np.zeros(2)


def test_an_expert_that_fails_is_not_written_down(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="did it in 0 of 9 episodes"):
        make_demos(Hopeless(), tmp_path / "d", n=2)
    assert list(tmp_path.iterdir()) == []


def _list(folder: Path, **changes) -> None:
    place = folder / "demos.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), **changes}))


def _arrays(folder: Path, **changes) -> None:
    place = folder / "episode-0000.npz"
    np.savez(place, **{**dict(np.load(place)), **changes})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: _list(d, action_size=7), r"has actions \(\d+, 2\) for \d+ frames; wanted \(\d+, 7\)"),
        (lambda d: _list(d, episodes=[]), "lists no episodes"),
        (lambda d: (d / "demos.json").write_text("{"), "demos.json cannot be read"),
        (lambda d: shutil.rmtree(d), "holds no demonstrations"),
        (lambda d: (d / "episode-0000.npz").write_bytes(b"PK"), "is no episode"),
        (lambda d: _arrays(d, actions=np.full((99, 2), 0.5, np.float32)), r"actions \(99, 2\)"),
        (lambda d: _arrays(d, frames=np.zeros((3, 4), np.uint8)), "wanted uint8"),
        (lambda d: _arrays(d, own=np.load(d / "episode-0000.npz")["own"] * np.nan), "has own that are not finite"),
        (lambda d: _arrays(d, actions=np.load(d / "episode-0000.npz")["actions"] + np.inf), "has actions that are not finite"),
        (lambda d: _arrays(d, frames=np.repeat(np.load(d / "episode-0000.npz")["frames"], 2, 1)), "several sizes"),
    ],
)
def test_damaged_demonstrations_get_one_line(damage, message: str, tmp_path: Path) -> None:
    make_demos(ReachWorld(pixels=24), tmp_path / "d", n=2)
    damage(tmp_path / "d")
    with pytest.raises(BadInput, match=message):
        read_demos(tmp_path / "d")


def test_worlds_that_are_not(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no camera 'left'; it has top"):
        make_world("reach-disc", "left")
    with pytest.raises(BadInput, match="images of 4 pixels"):
        make_world("reach-disc", pixels=4)
    with pytest.raises(BadInput, match="shift from 0 to 1"):
        ReachWorld(shift=2)
    assert isinstance(make_world("reach-disc").reset(0), Observation)
