"""`tapetum classify --labels`: labels in words, files of labels, templates, none of these."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tapetum
from support.colour_words import ColourWords, install
from support.files import make_image
from tapetum.app.see import classify_labels
from tapetum.app.see.classify_labels import LabelsFitted
from tapetum.bench import word_models
from tapetum.core.errors import BadInput
from tapetum.hub import registry
from tapetum.hub.registry import Weights
from tapetum.transfer.zero_shot import LabelClassifier

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ColourWords:
    """An encoder of colours and words, known by the name colours."""
    model = ColourWords()
    install(monkeypatch, colours=model, sigmoid=ColourWords(bias=-15.0))
    return model


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, colour in (("a", (240, 10, 10)), ("b", (10, 10, 240)), ("c", (130, 130, 130))):
        make_image(folder / f"{name}.png", colour)
    return folder


@pytest.mark.usefixtures("model")
def test_the_label_that_fits_is_named_or_none_of_them(photos: Path, run: Run) -> None:
    code, out, err = run("classify", photos, "--labels", "red", "blue", "a green bicycle", "--model", "colours", "--top", 1)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "colours compares images with words"
    assert [lines[1], lines[3], lines[5]] == [str(photos / f"{name}.png") for name in "abc"]
    assert lines[2].split() == ["100.0%", "red"]
    assert lines[4].split() == ["100.0%", "blue"]
    assert lines[6].startswith("  none of these: ")


def test_json_has_shares_margin_and_cosines(model: ColourWords, photos: Path, run: Run) -> None:
    code, out, err = run("classify", photos / "a.png", "--labels", "red", "blue", "white", "--model", "colours", "--json")
    assert code == 0
    assert err == "tapetum: colours compares images with words\n"
    told = json.loads(out)
    [image] = told["images"]
    pixels = np.full((4, 4, 3), (240, 10, 10), np.uint8)
    vector = model.embed_images([pixels])
    scores = LabelClassifier(model).score(vector, ["red", "blue", "white"], ("a photo of a {}.",))
    assert (told["model"], image["label"]) == ("colours", "red")
    assert [row["name"] for row in image["labels"]] == ["red", "white", "blue"]
    np.testing.assert_allclose([row["share"] for row in image["labels"]], scores.shares[0, [0, 2, 1]], atol=1e-5)
    np.testing.assert_allclose(image["margin"], scores.cosines[0, 0] - scores.cosines[0, 2], atol=1e-5)
    assert image["labels"][0]["probability"] is None
    result = tapetum.classify(pixels, labels=("red",), model="sigmoid")
    assert isinstance(result, LabelsFitted)
    assert result.images[0].margin is None
    assert result.images[0].probabilities is not None
    assert result.images[0].probabilities[0] == pytest.approx(1 / (1 + np.exp(15 - np.exp(3) * float(vector[0, 0]))), abs=1e-4)


def test_none_below_a_number_is_of_probability_or_share(model: ColourWords, photos: Path) -> None:
    def fits(name: str, least: float, labels: tuple[str, ...] = ("red", "green")) -> list[bool]:
        result = tapetum.classify(photos, labels=labels, model=name, none_below=least)
        assert isinstance(result, LabelsFitted)
        return [image.fits for image in result.images]

    assert fits("colours", 0.9) == [True, False, False]
    assert fits("colours", 0) == [True, True, True]
    assert fits("sigmoid", 0.9) == [True, False, False]
    assert fits("colours", 0.5, ("red",)) == [True, True, True]  # its share is all there is
    assert fits("sigmoid", 0.5, ("red",)) == [True, False, False]
    texts = model.texts
    fits("colours", 0.5)
    assert model.texts == texts + 2  # other names are not asked for


def test_labels_come_from_a_file_and_templates_in_ensembles(
    model: ColourWords, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[tuple[str, ...]]()
    embed = ColourWords.embed_texts
    monkeypatch.setattr(ColourWords, "embed_texts", lambda self, texts: (seen.append(tuple(texts)), embed(self, texts))[1])
    (tmp_path / "labels.txt").write_text("red\r\n\n a blue  ball \nred\n")

    def texts(**kwargs: object) -> list[tuple[str, ...]]:
        seen.clear()
        tapetum.classify(photos, labels=(str(tmp_path / "labels.txt"),), model="colours", none_below=0.0, **kwargs)  # pyright: ignore
        return [*seen]

    assert texts() == [("a photo of a red.", "a blue ball")]
    assert texts(templates="none") == [("red", "a blue ball")]
    assert texts(template=("the {}!", "{}")) == [("the red!", "the blue ball!"), ("red", "a blue ball")]
    assert len(texts(templates="simple")) == 7
    assert len(texts(templates="imagenet")) == 80


def test_images_are_looked_at_a_few_at_a_time(model: ColourWords, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, embed = list[int](), ColourWords.embed_images
    monkeypatch.setattr(ColourWords, "embed_images", lambda self, images: (sizes.append(len(images)), embed(self, images))[1])
    whole = tapetum.classify(photos, labels=("red",), model="colours")
    monkeypatch.setattr(classify_labels, "_PIXELS", 300)
    assert tapetum.classify(photos, labels=("red",), model="colours") == whole
    assert sizes == [3, 2, 1]  # images of 240 pixels


@pytest.mark.usefixtures("model")
def test_what_cannot_be_read_is_told(photos: Path, run: Run) -> None:
    (photos / "bad.png").write_bytes(b"x")
    code, out, err = run("classify", photos, "--labels", "red", "--model", "colours")
    assert code == 2
    assert "bad.png is not an image" in err
    assert err.splitlines()[-1] == "tapetum: 1 of 4 images could not be read; see above"
    assert out.count(".png") == 3


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--labels many.txt --model colours", "many.txt has 1,000,000 lines; give 20,000 labels or fewer"),
        ("--labels empty.txt --model colours", "there are no labels"),
        ("--labels gone.txt --model colours", "cannot read --labels gone.txt"),
        ("--labels bytes.txt --model colours", "bytes.txt is no text"),
        (f"--labels {'x' * 10_000} --model colours", "has 10,000 characters; give 1,000 or fewer"),
        ("--labels red --template none --model colours", "the template 'none' has 0 {}"),
        ("--labels red --none-below 2 --model colours", "--none-below is 2"),
        ("--labels red --top 0 --model colours", "--top is 0"),
        ("--templates simple", "are for --labels; give labels too"),
        ("--labels red --model resnet-nano", "resnet-nano holds a ResNet that reads no words"),
        ("--labels red", "an encoder that reads words"),
    ],
)
def test_refusals(photos: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, words: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "known", lambda: {name: w for name, w in KNOWN.items() if "search" not in w.verbs})
    monkeypatch.setattr(word_models, "known", registry.known)
    Path("many.txt").write_text("label\n" * 1_000_000)
    Path("empty.txt").write_text("\n\n")
    Path("bytes.txt").write_bytes(b"\xff\xfe\x00")
    code, out, err = run("classify", photos, *words.split())
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


KNOWN = registry.known()


def named(name: str, **others: object) -> Weights:
    """Weights of an encoder of images and words that a repository has."""
    return Weights(
        name=name,
        architecture="x",
        summary="x",
        paper="x",
        licence="Apache-2.0",
        file=name,
        loader="x:y",
        repository="x/y",
        verbs=("classify", "embed", "search"),
        **others,  # pyright: ignore
    )


def test_the_best_that_is_here_is_the_default_and_else_the_command_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: Path
) -> None:
    models = {
        "best": named("best", score="zero-shot 80.0"),
        "small": named("small"),
        "colours": named("colours", score="zero-shot 70"),
    }
    monkeypatch.setattr(word_models, "known", lambda: {**KNOWN, **models})
    monkeypatch.setattr(registry, "known", word_models.known)
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path))
    line = r"encoder that reads words.*; run: tapetum weights fetch siglip2-base-32 \(1\.5 GB, Apache-2\.0\)"
    with pytest.raises(BadInput, match=line):
        tapetum.classify(photos, labels=("red",))
    for name in ("small", "colours"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    install(monkeypatch, colours=ColourWords())
    result = tapetum.classify(photos, labels=("red",))
    assert isinstance(result, LabelsFitted)
    assert result.model == "colours"
