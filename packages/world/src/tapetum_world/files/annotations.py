"""Annotations of a rendered episode in the format of the Perception Test, collected part by part from its ground truth.

An object's box surrounds all of it that lies in the image, hidden or not, about once a second and in the last frame. Boxes
exist where part of it is visible, and, marked as masked, where it is inside or under another object. Objects hidden in other
ways have no box there.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tapetum.data import perception
from tapetum.types import Masks
from tapetum_world.bodies.episode import Episode
from tapetum_world.bodies.shapes import Cup
from tapetum_world.rendering import GroundTruth, PointTracks
from tapetum_world.sound.recording import SoundEvents
from tapetum_world.words import SceneQuestion
from tapetum_world.words.episodes import Grounded
from tapetum_world.words.graph import movable_bodies

ACTIONS = {
    "pick": "Picking something up",
    "place": "Putting something down",
    "push": "Pushing something",
    "put-into": "Putting something into something",
    "take-out": "Taking something out of something",
    "cover": "Covering something with something",
    "uncover": "Uncovering something",
    "shuffle": "Sliding something about",
    "spin": "Spinning something",
    "pour": "Pouring something out of something",
    "drop": "Letting something fall",
    "show": "Showing something to the camera",
}
"""Verbs of an episode in the words of the benchmark; places in this list are class ids, which are ours."""
SOUNDS = {"impact": "Impact", "sliding": "Sliding", "rolling": "Rolling", "pouring": "Pouring"}
"""In the same way."""
TAGS = {
    "nth": ("sequencing", "event recall"),
    "unseen": ("occlusion", "object permanence"),
    "which-cup": ("object permanence", "containment"),
    "place-without-hand": ("change detection",),
    "how-many": ("action counting",),
    "what-changed": ("quantity", "change detection"),
    "one-more": ("object counting", "quantity"),
    "number-without-hand": ("object counting", "quantity"),
    "first-hit": ("collision",),
    "set-off": ("motion", "collision"),
    "become": ("motion", "stability"),
    "without-other": ("collision", "motion"),
    "what-done": ("action recognition",),
    "what-for": ("action recognition", "task completion"),
    "what-next": ("action recognition", "task completion"),
    "first-without": ("sequencing",),
}
AREA_TAGS = {"memory": "event recall", "abstraction": "event counting", "physics": "motion", "semantics": "action recognition"}
"""Of templates that are not in `TAGS`."""


class Annotations:
    """Collects the annotations of one video; parts are added in order."""

    def __init__(self, size: tuple[int, int], frame_rate: float, frames: int):
        """Prepare for a video of `frames` frames of `size` (height, width)."""
        self.size, self.frame_rate, self.frames = size, frame_rate, frames
        self.moving = self.cup_game = False
        self._first: Episode | None = None
        self._boxes: dict[int, list[tuple[int, np.ndarray, bool]]] = {}
        self._actions: list[tuple[str, tuple[int, int], float, float]] = []
        self._sounds: list[tuple[str, tuple[int, int], float, float, bool]] = []
        self._points: list[dict[str, Any]] = []

    def add(self, part: Episode, truth: GroundTruth, events: SoundEvents, start: int) -> None:
        """Add a part that begins at frame `start` of the video."""
        self._first = self._first or part
        poses, seconds = part.camera.world_to_camera, start / self.frame_rate
        self.moving |= bool(np.abs(poses - self._first.camera.world_to_camera[0]).max() > 1e-9)
        self.cup_game |= part.settings.get("story") == "cups-shuffle"
        step = max(1, round(self.frame_rate))
        snapshots = [
            *range(-start % step, part.frames, step),
            *([part.frames - 1] if start + part.frames == self.frames else []),
        ]
        for frame in dict.fromkeys(snapshots):
            self._look(part, truth, frame, start)
        for action in sorted(part.actions, key=lambda a: (a.start_s, a.end_s, a.body)):
            bodies = (action.body, action.target)
            self._actions.append((action.verb, bodies, action.start_s + seconds, min(action.end_s, part.seconds) + seconds))
        for i, label in enumerate(events.labels):
            a, b = events.bodies[i].tolist()
            times = float(events.start_s[i]) + seconds, float(events.end_s[i]) + seconds
            self._sounds.append((label, (a, b), *times, bool(events.in_image[i])))

    def follow(self, part: Episode, bodies: np.ndarray, followed: PointTracks) -> None:
        """Add points of bodies (n,) tracked through the whole video, which has one part."""
        tracks = self.tracks()
        for body, xy, visible in zip(bodies.tolist(), followed.xy, followed.visible, strict=True):
            frames = np.flatnonzero(visible)
            if len(frames):
                label, parents = _name(part, body), [tracks[body]] if body in tracks else []
                number = len(self._points)
                self._points.append(perception.point_track(number, label, parents, xy[frames], frames, size=self.size))

    def tracks(self) -> dict[int, int]:
        """Number the object track of each body that has one."""
        return {body: number for number, body in enumerate(sorted(self._boxes))}

    def item(self, video: str, split: str, samples: int, sound_rate: int, pointing: Sequence[Grounded]) -> dict[str, Any]:
        """Build the annotations except the multiple-choice questions, which are chosen once all videos exist."""
        assert self._first is not None
        tracks = self.tracks()
        fit = {"frame_rate": self.frame_rate, "frames": self.frames}
        actions = [
            perception.segment(i, ACTIONS.get(v, v), _place(ACTIONS, v), _parents(bodies, tracks), *times, **fit)
            for i, (v, bodies, *times) in enumerate(self._actions)
        ]
        sounds = [
            perception.segment(i, SOUNDS[s], _place(SOUNDS, s), _parents(bodies, tracks), a, b, visible=shown, **fit)
            for i, (s, bodies, a, b, shown) in enumerate(sorted(self._sounds, key=lambda row: row[2]))
        ]
        grounded = [
            perception.grounded_question(i, q.text, [tracks[b] for b in q.bodies], area=q.area, reasoning=q.kind)
            for i, q in enumerate(pointing)
            if all(b in tracks for b in q.bodies)
        ]
        return {
            "metadata": perception.metadata(
                video_id=video,
                split=split,
                size=self.size,
                audio_samples=samples,
                audio_sample_rate=sound_rate,
                cup_game=self.cup_game,
                moving=self.moving,
                **fit,
            ),
            "object_tracking": [self._track(number, body) for body, number in tracks.items()],
            "point_tracking": self._points,
            "action_localisation": actions,
            "sound_localisation": sounds,
            "grounded_question": grounded,
        }

    def _look(self, part: Episode, truth: GroundTruth, frame: int, start: int) -> None:
        """Record the boxes of one frame."""
        masks = truth.masks(frame)
        boxes = Masks(masks=masks.amodal).boxes.xyxy
        inside = part.inside[part.moment(frame)]
        for body in movable_bodies(part):
            row = int(np.searchsorted(masks.ids, part.instance[body]))
            is_visible, whole = bool(masks.visible[row].any()), bool(masks.amodal[row].any())
            if is_visible or (whole and inside[body] >= 0):
                self._boxes.setdefault(body, []).append((start + frame, boxes[row], not is_visible))

    def _track(self, number: int, body: int) -> dict[str, Any]:
        assert self._first is not None
        frames, boxes, masked = zip(*self._boxes[body], strict=True)
        hides = self.cup_game and isinstance(self._first.bodies[body].shape, Cup)
        name = _name(self._first, body)
        arrays = np.stack(boxes), np.array(frames), np.array(masked)
        return perception.object_track(number, name, *arrays, size=self.size, frame_rate=self.frame_rate, occluder=hides)


def mc_questions(questions: Sequence[SceneQuestion], frame_rate: float, frames: int) -> list[dict[str, Any]]:
    """Describe multiple-choice questions; `cut_frame` says where the video must end for a question about what comes next."""
    rows = []
    for number, q in enumerate(questions):
        end = frames if q.span is None else min(frames, max(1, int(q.span[1] * frame_rate + 1e-6)))
        tags = TAGS.get(q.template, (AREA_TAGS[q.area],))
        more = {"cut_frame": end} if end < frames else {}
        row = perception.mc_question(
            number, q.text, q.options, q.correct, area=q.area, reasoning=q.kind, tags=tags, template=q.template, **more
        )
        rows.append(row)
    return rows


def _name(episode: Episode, body: int) -> str:
    shape = episode.bodies[body]
    return " ".join(word for word in (shape.colour_name, shape.group or shape.noun) if word)


def _parents(bodies: tuple[int, int], tracks: dict[int, int]) -> list[int]:
    """Return the tracks of bodies, -1 for those without one, such as a table."""
    return [tracks.get(body, -1) for body in bodies if body >= 0]


def _place(classes: dict[str, str], name: str) -> int:
    return list(classes).index(name) if name in classes else -1
