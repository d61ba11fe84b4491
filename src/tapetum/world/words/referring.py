"""Referring expressions that fit one object of an image only: "the cup", "the larger red ball", "the cup left of the box".

A phrase is tested on every object with any visible part; it names an object only if it certainly fits it and certainly fits no
other: an object whose colour people would disagree on may be red.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tapetum.data.questions import ADJECTIVES
from tapetum.world.words.graph import LARGER, SIDES, ObjectNode, Relation, SceneGraph


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
