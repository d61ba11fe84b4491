r"""Scene graph of a frame: visible objects, their names, boxes, masks and attributes, legible words, and spatial relations.

Directions are the viewer's, on the ground: `side` grows to the right of the image and `far` away from the camera.

           behind                    strict: within about 34 degrees of the axis, 3 cm away or more
        \         /                  loose: anywhere on that side
    left     b     right             a relation is said only if it is strict, and denied only if it is not even loose;
        /         \                  what lies between is left out of questions
          in front
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tapetum.core.errors import BadInput
from tapetum_world.bodies import quaternions
from tapetum_world.bodies.episode import Body, Episode
from tapetum_world.bodies.shapes import Bowl, Capsule, Cone, Cup, Cylinder, Ellipsoid, RoundedBox, Sheet, Sphere
from tapetum_world.rendering.ground_truth import GroundTruth, SurfacePoints
from tapetum_world.rendering.texturing import printed_sides, word_height

Relation = Literal["left of", "right of", "in front of", "behind", "on", "in", "under"]
SIDES: tuple[Relation, ...] = ("left of", "right of", "in front of", "behind")
CLEAR_SHARE, CLEAR_AREA = 0.5, 0.001
"""A thing is clear where so much of its outline is seen, and so much of the image is it."""
STEEP, LEAST_APART = 1.5, 0.03
LARGER = 1.25
"""A thing is larger than another from this ratio of their longest extents on; up to SAME they are of about the same size."""
SAME = 1.08
PROBE_SIZE = 96
"""Pixels of the longer side of the image in which visibility is looked at."""


@dataclass(frozen=True, kw_only=True)
class ObjectNode:
    """One movable thing in an image."""

    number: int
    """Of the body in the episode."""
    noun: str
    colour: str
    """A colour's name; empty where nobody would say one."""
    material: str
    form: str
    """A word for its shape: ball, egg, cube, box, cylinder, cone, stick, cup, bowl, sheet."""
    size_m: float
    """Longest extent."""
    place: tuple[float, float, float]
    """Of its origin in the world."""
    side: float
    """Metres to the right, as the camera sees it."""
    far: float
    """Metres away from the camera along the ground."""
    visible_share: float
    """Share of its outline that is seen, 0..1; 0 for what lies outside of the image."""
    area: float
    """Share of the image that shows it."""
    box: tuple[float, float, float, float]
    """Around what is seen, raster pixels of the episode's image, as fine as the look (`PROBE_SIZE`); zeros where nothing is."""
    text: str
    """The word printed on it, if it can be read in this image."""
    holder: int
    """Number of the body that it is in or under; -1 for none."""
    on: int
    """Number of the thing that it stands on; -1 for the ground or nothing."""

    @property
    def visible(self) -> bool:
        """Check whether any part of it is visible."""
        return self.area > 0

    @property
    def clear(self) -> bool:
        """Check whether enough of it is visible to ask about."""
        return self.visible_share >= CLEAR_SHARE and self.area >= CLEAR_AREA


@dataclass(frozen=True, kw_only=True)
class SceneGraph:
    """All movable things of one frame, the hand left out."""

    frame: int
    objects: tuple[ObjectNode, ...]
    hand: bool
    """Whether a hand can be seen."""
    upturned: tuple[int, ...] = ()
    """Numbers of hollow bodies that stand on their head, and of sheets: what they hold is under them."""

    @property
    def visible(self) -> tuple[ObjectNode, ...]:
        """List the objects with any visible part."""
        return tuple(t for t in self.objects if t.visible)

    @property
    def clear(self) -> tuple[ObjectNode, ...]:
        """List the objects visible enough to ask questions about."""
        return tuple(t for t in self.objects if t.clear)

    def find(self, number: int) -> ObjectNode:
        """Find the object of a body; raise BadInput if the body is not a movable object."""
        for thing in self.objects:
            if thing.number == number:
                return thing
        raise BadInput(f"body {number} is no movable thing of this frame; take one of {[t.number for t in self.objects]}")

    def holds(self, a: ObjectNode, relation: str, b: ObjectNode) -> bool | None:
        """Check whether `a` is `relation` `b`: True, False, or None where people would differ."""
        if relation in ("in", "under"):
            return a.holder == b.number and (relation == "under") == (b.number in self.upturned)
        if relation == "on":
            return a.on == b.number
        if a.number == b.number:
            return False
        right, away = a.side - b.side, a.far - b.far
        along, across = {"left of": (-right, away), "right of": (right, away), "in front of": (-away, right)}.get(
            relation, (away, right)
        )
        if a.holder == b.number or b.holder == a.number or a.on == b.number or b.on == a.number:
            return None
        if along > STEEP * abs(across) and along > LEAST_APART:
            return True
        return None if along > -0.01 else False

    def relations(self) -> list[tuple[int, Relation, int]]:
        """List all relations between visible objects that certainly hold, by body number."""
        kinds: tuple[Relation, ...] = (*SIDES, "on", "in", "under")
        visible = self.visible
        return [(a.number, r, b.number) for a in visible for b in visible for r in kinds if a is not b and self.holds(a, r, b)]

    def larger(self, a: ObjectNode, b: ObjectNode) -> bool | None:
        """Check whether `a` is larger than `b`; None if it is unclear."""
        if a.size_m > LARGER * b.size_m:
            return True
        return False if b.size_m > LARGER * a.size_m or max(a.size_m, b.size_m) < SAME * min(a.size_m, b.size_m) else None


def form(body: Body) -> str:
    """Name the shape of a body."""
    match body.shape:
        case Sphere():
            return "ball"
        case Ellipsoid():
            return "egg"
        case RoundedBox(size=size):
            return "cube" if max(size) < 1.05 * min(size) else "box"
        case Cylinder():
            return "cylinder"
        case Cone():
            return "cone"
        case Capsule():
            return "stick"
        case Cup():
            return "cup"
        case Bowl():
            return "bowl"
        case Sheet():
            return "sheet"
    return "ground"


def movable_bodies(episode: Episode) -> list[int]:
    """List the numbers of movable objects: neither fixed nor part of a hand."""
    return [j for j, b in enumerate(episode.bodies) if not b.fixed and b.group != "hand"]


def small(episode: Episode, longest: int = PROBE_SIZE) -> Episode:
    """Copy the episode with a smaller image of the same view."""
    h, w = episode.size
    scale = longest / max(h, w)
    size = (max(1, round(h * scale)), max(1, round(w * scale)))
    intrinsics = episode.camera.intrinsics * np.array([size[1] / w, size[0] / h, size[1] / w, size[0] / h])
    return replace(episode, size=size, camera=replace(episode.camera, intrinsics=intrinsics))


def scene_graph(episode: Episode, frame: int, look: int = PROBE_SIZE) -> SceneGraph:
    """Build the scene graph of a frame; visibility is computed with `look` pixels along the longer side."""
    watched = small(episode, look)
    truth = GroundTruth(watched)
    masks = truth.masks(frame)
    instance = episode.instance
    h, w = watched.size
    moment = episode.moment(frame)
    pose = episode.poses[moment]
    matrix = episode.camera.world_to_camera[moment]
    ahead = matrix[2, :2] / max(float(np.linalg.norm(matrix[2, :2])), 1e-9)
    right = matrix[0, :2] / max(float(np.linalg.norm(matrix[0, :2])), 1e-9)
    scale = np.array([episode.size[1] / w, episode.size[0] / h] * 2)
    standing = _supports(episode, moment)
    things = []
    for j in movable_bodies(episode):
        body = episode.bodies[j]
        row = int(np.searchsorted(masks.ids, instance[j]))
        visible, amodal = masks.visible[row], masks.amodal[row]
        place = episode.sheets[j][moment].reshape(-1, 3).mean(0) if j in episode.sheets else pose[j, :3]
        box = np.zeros(4)
        if visible.any():
            rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
            box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) * scale
        things.append(
            ObjectNode(
                number=j,
                noun=body.noun,
                colour=body.colour_name,
                material=body.material,
                form=form(body),
                size_m=float(np.ptp(body.shape.outline, axis=0).max()),
                place=(float(place[0]), float(place[1]), float(place[2])),
                side=float(right @ place[:2]),
                far=float(ahead @ place[:2]),
                visible_share=float(visible.sum() / max(amodal.sum(), 1)),
                area=float(visible.mean()),
                box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                text=body.surface.text if body.surface.text and readable(truth, j, frame, episode.size[1] / w) else "",
                holder=int(episode.inside[moment, j]),
                on=standing.get(j, -1),
            )
        )
    hands = [j for j, b in enumerate(episode.bodies) if b.group == "hand"]
    upturned = tuple(j for j in range(len(episode.bodies)) if _upturned(episode, j, moment))
    return SceneGraph(frame=frame, objects=tuple(things), hand=bool(np.isin(masks.bodies, hands).any()), upturned=upturned)


def _upturned(episode: Episode, body: int, moment: int) -> bool:
    shape = episode.bodies[body].shape
    if isinstance(shape, Sheet):
        return True
    up = quaternions.rotate(episode.poses[moment, body, 3:], np.array([0.0, 0.0, 1.0]))[2]
    return shape.opening is not None and bool(up < -0.5)


def _supports(episode: Episode, moment: int) -> dict[int, int]:
    """Find what each object stands on: the object under it that it touches, by contacts of the last few moments."""
    contacts = episode.contacts
    near = (contacts.moment > moment - 12) & (contacts.moment <= moment)
    supports: dict[int, int] = {}
    loose = set(movable_bodies(episode))
    grounded = set()
    for (a, b), normal in zip(contacts.bodies[near].tolist(), contacts.normal[near], strict=True):
        if abs(normal[2]) < 0.8:
            continue
        # The normal goes from a to b: pointing up, b is above.
        above, below = (b, a) if normal[2] > 0 else (a, b)
        if above in loose and below in loose and episode.inside[moment, above] != below:
            supports[above] = below
        elif above in loose and below not in loose:
            grounded.add(above)
    return {above: below for above, below in supports.items() if above not in grounded}


LETTER = 5.0
"""Pixels of width from which on a letter can be read."""


def readable(truth: GroundTruth, body: int, frame: int, enlarged: float) -> bool:
    """Check whether the word on a body can be read on one of its sides: fully visible, from the front, upright and large.

    `enlarged`: how much larger the real image is than the rendered one.
    """
    episode = truth.episode
    text, shape = episode.bodies[body].surface.text, episode.bodies[body].shape
    if not isinstance(shape, RoundedBox):
        return False
    moment = episode.moment(frame)
    turn = episode.camera.world_to_camera[moment, :3, :3] @ episode.rotations(np.array([moment]))[0, body]
    across, up = (g.ravel() for g in np.meshgrid([-0.5, 0.0, 0.5], [-0.5, 0.0, 0.5]))
    for side in printed_sides(shape):
        wide, tall = side.fit(word_height(text))
        place = side.middle + np.outer(across * wide, side.across) + np.outer(up * tall, side.up)
        points = SurfacePoints(np.full(9, body), place, np.tile(side.facing, (9, 1)))
        tracks = truth.follow(points, range(frame, frame + 1))
        towards = -(tracks.xyz[:, 0] / np.linalg.norm(tracks.xyz[:, 0], axis=1, keepdims=True)).mean(0)
        x, y = (tracks.xy[7, 0] - tracks.xy[1, 0]).tolist()
        letter = abs(tracks.xy[5, 0, 0] - tracks.xy[3, 0, 0]) * enlarged / len(text)
        facing = towards @ (turn @ side.facing) > 0.5
        if tracks.visible.all() and facing and -y > 2 * abs(x) and letter > LETTER and -y * enlarged > 1.5 * LETTER:
            return True
    return False
