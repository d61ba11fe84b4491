"""Training on a few photographs of a folder with an encoder of random weights: features, resume, files, answers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tapetum.core.errors import BadInput
from tapetum.encoders.efficientnet_lite import EfficientNetLite
from tapetum.encoders.factory import build
from tapetum.systems.paligemma.answers import Answerer
from tapetum.systems.paligemma.photo import data
from tapetum.systems.paligemma.photo import model as photo_model
from tapetum.systems.paligemma.photo.config import DECODERS, RECIPES, PhotoConfig
from tapetum.systems.paligemma.photo.model import PhotoPaliGemma, align_projector, join_evidence, photo_features
from tapetum.systems.paligemma.photo.task import TOKENIZER, train_photo
from tapetum.systems.paligemma.photo.texts import class_nouns, training_lines
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.train.launch_config import Launch

CLASSES = "tench", "beagle", "tabby", "sports car", "abacus", "zebra"
RUN = replace(RECIPES["tiny"], steps=4, questions=2, prototype_share=0.4, vocabulary=700)


@pytest.fixture(scope="module")
def encoder() -> EfficientNetLite:
    made = build("efficientnet-lite0", width_multiplier=0.25, classes=1000)
    assert isinstance(made, EfficientNetLite)
    return made.eval().requires_grad_(False)


@pytest.fixture(autouse=True)
def no_package(encoder: EfficientNetLite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(photo_model, "load_classifier", lambda name, device=None: encoder)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images of each class, a folder each."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (folder / name).mkdir()
        for k in range(5):
            Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(folder / name / f"{k}.png")
    return folder


def test_a_token_is_the_mean_of_the_map_and_of_the_rows_that_the_classifier_sees(encoder: EfficientNetLite):
    pixels = torch.rand(2, 3, 96, 96) * 2 - 1
    made = photo_features(encoder, pixels, regions=3)
    images = (pixels * 127.5 + 127.5 - 127) / 128
    seen = encoder(images)
    assert seen.grid == (3, 3)  # each region is a cell
    whole, cells = seen.pooled, seen.tokens
    assert encoder.head is not None
    for k, vector in enumerate((whole, *cells.unbind(1))):
        scaled = vector / vector.pow(2).mean(1, keepdim=True).sqrt()
        torch.testing.assert_close(made[:, k, :1280], scaled, atol=1e-4, rtol=1e-4)
        share = encoder.head(vector).softmax(1)
        rows = torch.einsum("bk,kc->bc", share, encoder.head.weight) / encoder.head.weight.std()
        torch.testing.assert_close(made[:, k, 1280:], rows, atol=1e-4, rtol=1e-4)


def test_the_projector_begins_with_the_words_of_each_class():
    torch.manual_seed(0)
    language = replace(DECODERS["nano"], vocabulary=50)
    model = PhotoPaliGemma(PhotoConfig(language=language, prefix_mask="blocks", newline=4, encoder_width=20))
    rows, words = torch.randn(6, 20), [[5 + k, 20 + k] for k in range(6)]
    align_projector(model, rows, words)
    tokens = model.projector(torch.cat((torch.zeros(6, 20), rows), 1))
    likeness = (
        torch.nn.functional.normalize(tokens, dim=1)
        @ torch.nn.functional.normalize(model.language.embed(torch.arange(50)[None])[0], dim=1).T
    )
    assert likeness.argmax(1).tolist() == [5, 6, 7, 8, 9, 10]  # the first word counts most
    assert likeness.topk(2, 1).indices[:, 1].tolist() == [20, 21, 22, 23, 24, 25]


def test_evidence_of_a_class_without_a_photograph_is_that_of_its_row(encoder: EfficientNetLite):
    vectors = np.abs(np.random.default_rng(0).standard_normal((1, 1, 10, 1280))).astype(np.float16)
    source = data.PhotoFeatures(vectors=vectors, nouns=class_nouns()[:1], classes=[0])
    samples = data.PhotoSamples({"photo": source}, {"prototype": 1.0}, encoder, questions=2)
    sample = samples.prototype(7, np.random.default_rng(0))
    assert not sample.features[:, :1280].any()
    first = -np.sort(-samples.probabilities(vectors[0, 0].astype(np.float32)), axis=1)[:, 0]
    along = sample.features[:, 1280:] @ samples.rows[7] / (samples.rows[7] @ samples.rows[7])
    np.testing.assert_allclose(along, first, atol=0.06)  # rows of other classes are nearly at right angles
    both = join_evidence(
        torch.from_numpy(vectors[0, 0]).float(),
        torch.from_numpy(samples.probabilities(vectors[0, 0].astype(np.float32))),
        torch.from_numpy(samples.weight),
    )
    np.testing.assert_allclose(samples.features(vectors[0, 0].astype(np.float32)), both.numpy(), atol=2e-4)


def test_names_of_other_data_sets_become_nouns():
    assert data.class_of("n02088364") == data.class_of("beagle") == 162
    assert data.class_of("crane") is None  # a bird and a machine
    assert data.class_of("no such class") is None
    assert data.nouns_called("automobile").noun == "car"
    assert {"animal", "dog", "mammal"} <= data.nouns_called("dog").true
    assert "car" not in data.nouns_called("truck").true


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_the_same_and_its_weights_answer(photos: Path, encoder: EfficientNetLite, tmp_path: Path):
    run = replace(RUN, data=str(photos), labelled=(str(photos),), most=4)
    launch = Launch(out=tmp_path / "whole", device="cpu", threads=1)
    tokens = Tokens.train(training_lines(1), 700, tmp_path / TOKENIZER)
    for out in ("whole", "parts"):
        (tmp_path / out).mkdir()
        (tmp_path / out / TOKENIZER).write_bytes(tokens.model)
    whole = train_photo(run, launch, lambda text: None)
    assert whole is not None
    stopped = replace(launch, out=tmp_path / "parts", minutes=0.0)
    assert train_photo(run, stopped, lambda text: None) is None
    parts = train_photo(run, replace(stopped, minutes=None), lambda text: None)
    assert parts is not None
    assert parts[1] == whole[1]
    states = [load_file(made[0]) for made in (whole, parts)]
    differing = {
        name: float((states[0][name] - tensor).abs().max())
        for name, tensor in states[1].items()
        if not (states[0][name] == tensor).all()
    }
    assert not differing
    assert {"what", "there", "caption"} <= whole[1].keys()  # tench and zebra are of fold 0
    answerer = Answerer.load(whole[0])
    assert isinstance(answerer.model, PhotoPaliGemma)
    assert not [name for name in states[0] if name.startswith("encoder")]
    frames = np.asarray(Image.open(photos / "zebra" / "0.png"))[None]
    [alone] = answerer.ask([frames], ["answer en what is this?"], 6)
    both = answerer.ask([frames, 255 - frames], ["answer en what is this?", "caption en"], 6)
    assert both[0].ids == alone.ids
    assert max(alone.ids, default=0) < answerer.tokens.location_ids[0]
    with pytest.raises(BadInput, match="writes words alone, no boxes"):
        answerer.ask([frames], ["detect dog"])


def test_what_cannot_be_trained_on_is_refused(photos: Path, tmp_path: Path):
    with pytest.raises(BadInput, match="there are no photographs; give --data"):
        train_photo(RUN, Launch(out=tmp_path))
    other = tmp_path / "photos" / "thing"
    for name in ("thing", "crane"):  # of which there are two
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(5):
            Image.new("RGB", (20, 20)).save(tmp_path / "photos" / name / f"{k}.png")
    with pytest.raises(BadInput, match="has no image with a class of ImageNet"):
        train_photo(replace(RUN, data=str(other.parent)), Launch(out=tmp_path / "run"))


def test_damaged_files_are_refused_in_one_line(tmp_path: Path):
    config = RUN.config(1900, 700, 4)
    model = PhotoPaliGemma(config)
    photo_model.save(model, tmp_path / "own.safetensors")
    assert photo_model.load(tmp_path / "own.safetensors").config == config
    save_file({"positions": model.positions.detach()}, tmp_path / "few.safetensors", {photo_model.HEADER: "{}"})
    with pytest.raises(BadInput, match=r"few.safetensors cannot be read"):
        photo_model.load(tmp_path / "few.safetensors")
