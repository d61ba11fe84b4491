"""TAPVid-3D (arXiv 2407.05921): scores predictions or a 3D tracker on folders of clips.

Each clip is scored alone, with intrinsics scaled as if the shorter side of its images were 256 pixels long. Clips have equal
weight within a source, and sources in the average, however many clips, frames and tracks they have. A prediction that is
missing, damaged or of another shape counts as 0 in every number, and is reported.

Unusual: finished clips are saved in a file, so the same command resumes; a clip whose files have changed is scored again.

Differs from the public driver (evaluate_model.py). There an exception in the metrics also counts as 0, so every score of
per_trajectory and local_neighborhood is 0; a clip without visible points makes the mean NaN, while here it is left out and
counted. Here missing or damaged ground truth stops the evaluation before anything is averaged, and official files without
frames are scored too, since their image sizes are known.
"""

import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Float

from tapetum.bench.baselines import load_tracker3d
from tapetum.bench.own import Benchmark
from tapetum.bench.tapvid import as_json
from tapetum.core.errors import BadInput
from tapetum.core.finished import Rows
from tapetum.core.jobs import no_tool, run_jobs
from tapetum.systems.tapvid3d.baselines import Tracker3D
from tapetum.systems.tapvid3d.data import Clip3D, Prediction3D, depth_path, read_clip, read_depth, read_prediction
from tapetum.systems.tapvid3d.folders import SOURCES, Split, find_clips
from tapetum.systems.tapvid3d.geometry import scaled
from tapetum.systems.tapvid3d.metrics import Scaling, tapvid3d_metrics
from tapetum.systems.tapvid3d.npz import Damage
from tapetum.tracks.metrics import HEADLINES, THRESHOLDS, mean_metrics

SIZE = 256
"""Length in pixels of the shorter side of the images to which thresholds refer."""

METRICS = (*HEADLINES, *(f"{kind}_{level}" for kind in ("jaccard", "pts_within") for level in THRESHOLDS))
"""The thirteen numbers: 3D-AJ, APD and OA, and AJ and APD at each threshold."""


@dataclass(frozen=True)
class _Job:
    source: str
    path: Path
    pred: Path | None
    """The prediction; None where a tracker makes it."""
    true_depth: bool
    """Give the tracker the depth maps that lie beside the clip."""
    scalings: tuple[Scaling, ...]

    @property
    def key(self) -> str:
        return f"{self.source}/{self.path.name}"

    @property
    def depth(self) -> Path | None:
        return depth_path(self.path) if self.true_depth else None


def evaluate(
    gt: str | os.PathLike[str],
    pred: str | os.PathLike[str] | None = None,
    *,
    load: Callable[[], Tracker3D] | None = None,
    true_depth: bool = False,
    split: Split | None = None,
    scalings: Sequence[Scaling] = ("median",),
    workers: int = 1,
    rows: Path | None = None,
    settings: dict[str, Any] | None = None,
    progress: Callable[[dict[str, Any], int, int], None] = lambda row, done, every: None,
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Score predictions, or the tracker that `load` makes, on the clips of a folder.

    Args:
        gt: folder of clips, see `tapetum.systems.tapvid3d.folders`.
        pred: folder of predictions under the same names, with the same folders in it or flat.
        load: builds the tracker, once per process, instead of `pred`; must be picklable if `workers` > 1.
        true_depth: pass the depth maps beside the clips to the tracker.
        split: the clips of an official list, all of which must exist; by default all existing ones.
        rows: file of finished clips, from which the same call resumes; failed clips are retried.
        settings: whatever else invalidates the rows of another call, such as the tracker's name.

    Returns:
        `scalings`: for each, `sources` (means of each source, with `clips` and `failed`), `average` (mean of the sources) and
        `dropped` (clips in which a headline number cannot be counted, and which it leaves out); `clips`; `failed` (a list of
        source, name and reason); `not_finite` (clips with predicted positions that are NaN or infinite, which count as
        wrong); `seconds` spent reading predictions or tracking, and scoring; `per_clip`, a row for each. Numbers are 0..1, or
        NaN where nothing can be counted.

    Raises:
        BadInput: no clips, missing or damaged ground truth, an unknown scaling, a file without rows.
        TapetumError: a worker was killed.
    """
    if (pred is None) == (load is None):
        raise BadInput("give predictions or a tracker, one of the two")
    if not scalings or workers < 1:
        raise BadInput(f"asked for {len(scalings)} scalings and {workers} workers; give 1 or more of each")
    for scaling in scalings:
        if scaling not in get_args(Scaling):
            raise BadInput(f"there is no scaling {scaling!r}; it is one of {', '.join(get_args(Scaling))}")
    if pred is not None and not Path(pred).is_dir():
        raise BadInput(f"there is no folder {pred} of predictions; give one with npz files, in the layout of the clips")
    places = find_clips(gt, split)
    if missing := [place.path for place in places if not place.path.is_file()]:
        lacking = f"{len(missing)} of {len(places)} clips of the split {split} are missing, the first being {missing[0]}"
        raise BadInput(f"{lacking}; fetch them, or leave --split out to score what is there")
    target = None if pred is None else Path(pred)
    jobs = [_Job(p.source, p.path, target and p.within(target), true_depth, tuple(scalings)) for p in places]
    identity = {"scalings": list(scalings), "predictions": pred is not None, "true_depth": true_depth, **(settings or {})}
    finished: dict[str, dict[str, Any]] = {}
    with Rows(rows, identity, note) as kept:
        stamps = {job.key: kept.stamp(clip=job.path, prediction=job.pred, depth=job.depth) for job in jobs}
        for job in jobs:
            row = kept.get(job.key, stamps[job.key])
            if row is not None and row["failure"] is None:
                finished[job.key] = _with_nan(row)
        left = [job for job in jobs if job.key not in finished]
        for number, row in run_jobs(_row, left, load or no_tool, workers=workers):
            job = left[number]
            if row["failure"] is None:  # what made it fail may be mended, and the truth be the same
                kept.add(job.key, stamps[job.key], as_json(row))
            finished[job.key] = row
            progress(row, len(finished), len(jobs))
    return {"split": split, **_summary([finished[job.key] for job in jobs], scalings)}


class TapVid3d(Benchmark):
    """A tracker on TAPVid-3D, lifted by the depth maps beside the clips, scaled by the median; static needs no maps."""

    headline = "average_jaccard"

    def items(self, data: Path) -> Mapping[str, tuple[str, Path, Path | None]]:
        """List the clips that are there, each by its source and files: its own and its depth maps'."""
        clips = [(place.source, place.path, depth_path(place.path)) for place in find_clips(data)]
        return {f"{name}/{path.name}": (name, path, depth if depth.is_file() else None) for name, path, depth in clips}

    def load(self, model: str, device: str | None) -> Tracker3D:
        return load_tracker3d(model, device=device)

    def score(self, model: Tracker3D, item: tuple[str, Path, Path | None]) -> Mapping[str, float]:
        """Compute the numbers by the clip's source; those that have nothing to count are left out."""
        source, path, depth = item
        clip = read_clip(path)
        video = clip.video()
        predicted = _track(model, clip, video, None if depth is None else read_depth(depth, video.shape[:3]))
        scores = score_clip(clip, predicted, ("median",))["median"]
        return {"tracks": clip.points} | {f"{name} {source}": x for name, x in scores.items() if math.isfinite(x)}

    def summary(self, rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """Average over clips of a source, and over sources."""
        means = super().summary(rows)
        sources = {name: [value for key, value in means.items() if key.startswith(f"{name} ")] for name in METRICS}
        return {**{name: statistics.fmean(values) for name, values in sources.items() if values}, **means}


def camera_256(clip: Clip3D) -> Float[np.ndarray, "4"]:
    """Compute the clip's intrinsics at the size used for scoring. Raises `Damage` if its own size is unknown."""
    if clip.size is None:
        raise Damage("images", f"{clip.name} has no frames and no official name, so that its size is not known; add its frames")
    return scaled(clip.fx_fy_cx_cy, SIZE / min(clip.size))


def check_shape(clip: Clip3D, predicted: Prediction3D) -> None:
    """Raise `Damage` if the prediction's shape differs from the clip's."""
    shape, expected = predicted.tracks_XYZ.shape, clip.tracks_XYZ.shape  # both (t, n, 3)
    if shape != expected:
        turned = "; it looks like (n, t, 3)" if shape == (expected[1], expected[0], 3) else ""
        message = f"predicted tracks_XYZ has shape {shape}; for this clip it must be {expected}{turned}"
        raise Damage("shape", f"{clip.name}: {message}")


def score_clip(clip: Clip3D, predicted: Prediction3D, scalings: Sequence[Scaling]) -> dict[str, dict[str, float]]:
    """Compute the thirteen numbers of one clip for each scaling. Raises `BadInput` as `camera_256` and `check_shape`."""
    camera = camera_256(clip)
    check_shape(clip, predicted)
    scores = {}
    for scaling in scalings:
        numbers = tapvid3d_metrics(
            gt_occluded=~clip.visibility,
            gt_tracks=clip.tracks_XYZ,
            pred_occluded=~predicted.visibility,
            pred_tracks=predicted.tracks_XYZ,
            intrinsics_params=camera,
            scaling=scaling,
            query_points=clip.queries_xyt[:, ::-1],
            order="t n",
        )
        scores[scaling] = {name: float(numbers[name]) for name in METRICS}
    return scores


def _row(job: _Job, tracker: Tracker3D | None) -> dict[str, Any]:
    """Score one clip. Raises `BadInput` for damaged ground truth; a bad prediction only fails its clip."""
    clip = read_clip(job.path)
    camera_256(clip)
    if tracker is not None:
        video = clip.video()
        depth = read_depth(job.depth, video.shape[:3]) if job.depth else None
        predict = partial(_track, tracker, clip, video, depth)
    else:
        predict = partial(read_prediction, job.pred or "")
    failure, not_finite, start = None, 0, time.perf_counter()
    try:
        predicted = predict()
        check_shape(clip, predicted)
    except BadInput as error:
        failure, scores = str(error), {scaling: dict.fromkeys(METRICS, 0.0) for scaling in job.scalings}
    else:
        not_finite = int(np.count_nonzero(~np.isfinite(predicted.tracks_XYZ).all(axis=-1)))
        scores = score_clip(clip, predicted, job.scalings)
    row = {"source": job.source, "name": clip.name, "frames": clip.frames, "tracks": clip.points, "failure": failure}
    return {**row, "not_finite": not_finite, "seconds": time.perf_counter() - start, "scores": scores}


def _track(tracker: Tracker3D, clip: Clip3D, video: np.ndarray, depth: np.ndarray | None) -> Prediction3D:
    # A query on the edge of the image may be rounded to the outside of it, where no tracker can look.
    queries = clip.queries_xyt.clip(0, [video.shape[2], video.shape[1], clip.frames - 1])
    points = tracker.track(video, queries, clip.fx_fy_cx_cy, depth)
    return Prediction3D(np.swapaxes(points.xyz, 0, 1).astype(np.float64), np.asarray(points.visible, bool).T)


def _with_nan(row: dict[str, Any]) -> dict[str, Any]:
    """A row from a file, with NaN in place of null."""
    scores = {
        scaling: {name: math.nan if number is None else number for name, number in numbers.items()}
        for scaling, numbers in row["scores"].items()
    }
    return {**row, "scores": scores}


def _summary(rows: list[dict[str, Any]], scalings: Sequence[Scaling]) -> dict[str, Any]:
    sources = [source for source in (*SOURCES, "clips") if any(row["source"] == source for row in rows)]
    tables = {}
    for scaling in scalings:
        means, dropped = {}, 0
        for source in sources:
            mine = [row for row in rows if row["source"] == source]
            numbers, left_out = mean_metrics([row["scores"][scaling] for row in mine])
            means[source] = {**numbers, "clips": len(mine), "failed": sum(row["failure"] is not None for row in mine)}
            dropped += max(left_out.values())
        average, _ = mean_metrics([{name: means[source][name] for name in METRICS} for source in sources])
        tables[scaling] = {"sources": means, "average": average, "dropped": dropped}
    failed = [r for r in rows if r["failure"] is not None]
    return {
        "clips": len(rows),
        "scalings": tables,
        "failed": [{"source": r["source"], "name": r["name"], "reason": r["failure"]} for r in failed],
        "not_finite": sum(row["not_finite"] > 0 for row in rows),
        "seconds": sum(row["seconds"] for row in rows),
        "per_clip": rows,
    }
