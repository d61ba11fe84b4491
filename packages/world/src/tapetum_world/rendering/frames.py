"""Frames of an episode, one at a time: images as from a camera, with depth and instances; the settings of the renderer.

Motion blur and depth of field are applied to a sharp image using each pixel's speed and depth; sensor and codec then add shot
noise, a tone curve, and JPEG or MPEG-4.

Each blurred pixel samples positions along the fastest motion near it (or in a disc as wide as the blur there): McGuire,
Hennessy, Bukowski and Osman, A reconstruction filter for plausible motion blur (2012). Each sample stands for an equal part of
the shutter's time: it is shown if its own motion brings it here and it is not behind the surface here, or if that surface moves
away and uncovers it; otherwise the pixel's own colour is shown. Only pixels near something fast or out of focus change. A
blurred object's middle stays in place, so ground truth remains the middle of the streak.

Differs from the paper, which weights samples by 1 / speed; that leaves small fast objects too faint.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from PIL import Image

from tapetum.core.fields import check_fields
from tapetum.data.textures import Textures, procedural
from tapetum.tracks.facets.types import F32, I64, U8
from tapetum_world.bodies.episode import Body, Episode
from tapetum_world.bodies.shapes import Sheet
from tapetum_world.rendering.camera import CameraView, view_at
from tapetum_world.rendering.shading import shade
from tapetum_world.rendering.texturing import SurfaceTexture
from tapetum_world.rendering.trace import RayHits, trace


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """Config of the rendering. What happens in an episode, its light and its lens are the episode's own."""

    edges: bool = True
    """Four rays in every pixel in which two surfaces meet; without it, edges are stairs."""
    shadows: bool = True
    """Shadows of the sun, and darker corners where little of the sky is seen."""
    blur: bool = True
    """Motion blur and depth of field, where the camera has a shutter and an aperture."""
    blur_taps: int = 9
    """Places looked at for each blurred pixel."""
    noise: float = 0.012
    """Standard deviation of the sensor's noise in a full white, as a fraction of it; shot noise, so dark parts have less."""
    compress: Literal["no", "jpeg", "mpeg4"] = "jpeg"
    """Codec that the frames pass through."""
    quality: int = 85
    """Of JPEG, 1 to 95; MPEG-4's quantiser (2 good to 31 bad) is derived from it."""

    def __post_init__(self) -> None:
        check_fields(self, noise="[0, inf)", blur_taps="[2, inf)", quality="[1, 95]")


def random_render_config(rng: np.random.Generator) -> RenderConfig:
    """Draw the settings of one film, varied as cameras are: mostly little noise and JPEG, sometimes much noise or a codec."""
    codec = rng.choice(["no", "jpeg", "mpeg4"], p=[0.3, 0.5, 0.2])
    return RenderConfig(noise=float(0.002 + 0.04 * rng.uniform() ** 2), compress=codec, quality=int(rng.integers(45, 96)))


STEPS = 4096


def _curve() -> U8:
    """8-bit values by square root of light, 0..1.25: sRGB's curve with a soft shoulder instead of a hard clip."""
    light = (np.arange(STEPS) / STEPS * np.sqrt(4.0)) ** 2
    bent = np.where(light < 0.7, light, 0.7 + 0.3 * (1 - np.exp(-(light - 0.7) / 0.3)))
    value = np.where(bent <= 0.0031308, 12.92 * bent, 1.055 * np.maximum(bent, 1e-9) ** (1 / 2.4) - 0.055)
    return np.rint(np.clip(value, 0, 1) * 255).astype(np.uint8)


_TONES = _curve()


def develop(light: F32, size: tuple[int, int], noise: float, rng: np.random.Generator) -> U8:
    """Develop linear light (3, h * w) into an image (h, w, 3).

    Noise is added to the square root of light, where photon noise has the same strength everywhere.
    """
    root = np.sqrt(np.maximum(light, 0))
    if noise > 0:
        root += rng.standard_normal(root.shape, np.float32) * np.float32(noise / 2)
    root *= np.float32(STEPS / np.sqrt(4.0))
    np.clip(root, 0, STEPS - 1, out=root)
    return np.ascontiguousarray(_TONES.take(root.astype(np.int16)).reshape(3, *size).transpose(1, 2, 0))


def codec(config: RenderConfig, size: tuple[int, int], frame_rate: float) -> Callable[[U8], U8]:
    """Build a function that passes frames, in order, through the configured codec."""
    if config.compress == "no":
        return lambda frame: frame
    if config.compress == "jpeg" or size[0] % 2 or size[1] % 2:
        return lambda frame: _jpeg(frame, config.quality)
    return _Mpeg4(size, frame_rate, int(np.clip(2 + (95 - config.quality) / 3, 2, 31)))


def _jpeg(frame: U8, quality: int) -> U8:
    data = io.BytesIO()
    Image.fromarray(frame).save(data, "JPEG", quality=quality)
    return np.asarray(Image.open(data))


class _Mpeg4:
    """Encoder and decoder in sequence, one frame in, one out (no frame is predicted from a later one)."""

    def __init__(self, size: tuple[int, int], frame_rate: float, quantiser: int):
        import av

        self._frame = av.VideoFrame.from_ndarray
        options = {"qmin": str(quantiser), "qmax": str(quantiser)}
        self.encoder = av.CodecContext.create("mpeg4", "w")
        self.encoder.height, self.encoder.width = size
        self.encoder.pix_fmt, self.encoder.thread_count, self.encoder.options = "yuv420p", 1, options
        self.encoder.framerate = Fraction(frame_rate).limit_denominator(60000)
        self.encoder.time_base = 1 / self.encoder.framerate
        self.decoder = av.CodecContext.create("mpeg4", "r")
        self.decoder.thread_count = 1
        self.last: U8 | None = None

    def __call__(self, frame: U8) -> U8:
        for packet in self.encoder.encode(self._frame(frame, format="rgb24")):
            for decoded in self.decoder.decode(packet):
                self.last = decoded.to_ndarray(format="rgb24")  # pyright: ignore[reportAttributeAccessIssue]
        if self.last is None:
            return frame
        return self.last


LEAST = 0.6
"""Blur of fewer pixels than this is left out."""


def pixel_motion(bodies: tuple[Body, ...], hits: RayHits, places: F32, before: CameraView, after: CameraView) -> F32:
    """Compute the motion (2, h * w) in pixels of each pixel's surface point between two views; the open sky stands still."""
    count = hits.size[0] * hits.size[1]
    out = np.zeros((2, count), np.float32)
    still = np.array_equal(before.world, after.world) and np.array_equal(before.intrinsics, after.intrinsics)
    for i, b in enumerate(bodies):
        sheet = b.shape if isinstance(b.shape, Sheet) else None
        if still and sheet is None and _same(before, after, i):
            continue
        at = np.flatnonzero(hits.body[:count] == i)
        if len(at) == 0:
            continue
        ends = []
        for view in (before, after):
            if sheet is not None:
                p = _on_sheet(sheet, view.sheets[i], places[:2, at])
            else:
                p = view.rotation[i].astype(np.float32) @ places[:, at] + view.origin[i].astype(np.float32)[:, None]
            fx, fy = (np.float32(v) for v in view.intrinsics[:2])
            ahead = np.maximum(p[2], np.float32(1e-3))
            ends.append((fx * p[0] / ahead, fy * p[1] / ahead))
        shift = (after.intrinsics[2:] - before.intrinsics[2:]).astype(np.float32)
        out[0, at] = ends[1][0] - ends[0][0] + shift[0]
        out[1, at] = ends[1][1] - ends[0][1] + shift[1]
    return out


def _same(before: CameraView, after: CameraView, i: int) -> bool:
    turned, moved = before.rotation[i] - after.rotation[i], before.origin[i] - after.origin[i]
    return abs(turned).max() < 1e-6 and abs(moved).max() < 1e-6


def _on_sheet(sheet: Sheet, points: np.ndarray, place: F32) -> F32:
    """Interpolate a sheet's points (rows, columns, 3) at positions (2, n): bilinear is accurate enough for a speed."""
    rows, columns = points.shape[:2]
    x = np.clip((place[0] / sheet.size[0] + 0.5) * (columns - 1), 0, columns - 1.001)
    y = np.clip((place[1] / sheet.size[1] + 0.5) * (rows - 1), 0, rows - 1.001)
    i, j = x.astype(int), y.astype(int)
    fx, fy = (x - i)[:, None], (y - j)[:, None]
    top = points[j, i] * (1 - fx) + points[j, i + 1] * fx
    low = points[j + 1, i] * (1 - fx) + points[j + 1, i + 1] * fx
    return (top * (1 - fy) + low * fy).T.astype(np.float32)


def motion_blur(image: F32, depth: F32, speed: F32, size: tuple[int, int], taps: int, rng: np.random.Generator) -> F32:
    """Blur an image (3, h * w) along the speeds (2, h * w)."""
    h, w = size
    longest = max(h, w) / 8
    pace = np.sqrt(speed[0] * speed[0] + speed[1] * speed[1])
    if pace.max() < LEAST:
        return image
    scale = np.minimum(1, longest / np.maximum(pace, 1e-6)).astype(np.float32)
    speed, pace = speed * scale, pace * scale
    sx, sy, fast = _fastest(speed, pace, size, int(np.ceil(longest / 2)))
    at = np.flatnonzero(fast >= LEAST)
    if len(at) == 0:
        return image
    # what moves itself is blurred along its own way; what stands still, along that of the fastest thing near
    alone = pace[at] > 0.5 * fast[at]
    sx, sy = np.where(alone, speed[0, at], sx[at]), np.where(alone, speed[1, at], sy[at])
    fast = np.where(alone, pace[at], fast[at])
    x, y = (at % w).astype(np.float32), (at // w).astype(np.float32)
    own, own_depth = pace[at] / 2, depth[at]
    soft = np.float32(0.02) * own_depth
    length = fast / 2
    here = image.take(at, 1)
    total = np.zeros_like(here)
    # long streaks are sampled at random places, or their taps would show as copies; in short ones taps are neighbours anyway
    jitter = (rng.random(len(at), np.float32) - np.float32(0.5)) * np.clip(fast / taps - np.float32(0.7), 0, 1)
    for k in range(taps):
        part = (np.float32(2 * (k + 0.5) / taps - 1)) + jitter * np.float32(2 / taps)
        px = np.clip(np.rint(x + sx * part / 2), 0, w - 1).astype(np.int32)
        py = np.clip(np.rint(y + sy * part / 2), 0, h - 1).astype(np.int32)
        other = py * np.int32(w) + px
        away = abs(part) * length - np.float32(0.5)
        behind = (depth.take(other) - own_depth) / soft
        comes = np.clip(pace.take(other) / 2 - away, 0, 1) * np.clip(1 - behind, 0, 1)
        leaves = np.clip(own - away, 0, 1) * np.clip(1 + behind, 0, 1)
        total += (image.take(other, 1) - here) * np.maximum(comes, leaves)
    out = image.copy()
    out[:, at] = here + total / taps
    return out


def _fastest(speed: F32, pace: F32, size: tuple[int, int], reach: int) -> tuple[F32, F32, F32]:
    """The fastest speed (x, y, length; (h * w,) each) within about `reach` pixels of each pixel."""
    h, w = size
    tile = max(reach, 2)
    rows, columns = -(-h // tile), -(-w // tile)
    padded = np.zeros((3, rows * tile, columns * tile), np.float32)
    padded[0, :h, :w], padded[1, :h, :w], padded[2, :h, :w] = speed[0].reshape(h, w), speed[1].reshape(h, w), pace.reshape(h, w)
    blocks = padded.reshape(3, rows, tile, columns, tile).swapaxes(2, 3).reshape(3, rows, columns, -1)
    best = blocks[2].argmax(-1)[None, ..., None]
    tiles = np.take_along_axis(blocks, np.broadcast_to(best, (3, rows, columns, 1)), -1)[..., 0]
    wide = np.pad(tiles, ((0, 0), (1, 1), (1, 1)))
    around = np.stack([wide[:, i : i + rows, j : j + columns] for i in range(3) for j in range(3)], -1)
    best = around[2].argmax(-1)[None, ..., None]
    tiles = np.take_along_axis(around, np.broadcast_to(best, (3, rows, columns, 1)), -1)[..., 0]
    full = tiles.repeat(tile, 1).repeat(tile, 2)[:, :h, :w].reshape(3, -1)
    return full[0], full[1], full[2]


def focus_blur(image: F32, depth: F32, size: tuple[int, int], focal: float, focus: float, aperture: float) -> F32:
    """Blur an image (3, h * w) by a lens of `aperture` metres that is sharp at depth `focus`."""
    h, w = size
    far = np.minimum(depth, np.float32(1e3))
    radius = abs(far - np.float32(focus)) / far * np.float32(0.5 * aperture * focal / focus)
    radius = np.minimum(radius, np.float32(max(size) / 24))
    if radius.max() < LEAST:
        return image
    grid = radius.reshape(h, w)
    reach = _spread_near(grid, far.reshape(h, w), focus).ravel()
    at = np.flatnonzero(reach > LEAST)
    x, y = (at % w).astype(np.float32), (at // w).astype(np.float32)
    wide, own, own_depth = reach[at], radius[at], far[at]
    total = image[:, at].copy()
    weight = np.ones(len(at), np.float32)
    for k in range(14):
        length, angle = np.sqrt((k + 0.7) / 14), 2.39996 * k
        away = wide * np.float32(length)
        px = np.clip(np.rint(x + away * np.float32(np.cos(angle))), 0, w - 1).astype(np.int32)
        py = np.clip(np.rint(y + away * np.float32(np.sin(angle))), 0, h - 1).astype(np.int32)
        other = py * np.int32(w) + px
        their = radius.take(other)
        their = np.where(far.take(other) > own_depth, np.minimum(their, own), their)
        fraction = np.clip(their - away + 1, 0, 1)
        total += image.take(other, 1) * fraction
        weight += fraction
    out = image.copy()
    out[:, at] = total / weight
    return out


def _spread_near(radius: F32, depth: F32, focus: float) -> F32:
    """Blur radius of each pixel, or of a nearer neighbour whose blur extends over it."""
    near = np.where(depth < focus, radius, 0)
    steps = int(min(np.ceil(near.max()), 8)) if near.max() > LEAST else 0
    for gap in [1, 2, 4][: int(np.ceil(np.log2(steps + 1)))]:
        for axis in (0, 1):
            near = np.maximum(near, np.maximum(np.roll(near, gap, axis), np.roll(near, -gap, axis)))
    return np.maximum(radius, near)


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
    episode: Episode, textures: Textures = procedural, config: RenderConfig | None = None, frames: range | None = None
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
