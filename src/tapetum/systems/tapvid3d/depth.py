"""Depth for a video: maps from files, or from a single-image network.

    frames.npz              one array depth (t, h, w), metres
    frames.npy              the array itself
    folder of npy           a map (h, w) a frame, in metres, in the order of their names
    folder of png           16-bit millimetres, as depth cameras write them
    zoedepth, depth-anything, a name on the Hugging Face Hub, a folder of such a model        (extra `depth`)

A map may be smaller or larger than the frames: both show the same image. Depth is along the optical axis; 0, NaN and infinity
mean unknown. Networks must be metric (ZoeDepth, Depth Anything V2 Metric): inverse depth up to an unknown shift does not
determine positions.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Num, UInt8
from PIL import Image

from tapetum.core.devices import find_device
from tapetum.core.errors import BadInput, MissingExtra
from tapetum.core.reading import no_pipe, no_pipes_in
from tapetum.hub.download import loading_by_name
from tapetum.hub.fetch import hub
from tapetum.systems.tapvid3d.npz import Npz

NETWORKS = {
    "zoedepth": "Intel/zoedepth-nyu-kitti",
    "depth-anything": "depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf",
    "depth-anything-outdoor": "depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf",
}
"""Short names of networks on the Hub."""

MILLIMETRE = 1e-3
PATIENCE = 4.0
"""Seconds in which the Hub must answer, before it counts as out of reach; its own client tries again for minutes."""
ASPECT = 0.02
"""Share by which the aspect of a map may differ from that of its frame, beside a pixel of rounding."""
SAME_SURFACE = 0.05
"""Share by which the depths of pixels side by side may differ if they show one surface."""


class DepthSource(Protocol):
    def maps(self, frames: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Iterator[Float[np.ndarray, "h2 w2"]]:
        """Compute a map for each frame, in metres; 0 or not finite where unknown. Raises `BadInput`."""
        ...


def load_depth(source: str, device: str | None = None) -> DepthSource:
    """Load a depth source by the name of a file, a folder, or a network; `device` is for networks.

    Raises BadInput if nothing has this name, or it contains no depth, and MissingExtra for a network without transformers.
    """
    path = Path(source)
    if source not in NETWORKS and path.exists():
        if (path / "config.json").is_file():
            return DepthNetwork(source, device)
        return DepthFiles(path)
    if source in NETWORKS or (source.count("/") == 1 and not path.suffix and not source.startswith((".", "/"))):
        return DepthNetwork(NETWORKS.get(source, source), device)
    raise BadInput(f"there is no depth {source}; give a file, a folder, or a network: {', '.join(NETWORKS)}, or OWNER/NAME")


class DepthFiles:
    """Precomputed depth maps from files."""

    def __init__(self, path: Path):
        self.path = path
        self._each: Any
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.suffix.lower() in (".npy", ".png") and not p.name.startswith("."))
            kinds = {p.suffix.lower() for p in files}
            if len(kinds) != 1:
                content = "both .npy and .png files" if kinds else "no .npy or .png file"
                raise BadInput(f"{path} has {content}; a folder of depth has one .npy (metres) or .png (millimetres) a frame")
            self._each = files
        elif path.suffix == ".npz":
            with Npz(path) as file:
                if "depth" not in file.names:
                    raise BadInput(f"{path} holds {', '.join(sorted(file.names)) or 'nothing'}; it must hold depth (t, h, w)")
                self._each = _checked(file.numbers("depth"), 3, path)
        elif path.suffix == ".npy":
            self._each = _checked(_npy(path), 3, path)
        else:
            raise BadInput(f"{path} is no depth; give .npz with depth (t, h, w), .npy, or a folder of .npy or 16-bit .png")

    def __len__(self) -> int:
        return len(self._each)

    def maps(self, frames: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Iterator[Float[np.ndarray, "h2 w2"]]:
        """Yield the maps in order, one per frame; raises `BadInput` if their number is wrong or one is damaged."""
        given = 0
        for number, _ in enumerate(frames, 1):
            given = number
            if number <= len(self):
                yield self._map(self._each[number - 1])
        if given != len(self):
            raise BadInput(f"{self.path} has {len(self)} depth maps for a video of {given} frames; it must have one for each")

    def _map(self, item: Any) -> Float[np.ndarray, "h2 w2"]:
        if isinstance(item, np.ndarray):
            return item
        if item.suffix.lower() == ".npy":
            return _checked(_npy(item), 2, item)
        try:
            with Image.open(no_pipe(item), formats=("PNG",)) as image:
                if image.mode not in ("I;16", "I;16B", "I"):
                    raise BadInput(f"{item} is an image of mode {image.mode}; depth is 16-bit grey, in millimetres")
                return np.asarray(image, np.float32) * MILLIMETRE
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise BadInput(f"cannot read depth from {item} ({' '.join(str(error).split())}); make it anew") from error


def reachable(patience: float = PATIENCE) -> bool:
    """Check whether the Hub answers within `patience` seconds, through configured proxies; skipped in offline mode."""
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
        return False
    from huggingface_hub.utils import get_session

    answered: list[bool] = []

    def ask() -> None:
        with suppress(Exception):  # of whatever library that speaks HTTP for huggingface_hub in its version
            get_session().head(hub(), timeout=patience)
            answered.append(True)

    thread = threading.Thread(target=ask, daemon=True)  # looking up a name has no time limit of its own
    thread.start()
    thread.join(2 * patience)
    return bool(answered)


class DepthNetwork:
    """A metric depth network of transformers, applied to one frame at a time.

    ZoeDepth's frames are not padded, as its own processor would by default (that of transformers 5.24 cannot remove the padding
    without torchvision); maps are resized linearly to the frame's size.
    """

    def __init__(self, name: str, device: str | None = None):
        try:
            from safetensors import SafetensorError
            from transformers import AutoImageProcessor, AutoModelForDepthEstimation
        except ImportError as error:
            raise MissingExtra("transformers", "depth", "a depth network") from error
        here = Path(name).is_dir() or not reachable()
        try:
            if Path(name).is_dir():
                no_pipes_in(name)
            with loading_by_name():
                self._processor: Any = AutoImageProcessor.from_pretrained(name, local_files_only=here)
                self._model = AutoModelForDepthEstimation.from_pretrained(
                    name, use_safetensors=True, local_files_only=here
                ).eval()
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            if here and not Path(name).is_dir():
                raise BadInput(
                    f"the depth network {name} is not on this machine, and {hub()} cannot be reached; go online once, or give "
                    "the folder of a network, or a file of depth maps"
                ) from error
            reason = " ".join(str(error).split())[:200]
            raise BadInput(f"cannot load the depth network {name} ({reason}); give a name on the Hub, or its folder") from error
        if getattr(self._model.config, "depth_estimation_type", "metric") == "relative":
            raise BadInput(f"{name} predicts inverse depth up to an unknown shift; give a metric one: {', '.join(NETWORKS)}")
        self._model.to(find_device(device))

    def maps(self, frames: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Iterator[Float[np.ndarray, "h2 w2"]]:
        """Predict the depth of each frame, at the frame's size."""
        import torch

        for frame in frames:
            inputs = self._processor(images=Image.fromarray(frame), return_tensors="pt", do_pad=False)
            with torch.inference_mode():
                depth = self._model(**inputs.to(self._model.device)).predicted_depth[:, None].float()
                depth = torch.nn.functional.interpolate(depth, frame.shape[:2], mode="bilinear", align_corners=False)
            yield depth[0, 0].cpu().numpy()


def check_map(depth: Float[np.ndarray, "h2 w2"], size: tuple[int, int]) -> None:
    """Raise `BadInput` if the map's shape does not match a frame of `size` (height, width).

    >>> check_map(np.ones((48, 64)), (480, 640))
    """
    (h, w), (height, width) = depth.shape, size
    across, down = w / width, h / height
    if abs(across - down) > ASPECT * max(across, down) + max(1 / width, 1 / height):
        raise BadInput(f"a depth map of {w}x{h} is for frames of {width}x{height}, another shape of image; give uncropped maps")


def sample_depth(
    depth: Float[np.ndarray, "h2 w2"], xy: Num[np.ndarray, "n 2"], size: tuple[int, int]
) -> Float[np.ndarray, " n"]:
    """Sample the depth of the map at each position (x, y) of a frame of `size` (height, width).

    Raises BadInput as `check_map`.
    NaN where the position's own pixel is unknown, and outside the frame. Inverse depth is interpolated linearly between pixels,
    which is exact on a plane; but only pixels within `SAME_SURFACE` of the position's own pixel count, since between a near and
    a far object nothing is at their mean depth.

    >>> step, places = np.array([[1.0, 1.02, 3.0, 3.0]]), np.array([[1.0, 0.5], [1.9, 0.5], [2.1, 0.5], [4.1, 0]])
    >>> sample_depth(step, places, (1, 4)).round(3)
    array([1.01, 1.02, 3.  ,  nan])
    """
    check_map(depth, size)
    h, w = depth.shape
    z = np.asarray(depth, np.float64)
    with np.errstate(invalid="ignore"):
        at = np.asarray(xy, np.float64) * [w / size[1], h / size[0]]
        inside = np.all((at >= 0) & (at < [w, h]), axis=1)
    at = np.where(inside[:, None], at, 0)
    own = z[at[:, 1].astype(int), at[:, 0].astype(int), None]
    corner = np.floor(at - 0.5).astype(int)
    right, down = ((at - 0.5) - corner).T[..., None]
    columns = (corner[:, :1] + np.array([0, 1, 0, 1])).clip(0, w - 1)
    rows = (corner[:, 1:] + np.array([0, 0, 1, 1])).clip(0, h - 1)
    around = z[rows, columns]
    weight = np.where([0, 1, 0, 1], right, 1 - right) * np.where([0, 0, 1, 1], down, 1 - down)
    with np.errstate(invalid="ignore", divide="ignore"):
        counts = (own > 0) & np.isfinite(own) & (abs(around - own) <= SAME_SURFACE * own)
        inverse = np.where(counts, weight / around, 0).sum(1) / np.where(counts, weight, 0).sum(1)
        return np.where(inside, 1 / inverse, np.nan)


def _npy(path: Path) -> np.ndarray:
    try:
        return np.load(no_pipe(path), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(f"cannot read depth from {path} ({' '.join(str(error).split())}); make it anew") from error


def _checked(depth: np.ndarray, axes: int, path: Path) -> np.ndarray:
    if depth.ndim != axes or depth.dtype.kind != "f" or not depth.size:
        expected = "(t, h, w)" if axes == 3 else "(h, w)"
        raise BadInput(f"{path} holds {depth.dtype} {depth.shape}; depth is floats {expected}, in metres")
    return depth
