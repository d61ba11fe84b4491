"""Captions, all exactly true: a short and a long one for an image, one for each region, and the story of an episode.

Only clear facts are stated. A long caption names every clear object and its relation to one named before; a story lists
actions, falls and hits in order.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tapetum_world.words.events import EpisodeEvents, Manipulation
from tapetum_world.words.graph import SIDES, ObjectNode, SceneGraph
from tapetum_world.words.images import ADJECTIVES, NUMBERS, a, phrases, plural, spoken

VERBS = {
    "place": "moves {body} to another place",
    "stack": "puts {body} on {target}",
    "drop": "lets {body} fall",
    "put-into": "puts {body} into {target}",
    "push": "pushes {body}",
    "spin": "spins {body}",
    "cover": "covers {target} with {body}",
    "uncover": "takes {body} off {target}",
    "pour": "pours from {body} into {target}",
    "shuffle": "slides {body} about",
    "show": "holds up {body}",
    "hold": "picks up {body}",
}


@dataclass(frozen=True, kw_only=True)
class Captions:
    """Captions of one image."""

    short: str
    long: str
    regions: tuple[tuple[int, str], ...]
    """For each clear thing the number of its body and what is said of it."""


@dataclass(frozen=True, kw_only=True)
class CaptionedEvent:
    """What the hand does once, with words."""

    start_s: float
    stop_s: float
    thing: str
    """What it deals with, such as the red cup."""
    caption: str


def image_captions(graph: SceneGraph) -> Captions:
    """Describe a frame from its scene graph. A pure function of it."""
    things = sorted(graph.clear, key=lambda t: -t.area)
    hand = ["a hand"] if graph.hand else []
    counts = Counter(t.noun for t in things)
    named = [_some(noun, n) for noun, n in counts.most_common(4)] + hand
    short = _sentence(named) if named else "Nothing but the ground."
    described: list[ObjectNode] = []
    parts: list[str] = []
    for thing in things:
        where = _where(graph, thing, described)
        text = f' that says "{thing.text}"' if thing.text else ""
        name = a(_full(thing)) + text
        parts.append(f"{_upper(name)} is {where}." if where else f"There is {name}.")
        described.append(thing)
    if graph.hand:
        parts.append("A hand is in the picture.")
    regions = tuple((t.number, a(_full(t)) + _region(graph, t)) for t in things)
    return Captions(short=short, long=" ".join(parts) or short, regions=regions)


def episode_caption(events: EpisodeEvents) -> str:
    """Describe an episode: the hand's actions, falls, and final positions."""
    lines = [(d.start_s, _deed(events, d)) for d in events.manipulations if d.verb in VERBS]
    met: set[tuple[int, int]] = set()
    for hit in events.hits:
        if hit.bodies not in met and len(met) < 4:
            lines.append((hit.time_s, _upper(f"{_called(events, hit.bodies[0])} and {_called(events, hit.bodies[1])} meet.")))
            met.add(hit.bodies)
    for j in events.objects:
        outcome = events.outcome(j)
        if outcome in ("falls over", "leaves"):
            what = "has fallen over" if outcome == "falls over" else "has fallen to the floor"
            lines.append((events.episode.seconds, _upper(f"{_called(events, j)} {what} in the end.")))
    return " ".join(text for _, text in sorted(lines)) or "Nothing happens."


def event_captions(events: EpisodeEvents) -> tuple[CaptionedEvent, ...] | None:
    """Describe each manipulation of an episode so that the words make sense outside it: with colours and nouns.

    None if that is not possible for all of them: an object is hidden throughout, or an action has no word.
    """
    captions: list[CaptionedEvent] = []
    for each in events.manipulations:
        bodies = [body for body in (each.body, each.target) if body >= 0]
        if each.verb not in VERBS or not all(body in events.objects and events.shown(body) for body in bodies):
            return None
        body, target = _coloured(events, each.body), _coloured(events, each.target)
        caption = f"The hand {VERBS[each.verb].format(body=body, target=target)}."
        captions.append(CaptionedEvent(start_s=each.start_s, stop_s=each.end_s, thing=body, caption=caption))
    return tuple(captions)


def _deed(events: EpisodeEvents, manipulation: Manipulation) -> str:
    clause = VERBS[manipulation.verb].format(
        body=_called(events, manipulation.body), target=_called(events, manipulation.target)
    )
    return f"The hand {clause}."


def _coloured(events: EpisodeEvents, body: int) -> str:
    if body < 0:
        return "something"
    thing = events.all_objects.find(body)
    return f"the {thing.colour} {thing.noun}" if thing.colour else f"the {thing.noun}"


def _called(events: EpisodeEvents, body: int) -> str:
    if body < 0:
        return "something"
    names = phrases(events.all_objects, events.all_objects.find(body), frozenset({"relation"}))
    return str(names[0]) if names else a(events.episode.bodies[body].noun)


def _full(thing: ObjectNode) -> str:
    material = "" if thing.noun == "cloth" else ADJECTIVES.get(thing.material, thing.material)
    return " ".join(w for w in (thing.colour, material, thing.noun) if w)


def object_question(
    every: Sequence[str], visible: Sequence[str], known: Sequence[str], rng: np.random.Generator
) -> tuple[str, str]:
    """Draw a question about which objects an image has, of four kinds (the list, one, two, how many), and its answer.

    `every` has the noun of each object in the image, `visible` those that can be seen well, and `known` all nouns. Nothing is
    asked of nouns of which too little is visible, and no list is where there is such a noun.
    """
    sure = sorted(noun for noun in known if every.count(noun) == visible.count(noun) < len(NUMBERS))
    there, away = [n for n in sure if n in visible], [n for n in sure if n not in visible]
    first, second = (str(rng.choice(there if there and rng.random() < 0.5 else away)) for _ in range(2))
    kind = int(rng.integers(4))
    if kind == 0 and len(visible) == len(every):
        return "Which objects can be seen?", ", ".join(dict.fromkeys(visible)) or "none"
    if kind == 1:
        return f"Can {a(first)} be seen?", "yes" if first in visible else "no"
    if kind == 2 and first != second:
        return f"Can {a(first)} and {a(second)} be seen?", "yes" if {first, second} <= {*visible} else "no"
    return f"How many {plural(first)} can be seen?", NUMBERS[visible.count(first)]


def _where(graph: SceneGraph, thing: ObjectNode, described: list[ObjectNode]) -> str:
    """Describe the relation of an object to one named before; empty if it is unclear."""
    for other in reversed(described):
        for relation in ("in", "under", "on", *SIDES):
            names = phrases(graph, other, frozenset({"relation"}))
            if names and graph.holds(thing, relation, other):
                return f"{spoken(relation)} {names[0]}"
    return ""


def _region(graph: SceneGraph, thing: ObjectNode) -> str:
    text = f' that says "{thing.text}"' if thing.text else ""
    for other in graph.clear:
        for relation in ("in", "on"):
            if graph.holds(thing, relation, other):
                return f"{text} {relation} {a(other.noun)}"
    return text


def _some(noun: str, number: int) -> str:
    return a(noun) if number == 1 else f"{NUMBERS[number] if number < len(NUMBERS) else 'many'} {plural(noun)}"


def _sentence(parts: list[str]) -> str:
    return _upper(parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}") + "."


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
