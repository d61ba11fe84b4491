"""What a real camera does to a clean image: exposure, uneven light, blur, noise, compression."""

import io
from fractions import Fraction

import numpy as np
from PIL import Image, ImageFilter

from tapetum.scenes.config import SceneConfig
from tapetum.scenes.textures import smooth_noise
from tapetum.scenes.types import F32, U8


def expose(frames: F32, config: SceneConfig, rng: np.random.Generator) -> U8:
    """Return frames (t, h, w, 3) in 0..1 as a sensor and a codec would deliver them, uint8."""
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
    """Return every frame through JPEG."""
    out = []
    for frame in frames:
        data = io.BytesIO()
        Image.fromarray(frame).save(data, "JPEG", quality=quality)
        out.append(np.asarray(Image.open(data)))
    return np.stack(out)


def mpeg4(frames: U8, quantiser: int) -> U8:
    """Return the clip through MPEG-4 at a fixed quantiser (2 is good, 31 is worst); odd sides are not possible and get JPEG.

    Not H.264: x264 was seen to encode the same frames to different bytes from one call to the next, and clips must repeat.
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
