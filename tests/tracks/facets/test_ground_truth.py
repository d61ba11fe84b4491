"""The truth of scenes against independent routes: the renderer's images, reprojection, a painted dot, hand-made worlds."""

from dataclasses import replace

import numpy as np
import pytest

from tapetum.tracks.facets import SceneConfig, make_clip
from tapetum.tracks.facets.ground_truth import FacetGroundTruth, frame_times
from tapetum.tracks.facets.render import Renderer
from tapetum.tracks.facets.sampling import sample_world
from tapetum.tracks.facets.world import STILL, FacetObject, FacetWorld, Path, bending_sheet, bezier, box, prism, rotation, sheet

SMALL = SceneConfig(size=(96, 128), frames=6)


def at(x: float, y: float, z: float, to: tuple[float, float, float] | None = None) -> Path:
    return Path(np.array([[x, y, z], to or (x, y, z)], float), np.zeros((2, 3)), STILL)


def plain(value: int, size: int = 64) -> np.ndarray:
    return np.full((size, size, 3), value, np.uint8)


def two_squares(frames: int = 5) -> FacetWorld:
    """A wall at z = 10 and a 2x2 square at z = 5 that goes from x = -2 to x = 2; focal length 100 px, 100x100 px."""
    wall = FacetObject(sheet(40, 40, 64), [plain(50)], None, at(0, 0, 10), wall=True)
    square = FacetObject(sheet(2, 2, 64), [plain(200)], None, at(-2, 0, 5, (2, 0, 5)))
    config = SceneConfig(size=(100, 100), frames=frames)
    return FacetWorld(config, [wall, square], at(0, 0, 0), np.array([[100.0], [100.0]]), np.array([0, 0, 1, 1.0]), 0)


def test_hand_made_world():
    oracle = FacetGroundTruth(two_squares())
    frames = np.array([0, 2])
    points, met = oracle.pick(frames, np.array([[10.0, 50.0], [60.0, 45.0]]))
    assert met.all()
    truth = oracle.follow(points)
    # the square moves 1 unit a frame at depth 5: 20 pixels
    assert np.allclose(truth.xy[0], [[10 + 20 * t, 50] for t in range(5)], atol=1e-4)
    assert np.allclose(truth.xyz[0, :, 2], 5)
    assert truth.visible[0].tolist() == [True, True, True, True, True]
    assert truth.instance.tolist() == [1, 1]
    # a wall point at the centre is covered while the square (40 px wide) passes: frames 1, 2 and 3 at x = 30..70
    points, _ = oracle.pick(np.array([0]), np.array([[50.5, 50.0]]))
    assert oracle.follow(points).visible[0].tolist() == [True, True, False, False, True]


def test_out_of_frame_and_behind_the_camera():
    world = two_squares()
    world = replace(world, camera=at(0, 0, 0, (0, 0, 7)))
    oracle = FacetGroundTruth(world)
    points, _ = oracle.pick(np.array([2]), np.array([[50.0, 50.0]]))
    truth = oracle.follow(points)
    assert truth.instance[0] == 1
    assert truth.xyz[0, -1, 2] == pytest.approx(-2)
    assert not truth.in_frame[0, -1]
    assert not truth.visible[0, -1]


@pytest.mark.parametrize("seed", range(6))
def test_renderer_and_oracle_agree_on_depth_and_instances(seed):
    world = sample_world(SMALL, seed)
    drawn = Renderer(world).render(frame_times(SMALL.frames))
    oracle = FacetGroundTruth(world)
    for t in range(SMALL.frames):
        depth = oracle.depth(t)
        # silhouettes of soft-edged cut-outs may differ by a pixel where the painting is sampled from a smaller copy
        assert (abs(depth - drawn.depth[t]) > 1e-3 * depth).mean() < 0.01
    y, x = np.mgrid[:96, :128]
    xy = np.stack([x.ravel() + 0.5, y.ravel() + 0.5], 1)
    points, _ = oracle.pick(np.zeros(len(xy), int), xy)
    assert (world.instance[points.facet] != drawn.instances[0].ravel()).mean() < 0.01


@pytest.mark.parametrize("seed", range(4))
def test_tracks_reproject_and_depth_decides_visibility(seed):
    """Unproject with the rendered depth, move by the camera, project again: background points must land on their tracks."""
    clip = make_clip(seed, SMALL, points=128)
    truth = clip.truth
    frame, xy = clip.queries[:, 0].astype(int), clip.queries[:, 1:]
    rows = np.arange(len(frame))
    assert np.allclose(truth.xy[rows, frame], xy, atol=1e-3)
    assert truth.visible[rows, frame].all()
    fx, fy, cx, cy = np.moveaxis(clip.intrinsics[None], -1, 0)
    x, y, z = np.moveaxis(truth.xyz, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        again = np.stack([fx * x / z + cx, fy * y / z + cy], -1)
    ok = truth.in_frame
    assert np.allclose(again[ok], truth.xy[ok], atol=1e-2)
    h, w = SMALL.size
    n, t = np.nonzero(ok)
    px = np.clip(truth.xy[n, t].astype(int), 0, [w - 1, h - 1])
    nearest = np.stack(
        [
            clip.depth[t, np.clip(px[:, 1] + j, 0, h - 1), np.clip(px[:, 0] + i, 0, w - 1)]
            for i in (-1, 0, 1)
            for j in (-1, 0, 1)
        ]
    )
    z = truth.xyz[n, t, 2]
    seen = truth.visible[n, t]
    # a visible point has a surface of its depth within a pixel; a point covered by clearly nearer surfaces is not visible
    slack = 0.06 * z
    assert ((nearest.min(0) <= z + slack) & (nearest.max(0) >= z - slack))[seen].mean() > 0.99
    covered = nearest.max(0) < z * 0.9
    assert not seen[covered].any()
    assert covered.sum() > 0


def test_static_background_moves_only_by_the_camera():
    clip = make_clip(3, replace(SMALL, room_share=1.0), points=128)
    rows = np.flatnonzero(clip.truth.instance == 0)
    assert len(rows) > 10
    pose = np.linalg.inv(clip.world_to_camera.astype(np.float64))
    xyz1 = np.concatenate([clip.truth.xyz[rows], np.ones((len(rows), SMALL.frames, 1))], -1)
    world = np.einsum("tij,ntj->nti", pose, xyz1)[..., :3]
    assert np.ptp(world, axis=1).max() < 1e-3


@pytest.mark.slow
def test_a_painted_dot_is_where_the_truth_says():
    """Paint one bright dot on an object's sheet, follow it in the rendered frames by its brightness."""
    found = 0
    for seed in range(12):
        world = sample_world(replace(SMALL, objects=(1, 1), frames=5), seed)
        thing = world.things[-1]
        if thing.alpha is None or len(thing.facets.bounds) != 1:
            continue
        painting = np.zeros_like(thing.sheets[0])
        c = painting.shape[0] // 2
        painting[c - 6 : c + 6, c - 6 : c + 6] = 255
        dark = [replace(t, sheets=[np.zeros_like(s) for s in t.sheets]) for t in world.things[:-1]]
        dotted = replace(world, things=[*dark, replace(thing, sheets=[painting])])
        drawn = Renderer(dotted).render(frame_times(5)).frames.mean(-1)
        oracle = FacetGroundTruth(dotted)
        facet = int(np.flatnonzero(oracle.world.owner == len(world.things) - 1)[0])
        points = type(oracle.sample(np.random.default_rng(0), 1)[0])(
            np.array([facet]), oracle.view.front[facet, :1], np.zeros((1, 2))
        )
        truth = oracle.follow(points)
        for t in range(5):
            bright = np.argwhere(drawn[t] > 0.5 * drawn[t].max()) if drawn[t].max() > 0.3 else []
            edge = (truth.xy[0, t] < 8).any() or (truth.xy[0, t] > np.array([120, 88])).any()
            if len(bright) == 0 or edge or not truth.visible[0, t]:
                continue
            centre = bright.mean(0)[::-1] + 0.5
            assert np.linalg.norm(centre - truth.xy[0, t]) < 1.0
            found += 1
    assert found >= 10


def test_bending_sheet_hangs_together_and_keeps_lengths():
    facets = bending_sheet(2.0, 64, 5, 0.3, lambda t: 1.5 * t)
    o, u, v = facets.frames(np.array([0.0, 0.5, 1.0]))
    ends = o + u * (2.0 / 5)
    assert np.allclose(ends[:-1], o[1:])
    assert np.allclose(np.linalg.norm(u, axis=-1), 1)
    assert np.allclose((u * v).sum(-1), 0)
    angle = np.arccos((u[0] * u[-1]).sum(-1))
    assert np.allclose(angle, [0, 0.75, 1.5])


@pytest.mark.parametrize("facets", [box(np.array([1.0, 2.0, 0.5]), 64), prism(0.7, 1.0, 64, 8)])
def test_solids_show_their_painted_side_outwards(facets):
    o, u, v = (part[:, 0] for part in facets.frames(np.zeros(1)))
    u0, u1, v0, v1 = facets.bounds.T
    centre = o + u * ((u0 + u1) / 2)[:, None] + v * ((v0 + v1) / 2)[:, None]
    assert ((np.cross(u, v) * centre).sum(-1) < 0).all()


def test_rotation_and_bezier():
    r = rotation(np.array([[0, 0, np.pi / 2], [0.0, 0, 0], [1.0, -2, 0.5]]))
    assert np.allclose(r[0] @ [1, 0, 0], [0, 1, 0])
    assert np.allclose(r[1], np.eye(3))
    assert np.allclose(r @ np.swapaxes(r, 1, 2), np.eye(3))
    curve = bezier(np.array([[0.0], [2.0], [0.0]]), np.array([0, 0.5, 1]))
    assert np.allclose(curve[:, 0], [0, 1, 0])


def test_same_seed_same_clip_and_other_seed_another():
    a, b, c = (make_clip(s, replace(SMALL, frames=4), points=16) for s in (5, 5, 6))
    assert np.array_equal(a.video, b.video)
    assert np.array_equal(a.truth.xy, b.truth.xy)
    assert not np.array_equal(a.video, c.video)


@pytest.mark.slow
def test_small_objects_get_points():
    counts = np.zeros(2)
    for seed in range(8):
        truth = make_clip(seed, SMALL, points=128).truth
        counts += [np.count_nonzero(truth.instance == 0), np.count_nonzero(truth.instance > 0)]
    assert counts[1] > 0.35 * counts.sum()
