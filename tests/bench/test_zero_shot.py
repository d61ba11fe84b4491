"""Zero-shot accuracies and recalls equal those of open_clip's own evaluation for the same random weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tapetum
from support import encoder_folders
from tapetum.bench.zero_shot import evaluate_retrieval, evaluate_zero_shot, words_of_classes
from tapetum.core.errors import BadInput
from tapetum.data.questions import CaptionedImage
from tapetum.data.vision_language.captions import read_captions
from tapetum.transfer.zero_shot import published_templates

open_clip = pytest.importorskip("open_clip")
WORDS = ("tench", "crane bird", "red bicycle", "猫", "traffic light", "boat", "goose")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    theirs = encoder_folders.open_clip(folder, seed=3)
    return theirs, tapetum.load(folder)


def photos(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (40 + k % 3, 36, 3), np.uint8) for k in range(count)]


def test_accuracies_are_those_of_open_clip(pair) -> None:
    from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

    theirs, ours = pair
    images, labels = photos(21), np.arange(21) % 7
    templates = published_templates()["simple"]
    classifier = open_clip.build_zero_shot_classifier(theirs, ours.tokenize, WORDS, templates)
    with torch.no_grad():
        vectors = theirs.encode_image(ours.prepare(images), normalize=True)
        logits = (vectors @ classifier).numpy()
    labels[:12] = logits[:12].argmax(1)  # some are right
    scores = evaluate_zero_shot(ours, images, labels, WORDS, templates)
    for k, score in ((1, scores.top_1), (5, scores.top_5)):
        assert score == pytest.approx(top_k_accuracy_score(labels, logits, k=k, labels=range(7)))
    assert scores.mean_per_class == pytest.approx(balanced_accuracy_score(labels, logits.argmax(1)))
    assert scores.mean_per_class != pytest.approx(scores.top_1)


def test_recalls_are_those_of_open_clip(pair, tmp_path: Path) -> None:
    """Its own evaluation has one text an image; with several, a loop over the definition."""
    train = pytest.importorskip("open_clip_train.train")
    theirs, ours = pair
    samples = []
    for k, image in enumerate(photos(12, 1)):
        Image.fromarray(image).save(tmp_path / f"{k}.png")
        texts = tuple(f"{word} {k} {j}" for j, word in enumerate(WORDS[: 1 + k % 3]))
        samples.append(CaptionedImage(key=k, image=tmp_path / f"{k}.png", captions=texts))
    single = evaluate_retrieval(ours, samples, most_captions=1)
    with torch.no_grad():
        vectors = theirs.encode_image(ours.prepare(photos(12, 1)), normalize=True)
        texts = theirs.encode_text(ours.tokenize([sample.captions[0] for sample in samples]), normalize=True)
        wanted = train.get_clip_metrics(vectors, texts, theirs.logit_scale.exp())
    for k in (1, 5, 10):
        assert single.text_of_image[k] == pytest.approx(wanted[f"image_to_text_R@{k}"])
        assert single.image_of_text[k] == pytest.approx(wanted[f"text_to_image_R@{k}"])
    several = evaluate_retrieval(ours, samples)
    all_texts = [(k, text) for k, sample in enumerate(samples) for text in sample.captions]
    similarity = ours.embed_images(photos(12, 1)) @ ours.embed_texts([text for _, text in all_texts]).T
    for at in (1, 5, 10):
        found = [any(all_texts[j][0] == k for j in np.argsort(-row, kind="stable")[:at]) for k, row in enumerate(similarity)]
        assert several.text_of_image[at] == pytest.approx(np.mean(found))
        found = [k in np.argsort(-similarity[:, j], kind="stable")[:at] for j, (k, _) in enumerate(all_texts)]
        assert several.image_of_text[at] == pytest.approx(np.mean(found))


def test_folders_of_imagenet_have_the_published_words() -> None:
    assert words_of_classes(["n01440764", "n02012849"]) == ("tench", "crane bird")
    assert words_of_classes(["n01440764", "dog_house"]) == ("n01440764", "dog house")


def test_captions_of_coco_and_flickr(tmp_path: Path) -> None:
    coco, flickr, official = (tmp_path / name for name in ("coco", "flickr", "official"))
    for folder in (coco, flickr, official / "annotations"):
        folder.mkdir(parents=True)
    sentences = [{"raw": "a cat"}, {"raw": "two cats"}]
    images = [{"filepath": "val2014", "filename": "a.jpg", "cocoid": 7, "split": "test", "sentences": sentences}]
    (coco / "dataset_coco.json").write_text(json.dumps({"images": images}))
    images = [{"filename": "b.jpg", "imgid": 3, "split": "test", "sentences": sentences}]
    (flickr / "dataset_flickr30k.json").write_text(json.dumps({"images": images}))
    content = {"images": [{"id": 1, "file_name": "c.jpg"}], "annotations": [{"image_id": 1, "caption": "x"}]}
    (official / "annotations" / "captions_val2017.json").write_text(json.dumps(content))
    assert read_captions(coco, "test")[0].image == coco / "val2014" / "a.jpg"
    assert read_captions(flickr, "test")[0].image == flickr / "flickr30k-images" / "b.jpg"
    assert read_captions(official, "val2017")[0].captions == ("x",)
    with pytest.raises(BadInput, match="neither dataset_coco"):
        read_captions(tmp_path, "test")


def test_the_commands(run, tmp_path: Path) -> None:
    encoder_folders.siglip2(tmp_path / "model")
    for k, image in enumerate(photos(6)):
        folder = tmp_path / "data" / "val" / ("n01440764", "n02012849")[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{k}.png")
    words = ("eval", "zero-shot", "--data", tmp_path / "data", "--model", tmp_path / "model")
    code, out, err = run(*words, "--templates", "simple", "--json")
    assert code == 0, err
    scores = json.loads(out)
    assert (scores["images"], scores["classes"], scores["templates"], scores["top_5"]) == (6, 2, 7, 1.0)
    code, out, err = run(*words, "--template", "{} seen", "--most", "4")
    assert code == 0, err
    assert "4 images, 2 classes, 1 templates" in out
    (tmp_path / "three.txt").write_text("a\nb\nc\n")
    code, _, err = run(*words, "--labels", tmp_path / "three.txt")
    assert (code, err.count("\n")) == (2, 1)
    assert "three.txt has 3 different lines for 2 classes" in err
    (tmp_path / "flickr30k-images").mkdir()
    Image.fromarray(photos(1)[0]).save(tmp_path / "flickr30k-images" / "1.jpg")
    image = {"filename": "1.jpg", "imgid": 0, "split": "test", "sentences": [{"raw": "A man ."}]}
    (tmp_path / "dataset_flickr30k.json").write_text(json.dumps({"images": [image]}))
    code, out, err = run("eval", "retrieval", "--data", tmp_path, "--model", tmp_path / "model")
    assert code == 0, err
    assert "1 images, 1 captions" in out
    assert out.count("1.0000") == 6
