"""Labels in words: class vectors as open_clip makes them, shares and probabilities, and when none fits."""

import numpy as np
import pytest
import torch

from support.colour_words import ColourWords
from tapetum.core.errors import BadInput
from tapetum.transfer import zero_shot
from tapetum.transfer.zero_shot import (
    ALLOWED,
    GENERIC,
    LabelClassifier,
    check_labels,
    check_templates,
    fill_template,
    other_names,
    published_templates,
    reads_words,
)


@pytest.mark.parametrize("name", ["simple", "imagenet"])
def test_class_vectors_are_those_of_open_clip(name: str) -> None:
    open_clip = pytest.importorskip("open_clip")
    theirs = {"simple": "SIMPLE_IMAGENET_TEMPLATES", "imagenet": "OPENAI_IMAGENET_TEMPLATES"}[name]
    theirs = getattr(open_clip.zero_shot_metadata, theirs)
    labels, model = ["tench", "tabby cat", "snow plough"], ColourWords()
    assert published_templates()[name] == tuple(template("{}") for template in theirs)

    class Texts:
        def encode_text(self, texts: list[str], normalize: bool = False) -> torch.Tensor:
            return torch.from_numpy(model.embed_texts(texts))

    class Given(list):
        def to(self, device: str) -> "Given":
            return self

    wanted = open_clip.build_zero_shot_classifier(Texts(), Given, labels, theirs, num_classes_per_batch=2, device="cpu")
    made = LabelClassifier(model).class_vectors(labels, published_templates()[name])
    np.testing.assert_allclose(made, wanted.T.numpy(), atol=1e-6)


def test_an_ensemble_is_the_mean_of_unit_vectors_in_any_number_of_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    class Long(ColourWords):
        def embed_texts(self, texts):
            return super().embed_texts(texts) * np.array([[len(text)] for text in texts], np.float32)  # not of length 1

    model, templates, labels = Long(), ("a {}.", "many {}s in a row"), ["tench", "goldfish", "hen"]
    made = LabelClassifier(model).class_vectors(labels, templates)
    monkeypatch.setattr(zero_shot, "_TOGETHER", 2)
    np.testing.assert_array_equal(LabelClassifier(model).class_vectors(labels, templates), made)
    parts = [ColourWords().embed_texts([template.replace("{}", label) for template in templates]).mean(0) for label in labels]
    np.testing.assert_allclose(made, [part / np.linalg.norm(part) for part in parts], atol=1e-6)


@pytest.mark.parametrize("bias", [None, -2.0])
def test_shares_and_probabilities_are_those_of_the_logits(bias: float | None) -> None:
    model = ColourWords(bias)
    vectors = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = LabelClassifier(model).score(vectors, ["red", "blue", "tench"], (), none=False)
    logits = (
        torch.from_numpy(vectors @ model.embed_texts(["red", "blue", "tench"]).T).double() * model.logit_scale.exp().double()
    )
    np.testing.assert_allclose(scores.shares, logits.softmax(1).detach(), atol=1e-6)
    if bias is None:
        assert scores.probabilities is None
    else:
        np.testing.assert_allclose(scores.probabilities, (logits + bias).sigmoid().detach(), atol=1e-6)
    assert scores.others is None


def test_none_fits_where_other_names_fit_as_well() -> None:
    model = ColourWords()
    images = model.embed_images(
        [np.full((8, 8, 3), colour, np.uint8) for colour in ((250, 0, 0), (0, 240, 10), (200, 200, 200))]
    )
    scores = LabelClassifier(model).score(images, ["red", "blue"], ())
    assert scores.others is not None
    generic = images @ model.embed_texts(other_names(["red", "blue"])).T
    best = images @ model.embed_texts(["red", "blue"]).T
    np.testing.assert_allclose(scores.others, (generic >= best.max(1, keepdims=True)).mean(1), atol=1e-6)
    assert scores.others[0] <= ALLOWED < min(scores.others[1:])
    assert LabelClassifier(model).score(images, ["red", "green", "white"], ()).others.max() <= ALLOWED  # pyright: ignore


def test_texts_are_embedded_once_for_labels_and_templates() -> None:
    model = ColourWords()
    classifier, image = LabelClassifier(model), np.eye(8, dtype=np.float32)[:1]
    for _ in range(3):
        classifier.score(image, ["red", "blue"], ("a {}.", "the {}."))
    assert model.texts == 2 * (2 + GENERIC)
    classifier.score(image, ["red", "blue"], ("a {}.",))
    assert model.texts == 3 * (2 + GENERIC)


def test_labels_with_articles_or_of_another_script_go_bare_into_a_plain_photo() -> None:
    plain = "a photo of a {}."
    assert [fill_template(plain, label) for label in ("ein Hund", "a cat", "猫", "The Alps", "another dog")] == [
        "a photo of a ein Hund.",
        "a cat",
        "猫",
        "The Alps",
        "a photo of a another dog.",
    ]
    assert fill_template("itap of a {}.", "the cat") == "itap of a cat."
    assert fill_template("a {} in a video game.", "an owl") == "a owl in a video game."
    assert fill_template("art: {}", "an owl") == "art: an owl"


def test_other_names_share_no_word_with_the_labels() -> None:
    names = other_names(["Tiger", "a sports car"])
    assert len(set(names)) == GENERIC
    assert not {"tiger", "tiger cat", "tiger shark", "sports car", "freight car"} & set(names)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "there are no labels"),
        (["cat", " "], "a label is empty"),
        (["x" * 1001], "the label x{20}... has 1,001 characters; give 1,000 or fewer"),
        ([str(k) for k in range(12)], "there are 12 labels; give 10 or fewer"),
    ],
)
def test_labels_that_cannot_be_are_refused(labels: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        check_labels(labels, 10)
    assert check_labels(["a", "b ", "a", "b"], 10) == ("a", "b")


@pytest.mark.parametrize("template", ["no place", "two {} {}", "x" * 2000 + "{}"])
def test_templates_that_cannot_be_are_refused(template: str) -> None:
    with pytest.raises(BadInput, match="the template"):
        check_templates([template])


def test_what_has_no_tokenizer_reads_no_words() -> None:
    assert reads_words(ColourWords())
    assert not reads_words(torch.nn.Linear(1, 1))
    without = ColourWords()
    without.tokenizer = None  # pyright: ignore
    assert not reads_words(without)
