"""Small clips and predictions, written as the public code writes them; `np.savez` and nothing of ours."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

T, N, H, W = 6, 4, 48, 64
CAMERA = np.array([50.0, 52.0, 31.0, 25.0])


def jpeg(seed: int, size: tuple[int, int] = (H, W)) -> bytes:
    """An image whose file is of another length than the next seed's."""
    pixels = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).resize(size[::-1]).save(data, "JPEG", quality=70 + seed % 20)
    return data.getvalue()


def example(seed: int = 0) -> dict[str, Any]:
    """The arrays of a clip: points on smooth paths that stay in the image, seen most of the time, always at frame 2."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform([8, 8], [W - 8, H - 8], (N, 2)) + 0.5 * np.arange(T)[:, None, None]
    z = rng.uniform(1, 3, N) + 0.02 * np.arange(T)[:, None]
    tracks = np.concatenate([(xy - CAMERA[2:]) / CAMERA[:2] * z[..., None], z[..., None]], -1)
    visible = rng.random((T, N)) < 0.7
    visible[2] = True
    frame = np.array([rng.choice(np.flatnonzero(seen)) for seen in visible.T])
    return {
        "images_jpeg_bytes": [jpeg(index) for index in range(T)],
        "queries_xyt": np.concatenate([xy[frame, np.arange(N)], frame[:, None]], -1),
        "tracks_XYZ": tracks,
        "visibility": visible,
        "fx_fy_cx_cy": CAMERA,
        "extrinsics_w2c": np.tile(np.eye(4), (T, 1, 1)),
    }


def objects(items: list[Any]) -> np.ndarray:
    """An array of Python objects, which numpy stores as a pickle."""
    array = np.empty(len(items), object)
    array[:] = items
    return array


def save(path: Path, arrays: dict[str, Any], **changes: Any) -> Path:
    """Write a file with some arrays changed, or left out where None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{key: value for key, value in {**arrays, **changes}.items() if value is not None})
    return path


def prediction(arrays: dict[str, Any], error: float = 0.0) -> dict[str, np.ndarray]:
    """What a model would write that is off by `error` metres in X."""
    return {"tracks_XYZ": arrays["tracks_XYZ"] + [error, 0, 0], "visibility": arrays["visibility"]}
