"""Frames of an episode, one at a time: images as from a camera, with depth and instances."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tapetum.data.textures import Textures, procedural
from tapetum.world.bodies.episode import Episode
from tapetum.world.rendering.blur import focus_blur, motion_blur, pixel_motion
from tapetum.world.rendering.camera import CameraView, view_at
from tapetum.world.rendering.sensor import RenderConfig, codec, develop
from tapetum.world.rendering.shading import shade
from tapetum.world.rendering.texturing import SurfaceTexture
from tapetum.world.rendering.trace import RayHits, trace
from tapetum.world.types import F32, I64, U8


@dataclass(frozen=True, eq=False)
class RenderedFrame:
    """One frame of a film."""

    number: int
    rgb: U8
    """(h, w, 3)"""
    depth: F32
    """(h, w) metres along the view at the pixels' centres; inf for the open sky."""
    instances: U8
    """(h, w) ids of `Episode.instance`, 0 for fixed bodies and the sky."""
    bodies: I64
    """(h, w) numbers of bodies, -1 for the sky."""
    normals: F32
    """(h, w, 3) unit length, in camera coordinates; 0 for the sky."""
    places: F32
    """(h, w, 3) points in the coordinates of their bodies (of sheets: on the flat sheet); 0 for the sky."""


def render_episode(
    episode: Episode,
    textures: Textures = procedural,
    config: RenderConfig | None = None,
    frames: range | None = None,
) -> Iterator[RenderedFrame]:
    """Render the frames of an episode, one at a time; noise depends only on the episode's seed and the frame number."""
    config = config or RenderConfig()
    paints = [SurfaceTexture(b, textures, max(episode.size)) for b in episode.bodies]
    through = codec(config, episode.size, episode.frame_rate)
    ids = np.append(episode.instance, 0).astype(np.uint8)
    for number in frames if frames is not None else range(episode.frames):
        rng = np.random.default_rng((episode.seed, 79, number))
        view = view_at(episode, episode.moment(number))
        hits = trace(episode.bodies, view, episode.size, config.edges)
        colour, normals, places = shade(episode, hits, view, paints, config.shadows)
        image = _average_subsamples(hits, colour)
        if config.blur:
            image = _blur(episode, number, hits, view, places, image, config, rng)
        image = image * np.float32(episode.light.exposure[episode.moment(number)])
        rgb = through(develop(image, episode.size, config.noise, rng))
        yield _frame(number, rgb, hits, normals, places, ids)


def _average_subsamples(hits: RayHits, colour: F32) -> F32:
    """Average the finer rays of pixels that have any."""
    count = hits.size[0] * hits.size[1]
    image = np.ascontiguousarray(colour[:, :count])
    if len(hits.edges):
        # each ray is cut at white: the edge of a highlight is no stair
        fine = np.minimum(colour[:, count:], np.float32(1.5)).reshape(3, -1, 4)
        image[:, hits.edges] = fine.mean(-1)
    return image


def _blur(
    episode: Episode, number: int, hits: RayHits, view: CameraView, places: F32, image: F32,
    config: RenderConfig, rng: np.random.Generator,
) -> F32:  # fmt: skip
    camera = episode.camera
    moment = episode.moment(number)
    depth = np.minimum(hits.depth[: image.shape[1]], np.float32(1e3))
    if camera.aperture > 0:
        focal = float(np.sqrt(view.intrinsics[0] * view.intrinsics[1]))
        image = focus_blur(image, depth, episode.size, focal, float(camera.focus[moment]), camera.aperture)
    if camera.shutter > 0 and len(episode.poses) > 1:
        half = camera.shutter * episode.moments_per_frame / 2
        ends = view_at(episode, moment - half), view_at(episode, moment + half)
        speed = pixel_motion(episode.bodies, hits, places, *ends)
        image = motion_blur(image, depth, speed, episode.size, config.blur_taps, rng)
    return image


def _frame(number: int, rgb: U8, hits: RayHits, normals: F32, places: F32, ids: U8) -> RenderedFrame:
    h, w = hits.size
    count = h * w
    body = hits.body[:count].reshape(h, w)
    return RenderedFrame(
        number,
        rgb,
        hits.depth[:count].reshape(h, w),
        ids[body],
        body.astype(np.int64),
        normals[:, :count].T.reshape(h, w, 3),
        places[:, :count].T.reshape(h, w, 3),
    )
