"""Questions about motion: read as claims, and held against what is measured."""

from pathlib import Path

import numpy as np
import pytest

import tapetum
from tapetum.app.see import answer as answer_module
from tapetum.app.see import answer_model
from tapetum.app.see.film_motion import (
    ThingMotion,
    compare_motion,
    holds,
    measure_motions,
    own_options,
    read_motion,
)
from tapetum.app.see.photo_questions import CANNOT_SAY
from tapetum.bench.baselines import Static, load_tracker
from tapetum.core.errors import BadInput
from tapetum.tracks import frame_motion
from tapetum.tracks.frame_motion import CAMERA, MOVING, count_passes
from tapetum.video import open_video, write_video

STILL = ThingMotion()
LEFT = ThingMotion(shift=-0.3, reach=0.3, speed=0.15)
UP = ThingMotion(shift=-0.2j, reach=0.2, speed=0.5)
IN = ThingMotion(growth=0.3)
TURNED = ThingMotion(turn=0.5)
FRO = ThingMotion(shift=-0.05, reach=0.3, one_way=False)
"""To and fro."""
UNCLEAR = ThingMotion(shift=-0.025, reach=0.025)


def chosen(
    question: str, *options: str, camera: ThingMotion = STILL, thing: ThingMotion = STILL, moving: ThingMotion = STILL
) -> str:
    claims = read_motion(question, options)
    assert claims is not None
    subjects = {subject for claim in claims for subject in claim.subjects}
    motions = dict.fromkeys(subjects, thing) | {CAMERA: camera, MOVING: moving}
    return compare_motion(claims, options, motions).answer


@pytest.mark.parametrize(
    ("question", "options", "camera", "answer"),
    [
        ("Does the camera move?", ("yes", "no"), LEFT, "yes"),
        ("Does the camera move?", ("yes", "no"), STILL, "no"),
        ("Does the camera move?", ("yes", "no"), IN, "yes"),
        ("Does the camera move?", ("yes", "no"), UNCLEAR, CANNOT_SAY),
        ("Doesn't the camera move?", ("it does", "it does not"), STILL, "it does not"),
        ("Is the camera still?", ("yes", "no"), LEFT, "no"),
        ("Is the camera not still?", ("yes", "no"), LEFT, "yes"),
        ("Which way does the camera pan?", ("left", "right", "up"), LEFT, "left"),
        ("Which way does the camera pan?", ("from left to right", "from right to left"), LEFT, "from right to left"),
        ("Which way does the camera pan?", ("left to right", "not at all"), STILL, "not at all"),
        ("Where does the camera go?", ("up", "down"), UP, "up"),
        ("Where does the camera go?", ("left", "right"), FRO, CANNOT_SAY),
        ("Does the camera zoom in or out?", ("in", "out", "neither"), IN, "in"),
        ("Does the camera zoom in or out?", ("in", "out", "no"), STILL, "no"),
        ("What does the camera do?", ("it turns to the left", "it turns", "nothing"), LEFT, "it turns to the left"),
    ],
)
def test_the_camera(question: str, options: tuple[str, ...], camera: ThingMotion, answer: str) -> None:
    assert chosen(question, *options, camera=camera) == answer


@pytest.mark.parametrize(
    ("question", "options", "thing", "answer"),
    [
        ("Which way does the bear walk?", ("left to right", "right to left", "towards the camera"), LEFT, "right to left"),
        ("Where does the bear come from?", ("from the left", "from the right"), LEFT, "from the right"),
        ("Does the bear come towards us?", ("yes", "no"), IN, "yes"),
        ("Does the bear come towards us?", ("yes", "no"), LEFT, "no"),
        ("Is the bear walking away from the camera?", ("yes", "no"), IN, "no"),
        ("What does the bear do?", ("it walks", "it sits"), LEFT, "it walks"),
        ("What does the bear do?", ("it walks", "it runs"), LEFT, CANNOT_SAY),
        ("Does the bear sleep?", ("yes", "no"), STILL, CANNOT_SAY),
        ("Does the bear sleep?", ("yes", "no"), LEFT, "no"),
        ("Is the bear fast or still?", ("fast", "still"), UP, "fast"),
        ("Is the bear fast or still?", ("fast", "still"), STILL, "still"),
        ("Is it a fast bear?", ("fast", "slow"), LEFT, CANNOT_SAY),  # between both
        ("Does the bear turn?", ("yes", "no"), TURNED, "yes"),
        ("Does the bear turn?", ("yes", "no"), LEFT, CANNOT_SAY),  # perhaps out of the image's plane
    ],
)
def test_a_thing(question: str, options: tuple[str, ...], thing: ThingMotion, answer: str) -> None:
    assert chosen(question, *options, thing=thing) == answer


def test_people_and_what_is_no_class_are_whatever_moves() -> None:
    for noun in ("man", "paraglider", "it"):
        assert chosen(f"Which way does the {noun} go?", "left", "right", moving=LEFT) == "left"


def test_what_moves() -> None:
    options = "the apple", "the camera", "nothing"
    assert chosen("What moves?", *options, camera=LEFT) == "the camera"
    assert chosen("What moves?", *options, thing=UP, moving=UP) == "the apple"
    assert chosen("What moves?", *options) == "nothing"
    assert chosen("What moves?", *options, camera=LEFT, thing=UP, moving=UP) == CANNOT_SAY
    assert chosen("Does the camera follow the bear?", "yes", "no", camera=LEFT, thing=LEFT) == "yes"
    assert chosen("Does the camera follow the bear?", "yes", "no", camera=LEFT, thing=UP) == "no"


def test_other_questions_are_not_about_motion() -> None:
    for question, options in (
        ("Where is the cat?", ("left", "right")),
        ("Where is the camera?", ("on the left", "on the right")),
        ("Which animal is it?", ("a bear", "a dog")),
        ("What flies there?", ("a bird", "a balloon")),
        ("Which way does it go?", ("to the river", "left")),
        ("What lies on the table?", ("an apple", "a ball")),
        ("Is there a bear?", ("yes", "no")),
        ("", ("one", "two")),
    ):
        assert read_motion(question, options) is None, question


def test_how_often_it_passes() -> None:
    thrice, unclear = ThingMotion(passes=3), ThingMotion(passes=None)
    for option in ("3", "three times", "it passes 3 times", "thrice"):
        assert chosen("How often does it pass?", "never", "once", option, moving=thrice) == option
    assert chosen("How many times does the bear cross the street?", "never", "twice", thing=ThingMotion(passes=0)) == "never"
    assert chosen("How often does it pass?", "once", "twice", moving=thrice) == CANNOT_SAY
    assert chosen("How often does it pass?", "3", "2", moving=unclear) == CANNOT_SAY
    assert read_motion("How often does it pass?", ("seldom", "once")) is None
    assert read_motion("How often does the camera pass?", ("once", "twice")) is None


@pytest.mark.parametrize(
    ("question", "answer", "motion"),
    [
        ("Does the bear move to the left?", "yes", LEFT),
        ("Does the bear move to the right?", "no", LEFT),
        ("Which way does the bear go?", "to the left", LEFT),
        ("In which direction does the bear walk?", "to the left and up", ThingMotion(shift=-0.3 - 0.3j, reach=0.4)),
        ("Where does the bear come from?", "from the right", LEFT),
        ("Does the bear go up or down?", "up", UP),
        ("Does the bear move or stay still?", "stay still", STILL),
        ("How does the bear move?", "it stays still", STILL),
        ("How fast is the bear?", "fast", UP),
        ("How often does the bear pass?", "12", ThingMotion(passes=12)),
        ("Does the bear move?", CANNOT_SAY, UNCLEAR),
    ],
)
def test_a_question_without_options(question: str, answer: str, motion: ThingMotion) -> None:
    assert chosen(question, *own_options(question), thing=motion) == answer


def test_other_questions_have_no_options_of_their_own() -> None:
    for question in ("what is this?", "is there a bear?", "where is the bear?", "how many bears are there?", "", "?", "猫",
                     "what is the bear doing?", "is it a bear or a dog?", "how often does it rain?", "is " * 3000):  # fmt: skip
        assert own_options(question) == (), question


def test_passes_are_counted_where_they_are_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """A square crosses the middle of a still film three times; what the tracker does not see is not counted."""
    said: list[bool | None] = []
    monkeypatch.setattr(frame_motion, "passes_by", lambda frames, tracker, number, changed: said[len(asked_of)])
    asked_of: list[np.ndarray] = []
    film = passing([*range(-40, 140, 12), *[200] * 20] * 3)

    def find(frame: np.ndarray) -> np.ndarray | None:
        asked_of.append(frame)
        return np.ones((4, 4), bool)

    def counted(find: object = find, frames: np.ndarray = film) -> int | None:
        asked_of.clear()
        with open_video(frames, frame_rate=10.0) as video:
            return count_passes(video, range(len(frames)), Static(), find)  # type: ignore[arg-type]

    said = [None, True, False, True]
    assert counted() == 2
    assert len(asked_of) == 3
    assert counted(lambda frame: None) is None
    said = [None, True, None, True]
    assert counted() is None
    assert counted(frames=film[:1]) is None
    assert counted(frames=passing([44] * 9)) == 0
    assert counted(frames=passing([*[44, 200] * 9])) is None  # there half of the time


def passing(places: list[int]) -> np.ndarray:
    """A textured square of 40 pixels at these columns, over a still ground."""
    frames = pan()[[0] * len(places)]
    for frame, x in zip(frames, places, strict=True):
        left, right = max(x, 0), min(x + 40, 128)
        if left < right:
            frame[30:70, left:right] = textured(1)[:40, left - x : right - x]
    return frames


def test_a_claim_needs_all_of_what_it_says() -> None:
    claims = read_motion("What does the bear do?", ("it rises fast", "it rises slowly"))
    assert claims is not None
    bear = claims[0].subjects[0]
    assert [holds(claim, {bear: UP}) for claim in claims] == [True, False]
    assert [holds(claim, {}) for claim in claims] == [None, None]


def test_what_goes_to_and_fro_goes_no_way() -> None:
    assert [FRO.truth(way) for way in ("left", "right", "move")] == [None, None, True]
    assert [LEFT.truth(way) for way in ("left", "right", "up")] == [True, False, False]


def test_a_thing_that_is_not_seen_goes_where_all_goes_that_moves() -> None:
    def unseen(question: str, option: str, moving: ThingMotion) -> bool | None:
        claims = read_motion(question, (option, "up"))
        assert claims is not None
        return holds(claims[0], {CAMERA: STILL, MOVING: moving})

    assert unseen("Which way does the bear go?", "left", LEFT) is True
    assert unseen("Which way does the bear go?", "it moves", LEFT) is None
    assert unseen("Which way does the bear go?", "it moves", STILL) is False


def test_a_thing_that_is_seldom_seen_is_not_measured() -> None:
    claims = read_motion("Does the bear move?", ("yes", "no"))
    assert claims is not None
    times = 0

    def find(frame: np.ndarray, thing: object) -> np.ndarray | None:
        nonlocal times
        times += 1
        return np.ones((4, 4), bool) if times == 1 or often else None

    for often in (False, True):
        times = 0
        with open_video(pan(20)[list(range(20)) * 3], frame_rate=6.0) as video:  # three passages
            motions = measure_motions(video, claims, Static(), find, lambda done, count: None)
        assert (claims[0].subjects[0] in motions) is often
        assert times == (3 if often else 7)


def textured(seed: int) -> np.ndarray:
    """Blobs of grey, 200x260."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (25, 33), np.uint8)
    return np.kron(coarse, np.ones((8, 8), np.uint8))[..., None].repeat(3, 2)[:200, :260]


def pan(steps: int = 10) -> np.ndarray:
    """A window of 96x128 that goes right by 6 pixels a frame."""
    return np.stack([textured(0)[40:136, 6 * k : 6 * k + 128] for k in range(steps)])


def asked(frames: np.ndarray, question: str, *options: str) -> str:
    claims = read_motion(question, options)
    assert claims is not None
    with open_video(frames, frame_rate=10.0) as video:
        motions = measure_motions(
            video, claims, load_tracker("tapir-nano", "cpu"), lambda frame, thing: None, lambda done, count: None
        )
    return compare_motion(claims, options, motions).answer


@pytest.mark.slow
def test_clips_made_by_hand() -> None:
    way = "Which way does the camera move?", "to the left", "to the right", "it stays still"
    assert asked(pan(), *way) == "to the right"
    assert asked(pan()[::-1].copy(), *way) == "to the left"
    assert asked(pan()[[0] * 10], *way) == "it stays still"
    assert asked(pan()[:1], *way) == CANNOT_SAY
    noise = np.random.default_rng(0).integers(0, 255, (10, 96, 128, 3), np.uint8)
    assert asked(noise, *way) == CANNOT_SAY
    square = pan()[[0] * 10]
    for k, frame in enumerate(square):
        frame[30:70, 10 + 7 * k : 50 + 7 * k] = textured(1)[:40, :40]
    assert asked(square, *way) == "it stays still"
    assert asked(square, "Which way does it go?", "left", "right", "up") == "right"
    twice = passing([*range(-40, 140, 12), *[200] * 10, *range(128, -52, -12)])
    assert asked(twice, "How often does it pass?", "never", "once", "twice") == "twice"
    back = passing([*range(-40, 36, 8), *range(36, -52, -8), *[200] * 10])
    assert asked(back, "How often does it pass?", "never", "once", "twice") == "never"
    assert asked(pan(), "How often does it pass?", "never", "once", "twice") == CANNOT_SAY


def test_motion_is_asked_of_tracks_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(answer_module, "is_world", lambda video, frames: False)
    monkeypatch.setattr(answer_module, "can_answer_photos", lambda: False)
    monkeypatch.setattr(answer_model, "can_answer_photos", lambda: False)
    monkeypatch.setattr("tapetum.bench.baselines.load_tracker", lambda name, device: Static())
    write_video(tmp_path / "clip.mp4", pan()[[0] * 10], 10)
    said = tapetum.ask(tmp_path / "clip.mp4", "Does the camera move?")
    assert (said.text, said.model, said.images[0].frames) == ("no", "tapir-nano", 10)
    assert tapetum.ask([pan()[[0] * 10]], "How does the camera move?", frames=2).text == "it stays still"
    with pytest.raises(BadInput, match="leave out --out and --report"):
        tapetum.ask(tmp_path / "clip.mp4", "Does the camera move?", out=tmp_path / "a.png")
    with pytest.raises(BadInput, match="show some of them with --frames"):
        tapetum.ask(tmp_path / "clip.mp4", "Is there a camera?")
    with pytest.raises(BadInput, match="the question"):
        tapetum.ask(tmp_path / "clip.mp4", "move " * 10**5)
    made = tapetum.answer(pan(), "Does the camera move?", options=("yes", "no"))
    assert (made.answer, made.by, made.fits, made.model) == ("no", "motion", (False, True), "tapir-nano")
    assert made.as_json()["fits"] == [False, True]
    assert "camera: 0.00" in made.as_text()
    monkeypatch.setattr(answer_module, "is_world", lambda video, frames: True)
    assert tapetum.answer(pan(), "Does the camera move?", options=("yes", "no")).by == "motion"
    assert tapetum.answer(pan(), "Does the cup move?", options=("yes", "no")).by == "similarity"
    with pytest.raises(BadInput, match="a text"):
        tapetum.answer(pan(), "camera " * 10**5, options=("yes", "no"))
