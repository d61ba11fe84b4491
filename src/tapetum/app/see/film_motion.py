"""Questions about motion in a film, answered from tracks: does the camera move, which way does the bear walk?

    words      each option is read as a claim of the camera, of a thing, or of whatever moves: it moves, goes left, turns, ...
    passages   up to three of 20 frames, six a second, through which points are tracked (`tracks.frame_motion`)
    things     are where the classifier sees them (`encoders.class_maps`); people and what is no class are "whatever moves"
    passes     how often something goes through the middle of a still camera's image; things side by side are one

A claim is true, false, or not known: between the two thresholds of every measure nothing is said. A zoom and a camera that
comes nearer look alike, and so do a turn of the camera and a shift: the words for them mean the same here. Walking, running
and sitting are not told apart; that something moves, or does not, rules some of them out.
"""

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool

from tapetum.app.see.photo_questions import CANNOT_SAY
from tapetum.app.see.settings import AUTO, CLASSIFIER
from tapetum.app.verb import Listener
from tapetum.encoders.naming import is_person
from tapetum.encoders.wordnet import Thing, split_nouns
from tapetum.systems.longvideo.streaming import FrameSelection
from tapetum.tracks.frame_motion import (
    CAMERA,
    MOST_PASSES,
    MOVES,
    MOVING,
    MotionPath,
    count_passes,
    measure_paths,
)
from tapetum.tracks.tracker import Tracker
from tapetum.video import Video, open_video

TRACKER = "tapir-nano"
FRAMES, FRAME_RATE, PASSAGES, PASS_RATE = 20, 6.0, 3, 10.0
"""Frames of a passage, frames in a second, and passages; and frames in a second where passes are counted."""
GROWS, TURNS = 0.15, 0.35
"""From here on something grows (logarithm of its size) or turns (radians)."""
CALM = 0.4
"""Share of what counts as motion up to which there is none."""
FAST, SLOW = 0.25, 0.1
"""Diagonals a second from which on something is fast, and up to which it is slow."""
_WORDS = {
    "left": "left leftward leftwards",
    "right": "right rightward rightwards",
    "up": "up upward upwards rise rises rising climb climbs climbing ascend ascends ascending",
    "down": "down downward downwards fall falls falling drop drops sink sinks sinking descend descends descending",
    "towards": "toward towards closer nearer approach approaches approaching",
    "away": "away recede recedes receding backwards",
    "still": "still stay stays staying stationary static fixed rest rests resting motionless steady unmoved nothing",
    "rest": "stand stands standing sit sits sitting sleep sleeps sleeping lie lies lying",
    "move": "move moves moving moved motion go goes going come comes coming travel travels travelling drive drives driving "
    "ride rides riding head heads heading glide glides gliding pan pans panning shake shakes shaking",
    "act": "walk walks walking run runs running fly flies flying roll rolls rolling swim swims swimming slide slides sliding "
    "jump jumps jumping",
    "turn": "turn turns turning turned rotate rotates rotating rotated spin spins spinning tilt tilts tilting tilted",
    "fast": "fast quick quickly rapidly",
    "slow": "slow slowly",
    "follow": "follow follows following",
    "zoom": "zoom zooms zooming",
}
_VALUE = {word: value for value, words in _WORDS.items() for word in words.split()}
_DIRECTIONS = {"left": -1, "right": 1, "up": -1j, "down": 1j}
_PLACES = frozenset((*_DIRECTIONS, "towards", "away"))
_VIEWER = r"(?:the )?(?:camera|viewer|observer|us|me|you)\b"
_PHRASES = {
    rf"\b(?:away )?from {_VIEWER}": "away",
    rf"\b(?:towards?|nearer to|closer to|to|at) {_VIEWER}": "towards",
    r"\b(?:(?:from )?(?:the )?left to (?:the )?right|from the left)\b": "rightwards",
    r"\b(?:(?:from )?(?:the )?right to (?:the )?left|from the right)\b": "leftwards",
    r"\b(?:(?:from )?(?:the )?top to (?:the )?bottom|from above)\b": "down",
    r"\b(?:(?:from )?(?:the )?bottom to (?:the )?top|from below)\b": "up",
    r"\bupside down\b": "turned",
    r"n['\N{RIGHT SINGLE QUOTATION MARK}]t\b": " not",
}
_TIMES = {
    word: number
    for number, words in enumerate(("never zero no none not", "once one", "twice two", "thrice three", "four", "five"))
    for word in words.split()
}
"""Words for how often something happens."""
_WAYS = "to the left", "to the right", "up", "down", "towards the camera", "away from the camera"
_FROM = "from the left", "from the right", "from above", "from below"
_NEGATIONS = frozenset(("no", "not", "never", "without", "neither", "none"))
_BARE = frozenset(re.findall(r"\w+", "yes no not neither none at all it they he she the camera does do is are"))
"""Words of answers that say no more than yes or no."""


@dataclass(frozen=True)
class MotionClaim:
    """What an option says of the motion of something."""

    subjects: tuple[Hashable, ...]
    """Things, `CAMERA`, or `MOVING`; of several, each."""
    values: frozenset[str | int]
    """Keys of the table of words, which hold together; or how often it passes."""
    negated: bool = False


@dataclass(frozen=True, kw_only=True)
class ThingMotion:
    """Motion of one thing through all passages of a film; see `MotionPath` for the units."""

    shift: complex = 0
    """Sum over the passages."""
    reach: float = 0.0
    """The farthest from the beginning of a passage."""
    growth: float = 0.0
    turn: float = 0.0
    """Largest range of angles in a passage."""
    speed: float = 0.0
    """Diagonals a second."""
    known: bool = True
    """In all passages."""
    one_way: bool = True
    least: float = MOVES
    """Reach from which on it moves."""
    passes: int | None = None
    """Through the middle of the image, in the whole film; None where that is not clear, or not asked."""

    def truth(self, value: str | int) -> bool | None:
        """Decide whether a key of the table of words, or a number of passes, holds; None where it is not clear."""
        if isinstance(value, int):
            return None if self.passes is None else self.passes == value
        moves = self._level(max(self.reach / self.least, abs(self.growth) / GROWS, self.turn / TURNS))
        fast = True if self.speed >= FAST else False if self.speed <= SLOW else None
        if value in _DIRECTIONS:
            far = self._level(self.reach / self.least)
            if not far or not self.one_way:
                return None if far else far
            along = {word: (self.shift * np.conj(unit)).real for word, unit in _DIRECTIONS.items()}
            share = along[value] / max(along.values())
            return True if share >= 2 / 3 else False if share <= 1 / 3 else None
        if value in ("fast", "slow"):
            return moves if not moves or fast is None else fast is (value == "fast")
        if value == "act" or value == "rest":  # which of these verbs it is, is not measured
            return False if moves is (value == "rest") else None
        if value == "turn":
            return True if self.turn >= TURNS else None if moves is not False else False
        if value == "still":
            return None if moves is None else not moves
        grows = {"towards": self.growth, "away": -self.growth, "zoom": abs(self.growth)}
        return self._level(grows[value] / GROWS) if value in grows else moves

    def _level(self, share: float) -> bool | None:
        return True if share >= 1 else False if share <= CALM and self.known else None

    def __str__(self) -> str:
        x, y = self.shift.real, self.shift.imag
        sides = f"{abs(x):.2f} {'left' if x < 0 else 'right'}, {abs(y):.2f} {'up' if y < 0 else 'down'}"
        if self.passes is not None:
            return f"passes through the middle: {self.passes}"
        return f"{sides}, size times {np.exp(self.growth):.2f}, turned by {np.degrees(self.turn):.0f} degrees"


@dataclass(frozen=True)
class ComparedMotion:
    """Which option fits."""

    answer: str
    fits: tuple[bool | None, ...]
    """Of each option; None where that is not clear."""
    remarks: tuple[str, ...]


def read_motion(question: str, options: Sequence[str]) -> tuple[MotionClaim, ...] | None:
    """Read the options of a question as claims about motion; None if they are about something else.

    >>> [sorted(claim.values) for claim in read_motion("Which way does the bear walk?", ("to the left", "it stands still"))]
    [['left'], ['still']]
    >>> read_motion("Where is the cat?", ("left", "right")) is None
    True
    """
    question = re.sub(r"^\s*\w+n['\N{RIGHT SINGLE QUOTATION MARK}]t\b", "does", question.lower())  # isn't it: as is it
    meant, denied = _values(question)
    words = frozenset(re.findall(r"\w+", question))
    about = _subject(question, follows="follow" in meant)
    if re.search(r"\bhow (?:often|many times)\b.*\b(?:pass|cross)", question) and about != CAMERA:
        counts = [count for option in options if (count := _count(option)) is not None]
        return tuple(MotionClaim((about or MOVING,), frozenset((n,))) for n in counts) if len(counts) == len(options) else None
    moves = any(_VALUE.get(word, "left") not in _PLACES for word in words) or words & {"way", "direction"}
    if not moves and all(_values(option)[0] <= _PLACES for option in options):
        return None  # where something is
    claims = []
    for option in options:
        rest = re.sub(r"^\s*(?:yes|no)\b\W*(?=\w)", "", option.lower())
        values, negated = _values(rest, zooms="zoom" in meant or "zoom" in words)
        own = _subject(rest)
        if not values and own is not None and about is None:
            values = meant  # what moves? the camera
        elif not values and _BARE.issuperset(re.findall(r"\w+", rest)):
            values, negated = meant, denied != negated
        if not values:
            return None
        subject = own or about or MOVING
        if subject == CAMERA and "turn" in values:
            values = (values - {"turn"}) | (set() if values & _PLACES else {"move"})
        nothing = own is None and about is None and "nothing" in rest
        subjects = (CAMERA, MOVING) if nothing else (CAMERA, subject) if "follow" in values else (subject,)
        claims.append(MotionClaim(subjects, values, negated))
    things = about is None and all(isinstance(c.subjects[0], Thing) and c.values == meant for c in claims)
    return None if things else tuple(claims)  # what flies? a bird, a balloon: nouns


def own_options(question: str) -> tuple[str, ...]:
    """List the answers that a question about motion may have, where none are given; none for other questions.

    >>> own_options("Does the camera move?"), own_options("Does the bear go left or right?"), own_options("What is this?")
    (('yes', 'no'), ('left', 'right'), ())
    """
    plain = question.lower().strip(" ?.!")
    if re.search(r"\bhow (?:often|many times)\b", plain):
        options = tuple(map(str, range(MOST_PASSES + 1)))
    elif " or " in plain:
        words = "|".join(sorted(_VALUE, key=len, reverse=True))
        parts = (re.sub(rf"^.*?((?:(?:to|from) the )?\b(?:{words})\b)", r"\1", part) for part in plain.split(" or "))
        options = tuple(re.sub(r"^(?:move|go|come|walk|run|pan|turn)s? (?=\w)", "", part) for part in parts)
    elif "come" in plain and "from" in plain:
        options = _FROM
    elif re.match(
        r"(?:in(?:to)? )?(?:which|what) (?:way|direction)\b|where\b|how (?:does|do|is)\b|what does the camera do", plain
    ):
        options = _WAYS
    elif re.match(r"how (?:fast|quick)", plain):
        options = "fast", "slow"
    else:
        options = ("yes", "no") if re.match(r"(?:is|are|was|were|do|does|did|has|have|can)(?:n.?t)?\b", plain) else ()
    if not options or not read_motion(question, options):
        return ()
    return (*options, "it stays still") if options in (_WAYS, ("fast", "slow")) else options


def _count(option: str) -> int | None:
    """Read how often something happens."""
    for word in re.findall(r"\w+", option.lower()):
        if word.isdecimal() or word in _TIMES:
            return int(word) if word.isdecimal() else _TIMES[word]
    return None


def _values(text: str, zooms: bool = False) -> tuple[frozenset[str], bool]:
    """Find the keys of the words in a text, and whether they are denied."""
    plain = text.lower()
    for pattern, word in _PHRASES.items():
        plain = re.sub(pattern, word, plain)
    words = re.findall(r"\w+", plain)
    values = {_VALUE[word] for word in words if word in _VALUE}
    if zooms or "zoom" in values:
        values |= {way for word, way in (("in", "towards"), ("out", "away")) if word in words}
    if values & _PLACES:
        values -= {"move", "act", "zoom"}  # which a direction implies
    if "still" in values:
        values -= {"rest"}
    return frozenset(values), not _NEGATIONS.isdisjoint(words)


def _subject(text: str, follows: bool = False) -> "Thing | str | None":
    """Find what a text is about: the camera, or its first noun, `MOVING` if that is a person; None without one."""
    plain = text.lower()
    for pattern in _PHRASES:
        plain = re.sub(pattern, "", plain)
    words = re.findall(r"[\w'-]+", plain)
    if "camera" in words and not follows:
        return CAMERA
    nouns = split_nouns(" ".join(word for word in words if word not in _VALUE and word != CAMERA))[0]
    return None if not nouns else MOVING if is_person(nouns[0]) or not nouns[0].classes else nouns[0]


def compare_motion(
    claims: Sequence[MotionClaim],
    options: Sequence[str],
    motions: "Mapping[Hashable, ThingMotion]",
) -> ComparedMotion:
    """Choose the option whose claim alone holds, of several the one that says most; or a verb where all else is ruled out."""
    fits = tuple(holds(claim, motions) for claim in claims)
    says = [len(claim.values) + bool(claim.values & _PLACES) for claim in claims]  # a direction says that it moves, too
    best = [k for k, fit in enumerate(fits) if fit and says[k] == max(n for n, true in zip(says, fits, strict=True) if true)]
    left = [k for k, fit in enumerate(fits) if fit is not False]
    if len(left) == 1 and claims[left[0]].values & {"act", "rest"}:
        best = left
    subjects = dict.fromkeys(subject for claim in claims for subject in claim.subjects)
    remarks = tuple(f"{getattr(s, 'word', s)}: {motions.get(s, 'not seen, or not well enough')}" for s in subjects)
    clear = len(best) == 1 or (len(best) == 2 and options[:2] == _WAYS[:2])  # up and to the left
    return ComparedMotion(" and ".join(options[k] for k in best) if clear else CANNOT_SAY, fits, remarks)


def holds(claim: MotionClaim, motions: "Mapping[Hashable, ThingMotion]") -> bool | None:
    """Decide whether a claim holds of what was measured; None where that is not clear.

    Of a thing that is not seen two things are known: it is still where nothing moves, and if it goes anywhere, then where all
    goes that moves.
    """
    moving = motions.get(MOVING)
    if moving and (claim.values <= _DIRECTIONS.keys() or moving.truth("move") is False):
        motions = dict.fromkeys(claim.subjects, moving) | dict(motions)
    of = [motions.get(subject) for subject in claim.subjects]
    truths = [None if motion is None else motion.truth(value) for motion in of for value in claim.values]
    if "follow" in claim.values and None not in of:
        camera, thing = of
        near = abs(thing.shift - camera.shift) <= abs(thing.shift) / 2  # type: ignore[union-attr]
        truths = [_conjunction([*truths, near])]
    if claim.negated:  # none of them
        truths = [None if truth is None else not truth for truth in truths]
    return _conjunction(truths)


def _conjunction(truths: Sequence[bool | None]) -> bool | None:
    return False if False in truths else None if None in truths else True


def answer_motion(
    source: Any, claims: Sequence[MotionClaim], options: Sequence[str], model: str, device: str | None, listener: Listener
) -> ComparedMotion:
    """Compare claims with what is measured in a film; `model` finds things, by default the classifier if it is here.

    Raises BadInput if the film cannot be read, or the model is not on this machine.
    """
    from tapetum.app.see.answer_model import can_answer_photos
    from tapetum.app.see.photo_answers import PhotoAnswerer
    from tapetum.bench.baselines import load_tracker

    name = model if model != AUTO else CLASSIFIER if can_answer_photos() else None
    find = PhotoAnswerer.load(name, device).where if name else lambda frame, thing: None
    tracker, tell = load_tracker(TRACKER, device), partial(listener.progress, "tracking")
    with open_video(source) as video:
        return compare_motion(claims, options, measure_motions(video, claims, tracker, find, tell))


def measure_motions(
    video: Video,
    claims: Sequence[MotionClaim],
    tracker: Tracker,
    find: "Callable[[np.ndarray, Thing], Bool[np.ndarray, 'r c'] | None]",
    progress: Callable[[int, int], None],
) -> dict[Hashable, ThingMotion]:
    """Measure the motion of the camera, of what claims are about, and of whatever moves in a film; without what is not seen.

    Args:
        find: returns where a thing is in an image, as cells of a grid; None where it is not seen.
    """
    things = {subject for claim in claims for subject in claim.subjects if isinstance(subject, Thing)}
    numbers = FrameSelection(frame_rate=FRAME_RATE).numbers(video)
    count = min(PASSAGES, -(-len(numbers) // FRAMES))
    paths: dict[Hashable, list[tuple[MotionPath, float]]] = {}
    for passage, first in enumerate(np.linspace(0, max(len(numbers) - FRAMES, 0), count).astype(int).tolist()):
        chosen = numbers[first : first + FRAMES]
        if len(chosen) > 1:
            frames, times = video[chosen], video.timestamps[[chosen[0], chosen[-1]]]
            tried = dict.fromkeys((len(chosen) // 2, 0, len(chosen) - 1))
            regions = {
                thing: ((k, region) for k in tried if (region := find(frames[k], thing)) is not None) for thing in things
            }
            made = measure_paths(frames, tracker, {key: first for key, each in regions.items() if (first := next(each, None))})
            for key, path in made.items():
                paths.setdefault(key, []).append((path, max(float(np.ptp(times)), 1e-3)))
        progress(passage + 1, count)
    least = max((path.least for path, _ in paths.get(CAMERA, ()) if path.known), default=MOVES)
    summed = {
        key: _summed(each, count, MOVES if key == CAMERA else least) for key, each in paths.items() if 2 * len(each) > count
    }
    made = {key: motion for key, motion in summed.items() if motion is not None}
    for subject in {claim.subjects[0] for claim in claims if any(isinstance(value, int) for value in claim.values)}:
        still = CAMERA in made and made[CAMERA].truth("still")
        in_frame = (lambda frame, thing=subject: find(frame, thing)) if isinstance(subject, Thing) else None
        passes = count_passes(video, FrameSelection(frame_rate=PASS_RATE).numbers(video), tracker, in_frame) if still else None
        made[subject] = replace(made.get(subject, ThingMotion(known=False)), passes=passes)
    return made


def _summed(paths: Sequence[tuple[MotionPath, float]], count: int, least: float) -> ThingMotion | None:
    known = [(path, seconds) for path, seconds in paths if path.known]
    if not known:
        return None
    shifts = np.array([path.place[-1] for path, _ in known])
    reaches = np.array([np.abs(path.place).max() for path, _ in known])
    return ThingMotion(
        shift=complex(shifts.sum()),
        reach=float(reaches.max()),
        growth=float(sum(path.growth[-1] for path, _ in known)),
        turn=float(max(np.ptp(path.turn) for path, _ in known)),
        speed=float(max(reach / seconds for reach, (_, seconds) in zip(reaches, known, strict=True))),
        known=len(known) == count,
        one_way=bool(abs(shifts.sum()) >= reaches.sum() / 2) and all(path.together for path, _ in known),
        least=least,
    )
