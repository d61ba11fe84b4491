"""Episodes: the same twice, again with a change, what the hand did, what is in what, files."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum_world.bodies import quaternions
from tapetum_world.bodies.episode import Episode
from tapetum_world.bodies.files import load_episode, save_episode
from tapetum_world.bodies.shapes import Bowl, Capsule, Cup, RoundedBox, Sheet, Sphere
from tapetum_world.physics import STORIES, make_episode, resimulate
from tapetum_world.physics.hand import Hand
from tapetum_world.physics.hand_model import HandScript, hand_bodies
from tapetum_world.physics.hand_primitives import RELAXED
from tapetum_world.physics.scripted import ScriptedSimulation, containment
from world_support.physics_world import at, body, ground


def _stage(things: list, poses: list) -> tuple[ScriptedSimulation, Hand]:
    home = np.array([0.0, 0.5, 0.4, 0.0, 0.0, 0.0])
    bodies = [ground(), *things, *hand_bodies((0.6, 0.4, 0.3))]
    start = np.stack([at(0, 0, 0), *poses, *[at(*home[:3])] * 11])
    script = HandScript(start=[*home, *RELAXED], shoulder=[0, 0.68, 0.75])
    stage = ScriptedSimulation(bodies, start, None, step=1 / 720, steps_per_moment=3, script=script)
    return stage, Hand(stage, home)


@pytest.fixture(scope="module")
def mixture() -> Episode:
    return make_episode(2, "mixture", seconds=5)


def test_an_episode_is_whole(mixture: Episode) -> None:
    k = mixture.frames * mixture.moments_per_frame + 1
    assert mixture.poses.shape == (k, len(mixture.bodies), 7)
    np.testing.assert_allclose(np.linalg.norm(mixture.poses[..., 3:], axis=-1), 1, atol=1e-9)
    assert mixture.camera.world_to_camera.shape == (k, 4, 4)
    assert mixture.inside.shape == mixture.poses.shape[:2]
    assert len({b.name for b in mixture.bodies}) == len(mixture.bodies)
    touch = mixture.contacts
    assert (touch.bodies[:, 0] < touch.bodies[:, 1]).all()
    assert (np.diff(touch.moment) >= 0).all()
    assert (touch.impulse > 0).all()
    np.testing.assert_allclose(np.linalg.norm(touch.normal, axis=1), 1, atol=1e-9)
    for action in mixture.actions:
        assert 0 <= action.start_s < action.end_s <= mixture.seconds + 1e-9


def test_without_the_ball_the_tower_stands() -> None:
    block = RoundedBox(size=(0.03, 0.03, 0.1), rounding=0.001)
    from tapetum_world.physics.builder import draw_camera, draw_light
    from tapetum_world.physics.episodes import episode_of, moment_times

    bodies = [ground(), body("block", block), body("ball", Sphere(radius=0.03), "metal"), body("far", Sphere(radius=0.02))]
    poses = np.stack([at(0, 0, 0), at(0, 0, 0.05), at(-0.2, 0, 0.03), at(0.3, 0.3, 0.02)])
    pixel_motion = np.zeros((4, 6))
    pixel_motion[2] = [1.0, 0, 0, 0, 1.0 / 0.03, 0]
    stage = ScriptedSimulation(bodies, poses, pixel_motion, step=1 / 720, steps_per_moment=3)
    stage.run_to(720)
    stage.close()
    times, rng = moment_times(24, 24, 10), np.random.default_rng(0)
    episode = episode_of(
        stage, seed=0, size=(32, 32), frame_rate=24.0, frames=24, moments_per_frame=10, story="test", velocities=pixel_motion,
        camera=draw_camera(rng, times, (32, 32), whole=1.0, azimuth=-1.5, target=np.zeros(3)), light=draw_light(rng, times),
    )  # fmt: skip
    fallen = episode.poses[-1, 1, 2] < 0.04
    alone = resimulate(episode, without="ball")
    assert fallen
    assert [b.name for b in alone.bodies] == ["floor", "block", "far"]
    np.testing.assert_allclose(alone.poses[-1, 1, :3], [0, 0, 0.05], atol=1e-3)
    with pytest.raises(BadInput, match="no body 'cat'"):
        resimulate(episode, without="cat")


def test_pick_and_place_ends_at_the_target() -> None:
    box = body("box", RoundedBox(size=(0.06, 0.04, 0.04), rounding=0.003))
    stage, hand = _stage([box], [at(-0.1, 0.0, 0.02, quaternions.about((0, 0, 1), 0.5))])
    assert hand.pick(1)
    assert stage.sim.poses_now()[1, 2] > 0.06
    assert hand.place(0.12, 0.05)
    stage.wait(0.3)
    np.testing.assert_allclose(stage.sim.poses_now()[1, :3], [0.12, 0.05, 0.02], atol=1.5e-3)
    assert [a.verb for a in stage.actions] == ["pick", "place"]


@pytest.mark.slow
def test_put_into_and_take_out() -> None:
    bowl, ball = body("bowl", Bowl(radius=0.08, wall=0.005), "ceramic"), body("ball", Sphere(radius=0.022), "rubber")
    stage, hand = _stage([bowl, ball], [at(0.1, 0, 0.08), at(-0.12, 0.03, 0.022)])
    assert hand.pick(2)
    assert hand.put_into(1)
    stage.wait(1.0)
    poses = stage.sim.poses_now()
    assert containment(stage.bodies, poses[None])[0, 2] == 1
    assert hand.take_out(2, 1)
    assert containment(stage.bodies, stage.sim.poses_now()[None])[0, 2] == -1
    assert hand.place(-0.1, 0.0)
    assert abs(stage.sim.poses_now()[2, 2] - 0.022) < 2e-3


@pytest.mark.slow
def test_a_shuffled_cup_keeps_its_ball_and_pouring_empties_one() -> None:
    upside = quaternions.about((1, 0, 0), np.pi)
    shape = Cup(radius_bottom=0.03, radius_top=0.038, height=0.09, wall=0.004)
    ball = body("ball", Sphere(radius=0.016), "rubber")
    stage, hand = _stage([body("cup", shape, "plastic"), ball], [at(-0.1, 0, 0.045, upside), at(-0.1, 0, 0.016)])
    assert hand.slide(1, 0.1, 0.0, bulge=-0.1)
    stage.wait(0.5)
    poses = stage.sim.poses_now()
    np.testing.assert_allclose(poses[1, :2], [0.1, 0.0], atol=2e-3)
    assert containment(stage.bodies, poses[None])[0, 2] == 1

    marbles = [body(f"m{i}", Sphere(radius=0.01), "glass") for i in range(3)]
    things = [body("cup", shape, "plastic"), body("bowl", Bowl(radius=0.085, wall=0.005), "wood"), *marbles]
    stage, hand = _stage(
        things, [at(-0.12, 0, 0.045), at(0.12, 0, 0.085), *(at(-0.12, 0, 0.016 + 0.021 * i) for i in range(3))]
    )
    assert hand.pour(1, 2)
    stage.wait(0.5)
    inside = containment(stage.bodies, stage.sim.poses_now()[None])[0]
    assert (inside[3:6] == 2).sum() >= 2
    assert (inside[3:6] != 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("story", ["stack", "carry", "collide", "spin"])
def test_hands_stay_out_of_things(story: str) -> None:
    """By distances to the shapes as they are drawn, not by the simulator's geoms."""
    episode = make_episode(1, story, seconds=5)
    fingers = [j for j, b in enumerate(episode.bodies) if b.group == "hand" and isinstance(b.shape, Capsule)]
    things = [j for j, b in enumerate(episode.bodies) if b.group != "hand"]
    assert episode.actions
    worst, touched = 0.0, False
    for poses in episode.poses[::16]:
        for f in fingers:
            shape = episode.bodies[f].shape
            assert isinstance(shape, Capsule)
            line = quaternions.place(poses[f][None], np.linspace(-0.5, 0.5, 7)[:, None] * np.array([0, 0, shape.length]))
            for j in things:
                gap = episode.bodies[j].shape.distance(quaternions.unplace(poses[j][None], line).T).min() - shape.radius
                worst, touched = min(worst, gap), touched or gap < 1e-3
    assert touched
    assert worst > -2.5e-3


@pytest.mark.slow
def test_cloth_covers_without_cutting_through() -> None:
    episode = make_episode(2, "cover", seconds=6)
    cover = next(a for a in episode.actions if a.verb == "cover")
    assert isinstance(episode.bodies[cover.target].shape, Sheet)
    moment = min(int(cover.end_s * 240) + 60, len(episode.poses) - 1)
    assert episode.inside[moment, cover.body] == cover.target
    assert episode.inside[0, cover.body] == -1
    points = episode.sheets[cover.target]
    shape = episode.bodies[cover.target].shape
    rest = shape.size[0] / (shape.grid[1] - 1)
    stretch = np.linalg.norm(np.diff(points[::20], axis=2), axis=-1) / rest
    assert stretch.max() < 1.25
    assert stretch.min() > 0.4
    local = quaternions.unplace(episode.poses[moment, cover.body][None, None], points[moment])
    assert episode.bodies[cover.body].shape.distance(np.moveaxis(local, -1, 0), filled=True).min() > 0


def test_containment_by_hand() -> None:
    cup, ball = body("cup", Cup(radius_bottom=0.03, radius_top=0.04, height=0.1, wall=0.004)), body("ball", Sphere(radius=0.01))
    bucket = body("bucket", Cup(radius_bottom=0.07, radius_top=0.09, height=0.16, wall=0.004))
    spots = [(0, 0, 0.05), (0, 0, 0.099), (0, 0, 0.101), (0.034, 0, 0.09), (0.037, 0, 0.09), (0.034, 0, 0.02), (0, 0, 0.003)]
    poses = np.array([[at(0, 0, 0.05), at(*spot)] for spot in spots])
    assert containment([cup, ball], poses)[:, 1].tolist() == [0, 0, -1, 0, -1, -1, -1]
    nested = np.array([[at(0, 0, 0.06), at(0, 0, 0.06), at(0, 0, 0.08)]])
    assert containment([cup, ball, bucket], nested)[0].tolist() == [2, 0, -1]
    upturned = np.array([[at(0, 0, 0.05, quaternions.about((0, 1, 0), np.pi)), at(0, 0, 0.01)]])
    assert containment([cup, ball], upturned)[0].tolist() == [-1, 0]


def test_files_keep_all_and_refuse_damage(mixture: Episode, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_episode(mixture, path)
    again = load_episode(path)
    for name in ("seed", "size", "frame_rate", "frames", "moments_per_frame", "bodies", "actions", "settings"):
        assert getattr(again, name) == getattr(mixture, name), name
    np.testing.assert_array_equal(again.poses, mixture.poses)
    np.testing.assert_array_equal(again.contacts.normal, mixture.contacts.normal)
    np.testing.assert_array_equal(again.camera.focus, mixture.camera.focus)
    np.testing.assert_array_equal(again.light.exposure, mixture.light.exposure)
    save_episode(again, tmp_path / "b.npz")
    data = path.read_bytes()
    assert hashlib.sha256(data).digest() == hashlib.sha256((tmp_path / "b.npz").read_bytes()).digest()
    for name, bytes_ in {
        "short": data[: len(data) // 2],
        "empty": b"",
        "text": b"no",
        "hit": data[:5000] + b"xx" + data[5002:],
    }.items():
        (tmp_path / f"{name}.npz").write_bytes(bytes_)
        with pytest.raises(BadInput, match="no whole episode"):
            load_episode(tmp_path / f"{name}.npz")
    with pytest.raises(BadInput, match="there is no file"):
        load_episode(tmp_path / "none.npz")
    with pytest.raises(BadInput, match="ends in"):
        save_episode(mixture, tmp_path / "a.zip")


def test_again_from_a_file_without_a_change_is_the_same(mixture: Episode, tmp_path: Path) -> None:
    save_episode(mixture, tmp_path / "a.npz")
    again = resimulate(load_episode(tmp_path / "a.npz"))
    np.testing.assert_array_equal(again.poses, mixture.poses)
    np.testing.assert_array_equal(again.contacts.impulse, mixture.contacts.impulse)
    assert again.actions == mixture.actions


@pytest.mark.slow
def test_all_stories_are_told() -> None:
    for story in STORIES:
        episode = make_episode(0, story, seconds=0.5, size=(16, 16), frame_rate=10)
        assert episode.settings["story"] == story
        assert episode.frames == 5
