"""One clip with its ground truth, from one seed; exposure, uneven light, blur, noise and compression as in a real camera."""

import io
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from PIL import Image, ImageFilter

from tapetum.core.devices import check_room
from tapetum.data.textures import Textures, procedural, smooth_noise
from tapetum.video.types import refuse_huge
from tapetum.world.facets.ground_truth import FacetGroundTruth, FacetTracks, frame_times
from tapetum.world.facets.render import Renderer, Rendering
from tapetum.world.facets.sampling import sample_world
from tapetum.world.facets.world import FacetWorld, SceneConfig
from tapetum.world.types import F32, F64, U8

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
    """Draw the world of `seed`, film it, and track `points` of its surface points."""
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
    """Raise BadInput if a clip is larger than an image may be, or than the free memory."""
    h, w = config.size
    refuse_huge("a scene", w, h)
    work = f"a scene of {config.frames} frames of {w}x{h} pixels with {points} points"
    check_room(config.frames * (_PIXEL_BYTES * h * w + _POINT_BYTES * points), work, "make it smaller or shorter")


def render_world(world: FacetWorld, shutter: float) -> tuple[Rendering, F32]:
    """Render a world sharply, and its frames exposed for a `shutter` fraction of the frame's time, around its moment."""
    renderer = Renderer(world)
    times: F64 = frame_times(world.config.frames)
    sharp = renderer.render(times)
    if shutter <= 0 or len(times) < 2:
        return sharp, sharp.frames
    offsets = (np.arange(world.config.blur_samples) + 0.5) / world.config.blur_samples - 0.5
    frames = [renderer.render(times + o * shutter * (times[1] - times[0])).frames for o in offsets]
    return sharp, np.asarray(np.mean(frames, axis=0, dtype=np.float32))


def expose(frames: F32, config: SceneConfig, rng: np.random.Generator) -> U8:
    """Apply the defects of a sensor and a codec to frames (t, h, w, 3) in 0..1; uint8."""
    t, h, w, _ = frames.shape
    drift = np.linspace(rng.normal(1, 0.08), rng.normal(1, 0.08), t)
    gain: F32 = (drift[:, None] * rng.normal(1, 0.04, 3)).astype(np.float32)
    frames = frames * gain[:, None, None]
    if rng.random() < 0.4:
        first, last = (smooth_noise(rng, max(h, w), 1)[:h, :w] for _ in range(2))
        mix = np.linspace(0, 1, t, dtype=np.float32)[:, None, None, None]
        frames = frames * (1 + np.float32(0.15) * ((1 - mix) * first + mix * last)).astype(np.float32)
    if rng.random() < 0.3:
        radius = rng.uniform(0.3, 1.0)
        frames = np.stack([_soften(frame, radius) for frame in frames])
    sigma = config.noise * rng.uniform() ** 2
    if sigma > 0.002:
        noise = rng.standard_normal(frames.shape, dtype=np.float32)
        frames = (frames + sigma * noise).astype(np.float32)
    clean = np.rint(np.clip(frames, 0, 1) * 255).astype(np.uint8)
    if rng.random() < config.compress_share:
        if rng.random() < 0.3:
            return mpeg4(clean, int(rng.integers(2, 14)))
        return jpeg(clean, int(rng.integers(30, 96)))
    return clean


def _soften(frame: F32, radius: float) -> F32:
    eight = Image.fromarray(np.rint(np.clip(frame, 0, 1) * 255).astype(np.uint8))
    return np.asarray(eight.filter(ImageFilter.GaussianBlur(radius))).astype(np.float32) / np.float32(255)


def jpeg(frames: U8, quality: int) -> U8:
    """Encode and decode every frame as JPEG."""
    out = []
    for frame in frames:
        data = io.BytesIO()
        Image.fromarray(frame).save(data, "JPEG", quality=quality)
        out.append(np.asarray(Image.open(data)))
    return np.stack(out)


def mpeg4(frames: U8, quantiser: int) -> U8:
    """Encode and decode a clip as MPEG-4 at a fixed quantiser (2 is good, 31 is worst); of odd sides as JPEG.

    Not H.264: x264 was observed to encode the same frames differently from call to call, and clips must repeat.
    """
    import av

    _, h, w, _ = frames.shape
    if h % 2 or w % 2:
        return jpeg(frames, 75)
    data = io.BytesIO()
    with av.open(data, "w", format="matroska") as sink:
        limits = {"qmin": str(quantiser), "qmax": str(quantiser)}
        stream = sink.add_stream("mpeg4", rate=Fraction(24), options=limits)
        stream.width, stream.height, stream.pix_fmt, stream.thread_count = w, h, "yuv420p", 1
        for frame in frames:
            sink.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        sink.mux(stream.encode())
    data.seek(0)
    with av.open(data, "r", format="matroska") as source:
        return np.stack([f.to_ndarray(format="rgb24") for f in source.decode(video=0)]).astype(np.uint8)
