"""Where depth comes from: files, or a monocular network. And the depth at a place between pixels.

A source of depth maps answers `depth(number, picture)` with float32 (h, w), the distance Z along the axis of view of every
pixel of that frame; 0, NaN or infinity where it is unknown. A map may have another size than the video: it then covers the
same picture, a place (x, y) of the video lies at (x w / W, y h / H) of the map, and the intrinsics stay those of the video.

Files: a folder with one file a frame, in natural order (npy: metres; png of 16 bits: millimetres, 0 is unknown), an npz with
    the
array `depth` (t, h, w) in metres, or a npy (t, h, w) in metres. Networks: by name through transformers, see `NETWORKS`.
"""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Num, UInt8
from PIL import Image

from tapetum.errors import BadInput, MissingExtra
from tapetum.video.pictures import natural_key

NETWORKS = {
    "depth-anything-v2": "depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf",
    "depth-anything-v2-outdoor": "depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf",
    "zoedepth": "Intel/zoedepth-nyu-kitti",
}
"""Short names of networks that say metres. Any other name on the Hugging Face hub, or a folder of such a model, does too."""
SAME_SURFACE = 0.05
"""Share by which the depth of two neighbouring pixels may differ if they show one surface."""
MILLIMETRES = 1000.0
NEAREST_TO_FARTHEST = 0.02
"""Least inverse depth of a network without scale, as a share of the frame's largest; what is farther is put there."""


class Depth(Protocol):
    """A source of depth maps."""

    metric: bool
    """Whether the maps are in metres; if not, they are in some unit, the same for all frames."""

    def depth(self, number: int, picture: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w"]:
        """The map of frame `number`, whose picture is given. Raises BadInput where there is none."""
        ...


class DepthMaps:
    """Depth maps that are there: an array (t, h, w) in metres, or one read per frame."""

    def __init__(self, read: Callable[[int], np.ndarray], frames: int, name: str, metric: bool = True):
        self._read, self.frames, self.name, self.metric = read, frames, name, metric

    def depth(self, number: int, picture: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w"]:
        """The map of frame `number`. Raises BadInput where there is none, or it is no map."""
        if not 0 <= number < self.frames:
            raise BadInput(f"{self.name} holds {self.frames} depth maps, but the video has a frame {number}; give one a frame")
        found = self._read(number)
        if found.ndim != 2 or not found.size or found.dtype.kind not in "fiu":
            raise BadInput(f"depth map {number} of {self.name} is {found.dtype} of shape {found.shape}; give metres (h, w)")
        return found.astype(np.float32)


class Flat:
    """The same depth everywhere, 1 of no known unit: points move in the picture only."""

    metric = False

    def depth(self, number: int, picture: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w"]:
        """Ones, of the size of the picture."""
        return np.ones(picture.shape[:2], np.float32)


class DepthNetwork:
    """A monocular depth network of transformers, frame by frame.

    Networks that predict metres (config `depth_estimation_type` "metric", ZoeDepth) give metres. Others predict inverse depth
    up to a scale and a shift that nobody knows; their depth is one over it, `metric` is False, and it is only as good as that.

    Raises MissingExtra without transformers, BadInput for a name that is no depth network.
    """

    def __init__(self, name: str, device: str | None = None):
        try:
            import transformers  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingExtra("transformers", "depth", f"the depth network {name}") from error
        transformers.utils.logging.disable_progress_bar()
        try:
            self._pipeline: Any = transformers.pipeline(
                "depth-estimation", model=NETWORKS.get(name, name), device=device or "cpu"
            )
        except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise BadInput(
                f"{name!r} is no depth network that can be loaded ({reason}); give {', '.join(NETWORKS)}, a name on the "
                "Hugging Face hub or a folder of a model, or a folder or file of depth maps"
            ) from error
        config = self._pipeline.model.config
        self.metric = config.model_type == "zoedepth" or getattr(config, "depth_estimation_type", "relative") == "metric"

    def depth(self, number: int, picture: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w"]:
        """The network's answer to this picture alone."""
        found = np.asarray(self._pipeline(Image.fromarray(picture))["predicted_depth"], np.float32)
        if self.metric:
            return found
        return 1 / np.maximum(found, NEAREST_TO_FARTHEST * max(float(found.max()), 1e-6))


def load_depth(source: "str | os.PathLike[str] | Num[np.ndarray, 't h w'] | Depth", device: str | None = None) -> Depth:
    """A source of depth maps: an array (t, h, w) in metres, a folder or file, "static" (the same everywhere), or a network.

    Raises BadInput for what is none of these or cannot be read, MissingExtra for a network without transformers.
    """
    if isinstance(source, np.ndarray):
        if source.ndim != 3:
            raise BadInput(f"depth has shape {source.shape}; give metres (t, h, w), a map for each frame")
        return DepthMaps(source.__getitem__, len(source), "the array")
    if not isinstance(source, (str, os.PathLike)):
        return source
    path = Path(source)
    if str(source) == "static":
        return Flat()
    if path.is_dir() and not (path / "config.json").exists():
        return _folder(path)
    if path.is_file():
        return _file(path)
    if path.suffix in _READERS or path.suffix == ".npz":
        raise BadInput(f"there is no file {path}; give a folder or file of depth maps, or the name of a depth network")
    return DepthNetwork(str(source), device)


def _folder(folder: Path) -> DepthMaps:
    names = [entry.name for entry in os.scandir(folder) if entry.is_file() and Path(entry.name).suffix.lower() in _READERS]
    if not names:
        raise BadInput(f"{folder} holds no depth maps; give one file a frame, npy (metres) or png of 16 bits (millimetres)")
    kinds = sorted({Path(name).suffix.lower() for name in names})
    if len(kinds) > 1:
        raise BadInput(f"{folder} holds {' and '.join(kinds)} files; give depth maps of one kind")
    paths = [folder / name for name in sorted(names, key=natural_key)]
    return DepthMaps(lambda number: _READERS[kinds[0]](paths[number]), len(paths), str(folder))


def _file(path: Path) -> DepthMaps:
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                if "depth" not in file:
                    raise BadInput(f"{path} holds {', '.join(file.files)[:80]}; the depth maps must be called depth, (t, h, w)")
                maps = file["depth"]
        else:
            maps = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error
    if not isinstance(maps, np.ndarray) or maps.ndim != 3:
        raise BadInput(
            f"{path} holds depth of shape {getattr(maps, 'shape', None)}; give metres (t, h, w), a map for each frame"
        )
    return DepthMaps(maps.__getitem__, len(maps), str(path))


def _npy(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(path, error) from error


def _png(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            if not image.mode.startswith("I"):
                raise BadInput(f"{path} is a picture of 8 bits ({image.mode}); depth in a png has 16 bits, in millimetres")
            return np.asarray(image, np.float32) / MILLIMETRES
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from error


_READERS: dict[str, Callable[[Path], np.ndarray]] = {".npy": _npy, ".png": _png}


def _unreadable(path: Path, error: Exception) -> BadInput:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:120]
    return BadInput(f"cannot read depth from {path} ({reason}); give metres as npy or npz, or millimetres as a png of 16 bits")


def sample_depth(depth: Float[np.ndarray, "h w"], xy: Num[np.ndarray, "n 2"], size: tuple[int, int]) -> Float[np.ndarray, " n"]:
    """Depth at places (x, y) of a picture of (width, height) `size` that the map covers; NaN where unknown or outside.

    Between pixels the inverse depth is interpolated, which is exact on a plane, but only from those of the four pixels around
    that lie within `SAME_SURFACE` of the nearest one: a mean across an edge would be a place where nothing is.

    >>> step = np.repeat([[1.0, 1.0, 3.0, 3.0]], 2, axis=0)
    >>> sample_depth(step, np.array([[1.9, 1.0], [2.1, 1.0], [5.0, 1.0]]), (4, 2)).tolist()
    [1.0, 3.0, nan]
    """
    height, width = depth.shape
    at = np.asarray(xy, np.float64) * [width / size[0], height / size[1]]
    outside = ~((at >= 0) & (at <= [width, height])).all(1)
    at = np.nan_to_num(at) - 0.5
    corner = np.floor(at).astype(np.int64)
    share = at - corner
    columns = np.clip(corner[:, 0, None] + [0, 1, 0, 1], 0, width - 1)
    rows = np.clip(corner[:, 1, None] + [0, 0, 1, 1], 0, height - 1)
    around = depth[rows, columns].astype(np.float64)
    weight = np.where([0, 1, 0, 1], share[:, :1], 1 - share[:, :1]) * np.where([0, 0, 1, 1], share[:, 1:], 1 - share[:, 1:])
    nearest = np.take_along_axis(around, weight.argmax(1)[:, None], 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        usable = np.isfinite(around) & (around > 0) & (abs(around - nearest) <= SAME_SURFACE * nearest)
        weight = np.where(usable, weight, 0)
        found = weight.sum(1) / np.where(usable, weight / around, 0).sum(1)
    return np.where(outside | ~(found > 0) | ~np.isfinite(found), np.nan, found)
