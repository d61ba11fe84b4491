"""One clip with its truth, from one seed."""

from dataclasses import dataclass

import numpy as np

from tapetum.core.memory import check_room
from tapetum.scenes.config import SceneConfig
from tapetum.scenes.render import Renderer, Rendering
from tapetum.scenes.sample import sample_world
from tapetum.scenes.sensor import expose
from tapetum.scenes.textures import Textures, procedural
from tapetum.scenes.truth import FacetGroundTruth, FacetTracks, frame_times
from tapetum.scenes.types import F32, F64, U8
from tapetum.scenes.world import FacetWorld
from tapetum.video.types import refuse_huge

_PIXEL_BYTES, _POINT_BYTES = 150, 500
"""That the making of a clip takes at most, for each pixel and point of each frame (measured, with motion blur)."""


@dataclass(frozen=True)
class SyntheticClip:
    """A rendered clip and everything that is known about it."""

    video: U8
    """(t, h, w, 3)"""
    depth: F32
    """(t, h, w) z of the surface at the pixel's centre, in world units (metres)."""
    instances: U8
    """(t, h, w) object ids, 0 is the background."""
    queries: F32
    """(n, 3) as (t, x, y): where each point was picked; visible there."""
    truth: FacetTracks
    intrinsics: F32
    """(t, 4) fx, fy, cx, cy in pixels."""
    world_to_camera: F32
    """(t, 4, 4)"""
    world: FacetWorld


def make_clip(
    seed: int | tuple[int, ...],
    config: SceneConfig | None = None,
    textures: Textures = procedural,
    points: int = 256,
) -> SyntheticClip:
    """Draw the world of `seed`, film it, and follow `points` of its surface points."""
    config = config or SceneConfig()
    world = sample_world(config, seed, textures)
    rng = np.random.default_rng(world.seed)
    oracle = FacetGroundTruth(world)
    picked, frame, xy = oracle.sample(rng, points)
    blur = rng.random() < config.blur_share
    rendering, frames = render_world(world, rng.uniform(0.3, 1.0) if blur else 0.0)
    rotate, shift = world.world_to_camera(oracle.times)
    pose = np.tile(np.eye(4), (config.frames, 1, 1))
    pose[:, :3, :3], pose[:, :3, 3] = rotate, shift
    return SyntheticClip(
        video=expose(frames, config, rng),
        depth=rendering.depth,
        instances=rendering.instances,
        queries=np.concatenate([frame[:, None], xy], axis=1).astype(np.float32),
        truth=oracle.follow(picked),
        intrinsics=oracle.intrinsics.astype(np.float32),
        world_to_camera=pose.astype(np.float32),
        world=world,
    )


def check_clip(config: SceneConfig, points: int) -> None:
    """Raise BadInput where a clip is larger than an image may be, or than the memory that is free."""
    h, w = config.size
    refuse_huge("a scene", w, h)
    work = f"a scene of {config.frames} frames of {w}x{h} pixels with {points} points"
    check_room(config.frames * (_PIXEL_BYTES * h * w + _POINT_BYTES * points), work, "make it smaller or shorter")


def render_world(world: FacetWorld, shutter: float) -> tuple[Rendering, F32]:
    """Return the sharp rendering, and the frames as exposed for a `shutter` fraction of the frame's time, around its moment."""
    renderer = Renderer(world)
    times: F64 = frame_times(world.config.frames)
    sharp = renderer.render(times)
    if shutter <= 0 or len(times) < 2:
        return sharp, sharp.frames
    offsets = (np.arange(world.config.blur_samples) + 0.5) / world.config.blur_samples - 0.5
    frames = [renderer.render(times + o * shutter * (times[1] - times[0])).frames for o in offsets]
    return sharp, np.asarray(np.mean(frames, axis=0, dtype=np.float32))
