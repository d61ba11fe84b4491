"""Shadows of every shape against float64 rays to the middle of the sun, and the width of half shadows by hand."""

import numpy as np
import pytest

from support.scripts import script
from tapetum_world.bodies.episode import Body, Surface
from tapetum_world.bodies.quaternions import matrices
from tapetum_world.bodies.shapes import (
    Bowl,
    Capsule,
    Cone,
    Cup,
    Cylinder,
    Ellipsoid,
    Ground,
    RoundedBox,
    Sheet,
    Sphere,
    triangles,
)
from tapetum_world.rendering import quadrics
from tapetum_world.rendering.camera import view_at
from tapetum_world.rendering.shading import Blocks, casters, sun_visibility
from tapetum_world.rendering.sheets import ShadowMap

still_life = script("packages/world/tests/world_support/still_life.py")
REST, episode, turned = still_life.REST, still_life.episode, still_life.turned


SOLIDS = [
    Sphere(radius=0.1),
    Ellipsoid(radii=(0.12, 0.07, 0.05)),
    Capsule(radius=0.05, length=0.12),
    Cylinder(radius=0.07, height=0.15),
    Cone(radius=0.09, height=0.17),
    RoundedBox(size=(0.2, 0.12, 0.1), rounding=0.02),
    Cup(radius_bottom=0.06, radius_top=0.09, height=0.15, wall=0.01),
    Bowl(radius=0.11, wall=0.012),
]


def body(shape, name="thing", material="wood", **surface):
    return Body(name=name, noun="thing", shape=shape, material=material, surface=Surface(**surface))


def ground(**surface):
    return Body(name="ground", noun="ground", shape=Ground(), material="stone", fixed=True, surface=Surface(**surface))


@pytest.mark.parametrize("shape", SOLIDS, ids=lambda s: type(s).__name__)
def test_shadow_lies_where_the_ray_to_the_sun_is_blocked(shape):
    """Ground below a turned body, and the inside of hollow ones, against float64 rays to the middle of the sun."""
    turn = turned((1, 0.4, 0.3), 0.4)
    made = episode(
        [body(shape), ground()],
        lambda i, s: (np.array([0, 0, 0.15]) if i == 0 else np.zeros(3), turn if i == 0 else REST),
        frames=1,
        sun=(0.4, 0.3, -0.8),
    )
    view = view_at(made, 0)
    sun = -made.light.direction
    spot = np.random.default_rng(0).uniform(-0.3, 0.4, (600, 2))
    points = np.concatenate([spot, np.zeros((600, 1))], 1)
    owner = np.ones(600, int)
    rotation = matrices(turn)
    surface = quadrics.quadric_patches(shape)
    if isinstance(shape, Cup | Bowl):
        inner = np.random.default_rng(1).uniform(-0.1, 0.1, (40000, 3))
        near = (abs(shape.hull_distance(inner.T)) < 1e-4) & (shape.hull_distance(inner.T * 0.985, filled=True) < -0.004)
        inner = inner[near & (inner[:, 2] < 0.05)] @ rotation.T + [0, 0, 0.15]
        assert len(inner) > 20
        points, owner = np.concatenate([points, inner]), np.concatenate([owner, np.zeros(len(inner), int)])
    start = (points - [0, 0, 0.15]) @ rotation
    blocked = np.array([np.isfinite(quadrics.meet(surface, s, (sun @ rotation)[None], 1e-3)[0][0]) for s in start])
    seen = points @ view.world[:3, :3].T + view.world[:3, 3]
    share = sun_visibility(
        Blocks(seen.T.astype(np.float32), owner),
        np.ones(len(points), np.float32),
        casters(made.bodies, view),
        view.world[:3, :3] @ sun,
        0.003,
    )
    assert 0.02 < blocked[:600].mean() < 0.6
    assert ((share < 0.5) == blocked).mean() > 0.985
    assert share[~blocked].mean() > 0.98
    assert share[blocked].mean() < 0.03


def test_shadow_of_a_sheet():
    x, y = np.meshgrid(np.linspace(-0.15, 0.15, 9), np.linspace(-0.1, 0.1, 7))
    points = np.stack([x, y, 0.2 + 2 * x * x], -1)
    made = episode(
        [body(Sheet(size=(0.3, 0.2), grid=(7, 9))), ground()],
        lambda i, s: (np.zeros(3), REST),
        frames=1,
        sheets={0: lambda s: points},
    )
    view = view_at(made, 0)
    sun = -made.light.direction
    spot = np.concatenate([np.random.default_rng(0).uniform(-0.3, 0.4, (400, 2)), np.zeros((400, 1))], 1)
    corners = points.reshape(-1, 3)[triangles(7, 9)]
    blocked = np.array([np.isfinite(quadrics.meet_triangles(corners - s, sun[None], 1e-3)[0][0]) for s in spot])
    seen = (spot @ view.world[:3, :3].T + view.world[:3, 3]).T.astype(np.float32)
    share = ShadowMap(0, view.sheets[0], view.world[:3, :3] @ sun).visibility(seen, np.ones(400, int), 0.003)
    assert 0.1 < blocked.mean() < 0.6
    assert ((share < 0.5) == blocked).mean() > 0.96


@pytest.mark.parametrize(("height", "thick"), [(0.1, 0.2), (0.4, 0.2), (0.4, 0.01)])
def test_shadows_soften_away_from_the_body(height, thick):
    """Below the edge of a box, the sun overhead and of radius a, half shadow goes from -a height (the lower edge covers it
    all)  to a (height + thick) (the upper edge just touches it)."""
    made = episode(
        [body(RoundedBox(size=(4, 4, thick))), ground()],
        lambda i, s: (np.array([-2.0, 0, height + thick / 2]) if i == 0 else np.zeros(3), REST),
        frames=1,
        sun=(0, 0, -1),
    )
    view = view_at(made, 0)
    across = np.linspace(-0.1, 0.1, 2001)
    world = np.stack([across, 0 * across, 0 * across, 0 * across + 1])
    share = sun_visibility(
        Blocks((view.world @ world)[:3].astype(np.float32), np.ones(2001, int)),
        np.ones(2001, np.float32),
        casters(made.bodies, view),
        view.world[:3, 2],
        0.05,
    )
    half = across[(share > 0.01) & (share < 0.99)]
    assert half.max() == pytest.approx(0.05 * (height + thick), rel=0.25)
    if thick > 0.1:  # the half shadow of a thin plate is a little narrower
        assert half.min() == pytest.approx(-0.05 * height, rel=0.25)
    assert (share[across < -0.05 * height] < 0.02).all()
    assert (share[across > 0.05 * (height + thick)] > 0.99).all()
