"""Questions that are answered by pointing: which things of an episode something is true of, all the way through it."""

from dataclasses import dataclass

from tapetum.scenes.words.events import EpisodeEvents
from tapetum.scenes.words.question import Kind

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


def grounded_questions(happenings: EpisodeEvents) -> list[Grounded]:
    """List such questions of an episode, those that some but not all of its things answer."""
    episode, deeds = happenings.episode, happenings.deeds
    things = set(happenings.objects)
    inside = {int(j) for j in happenings.objects if (episode.inside[:, j] >= 0).any()}
    holders = {int(h) for j in happenings.objects for h in episode.inside[:, j] if h >= 0} & things
    questions = (
        ("Track everything that the hand picks up.", {d.body for d in deeds if d.verb in TAKEN}, "semantics"),
        ("Track everything that the hand pushes or spins.", {d.body for d in deeds if d.verb in ("push", "spin")}, "semantics"),
        ("Track everything that is inside or under another thing at some time.", inside, "physics"),
        ("Track the things that hold or cover others at some time.", holders, "physics"),
        ("Track everything that knocks against another thing.", {x for h in happenings.hits for x in h.bodies}, "physics"),
        ("Track the first thing that the hand takes or pushes.", {d.body for d in deeds[:1]}, "memory"),
    )
    return [
        Grounded(text=text, bodies=tuple(sorted(bodies & things)), area=area)
        for text, bodies, area in questions
        if 0 < len(bodies & things) < len(things)
    ]
