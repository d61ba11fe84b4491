"""Templates of questions about episodes: physics (what hits, moves and falls) and semantics (the hand's actions, and why)."""

from collections.abc import Iterator

from tapetum.world.words.context import AIMS, DONE, FATES, NEXT, SET_OFF, WILL, CandidateFields, QuestionContext, a_noun, chosen


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
