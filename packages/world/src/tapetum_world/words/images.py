"""Questions about one image, from its scene graph; and referring expressions that fit one object of the image only.

Such expressions are "the cup", "the larger red ball", "the cup left of the box". A phrase is tested on every object with any
visible part; it names an object only if it certainly fits it and certainly fits no other: an object whose colour people would
disagree on may be red.

Each template declares in its key what a blind guesser could use (the noun whose colour is asked for), and omits what correlates
with the answer (a red cup's neighbour is never the other red cup, so colours of neighbours are not mentioned).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np

from tapetum_world.physics.props import COLOURS, COMMON, PHYSICS_MATERIALS, PROPS, WORDS
from tapetum_world.words.graph import LARGER, SAME, SIDES, ObjectNode, Relation, SceneGraph
from tapetum_world.words.questions import Candidate

ADJECTIVES = {"wood": "wooden"}
"""Of materials; the others are their own."""
_PLURALS = {"box": "boxes", "dice": "dice"}


def plural(noun: str) -> str:
    """Form the plural of a noun.

    >>> plural("cup"), plural("box")
    ('cups', 'boxes')
    """
    return _PLURALS.get(noun, noun + "s")


def spoken(relation: str) -> str:
    """Write a relation as it follows "is".

    >>> spoken("left of"), spoken("under")
    ('to the left of', 'under')
    """
    return f"to the {relation}" if relation in ("left of", "right of") else relation


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """Referring expression, as conditions; empty ones are left out."""

    noun: str = ""
    """Empty: "thing"."""
    colour: str = ""
    material: str = ""
    size: str = ""
    """larger or smaller, of two with this noun."""
    relation: Relation | None = None
    anchor: "Phrase | None" = None
    """What it is `relation` to."""

    def __str__(self) -> str:
        material = ADJECTIVES.get(self.material, self.material)
        words = [w for w in (self.size, self.colour, material, self.noun or "thing") if w]
        tail = f" {self.relation} {self.anchor}" if self.relation and self.anchor else ""
        return "the " + " ".join(words) + tail

    @property
    def kind(self) -> str:
        """List the words it needs. "The red block" implies other blocks, as in a tower, which may reveal an answer."""
        parts = (self.noun, self.size and "sized", self.colour and "coloured", self.material, self.relation and "related")
        return " ".join(w for w in parts if w)

    def fits(self, graph: SceneGraph, thing: ObjectNode) -> bool | None:
        """Check whether the phrase fits a thing: True, False, or None where people would differ."""
        answers: list[bool | None] = [
            not self.noun or thing.noun == self.noun,
            not self.material or thing.material == self.material,
        ]
        if self.colour:
            answers.append(thing.colour == self.colour if thing.colour else None)
        if self.size:
            answers.append(self._sized(graph, thing))
        if self.relation and self.anchor:
            anchor = named(graph, self.anchor)
            answers.append(graph.holds(thing, self.relation, anchor) if anchor else None)
        return False if False in answers else None if None in answers else True

    def _sized(self, graph: SceneGraph, thing: ObjectNode) -> bool | None:
        others = [t for t in graph.visible if t.noun == self.noun and t.number != thing.number]
        if len(others) != 1 or thing.noun != self.noun:
            return None
        a, b = (thing, others[0]) if self.size == "larger" else (others[0], thing)
        return True if a.size_m > LARGER * b.size_m else False if b.size_m > LARGER * a.size_m else None


def named(graph: SceneGraph, phrase: Phrase) -> ObjectNode | None:
    """Find the one visible object that a phrase names, or None if it names none, several, or is unclear."""
    matches = [(t, phrase.fits(graph, t)) for t in graph.visible]
    certain = [t for t, fits in matches if fits]
    return certain[0] if len(certain) == 1 and all(fits is not None for _, fits in matches) else None


def phrases(graph: SceneGraph, thing: ObjectNode, unsaid: frozenset[str] = frozenset()) -> list[Phrase]:
    """List phrases that name an object, the plainest first; they avoid the attributes in `unsaid`.

    `unsaid` may hold noun, colour, material, size, relation; if it holds colour, an anchor's colour is not mentioned either.
    """
    matches = [p for p in _plain(thing, unsaid) if named(graph, p) is thing]
    if matches or "relation" in unsaid:
        return matches
    base = Phrase(noun="" if "noun" in unsaid else thing.noun)
    for anchor in graph.clear:
        if anchor.number == thing.number or (thing.holder == anchor.number):
            continue
        simple = [p for p in _plain(anchor, unsaid - {"noun"}) if not p.size and named(graph, p) is anchor]
        if simple:
            matches += [p for r in SIDES if named(graph, p := replace(base, relation=r, anchor=simple[0])) is thing]
    return matches


def a(words: str) -> str:
    """Put the indefinite article before words."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def _plain(thing: ObjectNode, unsaid: frozenset[str]) -> Iterator[Phrase]:
    noun = "" if "noun" in unsaid else thing.noun
    base = Phrase(noun=noun)
    colours = [thing.colour] if thing.colour and "colour" not in unsaid else []
    materials = [thing.material] if "material" not in unsaid and thing.material != "cloth" else []
    if noun:
        yield base
        if "size" not in unsaid:
            yield from (replace(base, size=s) for s in ("larger", "smaller"))
    yield from (replace(base, colour=c) for c in colours)
    yield from (replace(base, material=m) for m in materials)
    yield from (replace(base, colour=c, material=m) for c in colours for m in materials)


Rng = np.random.Generator
NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight")
FORMS = ("ball", "egg", "cube", "box", "cylinder", "cone", "stick", "cup", "bowl")
PICKY = ("egg", "lemon")
"""Nouns that come in few colours."""
HOLDERS = ("bowl", "bucket", "cup", "board", "cloth")
NEARER = 0.05
"""Metres by which one thing must be nearer than another."""
PER_TEMPLATE = 8
"""Candidates of one template for one image."""


def image_candidates(graph: SceneGraph, seed: int) -> list[Candidate]:
    """List candidate questions about an image; `balance` chooses among them. A pure function of its arguments."""
    candidates: list[Candidate] = []
    for number, (template, (area, make)) in enumerate(TEMPLATES.items()):
        rng = np.random.default_rng((seed & 0xFFFFFFFF, graph.frame, number))
        made = list(make(graph, rng))
        for i in rng.permutation(len(made))[:PER_TEMPLATE]:
            fields = dict(made[i])
            candidates.append(Candidate(template=template, area=area, kind="picture", frame=graph.frame, **fields))
    return candidates


def _but(words: Sequence[str], answer: str) -> tuple[str, ...]:
    return tuple(w for w in words if w != answer)


def _phrase(graph: SceneGraph, thing: ObjectNode, rng: Rng, *unsaid: str) -> Phrase | None:
    """Draw one of the phrases that name an object; plain ones come before those with a neighbour."""
    options = phrases(graph, thing, frozenset(unsaid))
    return options[0 if rng.random() < 0.6 else int(rng.integers(min(len(options), 4)))] if options else None


def _colour(graph: SceneGraph, rng: Rng) -> Iterator[dict]:
    for thing in graph.clear:
        phrase = _phrase(graph, thing, rng, "colour") if thing.colour else None
        if phrase:
            yield {
                "text": f"What colour is {phrase}?",
                "answer": thing.colour,
                "key": thing.noun,
                "others": _but(tuple(COLOURS), thing.colour),
                "near": tuple(sorted({t.colour for t in graph.visible if t.colour})),
            }


def _material(graph: SceneGraph, rng: Rng) -> Iterator[dict]:
    for thing in graph.clear:
        phrase = _phrase(graph, thing, rng, "material")
        if phrase:
            yield {
                "text": f"What is {phrase} made of?",
                "answer": thing.material,
                "key": phrase.kind,
                "others": _but(tuple(PHYSICS_MATERIALS), thing.material),
            }


def _shape(graph: SceneGraph, rng: Rng) -> Iterator[dict]:
    for thing in graph.clear:
        phrase = _phrase(graph, thing, rng, "noun", "material", "size", "relation") if thing.form in FORMS else None
        if phrase:
            yield {
                "text": f"What is the shape of {phrase}?",
                "answer": a(thing.form),
                "key": thing.colour,
                "others": tuple(a(f) for f in FORMS if f != thing.form),
                "near": tuple(sorted({a(t.form) for t in graph.visible})),
            }


def _count(graph: SceneGraph, rng: Rng) -> Iterator[dict]:
    visible = graph.visible
    sure = all(t.clear for t in visible)
    counts: list[tuple[str, int]] = []
    for noun in {*(t.noun for t in visible), *rng.choice(COMMON, 3).tolist()}:
        named = [t for t in visible if t.noun == noun]
        if all(t.clear for t in named):
            counts.append((plural(noun), len(named)))
    if sure and all(t.colour for t in visible) and not graph.hand:
        for colour in {*(t.colour for t in visible), *rng.choice(list(COLOURS), 2).tolist()}:
            counts.append((f"{colour} things", sum(t.colour == colour for t in visible)))
    if sure and not graph.hand:
        counts.append(("things", len(visible)))
    for words, number in sorted(counts):
        if number < len(NUMBERS):
            yield {
                "text": f"How many {words} can be seen?",
                "answer": NUMBERS[number],
                "key": words,
                "others": _but(NUMBERS, NUMBERS[number]),
                "near": NUMBERS[max(number - 1, 0) : number + 2],
            }


def _named(graph: SceneGraph, thing: ObjectNode, rng: Rng) -> list[tuple[str, str]]:
    """Name an object by its noun, and as an object of some colour, each with its key.

    Stories put some objects to the left of others (a ball before a tower): nouns can reveal directions, so one is omitted.
    """
    names: list[tuple[str, str]] = []
    phrase = _phrase(graph, thing, rng, "relation")
    if phrase:
        names.append((str(phrase), phrase.kind))
    hidden = Phrase(colour=thing.colour)
    if thing.colour and thing.noun not in PICKY and named(graph, hidden) is thing:
        names.append((str(hidden), "thing"))
    return names


def _relation(graph: SceneGraph, rng: Rng) -> Iterator[dict]:
    options = {r: f"{spoken(r)} it" for r in SIDES}
    for pair in combinations(graph.clear, 2):
        one, other = pair if rng.random() < 0.5 else pair[::-1]
        true = [r for r in SIDES if graph.holds(one, r, other)]
        if len(true) != 1:
            continue
        for (first, key), (second, after) in product(_named(graph, one, rng), _named(graph, other, rng)):
            if "thing" in (key, after):
                yield {
                    "text": f"Where is {first}, seen from the camera, relative to {second}?",
                    "answer": options[true[0]],
                    "key": f"{key}, {after}",
                    "others": _but(tuple(options.values()), options[true[0]]),
                }


def _neighbour(graph: SceneGraph, rng: Rng) -> Iterator[dict]:
    for anchor, relation in product(graph.clear, (*SIDES, "on")):
        relations = [(t, graph.holds(t, relation, anchor)) for t in graph.visible if t.number != anchor.number]
        there = [t for t, holds in relations if holds]
        if len(there) != 1 or not there[0].clear or any(holds is None for _, holds in relations):
            continue
        answer = a(there[0].noun)
        for phrase, key in _named(graph, anchor, rng):
            # "The red cup" says that there are other cups, "the cup" that there are none: cups are no answer.
            unsaid = "" if key == "thing" else anchor.noun
            if there[0].noun != unsaid:
                yield {
                    "text": f"Which thing is {spoken(relation)} {phrase}?",
                    "answer": answer,
                    "key": f"{key} {relation}",
                    "others": tuple(a(n) for n in PROPS if a(n) != answer and n != unsaid),
                    "near": tuple(sorted({a(t.noun) for t in graph.visible if t.noun != unsaid})),
                }


def _inside(graph: SceneGraph, rng: Rng) -> Iterator[dict]:
    for holder in graph.clear:
        phrase = _phrase(graph, holder, rng, "relation", "material")
        if holder.form not in ("cup", "bowl") or holder.number in graph.upturned or not phrase:
            continue
        contents = [t for t in graph.objects if t.holder == holder.number]
        counts = Counter(t.noun for t in contents)
        countable = [t.noun for t in contents if t.clear and all(x.clear for x in contents if x.noun == t.noun)]
        for noun in sorted(set(countable)) if contents else [""]:
            word = plural if counts[noun] > 1 else a
            answer = word(noun) if noun else "nothing"
            yield {
                "text": f"What can be seen in {phrase}?",
                "answer": answer,
                "key": f"{holder.noun} {counts[noun] > 1}",
                "others": tuple(x for x in ("nothing", *(word(n) for n in PROPS if n not in counts)) if x != answer),
                "near": tuple(
                    sorted({word(t.noun) for t in graph.visible if t.holder != holder.number and t.noun not in counts})
                ),
            }


def _same_colour(graph: SceneGraph, rng: Rng) -> Iterator[dict]:
    if not all(t.colour for t in graph.visible):
        return
    pool = [t for t in graph.clear if t.noun not in PICKY]
    for thing in pool:
        alike = [t for t in pool if t.colour == thing.colour and t.noun != thing.noun]
        differ = [t for t in pool if t.colour != thing.colour and t.noun != thing.noun]
        if len(alike) != 1 or len(differ) < 2:
            continue
        chosen = [alike[0], *(differ[i] for i in rng.permutation(len(differ))[:2])]
        order = [chosen[i] for i in rng.permutation(3)]
        names = [_phrase(graph, t, rng, "colour", "relation") for t in (thing, *order)]
        if all(names):
            yield _among(
                f"Which of these has the same colour as {names[0]}", [str(n) for n in names[1:]], order.index(alike[0])
            )


def _among(start: str, names: Sequence[str], place: int, key: str = "") -> dict:
    """Describe a question whose options are in its text."""
    return {
        "text": f"{start}: {', '.join(names[:-1])} or {names[-1]}?",
        "answer": names[place],
        "key": key,
        "others": _but(names, names[place]),
        "fixed": True,
        "place": place,
    }


def _larger(graph: SceneGraph, rng: Rng) -> Iterator[dict]:
    for pair in combinations(graph.clear, 2):
        one, other = pair if rng.random() < 0.5 else pair[::-1]
        names = [_phrase(graph, t, rng, "relation", "size") for t in (one, other)]
        ratio = one.size_m / other.size_m
        place = 0 if ratio > LARGER else 1 if ratio < 1 / LARGER else 2 if 1 / SAME < ratio < SAME else -1
        if one.noun == other.noun and place >= 0 and all(names):
            options = (str(names[0]), str(names[1]), "they are about the same size")
            yield {
                "text": f"Which is larger, {names[0]} or {names[1]}?",
                "answer": options[place],
                "key": " ".join(n.kind for n in names if n),
                "others": _but(options, options[place]),
                "fixed": True,
                "place": place,
            }


def _nearest(graph: SceneGraph, rng: Rng) -> Iterator[dict]:
    pool = [t for t in graph.clear if t.noun not in HOLDERS and t.holder < 0 and t.on < 0]
    trios = list(combinations(pool, 3))
    for i in rng.permutation(len(trios))[:6]:
        trio = [trios[i][k] for k in rng.permutation(3)]
        far = sorted(t.far for t in trio)
        names = [_phrase(graph, t, rng, "relation", "size") for t in trio]
        if far[1] - far[0] > NEARER and all(names):
            place = int(np.argmin([t.far for t in trio]))
            yield _among("Which of these is nearest to the camera", [str(n) for n in names], place)


def _read(graph: SceneGraph, rng: Rng) -> Iterator[dict]:
    for thing in graph.clear:
        phrase = _phrase(graph, thing, rng) if thing.text else None
        if phrase:
            yield {
                "text": f"What is written on {phrase}?",
                "answer": thing.text,
                "key": thing.noun,
                "others": _but(WORDS, thing.text),
            }


def _present(graph: SceneGraph, rng: Rng) -> Iterator[dict]:
    del rng
    for noun in sorted({t.noun for t in graph.clear}):
        named = [t for t in graph.visible if t.noun == noun]
        if not all(t.colour and t.clear for t in named) or len(named) != 1:
            continue
        answer = a(f"{named[0].colour} {noun}")
        others = tuple(a(f"{c} {noun}") for c in COLOURS if c != named[0].colour)
        yield {"text": "Which of these can be seen?", "answer": answer, "key": noun, "others": others}


TEMPLATES: dict[str, tuple[str, Callable[[SceneGraph, Rng], Iterator[dict]]]] = {
    "colour": ("colour", _colour),
    "material": ("material", _material),
    "shape": ("shape", _shape),
    "count": ("count", _count),
    "relation": ("relation", _relation),
    "neighbour": ("relation", _neighbour),
    "inside": ("relation", _inside),
    "same-colour": ("comparison", _same_colour),
    "larger": ("comparison", _larger),
    "nearest": ("comparison", _nearest),
    "read": ("text", _read),
    "present": ("colour", _present),
}
"""By name: the area of perception, and what makes its questions."""
