"""Films made of many short stories, joined with cuts, and questions that need memory of earlier ones.

A story is one episode, rendered once. A shot is a part of it that splits no event, and a film is a sequence of shots, so a few
hundred stories yield any number of films. Films come in groups of three with the same shots: one shot, the anchor, stays in its
place, and the others rotate by a third of their number, here with thirds A, B, C of two shots:

    film 0    A1 ANCHOR A2 B1 B2 C1 C2        first: A1    after the anchor: A2    last: C2
    film 1    B1 ANCHOR B2 C1 C2 A1 A2        first: B1    after the anchor: B2    last: A2
    film 2    C1 ANCHOR C2 A1 A2 B1 B2        first: C1    after the anchor: C2    last: B2

A question has the three answers of a group as its options, and is asked about all three films: the words alone give exactly one
right answer in three, and so does knowing which objects appear, since each film has all of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor

import numpy as np

from tapetum.core.errors import BadInput
from tapetum_world.words.captions import CaptionedEvent
from tapetum_world.words.questions import SceneQuestion

SHORTEST_S = 4
"""Seconds of a shot at least, or the whole story."""
FILMS = 3
"""Of a group."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """An episode that films may show."""

    name: str
    seconds: float
    events: tuple[CaptionedEvent, ...]
    """All that the hand does, in order."""


@dataclass(frozen=True, kw_only=True)
class FilmShot:
    """A part of a story, in whole seconds of it."""

    story: Story
    start_s: int
    stop_s: int


@dataclass(frozen=True, kw_only=True)
class Film:
    """Shots, one after the other."""

    shots: tuple[FilmShot, ...]
    anchor: int
    """Which of them stays in its place in the three films of a group."""

    @property
    def seconds(self) -> int:
        """Compute the length."""
        return sum(shot.stop_s - shot.start_s for shot in self.shots)

    @property
    def events(self) -> tuple[CaptionedEvent, ...]:
        """List the hand's actions, in order, with times in the film."""
        return tuple(event for part in self.events_by_shot for event in part)

    @property
    def events_by_shot(self) -> tuple[tuple[CaptionedEvent, ...], ...]:
        """List the hand's actions in each shot, with times in the film."""
        parts, start = [], 0
        for shot in self.shots:
            later = start - shot.start_s
            moved = (replace(event, start_s=event.start_s + later, stop_s=event.stop_s + later) for event in shot.story.events)
            parts.append(tuple(moved))
            start += shot.stop_s - shot.start_s
        return tuple(parts)


def draw_shot(story: Story, rng: np.random.Generator) -> FilmShot:
    """Draw a part of a story that holds all its events, of `SHORTEST_S` seconds or more.

    >>> event = CaptionedEvent(start_s=1.5, stop_s=3.2, thing="the red cup", caption="The hand pushes the red cup.")
    >>> shot = draw_shot(Story(name="a", seconds=8.0, events=(event,)), np.random.default_rng(0))
    >>> (shot.start_s, shot.stop_s)
    (1, 7)
    """
    end = floor(story.seconds)
    first = min((event.start_s for event in story.events), default=float(end))
    last = max((event.stop_s for event in story.events), default=0.0)
    start = int(rng.integers(max(min(floor(first), end - SHORTEST_S), 0) + 1))
    least = max(min(ceil(last), end), min(start + SHORTEST_S, end))
    return FilmShot(story=story, start_s=start, stop_s=int(rng.integers(least, end + 1)))


def join_films(stories: Sequence[Story], seed: int, number: int, shots: int) -> tuple[Film, Film, Film]:
    """Join group `number` of three films of `shots` shots each: a pure function of its arguments.

    Raises BadInput for a number of shots that is not 4, 7, 10, ..., and for fewer stories than shots.
    """
    if shots < 4 or shots % FILMS != 1:
        raise BadInput(f"films of {shots} shots: a group wants 4, 7, 10, ... shots; give {max(shots - (shots - 1) % 3, 4)}")
    if len(stories) < shots:
        raise BadInput(
            f"films of {shots} shots want as many stories, and there are {len(stories)}; make more, or shorter films"
        )
    rng = np.random.default_rng((seed & 0xFFFFFFFF, 431, number))
    chosen = [draw_shot(stories[k], rng) for k in rng.choice(len(stories), shots, replace=False)]
    anchor = int(rng.integers(1, shots - 1))
    fixed = chosen.pop(anchor)
    third = len(chosen) // FILMS
    turned = [chosen[k * third :] + chosen[: k * third] for k in range(FILMS)]
    one, two, three = (Film(shots=(*part[:anchor], fixed, *part[anchor:]), anchor=anchor) for part in turned)
    return one, two, three


def group_questions(group: Sequence[Film], seed: int, number: int) -> list[list[SceneQuestion]]:
    """Build the memory questions of each film of a group: a pure function of its arguments.

    Each question is asked about every film of the group, and the correct option is in a different position each time.
    """
    rng = np.random.default_rng((seed & 0xFFFFFFFF, 433, number))
    questions: list[list[SceneQuestion]] = [[] for _ in group]
    for template, ask in TEMPLATES.items():
        answers = [answer for film in group if (answer := ask(film)) is not None]
        options = [answer.thing for answer in answers]
        if len(answers) < len(group) or len(set(options)) < len(group) or len({answer.text for answer in answers}) > 1:
            continue
        turn, order = int(rng.integers(len(group))), rng.permutation(len(group)).tolist()
        for k, (film, answer) in enumerate(zip(group, answers, strict=True)):
            rest, place = [options[i] for i in order if i != k], (k + turn) % len(group)
            made = SceneQuestion(
                template=template,
                text=answer.text,
                answer=answer.thing,
                options=(*rest[:place], answer.thing, *rest[place:]),
                kind="descriptive",
                area="memory",
                span=(0.0, float(film.seconds)),
            )
            questions[k].append(made)
    return questions


@dataclass(frozen=True)
class _Answer:
    text: str
    thing: str


def _nth(film: Film, word: str, n: int) -> _Answer | None:
    """Ask what the hand takes or pushes first, second or last; only if that is a unique object of its name."""
    things = list(dict.fromkeys((k, event.thing) for k, part in enumerate(film.events_by_shot) for event in part))
    if len(things) < 3 or not _alone(film, name := things[n][1]):
        return None
    return _Answer(f"What is the {word} thing that the hand takes or pushes?", name)


def _beside_anchor(film: Film, word: str) -> _Answer | None:
    """Ask what the hand takes or pushes next after, or last before, the anchor's object."""
    parts = film.events_by_shot
    after = word == "after"
    own = parts[film.anchor]
    others = [event for part in (parts[film.anchor + 1 :] if after else parts[: film.anchor]) for event in part]
    if not own or not others:
        return None
    anchor, name = own[-1 if after else 0].thing, others[0 if after else -1].thing
    if [event.thing for event in film.events].count(anchor) > 1 or not _alone(film, name):
        return None
    order = "next thing that the hand takes or pushes after" if after else "last thing that the hand takes or pushes before"
    return _Answer(f"What is the {order} {anchor}?", name)


def _alone(film: Film, thing: str) -> bool:
    """Check whether the hand handles an object of this name in only one shot."""
    return sum(any(event.thing == thing for event in part) for part in film.events_by_shot) == 1


TEMPLATES: Mapping[str, Callable[[Film], _Answer | None]] = {
    "film-first": lambda film: _nth(film, "first", 0),
    "film-second": lambda film: _nth(film, "second", 1),
    "film-last": lambda film: _nth(film, "last", -1),
    "film-after": lambda film: _beside_anchor(film, "after"),
    "film-before": lambda film: _beside_anchor(film, "before"),
}
"""Questions by name: the text, and the thing that is right in a film."""
