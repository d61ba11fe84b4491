"""Templates of questions about episodes: memory (what was where, and when) and abstraction (how many, what changed)."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from tapetum.world.bodies.episode import Episode
from tapetum.world.words.context import CAUSES, PLACES, UNSEEN, CandidateFields, QuestionContext, a_noun, a_number, chosen
from tapetum.world.words.images import NUMBERS

ORDER = ("first", "second", "third")


def nth(view: QuestionContext) -> Iterator[CandidateFields]:
    """Ask what the hand takes or pushes first, second, third."""
    handled = list(dict.fromkeys(manipulation.body for manipulation in view.events.manipulations))
    for word, body in zip(ORDER, handled, strict=False):
        if view.events.shown(body):
            yield {"text": f"What is the {word} thing that the hand takes or pushes?", "key": word, **a_noun(view, body)}


def unseen(view: QuestionContext) -> Iterator[CandidateFields]:
    """Ask why an object cannot be seen at the end."""
    last = view.events.snapshots[-1]
    for body, phrase, key in view.each():
        thing = last.find(body)
        if thing.visible:
            continue
        if thing.holder >= 0:
            reason = "under" if thing.holder in last.upturned else "in"
        else:
            reason = _out(view.episode, view.events.places(body)[view.episode.moment(last.frame)], last.frame)
        if reason:
            yield {"text": f"Why can {phrase} not be seen at the end?", "key": key, **chosen(UNSEEN, reason)}


def _out(episode: Episode, place: np.ndarray, frame: int) -> str:
    """Check whether a position is well outside the image, or well inside and so hidden."""
    moment = episode.moment(frame)
    matrix = episode.camera.world_to_camera[moment]
    x, y, z = matrix[:3, :3] @ place + matrix[:3, 3]
    fx, fy, cx, cy = episode.camera.intrinsics[moment]
    h, w = episode.size
    u, v = (fx * x / z + cx) / w, (fy * y / z + cy) / h
    if z <= 0 or max(-u, u - 1, -v, v - 1) > 0:
        return "out"
    return "behind" if min(u, 1 - u, v, 1 - v) > 0.05 else ""


def which_cup(view: QuestionContext) -> Iterator[CandidateFields]:
    """Ask which of three upturned cups hides an object at the end."""
    last = view.events.snapshots[-1]
    cups = sorted((t for t in last.objects if t.number in last.upturned and t.noun == "cup"), key=lambda t: t.side)
    if len(cups) != 3 or min(b.side - x.side for x, b in pairwise(cups)) < 0.04:
        return
    for body in view.events.objects:
        thing = last.find(body)
        if thing.holder in [c.number for c in cups] and view.events.shown(body):
            side = [c.number for c in cups].index(thing.holder)
            words = ("the left one", "the middle one", "the right one")
            text = f"Under which cup will the {thing.noun} be found if all three are lifted at the end?"
            yield {
                "text": text,
                "key": thing.noun,
                "answer": words[side],
                "others": tuple(w for w in words if w != words[side]),
            }


def without_hand_place(view: QuestionContext) -> Iterator[CandidateFields]:
    """Ask where an object would be without the hand."""
    again = view.without.hand() if view.without else None
    if again is None:
        return
    for body, phrase, key in view.each():
        outcome = again.outcome(again.number(view.episode.bodies[body].name))
        if outcome:
            text = f"If there had been no hand, where would {phrase} be at the end?"
            yield {"text": text, "key": key, **chosen(PLACES, outcome)}


def how_many(view: QuestionContext) -> Iterator[CandidateFields]:
    """Ask how many objects the hand takes, and how often."""
    manipulations = view.events.manipulations
    if not manipulations:
        return
    counts = {
        "How many different things does the hand take or push?": len({d.body for d in manipulations}),
        "How many times does the hand pick something up?": sum(d.picked_s is not None for d in manipulations),
        "How many times does the hand push something?": sum(d.verb == "push" for d in manipulations),
    }
    for text, number in counts.items():
        if number < len(NUMBERS):
            yield {"text": text, "key": text, **a_number(number)}


def _holders(view: QuestionContext) -> Iterator[tuple[int, str, str]]:
    """Bowls, buckets and cups that stand upright throughout, by a phrase with their noun, and its key."""
    for body in view.events.objects:
        noun = view.noun(body)
        if (
            noun not in ("bowl", "bucket", "cup")
            or body in view.events.snapshots[0].upturned
            or view.events.tilt(body).max() > 2.2
        ):
            continue
        yield from ((body, phrase, key) for phrase, key in view.names(body) if noun in key)


def what_changed(view: QuestionContext) -> Iterator[CandidateFields]:
    """Ask what changes the number of objects in a holder."""
    for body, phrase, key in _holders(view):
        changes = [c for c in view.events.changes if body in (c.before, c.after)]
        causes = {_cause(view, c.time_s, c.body, body) for c in changes} or {"none"}
        if len(causes) == 1:
            text = f"What changes the number of things in {phrase}?"
            yield {"text": text, "key": key, **chosen(CAUSES, causes.pop())}


def _cause(view: QuestionContext, time_s: float, body: int, holder: int) -> str:
    for manipulation in view.events.manipulations:
        if not manipulation.start_s - 0.1 <= time_s <= manipulation.end_s + 0.5:
            continue
        if manipulation.verb == "pour" and holder in (manipulation.body, manipulation.target):
            return "pour"
        if manipulation.body == body:
            return "in" if manipulation.verb == "put-into" and manipulation.target == holder else "out"
    return "self"


def one_more(view: QuestionContext) -> Iterator[CandidateFields]:
    """Ask how many objects a holder will have with one more."""
    contents = view.events.contents(-1)
    for body, phrase, key in _holders(view):
        number = len(contents.get(body, [])) + 1
        if number < len(NUMBERS):
            text = f"If the hand puts one more thing into {phrase} after the end, how many things will be in it?"
            yield {"text": text, "key": key, **a_number(number)}


def without_hand_number(view: QuestionContext) -> Iterator[CandidateFields]:
    """Ask how many objects a holder would have without the hand."""
    again = view.without.hand() if view.without else None
    if again is None:
        return
    contents = again.contents(-1)
    for body, phrase, key in _holders(view):
        number = len(contents.get(again.number(view.episode.bodies[body].name), []))
        if number < len(NUMBERS):
            text = f"If there had been no hand, how many things would be in {phrase} at the end?"
            yield {"text": text, "key": key, **a_number(number)}
