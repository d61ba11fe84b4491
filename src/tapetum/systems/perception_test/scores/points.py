"""Task 2: single point tracking, by TAP-Vid's average Jaccard on a raster of 256 x 256 (Perception Test, section 4).

A predicted frame says that the point can be seen there. The tracks of a video are counted together, then videos are averaged.

Readings:

    default        frames after the query's; a point is visible where it is predicted
    notebook       the public notebook's: every frame but the query's counts, those before it too; the prediction is visible in
                   every frame of the video, and at (0, 0) where it was not predicted. Videos that are not predicted are left
                   out; of others every track must be there
    tapvid-first   TAP-Vid's own mode "first", by `tapetum.tracks.metrics`: equal to default, by another way

The server is said to count as default does, but for predictions before the query, which it may count as false alarms.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from tapetum.core.errors import BadInput
from tapetum.systems.perception_test.scores.common import TaskScores, by_camera, mean
from tapetum.systems.perception_test.types import AnnotatedVideo, PointTrack, PredictedTrack, TaskPredictions
from tapetum.tracks.metrics import THRESHOLDS, tapvid_metrics

RASTER = 256.0


def score_points(annotations: Mapping[str, AnnotatedVideo], predictions: TaskPredictions, reading: str) -> TaskScores:
    """Score points; `table` has a row for each video."""
    table = []
    for name, video in annotations.items():
        tracks = {track.id: track for track in predictions.videos.get(name, ())}
        if not video.points or (reading == "notebook" and name not in predictions.videos):
            continue
        if reading == "notebook" and len(tracks) != len(video.points):
            raise BadInput(
                f"{name} has {len(tracks)} of {len(video.points)} tracks, which the notebook refuses; score by default"
            )
        table.append({"video": name, "tracks": len(video.points), "average_jaccard": _video(video, tracks, reading)})
    scores = {row["video"]: row["average_jaccard"] for row in table}
    return TaskScores(
        numbers={"average_jaccard": mean(scores.values())},
        groups={"by_camera": by_camera(annotations, scores)},
        counts={"videos": len(table), "tracks": sum(row["tracks"] for row in table)},
        table=table,
    )


def _video(video: AnnotatedVideo, tracks: Mapping[int, PredictedTrack], reading: str) -> float:
    frames = video.metadata.frames
    truth, visible = _over_frames([(t.frames, t.xy) for t in video.points], frames)
    matched = [tracks.get(track.id) for track in video.points]
    empty = np.zeros(0, np.int64), np.zeros((0, 2))
    predicted, shown = _over_frames([empty if s is None else (s.frames, s.places) for s in matched], frames)
    starts = np.array([track.frames[0] for track in video.points])
    if reading == "tapvid-first":
        queries = np.stack([starts, *truth[np.arange(len(starts)), starts].T], 1)
        return tapvid_metrics(queries, ~visible, truth, ~shown, predicted, "first")["average_jaccard"]
    at = np.arange(frames)[None]
    if reading == "notebook":
        counted, shown = at != starts[:, None], np.ones_like(shown)
    else:
        counted = at > starts[:, None]
    return jaccard(truth, visible, predicted, shown, counted)


def _over_frames(tracks: list[tuple[np.ndarray, np.ndarray]], frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Put tracks into arrays over all frames: places on the raster (n, t, 2), and where there is one (n, t)."""
    places, there = np.zeros((len(tracks), frames, 2)), np.zeros((len(tracks), frames), bool)
    for row, (at, xy) in enumerate(tracks):
        places[row, at], there[row, at] = xy * RASTER, True
    return places, there


def jaccard(
    truth: Float[np.ndarray, "n t 2"],
    visible: Bool[np.ndarray, "n t"],
    predicted: Float[np.ndarray, "n t 2"],
    shown: Bool[np.ndarray, "n t"],
    counted: Bool[np.ndarray, "n t"],
) -> float:
    """Average, over the thresholds, hits / (visible + false alarms) of the frames that count; NaN where there are none."""
    apart = np.square(predicted - truth).sum(-1)
    ratios = []
    for threshold in THRESHOLDS:
        hits = visible & shown & (apart < threshold**2) & counted
        false_alarms = shown & ~hits & counted
        whole = int((visible & counted).sum() + false_alarms.sum())
        ratios.append(hits.sum() / whole if whole else np.nan)
    return float(np.mean(ratios))


def start_of(track: PointTrack) -> tuple[int, float, float]:
    """Read frame, x and y (shares) of a track's query."""
    return int(track.frames[0]), float(track.xy[0, 0]), float(track.xy[0, 1])
