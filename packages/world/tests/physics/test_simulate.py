"""Motion against formulas: fall, bounce, slide, roll, collide, rest."""

import numpy as np
import pytest

from tapetum_world.bodies import quaternions
from tapetum_world.bodies.shapes import Bowl, Cone, Cup, Cylinder, RoundedBox, Sphere
from tapetum_world.physics.props import PHYSICS_MATERIALS, rebound, spring
from world_support.physics_world import MOMENTS, at, body, ground, run

G = 9.81


def test_free_fall_follows_the_formula() -> None:
    poses, _, _ = run(
        [ground(), body("ball", Sphere(radius=0.03))], [at(0, 0, 0), at(0, 0, 1.0)], 0.4, {1: [0.3, 0, 0.5, 0, 0, 0]}
    )
    t = np.arange(len(poses)) / MOMENTS
    # Steps are semi-implicit: they lead the parabola by g t step / 2.
    np.testing.assert_allclose(poses[:, 1, 2], 1.0 + 0.5 * t - G * t * (t + 1 / 720) / 2, atol=1e-9)
    np.testing.assert_allclose(poses[:, 1, 0], 0.3 * t, atol=1e-9)


def test_a_spring_of_a_given_bounce_bounces_so() -> None:
    for bounce in (0.2, 0.5, 0.75):
        stiff, damp = spring(bounce)
        x, v, step = 0.0, -1.0, 1e-6
        while True:
            a = -stiff * x - damp * v
            if a < 0 and v > 0:
                break
            v += a * step
            x += v * step
        assert v == pytest.approx(bounce, abs=2e-3)
        assert rebound(damp / (2 * np.sqrt(stiff))) == pytest.approx(bounce, abs=1e-3)


@pytest.mark.parametrize("material", ["rubber", "wood", "ceramic", "cloth"])
def test_bounce_and_approach(material: str) -> None:
    height = 0.4
    poses, contacts, _ = run(
        [ground(), body("ball", Sphere(radius=0.03), material)],  # pyright: ignore[reportArgumentType]
        [at(0, 0, 0), at(0, 0, 0.03 + height)],
        0.9,
    )
    hit = np.flatnonzero(contacts.approach > 0)
    assert contacts.approach[hit[0]] == pytest.approx(np.sqrt(2 * G * height), rel=0.01)
    assert contacts.moment[hit[0]] / MOMENTS == pytest.approx(np.sqrt(2 * height / G), abs=0.01)
    up = poses[contacts.moment[hit[0]] + 4 :, 1, 2][:60].max() - 0.03
    wanted = min(PHYSICS_MATERIALS[material].bounce, PHYSICS_MATERIALS["stone"].bounce)
    assert np.sqrt(max(up, 0) / height) == pytest.approx(wanted, abs=0.09)


def test_impulse_of_a_landing_and_of_rest() -> None:
    ball = body("ball", Sphere(radius=0.03), "cloth")
    poses, contacts, _ = run([ground(), ball], [at(0, 0, 0), at(0, 0, 0.23)], 1.5)
    assert contacts.impulse.sum() == pytest.approx(ball.mass * G * 1.5, rel=0.01)
    rest = contacts.impulse[contacts.moment > MOMENTS]
    np.testing.assert_allclose(rest, ball.mass * G / MOMENTS, rtol=0.01)
    np.testing.assert_allclose(contacts.normal[:, 2], 1.0, atol=1e-6)
    assert np.abs(contacts.place[:, 2]).max() < 0.006
    assert poses[-1, 1, 2] == pytest.approx(0.03, abs=5e-4)


@pytest.mark.parametrize(("material", "speed"), [("wood", 1.0), ("metal", 0.8), ("rubber", 1.2)])
def test_sliding_stops_after_v2_over_2_mu_g(material: str, speed: float) -> None:
    box = body("box", RoundedBox(size=(0.1, 0.1, 0.03)), material)  # pyright: ignore[reportArgumentType]
    poses, contacts, _ = run([ground("stone"), box], [at(0, 0, 0), at(0, 0, 0.015)], 1.2, {1: [speed, 0, 0, 0, 0, 0]})
    mu = max(PHYSICS_MATERIALS[material].friction, PHYSICS_MATERIALS["stone"].friction)
    assert poses[-1, 1, 0] == pytest.approx(speed**2 / (2 * mu * G), rel=0.03)
    during = speed - mu * G * (contacts.moment + 1 / 3) / MOMENTS
    moving = (contacts.moment > 5) & (during > 0.1)
    np.testing.assert_allclose(contacts.sliding[moving], during[moving], atol=0.06)


def test_a_sliding_ball_ends_rolling_at_five_sevenths() -> None:
    r = 0.03
    poses, contacts, _ = run(
        [ground(), body("ball", Sphere(radius=r), "rubber")], [at(0, 0, 0), at(0, 0, r)], 0.6, {1: [1.0, 0, 0, 0, 0, 0]}
    )
    speed = np.diff(poses[:, 1, 0]) * MOMENTS
    # Rolling begins after 2 v / (7 mu g) = 0.034 s; its resistance has taken little by then.
    assert speed[12] == pytest.approx(5 / 7, rel=0.03)
    late = contacts.moment > 80
    assert contacts.sliding[late].max() < 0.01
    np.testing.assert_allclose(contacts.rolling[late], speed[contacts.moment[late] - 1] / r, rtol=0.02)


def test_rolling_slows_by_its_resistance() -> None:
    r, v = 0.03, 0.4
    spin = v / r
    poses, _, _ = run(
        [ground("metal"), body("ball", Sphere(radius=r), "metal")], [at(0, 0, 0), at(0, 0, r)], 2.0, {1: [v, 0, 0, 0, spin, 0]}
    )
    speed = np.diff(poses[:, 1, 0]) * MOMENTS
    wanted = PHYSICS_MATERIALS["metal"].rolling * G / (r * (1 + 2 / 5))
    assert (speed[20] - speed[-1]) / ((len(speed) - 21) / MOMENTS) == pytest.approx(wanted, rel=0.15)


def test_two_balls_keep_their_momentum() -> None:
    a, b = body("a", Sphere(radius=0.03), "wood"), body("b", Sphere(radius=0.025), "metal")
    poses, contacts, _ = run([ground(), a, b], [at(0, 0, 0), at(-0.1, 0, 1.0), at(0.1, 0, 1.0)], 0.2,
                             {1: [1.0, 0, 0, 0, 0, 0], 2: [-0.6, 0, 0, 0, 0, 0]})  # fmt: skip
    speed = np.diff(poses[:, 1:, 0], axis=0) * MOMENTS
    mass = np.array([a.mass, b.mass])
    before, after = speed[2], speed[-2]
    assert after @ mass == pytest.approx(before @ mass, rel=1e-6)
    bounce = (after[1] - after[0]) / (before[0] - before[1])
    assert bounce == pytest.approx(min(PHYSICS_MATERIALS["wood"].bounce, PHYSICS_MATERIALS["metal"].bounce), abs=0.06)
    assert contacts.impulse.sum() == pytest.approx(abs(after[0] - before[0]) * a.mass, rel=0.01)
    assert contacts.approach.max() == pytest.approx(1.6, rel=0.01)


def test_energy_never_grows_by_itself() -> None:
    rng = np.random.default_rng(1)
    shapes = [Sphere(radius=0.03), RoundedBox(size=(0.05, 0.04, 0.03), rounding=0.003), Cylinder(radius=0.02, height=0.06),
              Cone(radius=0.03, height=0.06), Cup(radius_bottom=0.03, radius_top=0.04, height=0.09, wall=0.004)]  # fmt: skip
    materials = ["rubber", "wood", "metal", "plastic", "ceramic"]
    bodies, poses = [ground()], [at(0, 0, 0)]
    for i, (shape, material) in enumerate(zip(shapes, materials, strict=True)):
        q = rng.normal(size=4)
        bodies.append(body(f"b{i}", shape, material))  # pyright: ignore[reportArgumentType]
        poses.append(at(*rng.uniform(-0.05, 0.05, 2), 0.15 + 0.13 * i, q / np.linalg.norm(q)))
    _, _, energy = run(bodies, poses, 2.5, {i: [0, 0, 0, *rng.normal(0, 4, 3)] for i in range(1, 6)})
    # Springs of contacts take energy in and give it back within a touch: compare the highest of each tenth of a second.
    tops = energy[: len(energy) // 24 * 24].reshape(-1, 24).max(1)
    assert np.diff(tops).max() < 0.002 * (energy[0] - energy[-1])
    assert energy[-1] < 0.35 * energy[0]


def test_things_at_rest_stay() -> None:
    table = body("table", RoundedBox(size=(1.2, 0.9, 0.04)), "wood", fixed=True)
    bodies, poses = [ground(), table], [at(0, 0, -0.7), at(0, 0, -0.02)]
    for i in range(4):
        bodies.append(body(f"box{i}", RoundedBox(size=(0.06, 0.06, 0.04), rounding=0.003)))
        poses.append(at(0.3, 0.2, 0.02 + 0.04 * i, quaternions.about((0, 0, 1), 0.1 * i)))
    cup = Cup(radius_bottom=0.03, radius_top=0.04, height=0.1, wall=0.004)
    upside = quaternions.about((1, 0, 0), np.pi)
    others = {
        "cup": (cup, at(0, 0, 0.05)),
        "upturned": (cup, at(0.2, 0, 0.05, upside)),
        "bowl": (Bowl(radius=0.08, wall=0.005), at(-0.25, 0, 0.08)),
        "can": (Cylinder(radius=0.03, height=0.1), at(0, 0.2, 0.05)),
        "cone": (Cone(radius=0.03, height=0.08), at(0, -0.2, 0.04)),
    }
    for name, (shape, pose) in others.items():
        bodies.append(body(name, shape, "plastic"))
        poses.append(pose)
    moved, contacts, _ = run(bodies, poses, 2.0)
    assert np.abs(moved[..., :3] - np.stack(poses)[:, :3]).max() < 1e-3
    assert np.abs(moved[-240:] - moved[-1]).max() < 1e-5
    assert contacts.approach[contacts.moment > 60].max(initial=0) < 1e-3
