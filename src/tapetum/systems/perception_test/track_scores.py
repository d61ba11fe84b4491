"""Scorers of the tasks that tracks answer: 1, 2 and 6 (Perception Test, arXiv 2305.13786, section 4).

Task 1, objects: annotated frames after the first -> mean IoU of a track -> mean over the tracks of a video -> over videos. A
track whose first box is its last annotated one has nothing to be scored and is left out. Readings:

    default    the overlap of the boxes themselves, clipped to the image; a frame without a box counts 0
    notebook   the public notebook's: boxes in pixels, float32, rounded to whole numbers, counted as the VOT toolkit counts
               pixels (`vot_overlap`); videos and tracks that are not predicted are left out; a missing frame is an error

Task 2, points: TAP-Vid's average Jaccard on a raster of 256 x 256. A predicted frame says that the point can be seen there. The
tracks of a video are counted together, then videos are averaged. Readings:

    default        frames after the query's; a point is visible where it is predicted
    notebook       the public notebook's: every frame but the query's counts, those before it too; the prediction is visible in
                   every frame of the video, and at (0, 0) where it was not predicted. Videos that are not predicted are left
                   out; of others every track must be there

Task 6, grounded questions: HOTA (`tapetum.metrics.hota`) of the true tracks, from their first box on, and of the ten predicted
ones of the highest score, clipped to the image, in the frames in which a true track has a box; the mean is over questions. LocA
of an empty answer is 1, in both readings, as in TrackEval:

    default    a predicted track may lack frames, and have others; a question that is not answered has an empty answer
    notebook   the public notebook's: frames of truth and prediction are put side by side in the order in which they come, which
               is right only where both have the same; videos that are not predicted are left out
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from tapetum.core.errors import BadInput
from tapetum.metrics.boxes import paired_box_iou
from tapetum.metrics.hota import HotaScores, box_hota, hota
from tapetum.systems.perception_test.scores import TaskScores, by_camera, check_question, grouped, mean
from tapetum.systems.perception_test.types import AnnotatedVideo, ObjectTrack, PointTrack, PredictedTrack, TaskPredictions
from tapetum.tracks.metrics import THRESHOLDS


def score_objects(annotations: Mapping[str, AnnotatedVideo], predictions: TaskPredictions, reading: str) -> TaskScores:
    """Score boxes of object tracks; `table` has a row for each track."""
    table = []
    for name, video in annotations.items():
        tracks: Sequence[PredictedTrack] = predictions.videos.get(name, ())
        if reading == "notebook":
            truth = {track.id: track for track in video.objects}
            pairs = [(truth[predicted.id], predicted) for predicted in tracks]
        else:
            by_id = {predicted.id: predicted for predicted in tracks}
            pairs = [(track, by_id.get(track.id)) for track in video.objects]
        for track, predicted in pairs:
            overlaps = track_overlaps(video, track, predicted, reading)
            if len(overlaps):
                table.append({"video": name, "track": track.id, "frames": len(overlaps), "iou": float(overlaps.mean())})
    videos = by_video(table, "iou")
    return TaskScores(
        numbers={"average_iou": mean(videos.values())},
        groups={"by_camera": by_camera(annotations, videos)},
        counts={"videos": len(videos), "tracks": len(table)},
        table=table,
    )


def by_video(table: Sequence[Mapping[str, object]], name: str) -> dict[str, float]:
    """Average a number of the rows of each video."""
    rows: dict[str, list[float]] = {}
    for row in table:
        rows.setdefault(str(row["video"]), []).append(float(row[name]))  # pyright: ignore[reportArgumentType]
    return {video: float(np.mean(values)) for video, values in rows.items()}


def track_overlaps(
    video: AnnotatedVideo, track: ObjectTrack, predicted: PredictedTrack | None, reading: str
) -> Float[np.ndarray, " n"]:
    """Compute the overlap in each frame that counts."""
    frames, truth = track.frames[track.start + 1 :], track.boxes[track.start + 1 :]
    if predicted is None:
        return np.zeros(len(frames))
    present = np.isin(frames, predicted.frames)
    boxes = predicted.places[np.searchsorted(predicted.frames, frames[present])]
    if reading == "notebook":
        if not present.all():
            raise BadInput(
                f"track {track.id} has no box in frame {frames[~present][0]}, which the notebook refuses; score by default"
            )
        return vot_overlap(_rounded(truth, video), _rounded(boxes, video))
    overlaps = np.zeros(len(frames))
    overlaps[present] = paired_box_iou(np.clip(truth[present], 0, 1), np.clip(boxes, 0, 1))
    return overlaps


def _rounded(shares: Float[np.ndarray, "n 4"], video: AnnotatedVideo) -> Float[np.ndarray, "n 4"]:
    """Convert to x, y, width, height in whole pixels, as the notebook and the VOT toolkit together do."""
    height, width = video.metadata.size
    sides = shares[:, 2:] - shares[:, :2]
    pixels = np.concatenate([shares[:, :2], sides], 1) * [width, height, width, height]
    return np.round(pixels.astype(np.float32)).astype(np.float64)


def vot_overlap(a: Float[np.ndarray, "n 4"], b: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """Compute the overlap that the VOT toolkit counts in pixels, for boxes x, y, width, height of whole numbers.

    Quirks, kept: 1 where both boxes together are less than 2 pixels wide or high; of boxes that begin left of 0 or above it,
    the last pixels are cut off as if the image began at their corner.
    """
    first = np.minimum(a[:, :2], b[:, :2])
    last = np.maximum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:]) - 1
    tiny = (first >= last).any(1)

    def spans(box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and last pixel in a raster that begins at `first`; the toolkit bounds the last by a place of the image."""
        return np.maximum(box[:, :2] - first, 0), np.minimum(last, box[:, :2] + box[:, 2:] - 1 - first)

    (start_a, end_a), (start_b, end_b) = spans(a), spans(b)
    area_a, area_b = (np.clip(end - start + 1, 0, None).prod(1) for start, end in ((start_a, end_a), (start_b, end_b)))
    shared = np.clip(np.minimum(end_a, end_b) - np.maximum(start_a, start_b) + 1, 0, None).prod(1)
    union = area_a + area_b - shared
    return np.where(tiny, 1.0, np.divide(shared, union, out=np.zeros(len(a)), where=union > 0))


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


def start_of(track: ObjectTrack | PointTrack) -> tuple[int, Float[np.ndarray, " k"]]:
    """Look up frame and place (shares) at which a track is given to a tracker."""
    if isinstance(track, PointTrack):
        return int(track.frames[0]), track.xy[0]
    return int(track.frames[track.start]), track.boxes[track.start]


MOST = 10
"""Tracks of an answer that count."""


def score_grounded(annotations: Mapping[str, AnnotatedVideo], predictions: TaskPredictions, reading: str) -> TaskScores:
    """Score answers; `table` has a row for each question."""
    table, places = [], []
    for name, video in annotations.items():
        if reading == "notebook" and name not in predictions.videos:
            continue
        answers: Mapping[int, Sequence[PredictedTrack]] = predictions.videos.get(name, {})
        for question in video.grounded:
            check_question(name, question, question.answers, question.id in answers, reading)
            truth = [video.objects[number] for number in question.answers or ()]
            predicted = list(answers.get(question.id, ()))
            if len(predicted) > MOST:  # else in their order, by which the notebook pairs frames
                predicted = best_tracks(predicted)
            scores = _as_notebook(name, truth, predicted) if reading == "notebook" else _clean(truth, predicted)
            row = {"hota": scores.hota, "det_a": scores.det_a, "ass_a": scores.ass_a, "loc_a": scores.loc_a}
            table.append({"video": name, "question": question.id, **row})
            places.append((question, scores.hota))
    return TaskScores(
        numbers={key: mean(row[key] for row in table) for key in ("hota", "det_a", "ass_a", "loc_a")},
        groups={
            "by_area": grouped(([question.area], value) for question, value in places if question.area),
            "by_reasoning": grouped(([question.reasoning], value) for question, value in places if question.reasoning),
        },
        counts={"videos": len({row["video"] for row in table}), "questions": len(table)},
        table=table,
    )


def best_tracks(tracks: Sequence[PredictedTrack]) -> list[PredictedTrack]:
    """Choose the tracks of an answer that count, best first."""
    return sorted(tracks, key=lambda track: -track.score)[:MOST]


def _clean(truth: Sequence[ObjectTrack], predicted: Sequence[PredictedTrack]) -> HotaScores:
    starts = {track.id: (track.frames[track.start :], np.clip(track.boxes[track.start :], 0, 1)) for track in truth}
    return box_hota(starts, {track.id: (track.frames, np.clip(track.places, 0, 1)) for track in predicted})


def _as_notebook(name: str, truth: Sequence[ObjectTrack], predicted: Sequence[PredictedTrack]) -> HotaScores:
    """Put frames side by side as the notebook does."""
    true_ids = _by_frame([track.frames[track.start :] for track in truth])
    predicted_ids = _by_frame([track.frames for track in predicted])
    similar: dict[int, list[float]] = {frame: [] for frame in true_ids}
    for true in truth:
        at, boxes = true.frames[true.start :], true.boxes[true.start :]
        kept = [
            track.places if np.array_equal(track.frames, at) else track.places[np.isin(track.frames, at)] for track in predicted
        ]
        if any(len(places) != len(at) for places in kept):
            raise BadInput(f"an answer in {name} lacks frames of its truth, which the notebook refuses; score by default")
        if kept:
            values = paired_box_iou(np.tile(boxes, (len(kept), 1)), np.clip(np.concatenate(kept), 0, 1)).reshape(len(kept), -1)
            for frame, column in zip(at.tolist(), values.T.tolist(), strict=True):
                similar[frame] += column
    frames = []
    for (frame, rows), columns in zip(true_ids.items(), predicted_ids.values(), strict=False):
        values = np.array(similar[frame])
        if values.size != len(rows) * len(columns):
            raise BadInput(f"an answer in {name} has other frames than its truth, which the notebook refuses; score by default")
        frames.append((rows, columns, values.reshape(len(rows), len(columns))))
    return hota(frames if predicted else [(rows, [], np.zeros((len(rows), 0))) for rows in true_ids.values()])


def _by_frame(tracks: Sequence[np.ndarray]) -> dict[int, list[int]]:
    """List the numbers of the tracks that are in each frame, frames in the order in which they come."""
    scores: dict[int, list[int]] = {}
    for number, frames in enumerate(tracks):
        for frame in frames.tolist():
            scores.setdefault(frame, []).append(number)
    return scores
