r"""Multiple-choice questions, chosen among candidates so that words alone give no information about the answers.

    scenes of a block ─► candidates ─► by template and key ─► groups of k with k different answers ─► questions

A group of k candidates with k different answers shares its k options: each option is correct for exactly one of its questions.
So template, key and options alone give exactly one right answer in k, in any collection of whole groups, however skewed the
world. Within a group the answer also appears once in each position among the options. The rest of the text (a colour, a
neighbour) must not correlate with the answer; templates choose their keys and phrases for that, and
`evidence/scenes-blind/claims.py` measures whether they succeeded.

    colour of cups     red red red red blue blue green white          options: blue green red white
                        └───────────┼────┴─────────┼────┘      ─►      four questions, four right answers;
                               one of each                             three red ones and a blue one are left out

Questions with their own options (the red ball, the blue ball, about the same) are balanced over the position of the answer in
the text instead. Everything is a function of the candidates and a seed; a block of scenes is `BLOCK` consecutive numbers, so a
scene's questions depend only on its block.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tapetum.core.errors import BadInput

Kind = Literal["picture", "descriptive", "explanatory", "predictive", "counterfactual"]


@dataclass(frozen=True, kw_only=True)
class SceneQuestion:
    """A question about an image or an episode, with three to five options of which one is right."""

    template: str
    """Name of the pattern it was made from, such as colour."""
    text: str
    answer: str
    options: tuple[str, ...]
    """In shuffled order; the answer is one of them."""
    kind: Kind
    """image, or the reasoning that an episode asks for."""
    area: str
    """Of an image: colour, shape, material, count, relation, comparison, text; of an episode: memory, abstraction, physics,
    semantics."""
    frame: int | None = None
    """Of a question about an image."""
    span: tuple[float, float] | None = None
    """Seconds of the episode that may be watched."""

    def __post_init__(self) -> None:
        if self.options.count(self.answer) != 1 or len(set(self.options)) != len(self.options) or len(self.options) < 3:
            raise BadInput(
                f"a question has options {self.options} and answer {self.answer!r}; wanted 3 or more, one of them right"
            )

    @property
    def correct(self) -> int:
        """Find the position of the answer among the options."""
        return self.options.index(self.answer)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A question that could be asked; `balance` chooses among many and gives them their options."""

    template: str
    text: str
    answer: str
    key: str = ""
    """Candidates with the same template and key are balanced against each other: all that a blind guesser could go by."""
    others: tuple[str, ...] = ()
    """Wrong answers that may be distractors."""
    near: tuple[str, ...] = ()
    """Those of `others` that are better than the rest: what is in the scene."""
    fixed: bool = False
    """All of `others` are the distractors, in the order of the text; `place` is balanced in place of the answer."""
    place: int = 0
    """Where the answer stands in the text among the fixed options."""
    kind: Kind
    area: str
    frame: int | None = None
    span: tuple[float, float] | None = None


BLOCK = 64
"""Scenes whose questions are balanced together."""
LEAST = 3
"""Options of a question at least."""
POOL = 24
"""Candidates of an answer among which the best fitting one is looked for."""


def balance(
    scenes: Sequence[Sequence[Candidate]], seed: int, *, options: int = 4, most: int = 2, block: int = BLOCK
) -> list[list[SceneQuestion]]:
    """Choose questions for each scene, block by block, at most `most` per template: a pure function of its arguments."""
    chosen: list[list[SceneQuestion]] = []
    for start in range(0, len(scenes), block):
        chosen += _block(scenes[start : start + block], seed + start, options, most)
    return chosen


def _block(scenes: Sequence[Sequence[Candidate]], seed: int, options: int, most: int) -> list[list[SceneQuestion]]:
    rng = np.random.default_rng((seed & 0xFFFFFFFF, 4127))
    pools: dict[tuple[str, str], list[tuple[int, Candidate]]] = {}
    for number, candidates in enumerate(scenes):
        for candidate in candidates:
            pools.setdefault((candidate.template, candidate.key), []).append((number, candidate))
    chosen: list[list[SceneQuestion]] = [[] for _ in scenes]
    used: dict[tuple[int, str], int] = {}
    for name in sorted(pools):
        pool = pools[name]
        order = rng.permutation(len(pool))
        for group in _groups([pool[i] for i in order], options, most, used):
            shared = tuple(candidate.answer for _, candidate in group)
            turn = rng.permutation(len(group))
            for (number, candidate), place in zip(group, turn.tolist(), strict=True):
                given = candidate.others if candidate.fixed else tuple(x for x in shared if x != candidate.answer)
                rest = [given[i] for i in rng.permutation(len(given))]
                chosen[number].append(_with_options(candidate, (*rest[:place], candidate.answer, *rest[place:])))
    return chosen


def _groups(
    pool: list[tuple[int, Candidate]], options: int, most: int, used: dict[tuple[int, str], int]
) -> list[list[tuple[int, Candidate]]]:
    """Form groups greedily: first the answers with the most candidates left, then those that fit the group best."""
    by_role: dict[object, list[tuple[int, Candidate]]] = {}
    for item in pool:
        by_role.setdefault(_role(item[1]), []).append(item)
    groups: list[list[tuple[int, Candidate]]] = []
    whole = {len(c.others) + 1 for _, c in pool if c.fixed}
    size = min(whole) if whole else options
    while True:
        group: list[tuple[int, Candidate]] = []
        chosen: dict[int, int] = {}
        for role in sorted(by_role, key=lambda r: (-len(by_role[r]), str(r))):
            fitting = [
                item
                for item in by_role[role][: POOL * 4]
                if used.get((item[0], item[1].template), 0) + chosen.get(item[0], 0) < most and _agree(item[1], group)
            ][:POOL]
            if fitting:
                best = max(range(len(fitting)), key=lambda i: (_nearness(fitting[i][1], group), -i))
                group.append(fitting[best])
                chosen[fitting[best][0]] = chosen.get(fitting[best][0], 0) + 1
            if len(group) == size:
                break
        if len(group) < (size if whole else min(LEAST, size)):
            return groups
        for item in group:
            by_role[_role(item[1])].remove(item)
            used[(item[0], item[1].template)] = used.get((item[0], item[1].template), 0) + 1
        groups.append(group)


def _role(candidate: Candidate) -> object:
    return candidate.place if candidate.fixed else candidate.answer


def _agree(candidate: Candidate, group: list[tuple[int, Candidate]]) -> bool:
    """Check whether each answer of the group is wrong for the candidate, and vice versa."""
    if candidate.fixed:
        return True
    return all(c.answer in candidate.others and candidate.answer in c.others for _, c in group)


def _nearness(candidate: Candidate, group: list[tuple[int, Candidate]]) -> int:
    return sum((c.answer in candidate.near) + (candidate.answer in c.near) for _, c in group)


def _with_options(candidate: Candidate, options: tuple[str, ...]) -> SceneQuestion:
    return SceneQuestion(
        template=candidate.template,
        text=candidate.text,
        answer=candidate.answer,
        options=options,
        kind=candidate.kind,
        area=candidate.area,
        frame=candidate.frame,
        span=candidate.span,
    )
