"""Data sets of synthetic clips with ground truth, written in the layouts of the public benchmarks.

    DIR/tapvid.pkl               TAP-Vid: name -> video uint8 (t, h, w, 3), points (n, t, 2) in 0..1 as (x, y), occluded (n, t)
    DIR/tapvid3d/NAME.npz        TAPVid-3D: images_jpeg_bytes, queries_xyt, tracks_XYZ (t, n, 3), visibility (t, n),
                                 fx_fy_cx_cy (4), extrinsics_w2c (t, 4, 4)
    DIR/tapvid3d/NAME.depth.npz  depth float32 (t, h, w), metres: what `tapetum eval tapvid3d --depth true` reads
    DIR/truth/NAME.npz           per pixel: instances uint8 (t, h, w)
    DIR/videos/NAME.mp4          to look at

The focal length is fixed, since TAPVid-3D has one set of intrinsics per clip.

Unusual: the future contents of the pickle are stored in DIR/.unfinished, so that an interrupted run resumes with the missing
clips, another run into the same folder is refused, and not all clips need be in memory at once.
"""

import io
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.core.files import cannot_write, whole_file
from tapetum.core.finished import continues_run, write_settings
from tapetum.core.identity import source_label
from tapetum.core.jobs import Engine, run_jobs
from tapetum.core.reading import no_pipe
from tapetum.data.textures import open_textures
from tapetum.video import write_video
from tapetum.world.facets.clip import SyntheticClip, check_clip, make_clip
from tapetum.world.facets.world import SceneConfig

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
    """Write n clips of `frames` frames of size x size pixels with `points` tracks each into the folder `out`.

    The same seed and textures write the same ground truth. `textures` is a folder of images, a parquet file or None for
    procedural ones; `workers` and `engine` are as in `tapetum.core.jobs.run_jobs`. Repeating an interrupted call resumes it.
    Returns the path of the pickle. Raises BadInput for a folder that already holds a data set or part of another one, for clips
    larger than memory, or a place that is not writable.
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
    _write_clip(out, name, clip)
    with whole_file(out / _UNFINISHED / f"{name}.npz") as temporary:
        np.savez(temporary, allow_pickle=False, **tapvid_entry(clip))


def finished(out: str | Path) -> int:
    """Count the clips finished by an interrupted run into the folder `out`."""
    return sum(1 for _ in (Path(out) / _UNFINISHED).glob("scene-*.npz"))


def _begin(out: Path, settings: dict[str, Any]) -> None:
    """Create the folders, unless they hold clips of another run."""
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
        write_settings(note, settings)


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


def tapvid_entry(clip: SyntheticClip) -> dict[str, np.ndarray]:
    """Build one video of a TAP-Vid pickle; points in 0..1 of width and height."""
    _, h, w, _ = clip.video.shape
    return {
        "video": clip.video,
        "points": clip.truth.xy / np.array([w, h], np.float32),
        "occluded": ~clip.truth.visible,
    }


def tapvid3d_entry(clip: SyntheticClip) -> dict[str, np.ndarray]:
    """Build the arrays of one TAPVid-3D file."""
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


def _write_clip(out: Path, name: str, clip: SyntheticClip) -> None:
    with whole_file(out / "tapvid3d" / f"{name}.npz") as temporary:
        np.savez(temporary, allow_pickle=False, **tapvid3d_entry(clip))
    with whole_file(out / "tapvid3d" / f"{name}.depth.npz") as temporary:
        np.savez_compressed(temporary, depth=clip.depth)
    with whole_file(out / "truth" / f"{name}.npz") as temporary:
        np.savez_compressed(temporary, instances=clip.instances)
    write_video(out / "videos" / f"{name}.mp4", clip.video, clip.world.config.frame_rate)
