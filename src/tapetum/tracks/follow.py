"""Objects detected in some frames, carried through all frames by tracked points.

    frame     0 ........... 40 41 ....... 55 56 57 ......... 99
    detector  finds it          not there     finds it again
    points    ├── followed ──┤ lost           ├── followed ──┤        back in time too, up to where they were lost

The detector runs on the first frame, and every `every` frames until it finds something; then, if an object is lost, at most
every `every` frames until it is found again. A detected box is a lost object if it has its label, and a new object if it
overlaps none that is followed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from tapetum.metrics.boxes import box_iou
from tapetum.tracks.boxes import BoxTracks, carry, points_in
from tapetum.tracks.tracker import Tracker
from tapetum.types import Boxes
from tapetum.video import Video
from tapetum.video.types import VideoSubset

PATIENCE = 3
"""Frames in a row without enough points after which a thing is lost; a shorter gap is bridged."""
SAME = 0.3
"""Overlap (intersection over union) from which a found box is a thing that is followed already."""
Detector = Callable[[int], Boxes]


@dataclass
class CarriedBox:
    """One thing through the video, as far as it is known."""

    label: str
    xyxy: np.ndarray
    """(t, 4)"""
    shown: np.ndarray
    detected: np.ndarray
    scores: np.ndarray


@dataclass
class BoxTracker:
    """Follows things through one video."""

    video: Video
    tracker: Tracker
    detect: Detector
    every: int
    """Frames between two detections, at least."""
    detector_frames: list[int] = field(default_factory=list)
    progress: Callable[[int, int | None], None] = lambda done, total: None

    def run(self) -> list[CarriedBox]:
        """Track the detected objects through the whole video."""
        objects: list[CarriedBox] = []
        frame, end = 0, len(self.video)
        while frame < end:
            self.progress(frame, end)
            boxes = self.detect(frame)
            self.detector_frames.append(frame)
            matched = self._matched(objects, boxes, frame)
            if matched:
                self._carry(matched, frame)
            later = []  # where each is never shown again
            for each in objects:
                if each.shown[frame] and (last := int(np.flatnonzero(each.shown)[-1])) + 1 < end:
                    later.append(last + 1)
            if not objects or not all(each.shown[frame] for each in objects):
                later.append(frame)
            frame = max(min(later, default=end), frame + self.every)
        self.progress(end, end)
        return objects

    def _matched(self, things: list[CarriedBox], boxes: Boxes, frame: int) -> list[tuple[CarriedBox, np.ndarray, float]]:
        """The boxes that start a track: of a lost object, or of a new one, which is added to the list."""
        live = [thing.xyxy[frame] for thing in things if thing.shown[frame]]
        lost = [thing for thing in things if not thing.shown[frame]]
        begun: list[tuple[CarriedBox, np.ndarray, float]] = []
        assert boxes.scores is not None
        for k in np.argsort(-boxes.scores, kind="stable").tolist():
            box, label = boxes.xyxy[k], str(boxes.labels[k])
            known = np.array([*live, *(b for _, b, _ in begun)]).reshape(-1, 4)
            if (box_iou(box[None], known) >= SAME).any():
                continue
            thing = next((thing for thing in lost if thing.label == label), None)
            if thing is None:
                thing = _unseen(label, len(self.video))
                things.append(thing)
            else:
                lost.remove(thing)
            begun.append((thing, box, float(boxes.scores[k])))
        return begun

    def _carry(self, begun: list[tuple[CarriedBox, np.ndarray, float]], frame: int) -> None:
        """Follows points in the boxes of a frame, forward and backward, and moves the boxes with them."""
        size = self.video.width, self.video.height
        firsts = [int(before[-1]) + 1 if len(before := np.flatnonzero(thing.shown[:frame])) else 0 for thing, _, _ in begun]
        start, end = min(firsts), len(self.video)
        part = self.video if start == 0 else VideoSubset(self.video, list(range(start, end)))
        grids = [box_queries(box, frame - start, size) for _, box, _ in begun]
        owners = np.repeat(np.arange(len(grids)), [len(grid) for grid in grids])
        tracks = self.tracker.track(part, np.concatenate(grids))
        for k, ((thing, box, score), first) in enumerate(zip(begun, firsts, strict=True)):
            xy, visible = tracks.xy[owners == k], tracks.visible[owners == k]
            thing.xyxy[frame], thing.shown[frame], thing.detected[frame], thing.scores[frame] = box, True, True, score
            for way in (range(frame + 1, end), range(frame - 1, first - 1, -1)):
                _along(thing, frame, way, xy, visible, start, size)


def box_queries(box: Float[np.ndarray, "4"], frame: int, size: tuple[int, int]) -> Float[np.ndarray, "k 3"]:
    """Make queries (frame, x, y) of the points in a box whose motion carries it; points outside an image of `size` (width,
    height) are left out."""
    points = points_in(box)
    inside = (points >= 0).all(1) & (points <= size).all(1)
    return np.concatenate([np.full((int(inside.sum()), 1), frame, np.float32), points[inside]], 1)


def carry_box(
    box: Float[np.ndarray, "4"],
    frame: int,
    xy: Float[np.ndarray, "k t 2"],
    visible: Bool[np.ndarray, "k t"],
    size: tuple[int, int],
) -> CarriedBox:
    """Carry a box from a frame to the end of the video by the tracks of its points (`box_queries`), like an object tracker. A
    lost box keeps its position, not shown, until enough of its points are visible again."""
    thing = _unseen("", xy.shape[1])
    thing.xyxy[: frame + 1], thing.shown[frame], thing.detected[frame], thing.scores[frame] = box, True, True, 1.0
    _along(thing, frame, range(frame + 1, xy.shape[1]), xy, visible, 0, size, patience=xy.shape[1])
    for later in range(frame + 1, xy.shape[1]):
        if not thing.shown[later]:
            thing.xyxy[later] = thing.xyxy[later - 1]
    return thing


def _unseen(label: str, frames: int) -> CarriedBox:
    none = np.zeros(frames, bool)
    return CarriedBox(label, np.zeros((frames, 4), np.float32), none, none.copy(), np.zeros(frames, np.float32))


def _along(
    thing: CarriedBox,
    anchor: int,
    way: range,
    xy: np.ndarray,
    visible: np.ndarray,
    start: int,
    size: tuple[int, int],
    patience: int = PATIENCE,
) -> None:
    """Moves a box from the frame `anchor` to others, until it is lost; tracks begin at the frame `start`."""
    box, score, missed = thing.xyxy[anchor].copy(), float(thing.scores[anchor]), 0
    before = xy[:, anchor - start]
    for frame in way:
        carried = None if missed >= patience else carry(box, before, xy[:, frame - start], visible[:, frame - start])
        centre = np.full(2, -1.0) if carried is None else (carried[0][:2] + carried[0][2:]) / 2
        if carried is None or not ((centre >= 0) & (centre <= size)).all():
            missed += 1
            thing.shown[frame] = False
        else:
            missed = 0
            thing.xyxy[frame], thing.shown[frame], thing.scores[frame] = carried[0], True, score * carried[1]


def to_box_tracks(things: list[CarriedBox], video: Video) -> BoxTracks:
    """Assemble boxes through time; short gaps are bridged, and an object that is not shown keeps its last box."""
    t = len(video)
    for thing in things:
        _bridge(thing)
    return BoxTracks(
        xyxy=np.array([thing.xyxy for thing in things]).reshape(-1, t, 4),
        shown=np.array([thing.shown for thing in things], bool).reshape(-1, t),
        detected=np.array([thing.detected for thing in things], bool).reshape(-1, t),
        scores=np.array([thing.scores for thing in things]).reshape(-1, t),
        labels=[thing.label for thing in things],
        times=video.timestamps if video.clocked else None,
    )


def _bridge(thing: CarriedBox) -> None:
    """Fills gaps shorter than `PATIENCE` by linear interpolation between boxes."""
    frames = np.flatnonzero(thing.shown)
    for one, other in pairwise(frames):
        gap = int(other - one)
        for k in range(1, gap):
            share = k / gap
            if gap <= PATIENCE:
                thing.xyxy[one + k] = (1 - share) * thing.xyxy[one] + share * thing.xyxy[other]
                thing.scores[one + k] = (1 - share) * thing.scores[one] + share * thing.scores[other]
                thing.shown[one + k] = True
            else:
                thing.xyxy[one + k] = thing.xyxy[one]
    if len(frames):
        thing.xyxy[: frames[0]], thing.xyxy[frames[-1] + 1 :] = thing.xyxy[frames[0]], thing.xyxy[frames[-1]]
