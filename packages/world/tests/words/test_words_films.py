"""Films joined of stories: what they show, and answers that an independent reading of the events gives too."""

from collections import Counter

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum_world.words import CaptionedEvent, Film, Story, group_questions, join_films
from tapetum_world.words.films import draw_shot

SEED = 5


def story(number: int) -> Story:
    """A story of none to three events about things of its own, but for some things that are in many."""
    rng = np.random.default_rng(number)
    times = np.sort(rng.uniform(0, 8, 2 * int(rng.integers(0, 4)))).reshape(-1, 2).tolist()
    things = [f"the {rng.choice(['red', 'blue'])} cup" if rng.random() < 0.2 else f"the ball {number}-{i}" for i in range(3)]
    events = tuple(
        CaptionedEvent(start_s=start, stop_s=stop, thing=thing, caption=f"The hand pushes {thing}.")
        for (start, stop), thing in zip(times, things, strict=False)
    )
    return Story(name=f"story-{number}", seconds=8.0, events=events)


STORIES = [story(number) for number in range(40)]


def watched(film: Film) -> list[tuple[float, int, str]]:
    """What happens in a film, second by second: begin, number of the shot, thing; without the film's own list of events."""
    rows, begins = [], 0.0
    for number, shot in enumerate(film.shots):
        for event in shot.story.events:
            assert shot.start_s <= event.start_s
            assert event.stop_s <= shot.stop_s
            rows.append((begins + event.start_s - shot.start_s, number, event.thing))
        begins += shot.stop_s - shot.start_s
    assert begins == film.seconds
    return sorted(rows)


def right_answer(film: Film, text: str) -> str:
    rows = watched(film)
    things = [thing for k, (_, shot, thing) in enumerate(rows) if (shot, thing) not in [row[1:] for row in rows[:k]]]
    for word, n in (("first", 0), ("second", 1), ("last", -1)):
        if text == f"What is the {word} thing that the hand takes or pushes?":
            return things[n]
    for words, step in (
        ("next thing that the hand takes or pushes after ", 1),
        ("last thing that the hand takes or pushes before ", -1),
    ):
        if words in text:
            thing = text.split(words)[1].rstrip("?")
            [at] = [k for k, row in enumerate(rows) if row[2] == thing]
            return rows[at + step][2]
    raise AssertionError(text)


def test_answers_are_those_of_the_events_and_every_option_is_right_once() -> None:
    templates = Counter[str]()
    for number in range(40):
        group = join_films(STORIES, SEED, number, 7)
        questions = group_questions(group, SEED, number)
        for film, own in zip(group, questions, strict=True):
            for question in own:
                assert question.answer == right_answer(film, question.text)
                assert all(any(row[2] == option for row in watched(film)) for option in question.options)
        for trio in zip(*questions, strict=True):
            templates[trio[0].template] += 1
            assert len({each.text for each in trio}) == 1
            assert {each.answer for each in trio} == set(trio[0].options) == set(trio[1].options) == set(trio[2].options)
            assert sorted(each.correct for each in trio) == [0, 1, 2]
    assert set(templates) == {"film-first", "film-second", "film-last", "film-after", "film-before"}
    assert min(templates.values()) > 3


def test_films_of_a_group_show_the_same_shots_with_the_anchor_in_its_place() -> None:
    group = join_films(STORIES, SEED, 3, 10)
    assert group == join_films(STORIES, SEED, 3, 10) != join_films(STORIES, SEED, 4, 10)
    one, two, three = ([(shot.story.name, shot.start_s, shot.stop_s) for shot in film.shots] for film in group)
    assert sorted(one) == sorted(two) == sorted(three)
    assert [k for k in range(10) if one[k] == two[k] == three[k]] == [group[0].anchor]
    assert all(len({one[k], two[k], three[k]}) == 3 for k in range(10) if k != group[0].anchor)


def test_no_cut_goes_through_an_event() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        for each in STORIES:
            shot = draw_shot(each, rng)
            assert 0 <= shot.start_s < shot.stop_s <= 8
            assert shot.stop_s - shot.start_s >= 4
            assert all(shot.start_s <= e.start_s and e.stop_s <= shot.stop_s for e in each.events)


def test_numbers_that_make_no_group_are_refused() -> None:
    with pytest.raises(BadInput, match="films of 8 shots: a group wants 4, 7, 10"):
        join_films(STORIES, 0, 0, 8)
    with pytest.raises(BadInput, match="want as many stories, and there are 5"):
        join_films(STORIES[:5], 0, 0, 7)
