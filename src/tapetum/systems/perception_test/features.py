"""Features of the published baselines for actions and sounds: read, and joined as the public ActionFormer does.

    ID.npy    action: TSP features of the video, (l, 512), one for every 16 frames at 15 frames a second
              sound:  MMV features of the sound, (l, 256)
    ID.npz    the same with one array in it

Both are joined to (l, 768), the sound's resampled linearly to the length of the video's, ends on ends. Arrays of Python objects
are refused, so a file runs nothing.
"""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe

WIDTHS: Mapping[str, int] = {"video": 512, "audio": 256}
STRIDE, WINDOW, RATE = 16, 16, 15.0
"""Of the video's: frames from one to the next, frames that one has seen, and frames a second."""
_MOST = 1 << 28
"""Bytes of an array at most; a video of 35 seconds has 70 kB."""


class FeatureFolder(Mapping[str, "Float32[np.ndarray, 'l c']"]):
    """Features by video, read when they are asked for."""

    def __init__(self, folder: str | Path, width: int | None = None):
        """`width`: numbers of each feature, where it is known. Raises BadInput for a folder without such files."""
        self.folder, self.width = Path(folder), width
        self._files = {p.stem: p for p in sorted(self.folder.glob("*.np[yz]")) if not p.name.startswith(".")}
        if not self._files:
            raise BadInput(f"there are no features (ID.npy) in {folder}; fetch them with --parts features")

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __getitem__(self, name: str) -> Float32[np.ndarray, "l c"]:
        """Raises KeyError for a video without features, BadInput for a file that is damaged or something else."""
        return read_features(self._files[name], self.width)


def read_features(path: str | Path, width: int | None = None) -> Float32[np.ndarray, "l c"]:
    """Read the features of a video. Raises BadInput for what is no array (l, c) of finite numbers; runs nothing."""
    path = Path(path)
    try:
        array = _array(path)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, MemoryError) as error:
        raise BadInput(f"{path} cannot be read as features ({' '.join(str(error).split())[:120]}); fetch it again") from error
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or array.dtype.kind not in "fiu" or not len(array) or (width is not None and array.shape[1] != width):
        expected = f"(l, {width or 'c'})"
        raise BadInput(
            f"{path} holds {array.dtype} of shape {array.shape}; features are numbers of shape {expected} [wrong-shape]"
        )
    features = array.astype(np.float32)
    if not np.isfinite(features).all():
        raise BadInput(f"{path} holds features that are no finite numbers; fetch it again [not-finite]")
    return features


def _array(path: Path) -> np.ndarray:
    if path.suffix.lower() != ".npz":
        array = np.load(no_pipe(path), mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray) or array.nbytes > _MOST:
            raise ValueError("it is no single array, or a huge one")
        return array
    with zipfile.ZipFile(no_pipe(path)) as content:
        members = content.infolist()
        if len(members) != 1 or members[0].file_size > _MOST:
            raise ValueError(f"it has {len(members)} arrays, or a huge one; wanted one")
        with content.open(members[0]) as file:
            return np.lib.format.read_array(file, allow_pickle=False)


def join_features(video: Float32[np.ndarray, "l c"], sound: Float32[np.ndarray, "m d"]) -> Float32[np.ndarray, "l cd"]:
    """Concatenate features of images and sound, the sound's at the moments of the others.

    >>> join_features(np.zeros((3, 1), np.float32), np.array([[0.0], [4.0]], np.float32))[:, 1].tolist()
    [0.0, 2.0, 4.0]
    """
    moments = np.linspace(0, len(sound) - 1, len(video))
    low = np.minimum(moments.astype(int), max(len(sound) - 2, 0))
    share = (moments - low)[:, None]
    between = sound[low] * (1 - share) + sound[np.minimum(low + 1, len(sound) - 1)] * share
    return np.concatenate([video, between], 1).astype(np.float32)


def feature_times_s(length: int) -> Float64[np.ndarray, " l"]:
    """Compute the middle of each feature's window in the video, in seconds.

    >>> feature_times_s(2).round(4).tolist()
    [0.5333, 1.6]
    """
    return (np.arange(length) * STRIDE + WINDOW / 2) / RATE
