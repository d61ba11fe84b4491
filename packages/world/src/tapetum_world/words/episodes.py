"""Questions about episodes: memory, abstraction, physics, semantics; descriptive, explanatory, predictive, counterfactual.

               descriptive     explanatory     predictive          counterfactual (answered by simulating it)
memory         what came nth   why unseen      under which cup     where without the hand
abstraction    how many        what changed    one more            how many without the hand
physics        first hit       what set off    what will become    what without the other
semantics      what was done   what for        what next           what first without it

After Patraucean et al., "Perception Test" (2023), the source of these areas and kinds of reasoning, with three options.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tapetum_world.bodies.episode import Episode
from tapetum_world.words.context import (
    AIMS,
    CAUSES,
    DONE,
    FATES,
    NEXT,
    PLACES,
    SET_OFF,
    UNSEEN,
    WILL,
    CandidateFields,
    QuestionContext,
    a_noun,
    a_number,
    chosen,
)
from tapetum_world.words.events import Counterfactuals, EpisodeEvents
from tapetum_world.words.images import NUMBERS
from tapetum_world.words.questions import Candidate, Kind

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


def first_hit(view: QuestionContext) -> Iterator[CandidateFields]:
    """Ask what an object hits first."""
    for body, phrase, key in view.each():
        met = [h for h in view.events.hits if body in h.bodies]
        if not met:
            continue
        other = met[0].bodies[0] if met[0].bodies[1] == body else met[0].bodies[1]
        soon = {x for h in met if h.time_s - met[0].time_s < 0.1 for x in h.bodies} - {body}
        alike = view.noun(body) in key and view.noun(other) == view.noun(body)
        if len(soon) == 1 and view.events.shown(other) and not alike:
            text = f"What is the first thing that {phrase} knocks against?"
            yield {"text": text, "key": key, **a_noun(view, other, unsaid=view.noun(body) if view.noun(body) in key else "")}


def what_set_off(view: QuestionContext) -> Iterator[CandidateFields]:
    """Ask what first sets an object in motion."""
    for body, phrase, key in view.each():
        cause = view.events.motion_cause(body)
        if cause:
            yield {"text": f"What first sets {phrase} in motion?", "key": key, **chosen(SET_OFF, cause)}


def become(view: QuestionContext) -> Iterator[CandidateFields]:
    """Ask at half time what will happen to an object."""
    episode = view.episode
    middle = episode.frames // 2
    start = episode.moment(middle)
    for body, phrase, key in view.each():
        busy = any(
            body in (d.body, d.target) and d.start_s < middle / episode.frame_rate < d.end_s for d in view.events.manipulations
        )
        outcome, handled = view.events.outcome(body, start), view.events.handled(body, start)
        if busy or not outcome or (handled and outcome in ("stays", "leaves")):
            continue
        answer = "hand" if handled else outcome
        text = f"What will happen to {phrase} after this?"
        yield {"text": text, "key": key, "span": (0.0, middle / episode.frame_rate), **chosen(WILL, answer)}


def without_other(view: QuestionContext) -> Iterator[CandidateFields]:
    """Ask what would have happened to an object without another that touched it."""
    gone, again = view.without.thing(view.events) if view.without else (None, None)
    if gone is None or again is None:
        return
    missing = view.names(gone)
    touched = {x for h in view.events.hits if gone in h.bodies for x in h.bodies} - {gone}
    for body, phrase, key in view.each():
        outcome = again.outcome(again.number(view.episode.bodies[body].name)) if body != gone else ""
        if outcome and missing and body in touched:
            names = missing[-1]
            text = f"What would have happened to {phrase} if {names[0]} had not been there?"
            yield {"text": text, "key": f"{key} {names[1]}", **chosen(FATES, outcome)}


def what_done(view: QuestionContext) -> Iterator[CandidateFields]:
    """Ask what the hand does with an object."""
    for body, phrase, key in view.each():
        verbs = {d.verb for d in view.events.manipulations if d.body == body}
        other = any(d.target == body for d in view.events.manipulations)
        left = not verbs and not other and not view.events.handled(body)
        if (len(verbs) == 1 and not verbs & {"hold", "uncover"}) or left:
            verb = verbs.pop() if verbs else ""
            yield {"text": f"What does the hand do with {phrase}?", "key": key, **chosen(DONE, verb)}


def what_for(view: QuestionContext) -> Iterator[CandidateFields]:
    """Ask why the hand picks up an object."""
    for body, phrase, key in view.each():
        verbs = {d.verb for d in view.events.manipulations if d.body == body and d.picked_s is not None}
        if len(verbs) == 1 and verbs <= set(AIMS):
            yield {"text": f"What does the hand pick up {phrase} for?", "key": key, **chosen(AIMS, verbs.pop())}


def what_next(view: QuestionContext) -> Iterator[CandidateFields]:
    """Ask, while the hand holds an object, what it will do next."""
    for manipulation in view.events.manipulations:
        if manipulation.picked_s is not None and manipulation.verb in NEXT:
            until = manipulation.picked_s + 0.6 * (manipulation.end_s - manipulation.picked_s)
            text = "What will the hand do next with the thing that it holds?"
            yield {"text": text, "span": (0.0, until), **chosen(NEXT, manipulation.verb)}


def first_without(view: QuestionContext) -> Iterator[CandidateFields]:
    """Ask what the hand would have picked up first without an object."""
    gone, again = view.without.thing(view.events) if view.without else (None, None)
    if gone is None or again is None or not view.names(gone):
        return
    phrase, key = view.names(gone)[-1]
    unsaid = view.noun(gone) if view.noun(gone) in key else ""
    manipulations = [d for d in again.manipulations if d.picked_s is not None]
    text = f"If {phrase} had not been there, what would the hand have picked up first?"
    if not manipulations:
        fields = a_noun(view, gone, unsaid=unsaid)
        others = (*(() if unsaid else (fields["answer"],)), *fields["others"][:-1])
        yield {"text": text, "key": key, **fields, "answer": "nothing", "others": others}
        return
    body = [b.name for b in view.episode.bodies].index(again.episode.bodies[manipulations[0].body].name)
    if view.events.shown(body) and view.noun(body) != unsaid:
        yield {"text": text, "key": key, **a_noun(view, body, unsaid=unsaid)}


PER_TEMPLATE = 16
"""Candidates of one template for one episode."""


def episode_candidates(episode: Episode, seed: int, counterfactual: bool = True) -> list[Candidate]:
    """List candidate questions about an episode; `balance(..., options=3)` chooses among them.

    Counterfactual ones simulate the episode again, at most twice (without the hand or one object), and need MuJoCo; omit them
    for recorded episodes without a script.
    """
    view = QuestionContext(EpisodeEvents(episode), Counterfactuals(episode, seed) if counterfactual else None)
    candidates: list[Candidate] = []
    for number, (template, (area, kind, make)) in enumerate(TEMPLATES.items()):
        if kind == "counterfactual" and not counterfactual:
            continue
        rng = np.random.default_rng((seed & 0xFFFFFFFF, 71, number))
        made = list(make(view))
        for i in rng.permutation(len(made))[:PER_TEMPLATE]:
            fields = {"span": (0.0, episode.seconds), **made[i]}
            candidates.append(Candidate(template=template, area=area, kind=kind, **fields))
    return candidates


Maker = Callable[[QuestionContext], Iterator[CandidateFields]]
TEMPLATES: dict[str, tuple[str, Kind, Maker]] = {
    "nth": ("memory", "descriptive", nth),
    "unseen": ("memory", "explanatory", unseen),
    "which-cup": ("memory", "predictive", which_cup),
    "place-without-hand": ("memory", "counterfactual", without_hand_place),
    "how-many": ("abstraction", "descriptive", how_many),
    "what-changed": ("abstraction", "explanatory", what_changed),
    "one-more": ("abstraction", "predictive", one_more),
    "number-without-hand": ("abstraction", "counterfactual", without_hand_number),
    "first-hit": ("physics", "descriptive", first_hit),
    "set-off": ("physics", "explanatory", what_set_off),
    "become": ("physics", "predictive", become),
    "without-other": ("physics", "counterfactual", without_other),
    "what-done": ("semantics", "descriptive", what_done),
    "what-for": ("semantics", "explanatory", what_for),
    "what-next": ("semantics", "predictive", what_next),
    "first-without": ("semantics", "counterfactual", first_without),
}
"""By name: the area, the kind of reasoning, and what makes its questions."""


TAKEN = ("place", "stack", "drop", "put-into", "show", "hold", "pour")
"""Deeds for which the hand picks something up."""


@dataclass(frozen=True, kw_only=True)
class Grounded:
    """A question, and the numbers of the bodies that answer it."""

    text: str
    bodies: tuple[int, ...]
    area: str
    """memory, abstraction, physics or semantics."""
    kind: Kind = "descriptive"


def grounded_questions(events: EpisodeEvents) -> list[Grounded]:
    """List grounded questions about an episode, answered by some but not all of its objects."""
    episode, manipulations = events.episode, events.manipulations
    things = set(events.objects)
    inside = {int(j) for j in events.objects if (episode.inside[:, j] >= 0).any()}
    holders = {int(h) for j in events.objects for h in episode.inside[:, j] if h >= 0} & things
    questions = (
        ("Track everything that the hand picks up.", {d.body for d in manipulations if d.verb in TAKEN}, "semantics"),
        (
            "Track everything that the hand pushes or spins.",
            {d.body for d in manipulations if d.verb in ("push", "spin")},
            "semantics",
        ),
        ("Track everything that is inside or under another thing at some time.", inside, "physics"),
        ("Track the things that hold or cover others at some time.", holders, "physics"),
        ("Track everything that knocks against another thing.", {x for h in events.hits for x in h.bodies}, "physics"),
        ("Track the first thing that the hand takes or pushes.", {d.body for d in manipulations[:1]}, "memory"),
    )
    return [
        Grounded(text=text, bodies=tuple(sorted(bodies & things)), area=area)
        for text, bodies, area in questions
        if 0 < len(bodies & things) < len(things)
    ]
