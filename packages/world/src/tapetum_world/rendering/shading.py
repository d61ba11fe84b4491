"""All light from surface points to the camera: sun, sky, light reflected by the ground, highlights, haze; linear colours.

Soft shadows and ambient occlusion are the fractions of the sun and of the sky that bodies leave visible from a surface point.
The sun is a disc of angular radius a. Along the ray from a point to the middle of the sun, the least distance(t) / t to a body
is the angle in radians between the sun's middle and the body's edge: at -a the disc is covered, at a it is uncovered. So
shadows are sharp at contacts and soften with distance. For a convex body that ratio has one minimum along the ray, found by
golden section; a hollow body counts as filled for points outside it, and for points in its hollow only the opening matters.
After Aaltonen, GPU-based clay simulation and ray tracing tech in Claybook (2018), which uses the ratio in marching.

The sky: distance to a body at several steps along the normal, compared with the step length (Evans, Fast approximations for
global illumination on dynamic scenes, 2006).

A dull surface reflects albedo * light; a shiny one also reflects the sun (Blinn and Phong's lobe, normalised) and the sky, more
strongly at grazing angles (Schlick's approximation). Metal reflections have the metal's own colour.
"""

from dataclasses import dataclass

import numpy as np

from tapetum.tracks.facets.types import F32, F64, I64, Bool
from tapetum_world.bodies.episode import Body, Episode
from tapetum_world.bodies.shapes import Ground, RoundedBox, Shape, Sheet, Sphere
from tapetum_world.bodies.shapes.base import Disc
from tapetum_world.rendering import sheets
from tapetum_world.rendering.camera import CameraView
from tapetum_world.rendering.sheets import ShadowMap
from tapetum_world.rendering.texturing import SurfaceTexture
from tapetum_world.rendering.trace import RayHits

GOLDEN = 0.6180339887
STEPS = 8
SLACK = 2e-4
"""Metres by which a point on a wall may miss it."""


@dataclass(frozen=True, eq=False)
class Caster:
    """A body that may stand between a point and the light."""

    body: int
    shape: Shape
    rotation: F32
    """(3, 3) body to camera."""
    origin: F32
    """(3, 1)"""
    middle: F32
    """(3,) of a ball around it, in camera coordinates."""
    radius: float
    box: F32
    """(2, 3) lower and upper corner around it, in its own coordinates."""
    depth: float
    """Metres from the middle to the nearest side."""
    wide: float
    """Half of its second longest extent."""


class Blocks:
    """Points in image order, in blocks of 32 with a bounding ball each: whole blocks are tested first."""

    LENGTH = 32

    def __init__(self, points: F32, owner: np.ndarray):
        """Take points (3, n) and the bodies (n,) that they lie on."""
        self.points, self.owner = points, owner
        n = points.shape[1]
        count = -(-n // self.LENGTH)
        more = count * self.LENGTH - n
        if more:
            points, owner = np.pad(points, ((0, 0), (0, more)), mode="edge"), np.pad(owner, (0, more), mode="edge")
        rows = points.reshape(3, count, self.LENGTH)
        low, high = rows.min(2), rows.max(2)
        self.middle = (low + high) / 2
        half = (high - low) / 2
        self.radius = np.sqrt((half * half).sum(0))
        owners = owner.reshape(count, self.LENGTH)
        self.alone = np.where(owners.min(1) == owners.max(1), owners[:, 0], -1)
        """(m,) the body that all of a block lies on, or -1."""

    def members(self, keep: Bool) -> I64:
        """List the points of some blocks (m,)."""
        at = (np.flatnonzero(keep)[:, None] * self.LENGTH + np.arange(self.LENGTH)).ravel()
        return at[: np.searchsorted(at, self.points.shape[1])]


def casters(bodies: tuple[Body, ...], view: CameraView) -> list[Caster]:
    """List the bodies that may cast shadows: all but sheets, which are handled separately."""
    out = []
    for i, b in enumerate(bodies):
        if isinstance(b.shape, Sheet):
            continue
        low, high = low_high = b.shape.bounds.astype(np.float32)
        if isinstance(b.shape, Ground):
            middle, radius, deep, wide = view.origin[i], float("inf"), 0.0, 0.0
        else:
            middle = view.rotation[i] @ ((low + high) / 2) + view.origin[i]
            radius = b.shape.radius if isinstance(b.shape, Sphere) else float(np.linalg.norm(high - low) / 2)
            deep = -float(b.shape.hull_distance(((low + high) / 2)[:, None], filled=True)[0])
            wide = float(np.sort(high - low)[1] / 2)
        origin = view.origin[i].astype(np.float32)[:, None]
        out.append(
            Caster(
                i, b.shape, view.rotation[i].astype(np.float32), origin, middle.astype(np.float32), radius, low_high, deep, wide
            )
        )
    return out


def sun_visibility(blocks: Blocks, direct: F32, occluders: list[Caster], sun: F64, softness: float) -> F32:
    """Compute the fraction (n,) of the sun seen from points in camera coordinates; it stays 1 where `direct` (n,) is 0.

    `sun` (3,) points at it, `softness` is its radius in radians.
    """
    visibility = np.ones(len(direct), np.float32)
    a = np.float32(max(softness, 2e-3))
    e1 = np.cross(sun, [1.0, 0, 0] if abs(sun[0]) < 0.6 else [0, 1.0, 0])
    e1 /= np.linalg.norm(e1)
    axes = np.stack([e1, np.cross(sun, e1), sun]).astype(np.float32)
    placed = axes @ blocks.middle
    for c in occluders:
        if isinstance(c.shape, Ground):
            continue
        hollow = c.shape.opening
        off = (axes @ c.middle)[:, None] - placed
        reach = a * (off[2] + blocks.radius + c.radius) + c.radius + blocks.radius
        keep = (off[2] + blocks.radius > -c.radius) & (off[0] * off[0] + off[1] * off[1] < reach * reach)
        if hollow is None:
            keep &= blocks.alone != c.body
        at = blocks.members(keep)
        fine = direct.take(at) > 0
        if hollow is None:
            fine &= blocks.owner.take(at) != c.body
        at = at[fine]
        off = axes @ (c.middle[:, None] - blocks.points.take(at, 1))
        reach = a * (off[2] + np.float32(c.radius)) + np.float32(c.radius)
        close = np.flatnonzero((off[2] > -c.radius) & (off[0] * off[0] + off[1] * off[1] < reach * reach))
        at, middle = at.take(close), off[2].take(close)
        if len(at) == 0:
            continue
        p = np.asarray(c.rotation.T @ (blocks.points.take(at, 1) - c.origin), np.float32)
        along = axes[2] @ c.rotation
        if hollow is None:
            visibility[at] *= _past_hull(c, p, along, middle, float(a))
            continue
        inner = c.shape.in_cavity(p, SLACK)
        fraction = np.ones(len(at), np.float32)
        fraction[inner] = _through_opening(p[:, inner], along, hollow, float(a))
        outer = np.flatnonzero(~inner & (blocks.owner.take(at) != c.body))
        fraction[outer] = _past_hull(c, p.take(outer, 1), along, middle.take(outer), float(a))
        visibility[at] *= fraction
    return visibility


def _past_hull(c: Caster, p: F32, along: F32, middle: F32, a: float) -> F32:
    """Share (n,) of the sun seen past a filled shape from points (3, n) in its coordinates, `middle` (n,) metres before it."""
    visibility = np.ones(p.shape[1], np.float32)
    # outside of a box grown by the sun's radius, distance / t is above a
    grow = np.float32(a) * (middle + np.float32(c.radius)) + np.float32(1e-4)
    low, high = np.full(len(visibility), np.float32(1e-4)), middle + np.float32(c.radius)
    for i in range(3):
        slope = along[i] if abs(along[i]) > 1e-6 else np.float32(1e-6)
        one, two = (c.box[0, i] - grow - p[i]) / slope, (c.box[1, i] + grow - p[i]) / slope
        if slope < 0:
            one, two = two, one
        low, high = np.maximum(low, one), np.minimum(high, two)
    at = np.flatnonzero(low < high)
    if len(at) == 0:
        return visibility
    p, low, high, step = p.take(at, 1), low.take(at), high.take(at), along[:, None]

    def ratio(t: F32) -> F32:
        return np.asarray(c.shape.hull_distance(np.asarray(p + step * t, np.float32), filled=True) / t, np.float32)

    if isinstance(c.shape, Sphere):
        t = np.clip(middle.take(at), low, high)
        visibility[at] = _cover(ratio(t), a, c, t)
        return visibility
    width = high - low
    t1, t2 = high - np.float32(GOLDEN) * width, low + np.float32(GOLDEN) * width
    f1, f2 = ratio(t1), ratio(t2)
    best = np.minimum(f1, f2)
    for _ in range(STEPS - 2):
        left = f1 < f2
        width = width * np.float32(GOLDEN)
        low = np.where(left, low, t1)
        kept, value = np.where(left, t1, t2), np.where(left, f1, f2)
        fresh = low + np.where(left, np.float32(1 - GOLDEN), np.float32(GOLDEN)) * width
        f = ratio(fresh)
        best = np.minimum(best, f)
        t1, t2 = np.where(left, fresh, kept), np.where(left, kept, fresh)
        f1, f2 = np.where(left, f, value), np.where(left, value, f)
    visibility[at] = _cover(best, a, c, np.maximum(middle.take(at), np.float32(1e-4)))
    return visibility


def _through_opening(p: F32, along: F32, rim: Disc, a: float) -> F32:
    height, radius = rim.height, rim.inner_radius
    if along[2] <= 1e-3:
        return np.zeros(p.shape[1], np.float32)
    t = np.maximum((height - p[2]) / along[2], np.float32(1e-4))
    x, y = p[0] + t * along[0], p[1] + t * along[1]
    return _cover((np.float32(radius) - np.sqrt(x * x + y * y)) * along[2] / t, a)


def _cover(ratio: F32, a: float, c: Caster | None = None, t: F32 | None = None) -> F32:
    """Fraction of the sun seen past an edge at `ratio` radians from its middle.

    Rays through a thin body never go deep into it, so the shadow is complete at the greatest possible depth. A distant body
    that looks smaller than the sun cannot cover all of it.
    """
    if c is None or t is None:
        x = np.clip(ratio * np.float32(0.5 / a) + np.float32(0.5), 0, 1)
        return np.asarray(x * x * (3 - 2 * x), np.float32)
    inside = np.minimum(np.float32(0.9 * c.depth) / t, np.float32(a))
    x = np.clip((ratio + inside) / (inside + np.float32(a)), 0, 1)
    return np.asarray(1 - (1 - x * x * (3 - 2 * x)) * np.minimum(np.float32(c.wide / a) / t, 1), np.float32)


def sky_visibility(blocks: Blocks, normals: F32, occluders: list[Caster], scale: float) -> F32:
    """Compute the fraction (n,) of the sky seen from points facing (3, n), with steps of up to `scale` metres."""
    visibility = np.ones(normals.shape[1], np.float32)
    for c in occluders:
        solid = c.shape.opening is None
        keep = c.shape.hull_distance(c.rotation.T @ (blocks.middle - c.origin)) < np.float32(scale) + blocks.radius
        if solid:
            keep &= blocks.alone != c.body
        at = blocks.members(keep)
        if solid:
            at = at[blocks.owner.take(at) != c.body]
        if len(at) == 0:
            continue
        p = np.asarray(c.rotation.T @ (blocks.points.take(at, 1) - c.origin), np.float32)
        n = c.rotation.T @ normals.take(at, 1)
        hidden = np.zeros(len(at), np.float32)
        for step, weight in ((0.12, 0.35), (0.4, 0.35), (1.0, 0.3)):
            h = np.float32(step * scale)
            hidden += np.float32(weight) * np.clip(
                1 - c.shape.hull_distance(np.asarray(p + n * h, np.float32)) / h, 0, np.float32(1.6)
            )
        visibility[at] *= 1 - np.float32(0.58) * hidden
    return visibility


HAZE = 14.0
"""Metres after which an endless ground has faded two thirds into the horizon."""


def shade(
    episode: Episode, hits: RayHits, view: CameraView, paints: list[SurfaceTexture], shadows: bool = True
) -> tuple[F32, F32, F32]:
    """Compute colours (3, s), normals (3, s) in camera coordinates and places on the bodies (3, s) of all rays."""
    places, facing, albedo = _surfaces(episode.bodies, hits, view, paints)
    sun = -(view.world[:3, :3] @ episode.light.direction)
    up = view.world[:3, 2]
    at = np.flatnonzero(hits.body >= 0)
    if len(at) == len(hits.body):
        at = slice(None)
    owner, n, depth = hits.body[at], facing[:, at], hits.depth[at]
    points = np.stack([hits.rx[at] * depth, hits.ry[at] * depth, depth])
    direct = np.maximum(sun.astype(np.float32) @ n, 0)
    open_sky = np.ones(len(depth), np.float32)
    if shadows:
        occluders, blocks = casters(episode.bodies, view), Blocks(points, owner)
        direct *= sun_visibility(blocks, direct, occluders, sun, episode.light.softness)
        for i in view.sheets:
            direct *= ShadowMap(i, view.sheets[i], sun).visibility(points, owner, episode.light.softness)
        open_sky = sky_visibility(blocks, n, occluders, _step(episode.bodies))
    sky, ray = _sky(episode, hits, view), np.stack([hits.rx[at], hits.ry[at], np.ones_like(depth)])
    bounce = 0.28 * (episode.light.colour * max(0.0, float(sun @ up)) + episode.light.sky)
    high = up.astype(np.float32) @ n
    ambient = _column(episode.light.sky) * (np.float32(0.5) + np.float32(0.5) * high)
    ambient += _column(bounce) * (np.float32(0.5) - np.float32(0.5) * high)
    ambient *= open_sky
    light = _column(episode.light.colour) * direct + ambient
    colour = np.asarray(albedo[:, at] * light, np.float32)
    ray /= np.sqrt((ray * ray).sum(0))
    _mirror(episode, owner, n, ray, albedo[:, at], direct, open_sky, sun, up, bounce, colour)
    _haze(episode.bodies, owner, depth, sky[:, at], colour)
    sky[:, at] = colour
    return sky, facing, places


def _surfaces(bodies: tuple[Body, ...], hits: RayHits, view: CameraView, paints: list[SurfaceTexture]) -> tuple[F32, F32, F32]:
    """Places on the bodies, normals in camera coordinates (towards the camera) and albedo, (3, s) each."""
    places, facing, albedo = (np.zeros((3, len(hits.body)), np.float32) for _ in range(3))
    focal = np.float32(np.sqrt(view.intrinsics[0] * view.intrinsics[1]))
    for i, b in enumerate(bodies):
        at = np.flatnonzero(hits.body == i)
        if len(at) == 0:
            continue
        rx, ry, t = hits.rx[at], hits.ry[at], hits.depth[at]
        r = view.rotation[i].astype(np.float32)
        if isinstance(b.shape, Sheet) and hits.triangle is not None:
            p, n = sheets.surface(hits.meshes[i], hits.triangle[at], rx, ry)
            own = np.zeros_like(n)
            own[2] = np.where(hits.piece[at] == 1, np.float32(1), np.float32(-1))
            n = n * own[2]
        else:
            o = view.origin[i].astype(np.float32)
            p = r.T @ np.stack([rx * t - o[0], ry * t - o[1], t - o[2]])
            own = b.shape.normals(p, hits.piece[at])
            n = r @ own
        slant = n[0] * rx + n[1] * ry + n[2]
        if not isinstance(b.shape, Sheet):
            n = np.where(slant > 0, -n, n)
        slant = np.clip(-slant / np.sqrt(rx * rx + ry * ry + 1), 0.08, 1)
        places[:, at], facing[:, at] = p, n
        albedo[:, at] = paints[i].colour(p, own, t / focal / np.sqrt(slant))
    return places, facing, albedo


def _mirror(
    episode: Episode, owner: np.ndarray, n: F32, ray: F32, albedo: F32, direct: F32, open_sky: F32,
    sun: F64, up: F64, bounce: F64, colour: F32,
) -> None:  # fmt: skip
    """Add the reflections of shiny bodies, in place."""
    for i, b in enumerate(episode.bodies):
        shine = b.surface.shine
        if shine <= 0.02:
            continue
        at = np.flatnonzero(owner == i)
        if len(at) == 0:
            continue
        normal, view, base = n[:, at], ray[:, at], albedo[:, at]
        facing = -(normal * view).sum(0)
        half = sun.astype(np.float32)[:, None] - view
        half /= np.sqrt((half * half).sum(0))
        power = np.float32(2.0 ** (2.5 + 6.5 * shine))
        lobe = np.maximum((half * normal).sum(0), 0) ** power * (power + 8) / 8
        grazing = np.float32(shine) * (1 - np.clip(facing, 0, 1)) ** 5
        strength = np.float32(0.045 * (0.3 + shine)) + np.float32(0.5) * grazing
        back = view + 2 * facing * normal
        height = up.astype(np.float32) @ back
        over = np.clip(height * np.float32(1.5 + 8 * shine) + np.float32(0.5), 0, 1)
        sky = _column(episode.light.sky) * (np.float32(1.5) - np.float32(0.7) * np.maximum(height, 0))
        around = (_column(bounce) + (sky - _column(bounce)) * over) * open_sky[at]
        glow = np.maximum(sun.astype(np.float32) @ back, 0) ** 6 * np.float32(0.5)
        around += _column(episode.light.colour) * (glow * open_sky[at] * (direct[at] > 0))
        mirrored = _column(episode.light.colour) * (np.minimum(lobe, 60) * direct[at]) + around
        if b.material == "metal":
            fraction = np.float32(0.35 + 0.45 * shine)
            colour[:, at] *= 1 - fraction
            colour[:, at] += mirrored * (base + (1 - base) * grazing) * fraction
        else:
            colour[:, at] += mirrored * strength


def _sky(episode: Episode, hits: RayHits, view: CameraView) -> F32:
    """Colours (3, s) of the open sky behind everything: bright at the horizon, deeper above."""
    up = view.world[:3, 2].astype(np.float32)
    height = up[0] * hits.rx + up[1] * hits.ry + up[2]
    height /= np.sqrt(hits.rx * hits.rx + hits.ry * hits.ry + 1)
    fraction = np.sqrt(np.clip(height, 0, 1))
    horizon = episode.light.sky * 0.7 + 0.5 * episode.light.sky.mean()
    above = episode.light.sky * np.array([0.55, 0.75, 1.1])
    return _column(horizon) + _column(above - horizon) * fraction


def _haze(bodies: tuple[Body, ...], owner: np.ndarray, depth: F32, sky: F32, colour: F32) -> None:
    for i, b in enumerate(bodies):
        if isinstance(b.shape, Ground):
            at = np.flatnonzero((owner == i) & (depth > 0.2 * HAZE))
            if len(at):
                fraction = 1 - np.exp((np.float32(0.2 * HAZE) - depth[at]) / np.float32(HAZE))
                colour[:, at] += (sky[:, at] - colour[:, at]) * fraction


def _step(bodies: tuple[Body, ...]) -> float:
    """Distance at which a body darkens others: half of a typical body's height."""
    sizes = [float(np.ptp(b.shape.bounds, axis=0).max()) for b in bodies if not b.fixed and not isinstance(b.shape, Sheet)]
    sizes = sizes or [float(np.ptp(b.shape.bounds, axis=0).min()) for b in bodies if isinstance(b.shape, RoundedBox)]
    return 0.6 * float(np.median(sizes)) if sizes else 0.1


def _column(values: F64) -> F32:
    return np.asarray(values, np.float32)[:, None]
