"""Context of the templates about episodes: referring expressions for objects, and tables of answers."""

from collections.abc import Iterator
from typing import Any

from tapetum_world.physics.props import PROPS
from tapetum_world.words.events import Counterfactuals, EpisodeEvents
from tapetum_world.words.images import NUMBERS, Phrase, a, named, phrases

CandidateFields = dict[str, Any]
"""Fields of a candidate."""
DONE = {
    "place": "It moves it to another place.",
    "stack": "It puts it on top of something.",
    "drop": "It lets it fall.",
    "put-into": "It puts it into something.",
    "push": "It pushes it.",
    "spin": "It spins it.",
    "cover": "It covers something with it.",
    "pour": "It pours something out of it.",
    "shuffle": "It slides it about.",
    "show": "It holds it up.",
    "": "It leaves it alone.",
}
AIMS = {
    "place": "to move it to another place",
    "stack": "to put it on top of something",
    "drop": "to let it fall",
    "put-into": "to put it into something",
    "show": "to hold it up to the camera",
}
NEXT = {
    "place": "It will put it down.",
    "stack": "It will put it on top of something.",
    "drop": "It will let it fall.",
    "put-into": "It will put it into something.",
    "show": "It will hold it up to the camera.",
}
SET_OFF = {
    "hand": "The hand moves it.",
    "hit": "Another thing hits it.",
    "start": "It moves from the very start.",
    "never": "Nothing does; it stays where it is.",
}
UNSEEN = {
    "under": "It is under something.",
    "in": "It is deep inside something.",
    "out": "It is outside of the picture.",
    "behind": "Something stands in front of it.",
}
FATES = {
    "stays": "It would have stayed where it was.",
    "moves": "It would have ended up in another place.",
    "falls over": "It would have fallen over.",
    "leaves": "It would have fallen to the floor.",
}
WILL = {
    "stays": "It will stay where it is.",
    "hand": "The hand will move it.",
    "moves": "It will move without the hand.",
    "falls over": "It will fall over without the hand.",
    "leaves": "It will fall to the floor.",
}
PLACES = {
    "stays": "where it was at the start",
    "moves": "in another place",
    "falls over": "where it was, but lying down",
    "leaves": "on the floor",
}
CAUSES = {
    "in": "The hand puts something in.",
    "out": "The hand takes something out.",
    "pour": "The hand pours something.",
    "self": "Something gets in or out without the hand.",
    "none": "Nothing does; the number stays the same.",
}


class QuestionContext:
    """An episode, its events, and the names of its objects."""

    def __init__(self, events: EpisodeEvents, without: Counterfactuals | None):
        """Prepare; `without` answers counterfactual questions."""
        self.events, self.episode = events, events.episode
        self.without = without

    def noun(self, body: int) -> str:
        """Look up the noun of a body."""
        return self.episode.bodies[body].noun

    def names(self, body: int) -> list[tuple[str, str]]:
        """List phrases for a body, each with the key under which its questions are balanced."""
        thing = self.events.all_objects.find(body)
        if not self.events.shown(body):
            return []
        names: list[tuple[str, str]] = []
        plain = phrases(self.events.all_objects, thing, frozenset({"relation", "size"}))
        if plain:
            names.append((str(plain[0]), plain[0].kind))
        hidden = Phrase(colour=thing.colour)
        if thing.colour and named(self.events.all_objects, hidden) is thing:
            names.append((str(hidden), "thing " + str(thing.colour in ("white", "brown", "yellow", "green"))))
        return names

    def each(self) -> Iterator[tuple[int, str, str]]:
        """Yield bodies with a phrase and a key, for each of their names."""
        for body in self.events.objects:
            yield from ((body, phrase, key) for phrase, key in self.names(body))


def chosen(table: dict[str, str], answer: str) -> CandidateFields:
    """Answer with one text of a table; the others are wrong."""
    return {"answer": table[answer], "others": tuple(v for k, v in table.items() if k != answer)}


def a_noun(view: QuestionContext, body: int, unsaid: str = "") -> CandidateFields:
    """Answer with a noun; the other nouns are wrong. `unsaid` is not offered: the text reveals whether there are more of it."""
    noun = view.noun(body)
    here = {view.noun(j) for j in view.events.objects}
    bad = {noun, unsaid}
    return {
        "answer": a(noun),
        "others": tuple([a(n) for n in PROPS if n not in bad] + ["nothing"]),
        "near": tuple(a(n) for n in sorted(here - bad)),
    }


def a_number(number: int) -> CandidateFields:
    """Answer with a number in words."""
    return {
        "answer": NUMBERS[number],
        "others": tuple(w for w in NUMBERS if w != NUMBERS[number]),
        "near": NUMBERS[max(number - 1, 0) : number + 2],
    }
