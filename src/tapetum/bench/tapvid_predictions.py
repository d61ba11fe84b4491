"""Predictions on TAP-Vid as files, so that the output of any tracker can be scored, now or later.

Each video has, under its name in the benchmark's file:

    tracks     (queries, frames, 2) numbers: x, y in raster pixels of an image of 256x256, whatever the size it was tracked at
    occluded   (queries, frames) bool: True where the point is said to be hidden
    queries    (queries, 3) frame, x, y, of which the last two are in the same pixels; may be left out, else it is checked

The order of the queries is that of `tapetum.bench.tapvid.sample_queries`: in mode first, each track that is ever visible; in
mode strided, frame by frame. There are three formats:

    FOLDER     NAME.npz for each video, with these arrays
    FILE.npz   all videos, whose arrays are named NAME/tracks, NAME/occluded, NAME/queries
    FILE.pkl   a dict of name to a dict of these arrays
"""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, whole_folder
from tapetum.core.reading import no_pipe
from tapetum.hub.unpickle import load_pickle

FIELDS = "tracks", "occluded", "queries"
_NEAR = 0.01
"""Pixels within which queries are the same."""

Prediction = dict[str, np.ndarray]
"""Arrays of one video by field."""


class TapVidPredictions:
    """Predictions on some videos. Raises BadInput if `path` does not exist or is not such a file."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if self.path.is_dir():
            self._videos = None
        elif not self.path.is_file():
            raise BadInput(
                f"there is no file or folder {path}; give predictions as tapetum eval tapvid --save-predictions writes them"
            )
        elif self.path.suffix == ".pkl":
            self._videos = _of_pickle(self.path)
        else:
            self._videos = _of_arrays(_arrays(self.path))

    def of(
        self, name: str, queries: Float[np.ndarray, "q 3"], frames: int
    ) -> tuple[Float[np.ndarray, "q t 2"], Bool[np.ndarray, "q t"]]:
        """Load tracks and occluded of a video. Raises BadInput if they are missing or do not match `queries`."""
        arrays = self._video(name)
        tracks, occluded = (np.asarray(arrays[field]) for field in FIELDS[:2])
        shape = len(queries), frames
        if tracks.shape != (*shape, 2) or tracks.dtype.kind not in "fiu" or occluded.shape != shape:
            given = f"tracks {tracks.dtype} {tracks.shape} and occluded {occluded.shape}"
            raise self._bad(
                name, f"{given}; with {shape[0]} queries and {frames} frames they must be {(*shape, 2)} and {shape}"
            )
        if occluded.dtype.kind not in "biuf" or not np.isin(occluded, (0, 1)).all():
            raise self._bad(name, f"occluded is {occluded.dtype} and not of 0 and 1 alone")
        if not np.isfinite(tracks).all():
            raise self._bad(name, "tracks are NaN or infinite somewhere; give a place for hidden points too")
        if "queries" in arrays:
            stored = np.asarray(arrays["queries"])
            fits = stored.shape == queries.shape and stored.dtype.kind in "fiu"
            if not fits or np.abs(stored - queries).max(initial=0) > _NEAR:
                raise self._bad(name, "its queries are not those of this file and mode; give the --mode that it was made with")
        return tracks, occluded.astype(bool)

    def _video(self, name: str) -> Mapping[str, Any]:
        if self._videos is None:
            file = self.path / f"{name}.npz"
            if not file.is_file():
                raise BadInput(f"{self.path} has no {name}.npz; give predictions for every video")
            arrays: Mapping[str, Any] = _arrays(file)
        elif name in self._videos:
            arrays = self._videos[name]
        else:
            raise BadInput(f"{self.path} has no video {name!r}; give predictions for every video")
        if missing := [field for field in FIELDS[:2] if field not in arrays]:
            raise self._bad(name, f"{' and '.join(missing)} are missing")
        return arrays

    def _bad(self, name: str, problem: str) -> BadInput:
        return BadInput(f"{self.path}, video {name!r}: {problem}")


def write_predictions(path: str | Path, videos: Mapping[str, Prediction]) -> Path:
    """Write predictions atomically, in the format given by the extension: .npz, .pkl, or a folder without an extension.

    Raises BadInput for another extension, and if it cannot be written.

    >>> import tempfile
    >>> made = {"bear": {"tracks": np.ones((2, 3, 2)), "occluded": np.zeros((2, 3), bool)}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     TapVidPredictions(write_predictions(f"{folder}/a.pkl", made)).of("bear", np.zeros((2, 3)), 3)[0].shape
    (2, 3, 2)
    """
    path = Path(path)
    check_form(path)
    if path.suffix == ".pkl":
        with whole_file(path) as temporary, open(temporary, "wb") as file:
            pickle.dump(dict(videos), file, protocol=4)
    elif path.suffix == ".npz":
        arrays = {f"{name}/{field}": value for name, video in videos.items() for field, value in video.items()}
        with whole_file(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]
    else:
        with whole_folder(path) as temporary:
            for name, video in videos.items():
                file = temporary / f"{name}.npz"
                file.parent.mkdir(parents=True, exist_ok=True)
                np.savez_compressed(file, **video)  # pyright: ignore[reportArgumentType]
    return path


def check_form(path: Path) -> None:
    """Raise BadInput unless predictions can be written to `path`."""
    if path.suffix not in ("", ".npz", ".pkl"):
        raise BadInput(f"{path}: predictions are a .npz, a .pkl, or a folder without an ending")
    if path.suffix == "" and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise BadInput(f"{path} is there already and has something in it; give a new folder for predictions")
    if not path.absolute().parent.is_dir():
        raise BadInput(f"{path}: there is no folder {path.absolute().parent}; make it first")


def _arrays(file: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(no_pipe(file), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, KeyError) as error:
        raise BadInput(f"{file} is cut off or no npz file of predictions; write it again") from error


def _of_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    videos: dict[str, dict[str, Any]] = {}
    for key, value in arrays.items():
        name, _, field = key.rpartition("/")
        videos.setdefault(name, {})[field] = value
    return videos


def _of_pickle(file: Path) -> dict[str, dict[str, Any]]:
    content = load_pickle(str(file))
    if not isinstance(content, dict) or not all(isinstance(video, dict) for video in content.values()):
        raise BadInput(f"{file} is no dict of videos; give predictions as tapetum eval tapvid --save-predictions writes them")
    return {str(name): video for name, video in content.items()}
