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

import numpy as np

from tapetum.world.bodies.episode import Episode
from tapetum.world.words import episodes_memory as memory
from tapetum.world.words import episodes_physics as physics
from tapetum.world.words.context import CandidateFields, QuestionContext
from tapetum.world.words.events import Counterfactuals, EpisodeEvents
from tapetum.world.words.questions import Candidate, Kind

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
    "nth": ("memory", "descriptive", memory.nth),
    "unseen": ("memory", "explanatory", memory.unseen),
    "which-cup": ("memory", "predictive", memory.which_cup),
    "place-without-hand": ("memory", "counterfactual", memory.without_hand_place),
    "how-many": ("abstraction", "descriptive", memory.how_many),
    "what-changed": ("abstraction", "explanatory", memory.what_changed),
    "one-more": ("abstraction", "predictive", memory.one_more),
    "number-without-hand": ("abstraction", "counterfactual", memory.without_hand_number),
    "first-hit": ("physics", "descriptive", physics.first_hit),
    "set-off": ("physics", "explanatory", physics.what_set_off),
    "become": ("physics", "predictive", physics.become),
    "without-other": ("physics", "counterfactual", physics.without_other),
    "what-done": ("semantics", "descriptive", physics.what_done),
    "what-for": ("semantics", "explanatory", physics.what_for),
    "what-next": ("semantics", "predictive", physics.what_next),
    "first-without": ("semantics", "counterfactual", physics.first_without),
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
