"""Synthetic videos (`tapetum_world`) as clips of TAPVid-3D, with true depth: a benchmark that anyone can generate.

A world unit counts as a metre. The camera and the objects move; the focal length is constant, since the format has one camera
per clip. Each track has one query, on the track, at a random frame in which it is visible, as in the benchmark.

    DIR/scene-00000.npz          the clip
    DIR/scene-00000.depth.npz    on request: depth float32 (t, h, w), metres along the axis of view at the pixels' centres

Differs from the benchmark: tracks cover the background and all objects equally, and a point's visibility is determined by exact
geometry (without a tolerance of centimetres).
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.files import cannot_write, whole_file, write_json
from tapetum.core.finished import continues_run
from tapetum.core.identity import source_label
from tapetum.core.jobs import run_jobs
from tapetum.data.textures import open_textures
from tapetum.systems.tapvid3d.data import depth_path, write_clip
from tapetum.systems.tapvid3d.geometry import project
from tapetum.tracks.facets import SceneConfig, SyntheticClip, make_clip
from tapetum.tracks.facets.dataset import check_clip
from tapetum.video.images import encode_jpeg

_UNFINISHED = ".unfinished.json"


def write_scenes(
    folder: str | os.PathLike[str],
    count: int,
    *,
    seed: int = 0,
    size: int = 256,
    frames: int = 24,
    points: int = 256,
    textures: str | Path | None = None,
    depth: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Path]:
    """Write `count` clips of `frames` frames of size x size pixels with `points` tracks each; returns their paths.

    The same seed and textures write the same clips. `textures` is a folder of images, a parquet file, or None for procedural
    patterns. Repeating an interrupted call resumes it. Raises `BadInput` for a folder that already holds clips of this kind, or
    part of another call's, or is not writable.
    """
    if count < 1 or points < 1:
        raise BadInput(f"asked for {count} clips of {points} tracks; give 1 or more of each")
    folder = Path(folder)
    paths = [folder / f"scene-{number:05d}.npz" for number in range(count)]
    config = replace(SceneConfig(), size=(size, size), frames=frames, zoom_share=0.0)
    check_clip(config, points)
    source = open_textures(textures)
    settings = {"n": count, "seed": seed, "size": size, "frames": frames, "points": points}
    settings |= {"textures": source_label(textures), "depth": depth}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    if not continues_run(folder / _UNFINISHED, settings, folder, f"{finished(folder)} scenes"):
        if any(folder.glob("scene-*.npz")):
            raise BadInput(f"{folder} already holds scenes; choose another folder or remove them")
        write_json(folder / _UNFINISHED, settings)
    missing = [number for number, path in enumerate(paths) if not path.exists()]

    def work(number: int, tool: None) -> None:
        clip = make_clip((seed, number), config, source, points)
        if depth:
            with whole_file(depth_path(paths[number])) as temporary:
                np.savez_compressed(temporary, depth=clip.depth)
        _write(paths[number], clip, np.random.default_rng((seed, number, 3)))  # a clip is written last of all that is its own

    for _ in run_jobs(work, missing, finished=count - len(missing), progress=lambda done, _: progress(done)):
        pass  # the clip of an item is a file
    (folder / _UNFINISHED).unlink()
    return paths


def finished(folder: str | os.PathLike[str]) -> int:
    """Count the clips finished by an interrupted call into `folder`."""
    folder = Path(folder)
    if not (folder / _UNFINISHED).exists():
        return 0
    return sum(not path.name.endswith(".depth.npz") for path in folder.glob("scene-*.npz"))


def _write(path: Path, clip: SyntheticClip, rng: np.random.Generator) -> None:
    tracks, visible = clip.truth.xyz.transpose(1, 0, 2).astype(np.float64), clip.truth.visible.T
    camera = clip.intrinsics[0].astype(np.float64)
    frame = np.where(visible, rng.random(visible.shape), -1).argmax(axis=0)
    query_xy = project(tracks[frame, np.arange(len(frame))], camera)
    write_clip(
        path,
        tracks_XYZ=tracks,
        visibility=visible,
        queries_xyt=np.concatenate([query_xy, frame[:, None]], axis=1),
        fx_fy_cx_cy=camera,
        images_jpeg_bytes=[encode_jpeg(image) for image in clip.video],
        extrinsics_w2c=clip.world_to_camera,
    )
