"""Every verb about photographs takes an encoder of images and words by name: one of random weights, and one that knows red."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support import encoder_folders
from tests.support.class_evidence import evidence

import tapetum
from tapetum.app.see import settings
from tapetum.app.see.answer import ChosenAnswer
from tapetum.app.see.photo_answers import PhotoAnswerer, WordsAnswerer
from tapetum.app.see.settings import CANNOT_SAY, names_photographs
from tapetum.core.errors import BadInput
from tapetum.encoders.imagenet import class_names, prompt_names
from tapetum.encoders.naming import ClassEvidence

NAME = "siglip2-base-32"
FETCH = "tapetum weights fetch siglip2-base-32"
BEAGLE = class_names().index("beagle")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_verb_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path / "weights"))
    encoder_folders.siglip2(tmp_path / "weights" / "google--siglip2-base-patch32-256")
    film = np.random.default_rng(0).integers(0, 256, (3, 60, 80, 3), np.uint8)
    for question in ("what is this?", "is there a dog?", "what colour is the dog?", "is there a flurb?"):
        asked = tapetum.ask(film[0], question, model=NAME)
        assert (asked.text, asked.model) == (CANNOT_SAY, NAME)  # of random weights no class is likely
    assert tapetum.caption(film[0], model=NAME).text == CANNOT_SAY
    assert not len(tapetum.detect(film[0], "dog", model=NAME).images[0].boxes)
    assert not len(tapetum.segment(film[0], "dog", model=NAME).images[0].masks)
    made = tapetum.answer(film, "What is it?", options=("a dog", "a bear"), model=NAME)
    assert isinstance(made, ChosenAnswer)
    assert (made.answer, made.by, made.model) == (CANNOT_SAY, "nouns", NAME)
    assert tapetum.classify(film[0], labels=("dog", "flurb"), model=NAME).images[0].cosines
    (tmp_path / "photos").mkdir()
    Image.fromarray(film[0]).save(tmp_path / "photos" / "a.png")
    tapetum.index(tmp_path / "photos", model=NAME, out=tmp_path / "an.index")
    assert len(tapetum.search(tmp_path / "an.index", "a flurb").moments) == 1


def test_what_is_not_fetched_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path))
    settings._answerer.cache_clear()
    image = np.zeros((1, 8, 8, 3), np.uint8)
    for call in (
        lambda: tapetum.ask(image[0], "what is this?", model=NAME),
        lambda: tapetum.detect(image[0], "dog", model=NAME),
        lambda: tapetum.answer(image, "", options=("a dog", "a bear"), model=NAME),
    ):
        with pytest.raises(BadInput, match=FETCH):
            call()
    assert all(map(names_photographs, (NAME, "google/siglip2-base-patch32-256", "efficientnet-lite2")))
    assert not any(map(names_photographs, ("paligemma-nano-2", "dinov2-small", "a.png", None)))


class Red:
    """An encoder of images and words for which red images are beagles."""

    logit_scale, logit_bias = torch.nn.Parameter(torch.tensor(4.6)), None

    def embed_images(self, images: list[np.ndarray]) -> np.ndarray:
        red = np.array([image[..., 0].mean() / 255 for image in images])
        return np.stack([red, np.sqrt(1 - red**2)], 1).astype(np.float32)

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        beagle = prompt_names()[BEAGLE]
        return np.array([[1.0, 0.0] if beagle in text else [0.0, 1.0] for text in texts], np.float32)


def test_its_places_are_those_of_windows() -> None:
    answerer = WordsAnswerer(Red())  # type: ignore[arg-type]
    image = np.zeros((120, 160, 3), np.uint8)
    image[:60, 80:] = 255, 0, 0
    shown = answerer.evidence(np.stack([image, np.full_like(image, (255, 0, 0))]))
    assert shown.whole[:, BEAGLE].round(2).tolist() == [0, 1]
    assert shown.regions[0, :, BEAGLE].reshape(3, 3).round(2).tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
    values = answerer.dense(image).of([BEAGLE]).values
    assert np.unravel_index(values.argmax(), values.shape) == (0, values.shape[1] - 1)
    assert answerer.dense(image[:1, :1]).of([BEAGLE]).size == (1, 1)


class Beagle(PhotoAnswerer):
    """Sees beagles everywhere."""

    def __init__(self) -> None:
        pass

    def evidence(self, frames: np.ndarray) -> ClassEvidence:
        return evidence(beagle=0.95)


def test_one_line_says_what_was_used_and_what_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_answerer", lambda *_: Beagle())
    image, model = np.zeros((8, 8, 3), np.uint8), "efficientnet-lite2"
    for question, text in (("is it happy?", CANNOT_SAY), ("is there a dog?", "yes")):
        with pytest.warns(UserWarning, match=model) as said:
            assert tapetum.ask(image, question, model=model).text == text
        assert [str(each.message).partition("; any ")[2] for each in said] == [
            "question is answered by smolvlm-500m: tapetum weights fetch smolvlm-500m (1.0 GB, Apache-2.0)"
        ]

    unsure = ChosenAnswer(answer=CANNOT_SAY, options=("a", "b"), by="nouns", probabilities=(0.5, 0.5), model=model)
    assert "for more give --model with weights of tapetum train longvideo" in unsure.as_text()
