"""Questions about episodes: memory, abstraction, physics, semantics; descriptive, explanatory, predictive, counterfactual.

               descriptive     explanatory     predictive          counterfactual (answered by simulating it)
memory         what came nth   why unseen      under which cup     where without the hand
abstraction    how many        what changed    one more            how many without the hand
physics        first hit       what set off    what will become    what without the other
semantics      what was done   what for        what next           what first without it

After Patraucean et al., "Perception Test" (2023), whose areas and kinds of reasoning these are. Three options each, as there.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from tapetum.scenes.bodies.episode import Episode
from tapetum.scenes.words.happenings import Happenings
from tapetum.scenes.words.pictures import NUMBERS
from tapetum.scenes.words.question import Candidate, Kind
from tapetum.scenes.words.watched import (
    AIMS,
    CAUSES,
    DONE,
    FATES,
    NEXT,
    PLACES,
    SET_OFF,
    UNSEEN,
    WILL,
    Told,
    Watched,
    a_noun,
    a_number,
    chosen,
)
from tapetum.scenes.words.without import Without

PER_TEMPLATE = 16
ORDER = ("first", "second", "third")


def episode_candidates(episode: Episode, seed: int, counterfactual: bool = True) -> list[Candidate]:
    """List questions that could be asked about an episode; `balance(..., options=3)` chooses among them.

    Counterfactual ones simulate the episode again, twice at most (with the hand or one thing left out), and need MuJoCo; leave
    them out for recorded episodes without a script.
    """
    view = Watched(Happenings(episode), Without(episode, seed) if counterfactual else None)
    found: list[Candidate] = []
    for number, (template, (area, kind, make)) in enumerate(TEMPLATES.items()):
        if kind == "counterfactual" and not counterfactual:
            continue
        rng = np.random.default_rng((seed & 0xFFFFFFFF, 71, number))
        made = list(make(view))
        for i in rng.permutation(len(made))[:PER_TEMPLATE]:
            told = {"span": (0.0, episode.seconds), **made[i]}
            found.append(Candidate(template=template, area=area, kind=kind, **told))
    return found


def _nth(view: Watched) -> Iterator[Told]:
    taken = list(dict.fromkeys(deed.body for deed in view.events.deeds))
    for word, body in zip(ORDER, taken, strict=False):
        if view.events.shown(body):
            yield {"text": f"What is the {word} thing that the hand takes or pushes?", "key": word, **a_noun(view, body)}


def _unseen(view: Watched) -> Iterator[Told]:
    last = view.events.looks[-1]
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
    """Tell whether a place is well outside of the picture, or well inside and so hidden."""
    moment = episode.moment(frame)
    matrix = episode.camera.world_to_camera[moment]
    x, y, z = matrix[:3, :3] @ place + matrix[:3, 3]
    fx, fy, cx, cy = episode.camera.intrinsics[moment]
    h, w = episode.size
    u, v = (fx * x / z + cx) / w, (fy * y / z + cy) / h
    if z <= 0 or max(-u, u - 1, -v, v - 1) > 0:
        return "out"
    return "behind" if min(u, 1 - u, v, 1 - v) > 0.05 else ""


def _which_cup(view: Watched) -> Iterator[Told]:
    last = view.events.looks[-1]
    cups = sorted((t for t in last.things if t.number in last.upturned and t.noun == "cup"), key=lambda t: t.side)
    if len(cups) != 3 or min(b.side - x.side for x, b in pairwise(cups)) < 0.04:
        return
    for body in view.events.things:
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


def _without_hand_place(view: Watched) -> Iterator[Told]:
    again = view.without.hand() if view.without else None
    if again is None:
        return
    for body, phrase, key in view.each():
        fate = again.fate(again.number(view.episode.bodies[body].name))
        if fate:
            text = f"If there had been no hand, where would {phrase} be at the end?"
            yield {"text": text, "key": key, **chosen(PLACES, fate)}


def _how_many(view: Watched) -> Iterator[Told]:
    deeds = view.events.deeds
    if not deeds:
        return
    counts = {
        "How many different things does the hand take or push?": len({d.body for d in deeds}),
        "How many times does the hand pick something up?": sum(d.picked_s is not None for d in deeds),
        "How many times does the hand push something?": sum(d.verb == "push" for d in deeds),
    }
    for text, number in counts.items():
        if number < len(NUMBERS):
            yield {"text": text, "key": text, **a_number(number)}


def _holders(view: Watched) -> Iterator[tuple[int, str, str]]:
    """Bowls, buckets and cups that stand upright all the time, by a phrase with their noun, and its key."""
    for body in view.events.things:
        noun = view.noun(body)
        if noun not in ("bowl", "bucket", "cup") or body in view.events.looks[0].upturned or view.events.tilt(body).max() > 2.2:
            continue
        yield from ((body, phrase, key) for phrase, key in view.names(body) if noun in key)


def _what_changed(view: Watched) -> Iterator[Told]:
    for body, phrase, key in _holders(view):
        changes = [c for c in view.events.changes if body in (c.before, c.after)]
        causes = {_cause(view, c.time_s, c.body, body) for c in changes} or {"none"}
        if len(causes) == 1:
            text = f"What changes the number of things in {phrase}?"
            yield {"text": text, "key": key, **chosen(CAUSES, causes.pop())}


def _cause(view: Watched, time_s: float, body: int, holder: int) -> str:
    for deed in view.events.deeds:
        if not deed.start_s - 0.1 <= time_s <= deed.end_s + 0.5:
            continue
        if deed.verb == "pour" and holder in (deed.body, deed.target):
            return "pour"
        if deed.body == body:
            return "in" if deed.verb == "put-into" and deed.target == holder else "out"
    return "self"


def _one_more(view: Watched) -> Iterator[Told]:
    held = view.events.held(-1)
    for body, phrase, key in _holders(view):
        number = len(held.get(body, [])) + 1
        if number < len(NUMBERS):
            text = f"If the hand puts one more thing into {phrase} after the end, how many things will be in it?"
            yield {"text": text, "key": key, **a_number(number)}


def _without_hand_number(view: Watched) -> Iterator[Told]:
    again = view.without.hand() if view.without else None
    if again is None:
        return
    held = again.held(-1)
    for body, phrase, key in _holders(view):
        number = len(held.get(again.number(view.episode.bodies[body].name), []))
        if number < len(NUMBERS):
            text = f"If there had been no hand, how many things would be in {phrase} at the end?"
            yield {"text": text, "key": key, **a_number(number)}


def _first_hit(view: Watched) -> Iterator[Told]:
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


def _what_set_off(view: Watched) -> Iterator[Told]:
    for body, phrase, key in view.each():
        cause = view.events.set_off(body)
        if cause:
            yield {"text": f"What first sets {phrase} in motion?", "key": key, **chosen(SET_OFF, cause)}


def _become(view: Watched) -> Iterator[Told]:
    episode = view.episode
    middle = episode.frames // 2
    start = episode.moment(middle)
    for body, phrase, key in view.each():
        busy = any(body in (d.body, d.target) and d.start_s < middle / episode.rate < d.end_s for d in view.events.deeds)
        fate, handled = view.events.fate(body, start), view.events.handled(body, start)
        if busy or not fate or (handled and fate in ("stays", "leaves")):
            continue
        answer = "hand" if handled else fate
        text = f"What will happen to {phrase} after this?"
        yield {"text": text, "key": key, "span": (0.0, middle / episode.rate), **chosen(WILL, answer)}


def _without_other(view: Watched) -> Iterator[Told]:
    gone, again = view.without.thing(view.events) if view.without else (None, None)
    if gone is None or again is None:
        return
    missing = view.names(gone)
    touched = {x for h in view.events.hits if gone in h.bodies for x in h.bodies} - {gone}
    for body, phrase, key in view.each():
        fate = again.fate(again.number(view.episode.bodies[body].name)) if body != gone else ""
        if fate and missing and body in touched:
            told = missing[-1]
            text = f"What would have happened to {phrase} if {told[0]} had not been there?"
            yield {"text": text, "key": f"{key} {told[1]}", **chosen(FATES, fate)}


def _what_done(view: Watched) -> Iterator[Told]:
    for body, phrase, key in view.each():
        verbs = {d.verb for d in view.events.deeds if d.body == body}
        other = any(d.target == body for d in view.events.deeds)
        left = not verbs and not other and not view.events.handled(body)
        if (len(verbs) == 1 and not verbs & {"hold", "uncover"}) or left:
            verb = verbs.pop() if verbs else ""
            yield {"text": f"What does the hand do with {phrase}?", "key": key, **chosen(DONE, verb)}


def _what_for(view: Watched) -> Iterator[Told]:
    for body, phrase, key in view.each():
        verbs = {d.verb for d in view.events.deeds if d.body == body and d.picked_s is not None}
        if len(verbs) == 1 and verbs <= set(AIMS):
            yield {"text": f"What does the hand pick up {phrase} for?", "key": key, **chosen(AIMS, verbs.pop())}


def _what_next(view: Watched) -> Iterator[Told]:
    for deed in view.events.deeds:
        if deed.picked_s is not None and deed.verb in NEXT:
            until = deed.picked_s + 0.6 * (deed.end_s - deed.picked_s)
            text = "What will the hand do next with the thing that it holds?"
            yield {"text": text, "span": (0.0, until), **chosen(NEXT, deed.verb)}


def _first_without(view: Watched) -> Iterator[Told]:
    gone, again = view.without.thing(view.events) if view.without else (None, None)
    if gone is None or again is None or not view.names(gone):
        return
    phrase, key = view.names(gone)[-1]
    unsaid = view.noun(gone) if view.noun(gone) in key else ""
    deeds = [d for d in again.deeds if d.picked_s is not None]
    text = f"If {phrase} had not been there, what would the hand have picked up first?"
    if not deeds:
        told = a_noun(view, gone, unsaid=unsaid)
        others = (*(() if unsaid else (told["answer"],)), *told["others"][:-1])
        yield {"text": text, "key": key, **told, "answer": "nothing", "others": others}
        return
    body = [b.name for b in view.episode.bodies].index(again.episode.bodies[deeds[0].body].name)
    if view.events.shown(body) and view.noun(body) != unsaid:
        yield {"text": text, "key": key, **a_noun(view, body, unsaid=unsaid)}


Maker = Callable[[Watched], Iterator[Told]]
TEMPLATES: dict[str, tuple[str, Kind, Maker]] = {
    "nth": ("memory", "descriptive", _nth),
    "unseen": ("memory", "explanatory", _unseen),
    "which-cup": ("memory", "predictive", _which_cup),
    "place-without-hand": ("memory", "counterfactual", _without_hand_place),
    "how-many": ("abstraction", "descriptive", _how_many),
    "what-changed": ("abstraction", "explanatory", _what_changed),
    "one-more": ("abstraction", "predictive", _one_more),
    "number-without-hand": ("abstraction", "counterfactual", _without_hand_number),
    "first-hit": ("physics", "descriptive", _first_hit),
    "set-off": ("physics", "explanatory", _what_set_off),
    "become": ("physics", "predictive", _become),
    "without-other": ("physics", "counterfactual", _without_other),
    "what-done": ("semantics", "descriptive", _what_done),
    "what-for": ("semantics", "explanatory", _what_for),
    "what-next": ("semantics", "predictive", _what_next),
    "first-without": ("semantics", "counterfactual", _first_without),
}
"""By name: the area, the kind of reasoning, and what makes its questions."""
