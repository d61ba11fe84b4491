"""Task 1: single object tracking, by the overlap of boxes (Perception Test, arXiv 2305.13786, section 4).

    annotated frames after the first   mean IoU of a track -> mean over the tracks of a video -> mean over videos

Readings:

    default    the overlap of the boxes themselves, clipped to the image; a frame without a box counts 0
    notebook   the public notebook's: boxes in pixels, float32, rounded to whole numbers, counted as the VOT toolkit counts
               pixels (`vot_overlap`); videos and tracks that are not predicted are left out; a missing frame is an error

A track whose first box is its last annotated one has nothing to be scored and is left out.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from tapetum.core.errors import BadInput
from tapetum.metrics.boxes import paired_box_iou
from tapetum.systems.perception_test.scores.common import TaskScores, by_camera, mean
from tapetum.systems.perception_test.types import AnnotatedVideo, ObjectTrack, PredictedTrack, TaskPredictions


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
