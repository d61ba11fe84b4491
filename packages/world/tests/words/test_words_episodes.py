"""Questions about episodes: happenings of episodes put together by hand, answers of simulated ones looked at afresh."""

from dataclasses import replace

import numpy as np
import pytest

from support.scripts import script
from tapetum_world.bodies.episode import Action, Body, Contacts
from tapetum_world.bodies.shapes import Bowl, Capsule, Cylinder, Ground, Sphere
from tapetum_world.words import EpisodeEvents, balance, episode_candidates, episode_caption

still_life = script("packages/world/tests/world_support/still_life.py")
FRAMES, PER_FRAME = 25, 10
STEP = 1 / 240
FLOOR = Body(name="floor", noun="floor", shape=Ground(), material="stone", fixed=True)


def body(name, shape, colour="", **more):
    return Body(name=name, noun=name.split("-")[0], shape=shape, material="wood", colour_name=colour, **more)


def table(rows):
    """Contacts of rows (moment, (a, b), approach)."""
    rows = sorted(rows)
    n = len(rows)
    return Contacts(
        moment=np.array([r[0] for r in rows], np.int64),
        bodies=np.array([r[1] for r in rows], np.int64).reshape(-1, 2),
        place=np.zeros((n, 3)),
        normal=np.tile([1.0, 0.0, 0.0], (n, 1)),
        impulse=np.full(n, 0.01),
        approach=np.array([r[2] for r in rows], float),
        sliding=np.zeros(n),
        rolling=np.zeros(n),
    )


@pytest.fixture(scope="module")
def skittles():
    """A red ball rolls from the start and knocks a green can over at 0.5 s; a hand carries a blue marble into a bowl.

    A yellow candle stands by.
    """
    parts = (
        FLOOR,
        body("ball-1", Sphere(radius=0.03), "red"),
        body("can-1", Cylinder(radius=0.025, height=0.1), "green"),
        body("marble-1", Sphere(radius=0.02), "blue"),
        body("bowl-1", Bowl(radius=0.08, wall=0.005), "white"),
        body("candle-1", Cylinder(radius=0.015, height=0.08), "yellow"),
        body("hand-palm", Capsule(radius=0.01, length=0.05), group="hand"),
    )
    rest = np.array([1.0, 0, 0, 0])

    def pose(i, s):
        after = np.clip((s - 0.5) / 0.3, 0, 1)
        share = np.clip((s - 0.3) / 0.5, 0, 1)
        carried = np.array([-0.1 + 0.25 * share, -0.12, 0.02 + 0.15 * np.sin(np.pi * share)])
        places = {
            0: np.zeros(3),
            1: np.array([-0.2 + 0.34 * min(s, 0.5), 0.05, 0.03]),
            2: np.array([0.02 + 0.03 * after, 0.05, 0.05 - 0.025 * after]),
            3: carried,
            4: np.array([0.15, -0.12, 0.08]),
            5: np.array([0.2, 0.1, 0.04]),
            6: carried + np.array([0, 0, 0.06]),
        }
        return places[i], still_life.turned((0, 1, 0), after * np.pi / 2) if i == 2 else rest

    made = still_life.episode(parts, pose, frames=FRAMES, per_frame=PER_FRAME)
    inside = np.full(made.poses.shape[:2], -1)
    inside[190:, 3] = 4
    rows = [(120, (1, 2), 0.3), (72, (3, 6), 0.1), (100, (3, 6), 0.0)]
    lift = Action(verb="pick", body=3, start_s=0.2, end_s=0.4)
    put = Action(verb="put-into", body=3, target=4, start_s=0.4, end_s=0.85)
    return replace(made, contacts=table(rows), actions=(lift, put), inside=inside)


def test_what_happened(skittles):
    seen = EpisodeEvents(skittles)
    assert [(d.verb, d.body, d.target, d.picked_s) for d in seen.manipulations] == [("put-into", 3, 4, 0.4)]
    assert [(round(h.time_s, 3), h.bodies) for h in seen.hits] == [(0.5, (1, 2))]
    assert [(c.body, c.before, c.after) for c in seen.changes] == [(3, -1, 4)]
    assert [seen.outcome(j) for j in (1, 2, 3, 5)] == ["moves", "falls over", "moves", "stays"]
    assert [seen.motion_cause(j) for j in (1, 2, 3, 5)] == ["start", "hit", "hand", "never"]
    assert seen.contents(-1) == {4: [3]}
    assert episode_caption(seen) == (
        "The hand puts the marble into the bowl. The ball and the can meet. The can has fallen over in the end."
    )


def test_answers_to_what_happened(skittles):
    found = {(c.template, c.text): c.answer for c in episode_candidates(skittles, 1, counterfactual=False)}
    texts = {text: answer for (_, text), answer in found.items()}

    def said(start, *things):
        """The one answer to a question that starts so and speaks of one of the things by any name."""
        answers = {a for t, a in texts.items() if t.startswith(start) and any(x in t for x in things)}
        assert len(answers) == 1, (start, things, texts)
        return answers.pop()

    assert said("What first sets", "the can in", "green thing") == "Another thing hits it."
    assert said("What first sets", "the ball", "red thing") == "It moves from the very start."
    assert said("What is the first thing that the hand", "takes") == "a marble"
    assert said("How many times does the hand pick", "up") == "one"
    assert said("What changes the number", "the bowl") == "The hand puts something in."
    assert said("If the hand puts one more", "the bowl") == "two"
    assert said("What will the hand do next", "holds") == "It will put it into something."
    assert {c.kind for c in episode_candidates(skittles, 1, counterfactual=False)} == {
        "descriptive",
        "explanatory",
        "predictive",
    }


def test_a_question_about_the_future_shows_only_the_past(skittles):
    for c in episode_candidates(skittles, 1, counterfactual=False):
        assert c.span is not None
        if c.template in ("become", "what-next"):
            assert c.span[1] < skittles.seconds
        else:
            assert c.span == (0.0, skittles.seconds)


@pytest.fixture(scope="module")
def simulated():
    """Three short simulated episodes with their candidates."""
    pytest.importorskip("mujoco")
    from tapetum_world.physics import make_episode

    episodes = [
        make_episode(s, story, seconds=3.0, frame_rate=8.0, size=(64, 64))
        for s, story in ((3, "pour"), (5, "topple"), (2, "roll"))
    ]
    return [(e, episode_candidates(e, i)) for i, e in enumerate(episodes)]


def known(thing):
    """Words by which a body may be called."""
    return {thing.noun, "thing", thing.colour_name, thing.material, "wooden" if thing.material == "wood" else ""}


@pytest.mark.slow
def test_counterfactual_answers_are_what_the_simulator_says(simulated):
    from tapetum_world.physics import resimulate

    checked = 0
    for episode, candidates in simulated:
        hand = next(b.name for b in episode.bodies if b.group == "hand")
        again = resimulate(episode, without=hand)
        for c in candidates:
            if c.template == "place-without-hand":
                words = c.text.split("where would ")[1].split(" be at the end")[0].split()[1:]
                fits = [b for b in again.bodies if not b.fixed and set(words) <= known(b)]
                assert len(fits) == 1, c.text
                path = again.poses[:, again.bodies.index(fits[0]), :3]
                far = np.linalg.norm(path[-1] - path[0])
                assert (c.answer == "where it was at the start") == (far < 0.01)
                checked += 1
    assert checked > 3


@pytest.mark.slow
def test_options_are_three_and_one_is_right(simulated):
    # Each scene stands for many here, so that something can be balanced.
    questions = [q for part in balance([c for _, c in simulated] * 8, 0, options=3, most=9) for q in part]
    assert len(questions) > 10
    assert all(len(q.options) == 3 and q.options.count(q.answer) == 1 for q in questions)
    assert {q.area for q in questions} <= {"memory", "abstraction", "physics", "semantics"}
    for _, candidates in simulated:
        for c in candidates:
            assert c.answer not in c.others
            assert c.text[0].isupper()
            assert c.text.endswith("?")
            assert "  " not in c.text
