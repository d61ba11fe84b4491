r"""Bodies of the hand (palm, three fingers against a thumb, two links each, an arm of two bones behind it) and its script.

The palm's axes: fingers extend along -z, three of them on the +x side in a row along y, the thumb on the -x side; a grip closes
along x. One number from 0 (wide open) to 1 (closed) bends both links of a finger.

          arm /            palm      open: links lean out, then down; shut: they bend in
             /         .---------.
        ____/___       |_________|
       |  palm  |       \       /     angle 1 from straight down: OPEN[0] .. SHUT[0]
        --------         |     |      angle 2 from link 1:        OPEN[1] .. SHUT[1]

The script is the hand's trajectory as numbers that can be stored and replayed: moves of ten channels, and grips. A move adds a
smooth step (minimum jerk) to one channel between two steps of the simulation; moves of one channel may overlap, and add up. So
a script has an exact value at any time, for every caller.

Flash and Hogan, "The coordination of arm movements" (1985): hands move from rest to rest along 10 s^3 - 15 s^4 + 6 s^5.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.tracks.facets.types import F64, I64
from tapetum_world.bodies import quaternions
from tapetum_world.bodies.episode import Body, Rgb, Surface
from tapetum_world.bodies.shapes import Capsule, RoundedBox

OPEN, SHUT = (-0.95, 0.35), (0.5, 1.1)
PALM = (0.078, 0.084, 0.026)
PINCH = 0.58
"""How far fingers are shut when their tips meet the thumb's."""
BONES = (0.42, 0.42)
WRIST = 0.02
"""Metres from the middle of the palm to the end of the forearm, along z."""


@dataclass(frozen=True, kw_only=True)
class Finger:
    """One finger."""

    base: tuple[float, float, float]
    """Where it starts in the palm."""
    side: int
    """1 on the +x side, -1 for the thumb: the sense in which it bends in."""
    lengths: tuple[float, float] = (0.048, 0.042)
    radii: tuple[float, float] = (0.0095, 0.0085)


FINGERS = (
    Finger(base=(0.03, -0.028, -0.006), side=1),
    Finger(base=(0.032, 0.0, -0.006), side=1, lengths=(0.05, 0.044)),
    Finger(base=(0.03, 0.028, -0.006), side=1),
    Finger(base=(-0.032, 0.004, -0.006), side=-1, radii=(0.011, 0.0095)),
)


@dataclass(frozen=True, kw_only=True)
class HandParts:
    """Numbers of the bodies that make a hand and its arm."""

    palm: int
    fingers: tuple[tuple[int, int], ...]
    forearm: int
    upper: int

    @property
    def model(self) -> tuple[int, ...]:
        """List the parts that touch: palm and fingers."""
        return (self.palm, *(j for pair in self.fingers for j in pair))

    @property
    def all(self) -> tuple[int, ...]:
        """List all parts."""
        return (*self.model, self.forearm, self.upper)


def hand_bodies(skin: Rgb, sleeve: Rgb | None = None) -> list[Body]:
    """Build the eleven bodies of a hand: palm, two links of each finger, forearm, upper arm."""
    bare = Surface(colour=skin, shine=0.1)
    clothed = Surface(colour=sleeve or skin, shine=0.0 if sleeve else 0.1)

    def part(name: str, shape: Capsule | RoundedBox, surface: Surface = bare) -> Body:
        return Body(name=f"hand-{name}", noun="hand", shape=shape, material="skin", surface=surface, mass=0.4, group="hand")

    made = [part("palm", RoundedBox(size=PALM, rounding=0.011))]
    for i, finger in enumerate(FINGERS):
        for j in range(2):
            made.append(part(f"finger{i}{j}", Capsule(radius=finger.radii[j], length=finger.lengths[j])))
    made.append(part("forearm", Capsule(radius=0.026, length=BONES[1]), clothed))
    return [*made, part("upper", Capsule(radius=0.034, length=BONES[0]), clothed)]


def hand_parts(first: int) -> HandParts:
    """Number the parts of a hand whose palm is body number `first`."""
    fingers = tuple((first + 1 + 2 * i, first + 2 + 2 * i) for i in range(len(FINGERS)))
    return HandParts(palm=first, fingers=fingers, forearm=first + 1 + 2 * len(FINGERS), upper=first + 2 + 2 * len(FINGERS))


def find_hand(bodies: Sequence[Body]) -> HandParts | None:
    """Find the hand among bodies."""
    for j, body in enumerate(bodies):
        if body.name == "hand-palm":
            return hand_parts(j)
    return None


def angles(closure: F64) -> F64:
    """Compute the hinge angles (..., 8) from finger closures (..., 4)."""
    shares = np.asarray(closure, float)[..., None]
    low, high = np.array(OPEN), np.array(SHUT)
    both = low + (high - low) * shares
    return both.reshape(*both.shape[:-2], 2 * len(FINGERS))


def palm_quaternion(yaw: F64, pitch: F64, roll: F64) -> F64:
    """Compute the palm's rotation (..., 4): yaw about z, then pitch about its x, then roll about its z.

    pitch 0: fingers point down; pitch pi/2: they point along (-sin(yaw), cos(yaw), 0).
    """
    first = quaternions.multiply(quaternions.about((0, 0, 1), yaw), quaternions.about((1, 0, 0), pitch))
    return quaternions.multiply(first, quaternions.about((0, 0, 1), roll))


def tips(closure: float, finger: Finger = FINGERS[1]) -> tuple[float, float]:
    """Compute the position of a fingertip in the palm: x towards its side, and z."""
    a, b = (OPEN[i] + (SHUT[i] - OPEN[i]) * closure for i in range(2))
    (l1, l2), x0, z0 = finger.lengths, abs(finger.base[0]), finger.base[2]
    return x0 - l1 * np.sin(a) - l2 * np.sin(a + b), z0 - l1 * np.cos(a) - l2 * np.cos(a + b)


def pinch_point() -> F64:
    """Compute where fingers shut by `PINCH` hold cloth, in the palm (3,)."""
    return np.array([0.0, 0.0, tips(PINCH)[1] - 0.003])


def arm(palm: F64, shoulder: F64) -> tuple[F64, F64]:
    """Compute poses (k, 7) of forearm and upper arm from the palm's (k, 7) and the preferred shoulder position (3,).

    Two bones reach from shoulder to wrist with the elbow up; if the wrist is too far, the shoulder leans towards it.
    """
    wrist = quaternions.place(palm, np.array([0, 0, WRIST + 0.012]))
    way = shoulder - wrist
    distance = np.linalg.norm(way, axis=-1, keepdims=True)
    along = way / np.maximum(distance, 1e-9)
    reach = np.clip(distance, 0.25, sum(BONES) * 0.96)
    upper, fore = BONES
    share = (fore**2 - upper**2 + reach**2) / (2 * reach)
    height = np.sqrt(np.maximum(fore**2 - share**2, 0))
    up = np.array([0.0, 0.0, 1.0]) - along * along[:, 2:]
    up = up / np.maximum(np.linalg.norm(up, axis=-1, keepdims=True), 1e-9)
    elbow = wrist + along * share + up * height
    return _bone(wrist, elbow), _bone(elbow, wrist + along * reach)


def _bone(start: F64, end: F64) -> F64:
    way = end - start
    unit = way / np.linalg.norm(way, axis=-1, keepdims=True)
    return np.concatenate([(start + end) / 2, quaternions.between(np.array([0.0, 0.0, 1.0]), unit)], -1)


FINGER_CHANNELS = slice(6, 10)
"""Of a row of values, how far each finger is shut; before it the palm's x, y, z, yaw, pitch, roll."""


@dataclass(kw_only=True)
class Grip:
    """A body held from one step to another."""

    body: str
    """Its name."""
    on: int
    off: int = -1
    """-1: until the end."""
    expected: list[float]
    """(7,) where the body should be in the palm; where it is more than `SLACK` away, the hand closes on nothing."""
    action: int = -1
    """Number of the action that began with it."""
    points: list[int] = field(default_factory=list)
    """Of a sheet: the numbers of points that are held."""


SLACK = 0.02
"""Metres."""


@dataclass(kw_only=True)
class HandScript:
    """Moves and grips of one hand."""

    start: list[float]
    """(10,) channels before any move."""
    shoulder: list[float]
    """(3,) where the shoulder likes to be."""
    moves: list[tuple[int, int, int, float]] = field(default_factory=list)
    """Channel, first step, last step, how much is added."""
    grips: list[Grip] = field(default_factory=list)
    _sum: F64 | None = field(default=None, init=False, repr=False, compare=False)
    _folded: int = field(default=0, init=False, repr=False, compare=False)
    _until: int = field(default=0, init=False, repr=False, compare=False)

    def values(self, steps: I64) -> F64:
        """Compute channels (s, 10) at steps (s,), in order."""
        values = np.tile(self._before(int(steps[0])), (len(steps), 1))
        for channel, first, last, delta in self.moves[self._folded :]:
            if first >= steps[-1]:
                continue
            if last <= steps[0]:
                values[:, channel] += delta
                continue
            s = np.clip((steps - first) / (last - first), 0.0, 1.0)
            values[:, channel] += delta * (s * s * s * (10.0 - s * (15.0 - 6.0 * s)))
        return values

    def _before(self, step: int) -> F64:
        """Add up the moves at the front of the list that ended long ago; they need not be evaluated again."""
        if self._sum is None or step < self._until:
            self._sum, self._folded, self._until = np.array(self.start, float), 0, 0
        while self._folded < len(self.moves) and self.moves[self._folded][2] <= step:
            channel, _, last, delta = self.moves[self._folded]
            self._sum[channel] += delta
            self._folded, self._until = self._folded + 1, max(self._until, last)
        return self._sum

    def palm(self, values: F64) -> F64:
        """Compute the palm's pose (s, 7) from channels (s, 10)."""
        return np.concatenate([values[:, :3], palm_quaternion(*values[:, 3:6].T)], 1)

    def states(self, first: int, count: int, step: float) -> tuple[F64, F64]:
        """Compute coordinates (count, 15) and speeds (count, 14) of the hand at steps first, first + 1, ...

        Speeds are those that lead to the next step's coordinates.
        """
        values = self.values(np.arange(first, first + count + 1))
        q = np.concatenate([self.palm(values), angles(values[:, FINGER_CHANNELS])], 1)
        here, there = q[:-1], q[1:]
        turn = quaternions.multiply(quaternions.conjugate(here[:, 3:7]), there[:, 3:7])
        turn = turn * np.sign(turn[:, :1])
        spin = 2 * turn[:, 1:] / step
        v = np.concatenate([(there[:, :3] - here[:, :3]) / step, spin, (there[:, 7:] - here[:, 7:]) / step], 1)
        return here, v

    def to_json(self) -> dict[str, Any]:
        """Write as JSON values."""
        return {
            "start": list(self.start),
            "shoulder": list(self.shoulder),
            "moves": [list(m) for m in self.moves],
            "grips": [dict(vars(g)) for g in self.grips],
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "HandScript":
        """Read what `to_json` wrote; raise BadInput if it is damaged."""
        try:
            return HandScript(
                start=[float(v) for v in values["start"]],
                shoulder=[float(v) for v in values["shoulder"]],
                moves=[(int(c), int(a), int(b), float(d)) for c, a, b, d in values["moves"]],
                grips=[Grip(**g) for g in values["grips"]],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"the script of the hand lacks or mistakes {error}; make the episode again") from None
