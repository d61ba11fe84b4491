"""Balance: however skewed the world, words alone are right once in as many as there are options."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from support.scripts import script
from tapetum.core.errors import BadInput
from tapetum_world.words import BLOCK, Candidate, SceneQuestion, balance

COLOURS = ("red", "green", "blue", "white", "black")
SHARES = (0.6, 0.2, 0.1, 0.06, 0.04)
NOUNS = {"ball": SHARES, "cup": SHARES[::-1], "egg": (0.0, 0.0, 0.0, 0.5, 0.5)}


def skewed(count, seed=0):
    """Scenes whose balls are mostly red, whose cups are mostly black, and whose eggs are white or black."""
    rng = np.random.default_rng(seed)
    scenes = []
    for _ in range(count):
        made = []
        for noun, shares in NOUNS.items():
            colour = str(rng.choice(COLOURS, p=shares))
            others = tuple(c for c in COLOURS if c != colour)
            text = f"What colour is the {noun}?"
            made.append(
                Candidate(template="colour", text=text, answer=colour, key=noun, others=others, kind="image", area="colour")
            )
        scenes.append(made)
    return scenes


def flat(scenes):
    return [q for questions in scenes for q in questions]


def test_every_option_is_right_equally_often():
    questions = flat(balance(skewed(300), 5))
    assert len(questions) > 100
    groups = Counter((q.text, tuple(sorted(q.options)), q.answer) for q in questions)
    for text, options, _ in list(groups):
        assert len({groups[text, options, o] for o in options}) == 1
        assert 3 <= len(options) <= 4
    assert {q.text for q in questions} == {"What colour is the ball?", "What colour is the cup?"}  # eggs come in two colours


@pytest.mark.slow
def test_a_guesser_that_wins_in_the_raw_world_is_at_chance_in_the_balanced_one():
    blind = script("evidence/scenes-blind/claims.py")
    scenes = skewed(6 * BLOCK)
    train, test = blind.split(balance(scenes, 0))
    right = blind.by_frequency(train, test) == [q.correct for q in test]
    chance = np.mean([1 / len(q.options) for q in test])
    assert abs(right.mean() - chance) < 2 * np.sqrt(chance * (1 - chance) / len(test))
    # The same guesser on the same scenes, with distractors drawn as one would without balance.
    rng = np.random.default_rng(1)

    def naive(candidate):
        drawn = rng.permutation([candidate.answer, *rng.choice(candidate.others, 3, replace=False)])
        same = {"template": "colour", "text": candidate.text, "answer": candidate.answer, "kind": "image", "area": "colour"}
        return SceneQuestion(**same, options=tuple(map(str, drawn)))

    train, test = blind.split([[naive(c) for c in scene] for scene in scenes])
    for guess in (blind.by_frequency(train, test), blind.by_words(train, test, blind.MultinomialNB())):
        assert (guess == [q.correct for q in test]).mean() > 0.5
    found = blind.measure((train, test))
    assert not blind.show(found)
    assert found["logistic"]["colour"]["z"] > 5


def test_places_in_the_text_are_balanced_where_options_are_the_questions_own():
    rng = np.random.default_rng(3)
    scenes = []
    for i in range(200):
        names = (f"the ball {i}", f"the cup {i}", "about the same")
        place = int(rng.choice(3, p=(0.7, 0.2, 0.1)))
        others = tuple(n for n in names if n != names[place])
        made = {
            "template": "larger",
            "text": f"Which is larger, {names[0]} or {names[1]}?",
            "answer": names[place],
            "others": others,
        }
        scenes.append([Candidate(**made, fixed=True, place=place, kind="image", area="comparison")])
    questions = flat(balance(scenes, 0))
    places = Counter((("ball" in q.answer) and 0) or (("cup" in q.answer) and 1) or 2 for q in questions)
    assert len(questions) > 30
    assert Counter("ball" in q.answer for q in questions)[True] * 3 == len(questions)
    assert places[1] * 3 == len(questions)


def test_it_is_a_function_of_the_block_alone():
    scenes = skewed(2 * BLOCK + 7)
    whole = balance(scenes, 9)
    assert balance(scenes, 9) == whole
    assert balance(scenes[:BLOCK], 9) == whole[:BLOCK]
    assert balance(scenes, 10) != whole


def test_an_option_that_would_be_right_too_is_never_offered():
    def scene(answer, others):
        return [Candidate(template="t", text="Which?", answer=answer, others=others, kind="image", area="relation")]

    # Where x is right, y may be right as well: they never share a group.
    scenes = [scene("x", ("z", "w")), scene("y", ("z", "w")), scene("z", ("x", "y", "w")), scene("w", ("x", "y", "z"))] * 3
    questions = flat(balance(scenes, 0))
    assert questions
    assert not any({"x", "y"} <= set(q.options) for q in questions)


def test_bad_questions():
    given: Any = {"template": "t", "text": "?", "kind": "image", "area": "colour"}
    with pytest.raises(BadInput, match="3 or more"):
        SceneQuestion(**given, answer="a", options=("a", "b"))
    with pytest.raises(BadInput, match="one of them right"):
        SceneQuestion(**given, answer="d", options=("a", "b", "c"))
