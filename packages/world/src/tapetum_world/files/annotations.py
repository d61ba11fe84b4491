"""Annotations of an episode in the format of the Perception Test, from its ground truth.

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


def annotate(
    episode: Episode, sounds: SoundEvents, points: tuple[np.ndarray, PointTracks], pointing: Sequence[Grounded], **about: Any
) -> dict[str, Any]:
    """Annotate an episode, except for the multiple-choice questions, which are chosen once all videos exist.

    Args:
        episode: the episode.
        sounds: its sounds.
        points: bodies (n,) of points, and their tracks through the whole video.
        pointing: its grounded questions.
        about: further metadata.
    """
    size, fit = episode.size, {"frame_rate": episode.frame_rate, "frames": episode.frames}
    cup_game = episode.settings.get("story") == "cups-shuffle"
    poses = episode.camera.world_to_camera
    rows = _boxes(episode)
    tracks = {body: number for number, body in enumerate(sorted(rows))}
    point_rows: list[dict[str, Any]] = []
    for body, xy, visible in zip(points[0].tolist(), points[1].xy, points[1].visible, strict=True):
        frames = np.flatnonzero(visible)
        if len(frames):
            parents = [tracks[body]] if body in tracks else []
            number = len(point_rows)
            point_rows.append(perception.point_track(number, _name(episode, body), parents, xy[frames], frames, size=size))
    object_rows = []
    for body, number in tracks.items():
        frames, boxes, masked = (np.array(column) for column in zip(*rows[body], strict=True))
        hides = cup_game and isinstance(episode.bodies[body].shape, Cup)
        name, frame_rate = _name(episode, body), episode.frame_rate
        track = perception.object_track(number, name, boxes, frames, masked, size=size, frame_rate=frame_rate, occluder=hides)
        object_rows.append(track)
    actions = []
    for i, action in enumerate(sorted(episode.actions, key=lambda a: (a.start_s, a.end_s, a.body))):
        times, parents = (action.start_s, min(action.end_s, episode.seconds)), _parents((action.body, action.target), tracks)
        label = ACTIONS.get(action.verb, action.verb)
        actions.append(perception.segment(i, label, _place(ACTIONS, action.verb), parents, *times, **fit))
    heard = zip(
        sounds.labels, sounds.bodies.tolist(), sounds.start_s.tolist(), sounds.end_s.tolist(), sounds.in_image, strict=True
    )
    return {
        "metadata": perception.metadata(
            size=size, cup_game=cup_game, moving=bool(np.abs(poses - poses[0]).max() > 1e-9), **about, **fit
        ),
        "object_tracking": object_rows,
        "point_tracking": point_rows,
        "action_localisation": actions,
        "sound_localisation": [
            perception.segment(i, SOUNDS[s], _place(SOUNDS, s), _parents(pair, tracks), a, b, visible=bool(shown), **fit)
            for i, (s, pair, a, b, shown) in enumerate(sorted(heard, key=lambda row: row[2]))
        ],
        "grounded_question": [
            perception.grounded_question(i, q.text, [tracks[b] for b in q.bodies], area=q.area, reasoning=q.kind)
            for i, q in enumerate(pointing)
            if all(b in tracks for b in q.bodies)
        ],
    }


def _boxes(episode: Episode) -> dict[int, list[tuple[int, np.ndarray, bool]]]:
    """List frame, box and whether it is masked for each body, about once a second and in the last frame."""
    truth, rows = GroundTruth(episode), dict[int, list[tuple[int, np.ndarray, bool]]]()
    step = max(1, round(episode.frame_rate))
    for frame in dict.fromkeys([*range(0, episode.frames, step), episode.frames - 1]):
        masks = truth.masks(frame)
        boxes = Masks(masks=masks.amodal).boxes.xyxy
        inside = episode.inside[episode.moment(frame)]
        for body in movable_bodies(episode):
            row = int(np.searchsorted(masks.ids, episode.instance[body]))
            is_visible, whole = bool(masks.visible[row].any()), bool(masks.amodal[row].any())
            if is_visible or (whole and inside[body] >= 0):
                rows.setdefault(body, []).append((frame, boxes[row], not is_visible))
    return rows


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


def _parents(bodies: Sequence[int], tracks: dict[int, int]) -> list[int]:
    """Return the tracks of bodies, -1 for those without one, such as a table."""
    return [tracks.get(body, -1) for body in bodies if body >= 0]


def _place(classes: dict[str, str], name: str) -> int:
    return list(classes).index(name) if name in classes else -1
