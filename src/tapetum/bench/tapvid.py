"""TAP-Vid (arXiv 2211.03726) and RoboTAP (arXiv 2308.15975): their queries and scores, and predictions as files.

The protocol: each frame is resized to 256x256 (Lanczos, aspect ratio not kept) and points are scaled with it. Mode `first`
queries each track where it is first visible; `strided` queries every visible track at frames 0, 5, 10, ... A video's queries
are tracked together but scored independently; the benchmark's numbers are means over videos.

Unusual: only one video of a file is in memory at a time, and is freed once scored. A video without any visible point has no
score and is counted as dropped.

The output of any tracker can be scored. Each video has, under its name in the benchmark's file:

    tracks     (queries, frames, 2) numbers: x, y in raster pixels of an image of 256x256, whatever the size it was tracked at
    occluded   (queries, frames) bool: True where the point is said to be hidden
    queries    (queries, 3) frame, x, y, of which the last two are in the same pixels; may be left out, else it is checked

The order of the queries is that of `sample_queries`: in mode first, each track that is ever visible; in mode strided, frame by
frame. There are three formats:

    FOLDER     NAME.npz for each video, with these arrays
    FILE.npz   all videos, whose arrays are named NAME/tracks, NAME/occluded, NAME/queries
    FILE.pkl   a dict of name to a dict of these arrays
"""

import math
import os
import pickle
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Num, UInt8
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, whole_folder
from tapetum.core.reading import no_pipe
from tapetum.hub.unpickle import load_pickle
from tapetum.metrics.statistics import bootstrap_interval
from tapetum.tracks.metrics import HEADLINES, Mode, RedetectionRules, mean_metrics, redetection_metrics, tapvid_metrics
from tapetum.tracks.tapvid import TapVidEntry, read_entries
from tapetum.tracks.tracker import Tracker

FIELDS = "tracks", "occluded", "queries"
_NEAR = 0.01
"""Pixels within which queries are the same."""

Prediction = dict[str, np.ndarray]
"""Arrays of one video by field."""


class TapVidPredictions:
    """Predictions on some videos. Raises BadInput if `path` does not exist or is not such a file."""

    def __init__(self, path: str | Path):
        self.path, advice = Path(path), "give predictions as tapetum eval tapvid --save-predictions writes them"
        self._videos: dict[str, dict[str, Any]] | None = None if self.path.is_dir() else {}
        if not self.path.exists():
            raise BadInput(f"there is no file or folder {path}; {advice}")
        if self._videos is not None and self.path.suffix == ".pkl":
            content = load_pickle(str(path))
            if not isinstance(content, dict) or not all(isinstance(video, dict) for video in content.values()):
                raise BadInput(f"{path} is no dict of videos; {advice}")
            self._videos |= {str(name): video for name, video in content.items()}
        elif self._videos is not None:
            for key, value in _arrays(self.path).items():
                name, _, field = key.rpartition("/")
                self._videos.setdefault(name, {})[field] = value

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


SIZE = 256
"""Width and height at which the benchmark tracks and scores."""

STRIDE = 5
"""Frames between queries of the mode strided."""


@dataclass(frozen=True, eq=False)
class TapVidClip:
    """One annotated video of a benchmark file, checked, and resized to the benchmark's size."""

    name: str
    """Key in the file, or its number where the file is a list."""
    video: UInt8[np.ndarray, "t h w 3"]
    tracks: Float[np.ndarray, "n t 2"]
    """x, y in raster pixels of `video`; anything where occluded."""
    occluded: Bool[np.ndarray, "n t"]


@dataclass(frozen=True, eq=False)
class Sampled:
    """Queries and, for each, the true track that belongs to it."""

    queries: Float[np.ndarray, "q 3"]
    tracks: Float[np.ndarray, "q t 2"]
    occluded: Bool[np.ndarray, "q t"]


def sample_queries(tracks: Num[np.ndarray, "n t 2"], occluded: Bool[np.ndarray, "n t"], mode: Mode) -> Sampled:
    """Choose the benchmark's queries. A track that is never visible gives none; in mode strided a track may give several.

    >>> sample_queries(np.zeros((1, 7, 2)), np.zeros((1, 7), bool), "strided").queries[:, 0].tolist()
    [0.0, 5.0]
    """
    if mode == "first":
        track = np.flatnonzero(~occluded.all(axis=1))
        frame = (~occluded[track]).argmax(axis=1) if track.size else track
    else:
        frame, track = np.nonzero(~occluded[:, ::STRIDE].T)
        frame = frame * STRIDE
    queries = np.concatenate([frame[:, None], tracks[track, frame]], axis=1, dtype=np.float64)
    return Sampled(queries=queries, tracks=tracks[track], occluded=occluded[track])


def evaluate(
    tracker: Tracker | TapVidPredictions,
    path: str | os.PathLike[str],
    mode: Mode,
    *,
    size: int = SIZE,
    redetection: RedetectionRules | None = None,
    progress: Callable[[str, dict[str, float]], None] | None = None,
    keep: Callable[[str, Prediction], None] | None = None,
) -> dict[str, Any]:
    """Score a tracker, or its predictions, on benchmark files: a pickle, a folder of pickles, or a pattern.

    Tracking is at `size` x `size`; scores are always taken at 256x256. `redetection` scores reappearing points too, by these
    conventions (`tapetum.tracks.metrics`). `progress` is called after each video with its name and scores, `keep` with its name
    and the arrays that `write_predictions` writes.

    Returns:
        The means `average_jaccard`, `average_pts_within_thresh`, `occlusion_accuracy`, `jaccard_1` ... (0..1; NaN where no
        video has a score), `aj_rd`, `aj_rd_1` ... with `redetection`, `intervals` (the least and greatest mean at 95 %
        confidence by the bootstrap over videos, of each headline number that has a score), `videos` and `queries` (counts),
        `dropped` (how many videos each headline number had to leave out), `seconds` spent tracking, and `per_video` (a row
        for each: name, frames, queries, scores).

    Raises BadInput if a file or prediction is missing or damaged; the message names the video and the field.
    """
    if not 8 <= size <= 4096:
        raise BadInput(f"the size is {size}; give a width and height from 8 to 4096, 256 being the benchmark's own")
    rows: list[dict[str, Any]] = []
    seconds = 0.0
    for clip in read_clips(path, size, images=not isinstance(tracker, TapVidPredictions)):
        sampled = sample_queries(clip.tracks, clip.occluded, mode)
        n, t = sampled.occluded.shape
        scale = SIZE / size
        queries = sampled.queries * [1, scale, scale]
        start = time.perf_counter()
        if isinstance(tracker, TapVidPredictions):
            tracks, occluded = tracker.of(clip.name, queries, t)
        else:
            tracks, occluded = track_queries(tracker, clip.video, sampled.queries, scale)
            seconds += time.perf_counter() - start
        if keep is not None:
            keep(clip.name, {"tracks": tracks, "occluded": occluded, "queries": queries.astype(np.float32)})
        scores = tapvid_metrics(sampled.queries, sampled.occluded, sampled.tracks * scale, occluded, tracks, mode)
        if redetection is not None:
            truth = sampled.occluded, sampled.tracks * scale
            scores |= redetection_metrics(*truth, occluded, tracks, redetection)
        rows.append({"name": clip.name, "frames": t, "queries": n, **scores})
        if progress is not None:
            progress(clip.name, scores)
    score_names = [name for name in rows[0] if name not in ("name", "frames", "queries")]
    means, dropped = mean_metrics([{name: row[name] for name in score_names} for row in rows])
    columns = {name: np.array([row[name] for row in rows]) for name in (*HEADLINES, *(["aj_rd"] if redetection else []))}
    finite = {name: column[~np.isnan(column)] for name, column in columns.items()}
    return {
        **{name: means[name] for name in HEADLINES},
        **{name: mean for name, mean in means.items() if name not in HEADLINES},
        "videos": len(rows),
        "queries": sum(row["queries"] for row in rows),
        "intervals": {name: bootstrap_interval(column) for name, column in finite.items() if len(column)},
        "dropped": dropped,
        "mode": mode,
        "size": size,
        "seconds": seconds,
        "per_video": rows,
    }


def compare(first: dict[str, Any], second: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Compare two results of `evaluate` on the same videos: the mean of the second minus the first's, with its interval.

    Videos are resampled in pairs, so their common variation does not widen the interval. For each headline number, and `aj_rd`
    if both have it: `difference`, `interval` (95 % confidence) and `videos`, the number of videos with a score in both.

    Raises BadInput for results on other videos or in another mode.
    """
    pairs = list(zip(first["per_video"], second["per_video"], strict=False))
    same = len(first["per_video"]) == len(second["per_video"]) and all(a["name"] == b["name"] for a, b in pairs)
    if not same or first["mode"] != second["mode"]:
        raise BadInput("the two results are of other videos or another mode; score both on the same data in the same mode")
    compared = {}
    for name in (*HEADLINES, "aj_rd"):
        if name not in first or name not in second:
            continue
        change = np.array([b[name] - a[name] for a, b in pairs])
        change = change[~np.isnan(change)]
        if len(change):
            difference, interval = float(change.mean()), bootstrap_interval(change)
            compared[name] = {"difference": difference, "interval": interval, "videos": len(change)}
    return compared


def track_queries(
    tracker: Tracker, video: UInt8[np.ndarray, "t h w 3"], queries: Float[np.ndarray, "q 3"], scale: float
) -> tuple[Float[np.ndarray, "q t 2"], Bool[np.ndarray, "q t"]]:
    """Tracks in pixels of the benchmark's size, and where they are occluded."""
    t, size = video.shape[:2]
    if not len(queries):
        return np.zeros((0, t, 2), np.float32), np.zeros((0, t), bool)
    # Some annotations lie a fraction of a pixel outside the image, where no tracker can look.
    predicted = tracker.track(video, queries.clip(0, [t - 1, size, size]).astype(np.float32))
    return predicted.xy * scale, ~predicted.visible


def read_clips(path: str | os.PathLike[str], size: int = SIZE, *, images: bool = True) -> Iterator[TapVidClip]:
    """Read the videos of benchmark files, one by one, as `make_clip`. Raises BadInput as `read_entries`."""
    for entry in read_entries(path):
        clip = make_clip(entry, size, images=images)
        del entry  # or the next video would be read while this one is still in memory
        yield clip


def make_clip(entry: TapVidEntry, size: int = SIZE, *, images: bool = True) -> TapVidClip:
    """Resize a video of a benchmark file to `size` x `size`; without `images` frames are black."""
    video = np.zeros((len(entry.video), size, size, 3), np.uint8)
    for index, image in enumerate(entry.images() if images else ()):
        if image.shape[:2] != (size, size):
            image = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))
        video[index] = image
    return TapVidClip(name=entry.name, video=video, tracks=entry.points * np.array([size, size]), occluded=entry.occluded)


def as_json(result: dict[str, Any]) -> dict[str, Any]:
    """Replace NaN in the result by None, since JSON has no NaN.

    >>> as_json({"average_jaccard": float("nan"), "per_video": [{"name": "a"}]})
    {'average_jaccard': None, 'per_video': [{'name': 'a'}]}
    """

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return None if isinstance(value, float) and math.isnan(value) else value

    return plain(result)
