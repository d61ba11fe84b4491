"""Images of episodes against the truth about them: painted dots followed, shadows where the sun is hidden, streaks."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from support.scripts import script
from tapetum.core.errors import BadInput
from tapetum_world.bodies.episode import Body, Surface
from tapetum_world.bodies.shapes import Cylinder, Ground, RoundedBox, Sphere
from tapetum_world.rendering import GroundTruth, RenderConfig, render_episode
from tapetum_world.rendering.camera import view_at

still_life = script("packages/world/tests/world_support/still_life.py")
REST, episode, turned = still_life.REST, still_life.episode, still_life.turned


CLEAN = RenderConfig(noise=0, compress="no", blur=False)


def body(shape, name="thing", material="wood", **surface):
    return Body(name=name, noun="thing", shape=shape, material=material, surface=Surface(**surface))


def ground(**surface):
    return Body(name="ground", noun="ground", shape=Ground(), material="stone", fixed=True, surface=Surface(**surface))


def dots(rng):
    """White dots on black."""
    y, x = np.mgrid[:240, :240] % 40 - 20
    return np.repeat(((x * x + y * y < 5**2) * 255).astype(np.uint8)[..., None], 3, 2)


def blobs(rgb):
    """Centres (n, 2) of the bright parts of a dark image."""
    light = (rgb.mean(-1) / 255) ** 2.2
    marked, count = ndimage.label(light > 0.04)
    return np.array([c[::-1] for c in ndimage.center_of_mass(light, marked, range(1, count + 1))]) + 0.5


@pytest.mark.parametrize("shape", [Sphere(radius=0.1), Cylinder(radius=0.1, height=0.2), RoundedBox(size=(0.2, 0.2, 0.2))])
def test_painted_dots_are_where_the_truth_says(shape):
    """Dots on a turning, travelling body before a black wall: those of one frame, followed, lie on those of others."""
    wall = Body(
        name="wall",
        noun="wall",
        shape=RoundedBox(size=(9, 0.1, 9)),
        material="stone",
        fixed=True,
        surface=Surface(colour=(0, 0, 0)),
    )
    made = episode(
        [body(shape, kind="photo", scale=0.4), wall],
        lambda i, s: (
            np.array([0.12 * s - 0.06, 0.05 * s, 0.0]) if i == 0 else np.array([0, 1.0, 0]),
            turned((0.1, 0, 1), 0.8 * s - 0.4) if i == 0 else REST,
        ),
        (128, 128),
        frames=6,
        sky=(1.2, 1.2, 1.2),
        light=(0, 0, 0),
        eye=lambda s: (0.0, -0.8, 0.0),
        target=lambda s: (0.0, 0.0, 0.0),
    )
    found = [blobs(f.rgb) for f in render_episode(made, dots, replace(CLEAN, shadows=False))]
    truth = GroundTruth(made)
    points, met = truth.pick(np.full(len(found[2]), 2), found[2])
    assert met.all()
    followed = truth.follow(points)
    # a dot at the outline, or on an edge between two faces, is not seen whole
    facing = np.array([-(view_at(made, made.moment(t)).rotation[0] @ points.normal.T)[2] for t in range(6)])
    checked = 0
    for t in range(6):
        for k in np.flatnonzero(followed.visible[:, t] & (np.minimum(facing[t], facing[2]) > 0.6)):
            off = np.linalg.norm(found[t] - followed.xy[k, t], axis=1).min()
            checked += 1
            assert off < (0.8 if abs(points.place[k]).max() < 0.08 or not isinstance(shape, RoundedBox) else 3)
    assert checked > 15
    assert np.linalg.norm(followed.xy[:, -1] - followed.xy[:, 0], axis=1).max() > 15


def test_frames_carry_depth_normals_and_places():
    made = still_life.kitchen((48, 64), frames=2)
    truth = GroundTruth(made)
    y, x = np.mgrid[:48, :64] + 0.5
    xy = np.stack([x.ravel(), y.ravel()], 1)
    for frame in render_episode(made, config=CLEAN):
        points, met = truth.pick(np.full(len(xy), frame.number), xy)
        same = met & (points.body == frame.bodies.ravel())
        assert same.mean() > 0.998
        assert (np.linalg.norm(frame.places.reshape(-1, 3) - points.place, axis=1)[same] < 1e-4).mean() > 0.995
        view = view_at(made, made.moment(frame.number))
        normal = np.einsum("nij,nj->ni", view.rotation[points.body], points.normal)
        assert ((frame.normals.reshape(-1, 3) * normal).sum(1)[same] > 0.999).mean() > 0.99
        assert (frame.instances.ravel() == np.where(met, made.instance[points.body], 0))[same].all()
        assert frame.rgb.shape == (48, 64, 3)


def test_a_ball_in_a_cup_is_dark_and_its_contact_darker():
    made = still_life.kitchen((64, 64), frames=1)
    lit = next(iter(render_episode(made, config=replace(CLEAN, shadows=False)))).rgb.astype(float)
    real = next(iter(render_episode(made, config=CLEAN))).rgb.astype(float)
    assert (real <= lit + 1).all()
    assert (real < lit - 10).mean() > 0.05


def test_a_streak_is_centred_on_the_sharp_body_and_as_long_as_its_way():
    wall = Body(
        name="wall",
        noun="wall",
        shape=RoundedBox(size=(9, 0.1, 9)),
        material="stone",
        fixed=True,
        surface=Surface(colour=(0, 0, 0)),
    )
    made = episode(
        [body(Sphere(radius=0.04), colour=(0.6, 0.6, 0.6)), wall],
        lambda i, s: (np.array([0.8 * s - 0.4, 0, 0.0]) if i == 0 else np.array([0, 1.0, 0]), REST),
        (96, 96),
        frames=9,
        sky=(1, 1, 1),
        light=(0, 0, 0),
        eye=lambda s: (0, -1, 0),
        target=lambda s: (0, 0, 0),
    )
    wide = []
    for shutter in (0.0, 0.4, 0.8):
        shot = replace(made, camera=replace(made.camera, shutter=shutter))
        frame = next(iter(render_episode(shot, config=replace(CLEAN, blur=True, shadows=False), frames=range(4, 5))))
        light = ((frame.rgb / 255) ** 2.2).sum((0, 2))
        x = np.arange(96) + 0.5
        middle = (light * x).sum() / light.sum()
        assert middle == pytest.approx(48, abs=0.3)
        wide.append((light * (x - middle) ** 2).sum() / light.sum())
    # it goes 4.8 and 9.6 pixels while the shutter is open: variances add up
    assert wide[1] - wide[0] == pytest.approx(4.8**2 / 12, rel=0.3)
    assert wide[2] - wide[0] == pytest.approx(9.6**2 / 12, rel=0.2)


def test_depth_of_field_blurs_what_is_out_of_focus_alone():
    made = still_life.garden((64, 64), frames=1, aperture=0.0)
    sharp = next(iter(render_episode(made, config=replace(CLEAN, blur=True)))).rgb.astype(float)
    near = made.camera.focus * 0 + 0.3
    blurred_camera = replace(made.camera, aperture=0.02, focus=near, shutter=0.0)
    blurred = next(iter(render_episode(replace(made, camera=blurred_camera), config=replace(CLEAN, blur=True)))).rgb.astype(
        float
    )
    rough = lambda image: np.abs(np.diff(image, axis=1)).mean()  # noqa: E731
    assert rough(blurred) < 0.8 * rough(sharp)
    tiny = replace(made.camera, aperture=1e-5)
    assert (next(iter(render_episode(replace(made, camera=tiny), config=replace(CLEAN, blur=True)))).rgb == sharp).all()


def test_the_same_seed_gives_the_same_film_and_frames_do_not_depend_on_others():
    made = still_life.table((48, 48), frames=4)
    once = [f.rgb for f in render_episode(made)]
    again = [f.rgb for f in render_episode(made)]
    assert all((a == b).all() for a, b in zip(once, again, strict=True))
    assert (next(iter(render_episode(made, frames=range(3, 4)))).rgb == once[3]).all()
    assert (next(iter(render_episode(replace(made, seed=1)))).rgb != once[0]).any()


@pytest.mark.parametrize("codec", ["no", "jpeg", "mpeg4"])
def test_codecs_change_little(codec):
    made = still_life.kitchen((48, 48), frames=3)
    plain = [f.rgb.astype(float) for f in render_episode(made, config=RenderConfig(noise=0, compress="no"))]
    through = [f.rgb.astype(float) for f in render_episode(made, config=RenderConfig(noise=0, compress=codec, quality=90))]
    off = [np.abs(a - b).mean() for a, b in zip(plain, through, strict=True)]
    assert (max(off) == 0) == (codec == "no")
    assert max(off) < 5


def test_exposure_and_noise():
    made = still_life.kitchen((48, 48), frames=2, exposure=(1.0, 0.5))
    first, second = (f.rgb.astype(float).mean() for f in render_episode(made, config=CLEAN))
    assert second < 0.85 * first
    noisy = next(iter(render_episode(made, config=replace(CLEAN, noise=0.05)))).rgb.astype(float)
    clean = next(iter(render_episode(made, config=CLEAN))).rgb.astype(float)
    assert 3 < np.abs(noisy - clean).std() < 12


@pytest.mark.parametrize("pattern", ["stripes", "checks", "dots", "noise", "marble"])
def test_patterns_show_two_colours_near_and_their_mean_far_away(pattern):
    """No flicker: where a pixel holds many cells, its neighbours are alike."""
    spread = []
    for distance_m in (1.0, 60.0):
        made = episode(
            [
                body(
                    RoundedBox(size=(distance_m, 0.2, distance_m)),
                    kind="pattern",
                    pattern=pattern,
                    scale=0.1,
                    colour=(0.05, 0.05, 0.05),
                    second=(0.9, 0.9, 0.9),
                )
            ],
            lambda i, s: (np.zeros(3), REST),
            (48, 48),
            frames=1,
            eye=lambda s, d=distance_m: (0.01, -d, 0.0),
            target=lambda s: (0.0, 0.0, 0.0),
            focal=1.5,
            sky=(1, 1, 1),
            light=(0, 0, 0),
        )
        frame = next(iter(render_episode(made, config=replace(CLEAN, shadows=False))))
        spread.append(frame.rgb[16:32, 16:32].astype(float).std())
    assert spread[0] > 12
    assert spread[1] < 0.35 * spread[0]


@pytest.mark.parametrize("quarter", range(4))
def test_words_are_printed_on_all_sides_of_a_box(quarter):
    """A word that is held to the camera reads from left to right: the L's upright is left of its foot."""
    made = episode(
        [body(RoundedBox(size=(0.4, 0.4, 0.4)), colour=(0.8, 0.8, 0.8), text="L")],
        lambda i, s: (np.zeros(3), turned((0, 0, 1), quarter * np.pi / 2)),
        (64, 64),
        frames=1,
        eye=lambda s: (0.0, -1.0, 0.0),
        target=lambda s: (0.0, 0.0, 0.0),
        focal=1.2,
    )
    rgb = next(iter(render_episode(made, config=CLEAN))).rgb.mean(-1)
    dark = rgb < 80
    assert dark.sum() > 20
    rows, columns = np.nonzero(dark)
    top, foot = rows < rows.min() + 5, rows > rows.max() - 2
    assert columns[top].mean() < columns[foot].mean() - 1


@pytest.mark.parametrize("size", [(16, 16), (17, 33)])
def test_small_and_odd_sizes(size):
    assert next(iter(render_episode(still_life.table(size, frames=1)))).rgb.shape == (*size, 3)


def test_a_camera_inside_a_body_and_an_empty_world():
    inside = episode([body(Sphere(radius=2.0))], lambda i, s: (np.zeros(3), REST), (16, 16), frames=1)
    assert np.isfinite(next(iter(render_episode(inside))).depth).all()
    empty = episode([], lambda i, s: (np.zeros(3), REST), (16, 16), frames=1)
    empty = replace(empty, poses=np.zeros((1, 0, 7)), inside=np.zeros((1, 0), int))
    frame = next(iter(render_episode(empty)))
    assert np.isinf(frame.depth).all()
    assert (frame.bodies == -1).all()
    with pytest.raises(BadInput, match="sees no surface"):
        GroundTruth(empty).sample(np.random.default_rng(0), 4)
