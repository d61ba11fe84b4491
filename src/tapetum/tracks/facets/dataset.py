"""Synthetic clips with ground truth, each from one seed, and data sets of them in the layouts of the public benchmarks.

A clip has exposure, uneven light, blur, noise and compression as from a real camera.

    DIR/tapvid.pkl               TAP-Vid: name -> video uint8 (t, h, w, 3), points (n, t, 2) in 0..1 as (x, y), occluded (n, t)
    DIR/tapvid3d/NAME.npz        TAPVid-3D: images_jpeg_bytes, queries_xyt, tracks_XYZ (t, n, 3), visibility (t, n),
                                 fx_fy_cx_cy (4), extrinsics_w2c (t, 4, 4)
    DIR/tapvid3d/NAME.depth.npz  depth float32 (t, h, w), metres: what `tapetum eval tapvid3d --depth true` reads
    DIR/truth/NAME.npz           per pixel: instances uint8 (t, h, w)
    DIR/videos/NAME.mp4          to look at

The focal length is fixed, since TAPVid-3D has one set of intrinsics per clip. The future contents of the pickle are in
DIR/.unfinished, so that an interrupted run resumes, another into the same folder is refused, and not all clips are in memory.
"""

import io
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from tapetum.core.devices import check_room
from tapetum.core.errors import BadInput
from tapetum.core.files import cannot_write, whole_file, write_json
from tapetum.core.finished import continues_run
from tapetum.core.identity import source_label
from tapetum.core.jobs import Engine, run_jobs
from tapetum.core.reading import no_pipe
from tapetum.data.textures import Textures, open_textures, procedural, smooth_noise
from tapetum.tracks.facets.ground_truth import FacetGroundTruth, FacetTracks, frame_times
from tapetum.tracks.facets.render import Renderer, Rendering
from tapetum.tracks.facets.sampling import sample_world
from tapetum.tracks.facets.types import F32, F64, U8
from tapetum.tracks.facets.world import FacetWorld, SceneConfig
from tapetum.video import write_video
from tapetum.video.images import encode_jpeg
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
    world: FacetWorld


def make_clip(
    seed: int | tuple[int, ...], config: SceneConfig | None = None, textures: Textures = procedural, points: int = 256
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
        soft = ImageFilter.GaussianBlur(radius)
        eight = np.rint(np.clip(frames, 0, 1) * 255).astype(np.uint8)
        frames = np.stack([np.asarray(Image.fromarray(frame).filter(soft)) for frame in eight]).astype(np.float32)
        frames = frames / np.float32(255)
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


def jpeg(frames: U8, quality: int) -> U8:
    """Encode and decode every frame as JPEG."""
    return np.stack([np.asarray(Image.open(io.BytesIO(encode_jpeg(frame, quality)))) for frame in frames])


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


FOLDERS = "tapvid3d", "truth", "videos"
_UNFINISHED, _SETTINGS = ".unfinished", "settings.json"
_PROTOCOL = 3
"""The last one without frames, so that a pickle can be put together of pieces."""


def make_dataset(
    out: str | Path,
    *,
    n: int,
    seed: int = 0,
    textures: str | Path | None = None,
    size: int = 256,
    frames: int = 24,
    points: int = 256,
    workers: int = 1,
    engine: Engine = "local",
    progress: Callable[[int], None] = lambda done: None,
) -> Path:
    """Write n clips of `frames` frames of size x size pixels with `points` tracks each into the folder `out`, the same for the
    same seed and textures; repeating an interrupted call resumes it. Returns the path of the pickle.

    `textures` is a folder of images, a parquet file or None; `workers` and `engine` are those of `core.jobs.run_jobs`. Raises
    BadInput for a folder that holds another data set, clips larger than memory, or a place that is not writable.
    """
    if n < 1:
        raise BadInput(f"asked for {n} clips: give --n 1 or more")
    if seed < 0:
        raise BadInput(f"--seed is {seed}; it must be 0 or more")
    out = Path(os.path.realpath(out)) if engine == "ray" else Path(out)
    target, waiting = out / "tapvid.pkl", out / _UNFINISHED
    if target.exists():
        raise BadInput(f"{target} exists already: choose another folder or remove it")
    config = replace(SceneConfig(), size=(size, size), frames=frames, zoom_share=0.0)
    check_clip(config, points)
    open_textures(textures)  # what is wrong with them is said before anything is made
    _begin(out, {"n": n, "seed": seed, "textures": source_label(textures), "size": size, "frames": frames, "points": points})
    names = [f"scene-{k:05d}" for k in range(n)]
    missing = [k for k, name in enumerate(names) if not (waiting / f"{name}.npz").exists()]

    for _ in run_jobs(
        partial(_make_one, out, (seed, config, points)),
        [(k, names[k]) for k in missing],
        partial(open_textures, None if textures is None else Path(textures).absolute()),
        engine=engine,
        workers=workers,
        finished=n - len(missing),
        progress=lambda done, _: progress(done),
    ):
        pass  # the clip of an item is a file
    _write_pickle(target, {name: waiting / f"{name}.npz" for name in names})
    shutil.rmtree(waiting, ignore_errors=True)
    return target


def _make_one(out: Path, settings: tuple[int, SceneConfig, int], item: tuple[int, str], source: Any) -> None:
    """Make a clip and write its files, last the one that marks it as done."""
    (seed, config, points), (number, name) = settings, item
    clip = make_clip((seed, number), config, source, points)
    with whole_file(out / "tapvid3d" / f"{name}.npz") as temporary:
        np.savez(
            temporary,
            allow_pickle=False,
            images_jpeg_bytes=np.array([encode_jpeg(frame) for frame in clip.video]),
            queries_xyt=clip.queries[:, [1, 2, 0]].astype(np.float64),
            tracks_XYZ=clip.truth.xyz.transpose(1, 0, 2).astype(np.float64),
            visibility=clip.truth.visible.T,
            fx_fy_cx_cy=clip.intrinsics[0].astype(np.float64),
            extrinsics_w2c=clip.world_to_camera.astype(np.float64),
        )
    with whole_file(out / "tapvid3d" / f"{name}.depth.npz") as temporary:
        np.savez_compressed(temporary, depth=clip.depth)
    with whole_file(out / "truth" / f"{name}.npz") as temporary:
        np.savez_compressed(temporary, instances=clip.instances)
    write_video(out / "videos" / f"{name}.mp4", clip.video, clip.world.config.frame_rate)
    shares = clip.truth.xy / np.array(clip.video.shape[2:0:-1], np.float32)
    with whole_file(out / _UNFINISHED / f"{name}.npz") as temporary:
        np.savez(temporary, allow_pickle=False, video=clip.video, points=shares, occluded=~clip.truth.visible)


def finished(out: str | Path) -> int:
    """Count the clips finished by an interrupted run into the folder `out`."""
    return sum(1 for _ in (Path(out) / _UNFINISHED).glob("scene-*.npz"))


def _begin(out: Path, settings: dict[str, Any]) -> None:
    note = out / _UNFINISHED / _SETTINGS
    begun = continues_run(note, settings, out, f"{finished(out)} scenes")
    scenes = sum(1 for folder in FOLDERS for _ in (out / folder).glob("scene-*"))
    if not begun and scenes:
        raise BadInput(f"{out} holds {scenes} files of scenes and no tapvid.pkl; remove them or choose another folder")
    try:
        for folder in (*FOLDERS, _UNFINISHED):
            (out / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    if not begun:
        write_json(note, settings)


def _write_pickle(target: Path, parts: dict[str, Path]) -> None:
    """Write a dict of the arrays in files, one file in memory at a time."""
    with whole_file(target) as temporary, open(temporary, "wb") as file:
        file.write(pickle.PROTO + bytes([_PROTOCOL]) + pickle.EMPTY_DICT)
        for name, part in parts.items():
            with np.load(no_pipe(part), allow_pickle=False) as arrays:
                file.write(_piece(name) + _piece(dict(arrays)) + pickle.SETITEM)
        file.write(pickle.STOP)


def _piece(value: Any) -> bytes:
    """Pickle a value to be pushed onto an unpickler's stack: without header and STOP, and without earlier references."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, _PROTOCOL)
    pickler.fast = True
    pickler.dump(value)
    return buffer.getvalue()[2:-1]
