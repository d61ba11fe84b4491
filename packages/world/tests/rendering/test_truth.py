"""The truth about episodes: values by hand, points laid on the shapes by their parametric formulas, the film's own rays."""

from dataclasses import replace

import numpy as np
import pytest

from support.scripts import script
from tapetum.core.errors import BadInput
from tapetum_world.bodies.episode import Body
from tapetum_world.bodies.shapes import Cone, Cup, Ground, RoundedBox, Sheet, Sphere
from tapetum_world.rendering import GroundTruth
from tapetum_world.rendering.camera import view_at
from tapetum_world.rendering.ground_truth import CONTAINED, OCCLUDED, OUTSIDE, SEEN
from tapetum_world.rendering.trace import trace

still_life = script("packages/world/tests/world_support/still_life.py")
REST, episode, turned = still_life.REST, still_life.episode, still_life.turned


def thing(shape, name="thing", **more):
    return Body(name=name, noun="thing", shape=shape, material="wood", **more)


def above(bodies, places, turns=None, height=1.0, size=(100, 100), focal=1.0, **more):
    """Bodies seen straight from above (the image's right is +x, its top +y), focal length of one image's width."""
    turns = turns or [REST] * len(bodies)
    made = episode(
        bodies, lambda i, s: (np.array(places[i], float), turns[i]), size, frames=more.pop("frames", 1), focal=focal, **more
    )
    down = np.array([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, height], [0, 0, 0, 1]])
    return replace(made, camera=replace(made.camera, world_to_camera=np.tile(down, (len(made.poses), 1, 1))))


def test_sphere_outline_by_hand():
    """A ball of radius r at distance d from the eye is a disc of radius f r / sqrt(d² - r²) in the middle of the image."""
    made = above([thing(Sphere(radius=0.2))], [(0, 0, 0)], size=(101, 101))
    mask = GroundTruth(made).masks(0).visible[0]
    radius = 101 * 0.2 / np.sqrt(1 - 0.04)
    y, x = np.mgrid[:101, :101] + 0.5 - 50.5
    assert (mask == (x * x + y * y < radius**2)).all()
    assert GroundTruth(made).depth(0)[50, 50] == pytest.approx(0.8)


def test_cone_tip_and_cup_from_above_by_hand():
    bodies = [
        thing(Cone(radius=0.1, height=0.3), "cone"),
        thing(Cup(radius_bottom=0.1, radius_top=0.2, height=0.4, wall=0.05), "cup"),
    ]
    made = above(bodies, [(-0.2, 0.1, 0.15), (0.2, 0, 0.2)])
    truth = GroundTruth(made)
    points, met = truth.pick(
        np.zeros(4, int),
        np.array(
            [
                # the cone's tip at (-0.2, 0.1, 0.3): depth 0.7; a hair inside, or the ray slips past it
                [50 - 100 * 0.2 / 0.7 + 2e-5, 50 - 100 * 0.1 / 0.7 + 1e-5],
                # the middle of the cup's floor, 0.05 above the ground
                [50 + 100 * 0.2 / 0.95, 50],
                # the rim's middle line at x = 0.2 - 0.175, height 0.4
                [50 + 100 * 0.025 / 0.6, 50],
                # the inner wall: 0.2 up the cup (z = 0 of it) it is 0.15 - 0.05 wide, at x = 0.2 + 0.1, height 0.2
                [50 + 100 * 0.3 / 0.8, 50],
            ]
        ),
    )
    assert met.all()
    assert points.body.tolist() == [0, 1, 1, 1]
    assert np.allclose(points.place[0], [0, 0, 0.15], atol=1e-6)
    assert np.allclose(points.place[1:], [[0, 0, -0.15], [-0.175, 0, 0.2], [0.1, 0, 0.0]])
    assert np.allclose(points.normal[1:3], [0, 0, 1])
    slope = np.array([-1, 0, 0.25]) / np.hypot(1, 0.25)  # the wall leans out by 0.1 over 0.4
    assert np.allclose(points.normal[3], slope)
    assert np.allclose(truth.follow(points).xyz[:, 0, 2], [0.7, 0.95, 0.6, 0.8], atol=1e-6)


def test_states_of_a_point_by_hand():
    """A ball in a cup that a lid passes over; another ball that leaves the image."""
    lid = RoundedBox(size=(0.3, 0.3, 0.02))
    bodies = [
        thing(Cup(radius_bottom=0.1, radius_top=0.1, height=0.2, wall=0.01), "cup"),
        thing(Sphere(radius=0.05), "in"),
        thing(lid, "lid"),
        thing(Sphere(radius=0.05), "out"),
        thing(Ground(), "ground", fixed=True),
    ]
    made = above(
        bodies, [(0, 0, 0.1), (0, 0, 0.06), (0, 0, 0), (0, 0, 0), (0, 0, 0)], frames=3, inside=np.array([-1, 0, -1, -1, -1])
    )
    poses = made.poses.copy()
    step = np.arange(len(poses)) / 4  # frames
    poses[:, 2, :3] = np.stack([(step - 1) * 0.4, 0 * step, 0.3 + 0 * step], 1)
    poses[:, 3, :3] = np.stack([0.35 + 0.3 * step, 0.3 + 0 * step, 0.05 + 0 * step], 1)
    made = replace(made, poses=poses)
    truth = GroundTruth(made)
    points, _ = truth.pick(np.zeros(3, int), np.array([[50, 50], [50 + 35 / 0.9, 50 - 30 / 0.9], [52.0, 60.0]]))
    assert points.body.tolist() == [1, 3, 0]
    states = truth.follow(points).state
    assert states[0].tolist() == [SEEN, CONTAINED, SEEN]
    assert states[1].tolist() == [SEEN, OUTSIDE, OUTSIDE]
    assert states[2].tolist() == [SEEN, OCCLUDED, SEEN]


@pytest.mark.parametrize("scene", still_life.SCENES)
def test_film_and_truth_agree_on_every_pixel(scene):
    """Depth, bodies, places: float32 rays of the film, float64 cut quadrics of the truth."""
    made = still_life.SCENES[scene]((64, 80), frames=3)
    truth = GroundTruth(made)
    for frame in range(3):
        view = view_at(made, made.moment(frame))
        found = trace(made.bodies, view, made.size, edges=False)
        exact = truth.masks(frame)
        same = exact.bodies == found.body.reshape(64, 80)
        assert (~same).mean() < 0.001
        depth = found.depth.reshape(64, 80)
        seen = same & np.isfinite(exact.depth)
        # depth may jump within a body too: from the rim of a cup to its far wall
        assert (abs(depth[seen] - exact.depth[seen]) > 2e-5 * exact.depth[seen]).mean() < 0.001
        assert (np.isinf(depth) == np.isinf(exact.depth))[same].all()


@pytest.mark.parametrize("scene", ["table", "kitchen"])
def test_tracks_reproject_and_return_to_where_they_were_picked(scene):
    made = still_life.SCENES[scene]((64, 64), frames=5)
    truth = GroundTruth(made)
    points, frame, xy = truth.sample(np.random.default_rng(0), 64)
    followed = truth.follow(points)
    rows = np.arange(64)
    assert np.allclose(followed.xy[rows, frame], xy, atol=1e-4)
    assert followed.visible[rows, frame].all()
    again, met = truth.pick(np.full(64, 2), followed.xy[:, 2].astype(float))
    seen = followed.visible[:, 2] & met
    assert seen.sum() > 30
    # xy is float32: its last digits may lead over the edge of a thing
    assert (np.linalg.norm(again.place - points.place, axis=1)[seen] < 1e-4).mean() > 0.95
    x, y, z = np.moveaxis(followed.xyz.astype(float), -1, 0)
    fx, fy, cx, cy = made.camera.intrinsics[0]
    assert np.allclose(np.stack([fx * x / z + cx, fy * y / z + cy], -1), followed.xy, atol=1e-2)


def test_whole_masks_are_those_of_a_thing_alone():
    made = still_life.kitchen((64, 64), frames=2)
    masks = GroundTruth(made).masks(1)
    instance = made.instance
    for row, number in enumerate(masks.ids):
        alone = [i for i in range(len(made.bodies)) if instance[i] == number]
        single = replace(
            made, bodies=tuple(made.bodies[i] for i in alone), poses=made.poses[:, alone], inside=made.inside[:, alone]
        )
        assert (GroundTruth(single).masks(1).visible[0] == masks.amodal[row]).all()
        assert (masks.visible[row] <= masks.amodal[row]).all()
    hidden = masks.amodal & ~masks.visible
    assert hidden.any()
    boxes = GroundTruth(made).boxes(1)
    x, y = np.nonzero(masks.amodal[0].any(0))[0], np.nonzero(masks.amodal[0].any(1))[0]
    assert boxes.amodal[0].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]


def test_parts_of_a_group_are_one_instance():
    made = still_life.table((32, 32), frames=1)
    hand = [i for i, b in enumerate(made.bodies) if b.group == "hand"]
    assert len(set(made.instance[hand])) == 1
    assert (made.instance[:3] == 0).all()


def test_sheet_by_hand():
    """A flat sheet that is turned over: its two sides are different points."""
    sheet = Sheet(size=(0.4, 0.2), grid=(3, 5))
    x, y = np.meshgrid(np.linspace(-0.2, 0.2, 5), np.linspace(-0.1, 0.1, 3))
    flat = np.stack([x, y, 0 * x], -1)
    made = above([thing(sheet)], [(0, 0, 0)], frames=2, sheets={0: lambda s: flat * ([1, 1, 1] if s < 0.5 else [-1, 1, 1])})
    truth = GroundTruth(made)
    points, met = truth.pick(np.array([0, 1]), np.array([[60.0, 45.0], [60.0, 45.0]]))
    assert met.all()
    assert np.allclose(points.place, [[0.1, 0.05, 0], [-0.1, 0.05, 0]])
    assert np.allclose(points.normal[:, 2], [1, -1])
    followed = truth.follow(points)
    assert followed.state.tolist() == [[SEEN, OCCLUDED], [OCCLUDED, SEEN]]
    assert np.allclose(followed.xy[0], [[60, 45], [40, 45]], atol=1e-4)


def test_frames_outside_of_the_episode_are_refused():
    with pytest.raises(BadInput, match="wanted 0 to 1"):
        GroundTruth(still_life.kitchen((32, 32), frames=2)).masks(2)
