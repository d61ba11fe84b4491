"""Writes many synthetic clips with their truth, in the layouts of the public benchmarks.

    DIR/tapvid.pkl               TAP-Vid: name -> video uint8 (t, h, w, 3), points (n, t, 2) in 0..1 as (x, y), occluded (n, t)
    DIR/tapvid3d/NAME.npz        TAPVid-3D: images_jpeg_bytes, queries_xyt, tracks_XYZ (t, n, 3), visibility (t, n),
                                 fx_fy_cx_cy (4), extrinsics_w2c (t, 4, 4)
    DIR/truth/NAME.npz           per pixel: depth float32 (t, h, w), instances uint8 (t, h, w)
    DIR/videos/NAME.mp4          to look at

The focal length is fixed, since TAPVid-3D has one set of intrinsics per clip.
"""

import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from tapetum.errors import BadInput
from tapetum.files import cannot_write, whole_file
from tapetum.scenes.clip import Clip, make_clip
from tapetum.scenes.config import SceneConfig
from tapetum.scenes.textures import textures as texture_source
from tapetum.video import write_video


def make_dataset(
    out: str | Path,
    *,
    n: int,
    seed: int = 0,
    textures: str | Path | None = None,
    size: int = 256,
    frames: int = 24,
    points: int = 256,
    progress: Callable[[int], None] = lambda done: None,
) -> Path:
    """Write n clips of `frames` frames of size x size pixels with `points` tracks each into the folder `out`.

    The same seed and textures write the same truth. `textures` is a folder of pictures, a parquet file or None for procedural
    ones. Returns the path of the pickle. Raises BadInput for a folder that already holds a data set, or an unwritable one.
    """
    if n < 1:
        raise BadInput(f"asked for {n} clips: give --n 1 or more")
    if seed < 0:
        raise BadInput(f"--seed is {seed}; it must be 0 or more")
    out = Path(out)
    target = out / "tapvid.pkl"
    if target.exists():
        raise BadInput(f"{target} exists already: choose another folder or remove it")
    config = replace(SceneConfig(), size=(size, size), frames=frames, zoom_share=0.0)
    source = texture_source(textures)
    try:
        for folder in ("tapvid3d", "truth", "videos"):
            (out / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error

    def entries() -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        for k in range(n):
            clip = make_clip((seed, k), config, source, points)
            name = f"scene-{k:05d}"
            _write_clip(out, name, clip)
            yield name, tapvid_entry(clip)
            progress(k + 1)

    data = dict(entries())
    with whole_file(target) as temporary, open(temporary, "wb") as file:
        pickle.dump(data, file, protocol=4)
    return target


def tapvid_entry(clip: Clip) -> dict[str, np.ndarray]:
    """Return one video of a TAP-Vid pickle; points in 0..1 of width and height."""
    _, h, w, _ = clip.video.shape
    return {
        "video": clip.video,
        "points": clip.truth.xy / np.array([w, h], np.float32),
        "occluded": ~clip.truth.visible,
    }


def tapvid3d_entry(clip: Clip) -> dict[str, np.ndarray]:
    """Return the arrays of one TAPVid-3D file."""
    jpegs = []
    for frame in clip.video:
        data = io.BytesIO()
        Image.fromarray(frame).save(data, "JPEG", quality=95)
        jpegs.append(data.getvalue())
    return {
        "images_jpeg_bytes": np.array(jpegs),
        "queries_xyt": clip.queries[:, [1, 2, 0]].astype(np.float64),
        "tracks_XYZ": clip.truth.xyz.transpose(1, 0, 2).astype(np.float64),
        "visibility": clip.truth.visible.T,
        "fx_fy_cx_cy": clip.intrinsics[0].astype(np.float64),
        "extrinsics_w2c": clip.world_to_camera.astype(np.float64),
    }


def _write_clip(out: Path, name: str, clip: Clip) -> None:
    with whole_file(out / "tapvid3d" / f"{name}.npz") as temporary:
        np.savez(temporary, allow_pickle=False, **tapvid3d_entry(clip))
    with whole_file(out / "truth" / f"{name}.npz") as temporary:
        np.savez_compressed(temporary, depth=clip.depth, instances=clip.instances)
    write_video(out / "videos" / f"{name}.mp4", clip.video, clip.world.config.rate)
