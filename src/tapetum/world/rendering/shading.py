"""All light from surface points to the camera: sun, sky, light reflected by the ground, highlights, haze; linear colours.

A dull surface reflects albedo * light; a shiny one also reflects the sun (Blinn and Phong's lobe, normalised) and the sky, more
strongly at grazing angles (Schlick's approximation). Metal reflections have the metal's own colour.
"""

import numpy as np

from tapetum.world.bodies.episode import Body, Episode
from tapetum.world.bodies.shapes import Ground, RoundedBox, Sheet
from tapetum.world.rendering import sheets
from tapetum.world.rendering.camera import CameraView
from tapetum.world.rendering.shadow import Blocks, casters, sky_visibility, sun_visibility
from tapetum.world.rendering.sheets import ShadowMap
from tapetum.world.rendering.texturing import SurfaceTexture
from tapetum.world.rendering.trace import RayHits
from tapetum.world.types import F32, F64

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
