"""`tapetum classify` and `tapetum embed` with an encoder, as a user runs them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tapetum
from support.encoder_folders import siglip2
from tapetum.app.see.classify import Classes, classify
from tapetum.encoders.imagenet import class_names
from tapetum.encoders.published import PUBLISHED
from tapetum.hub.registry import location

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """Three images of different sizes, a file that is none, and two small encoders."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for name, size in (("photos/f10.png", (40, 60)), ("photos/f2.jpg", (80, 50)), ("one.png", (33, 33))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "bad.png").write_bytes(b"x")
    (tmp_path / "photos" / "note.txt").write_text("hello")
    for name, classes in (("few", 7), ("many", 1000), ("none", 0)):
        encoder = tapetum.encoders.build("resnet-18", stem_width=8, classes=classes)
        tapetum.encoders.save(encoder, tmp_path / f"{name}.safetensors")
    return tmp_path


def test_images_get_the_likeliest_names(run: Run, places: Path) -> None:
    code, out, err = run("classify", places / "one.png", places / "photos", "--model", places / "many.safetensors", "--top", 3)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0::4] == [str(places / name) for name in ("one.png", "photos/f2.jpg", "photos/f10.png")]
    encoder = tapetum.load(places / "many.safetensors")
    image = np.asarray(Image.open(places / "photos" / "f10.png"))
    with torch.no_grad():
        likely, numbers = encoder.classify(encoder.prepare(image[None]))[0].softmax(0).topk(3)
    wanted = [f"  {p:6.1%}  {class_names()[n]}" for p, n in zip(likely.tolist(), numbers.tolist(), strict=True)]
    assert lines[9:] == wanted


def test_json_and_the_function_say_the_same(run: Run, places: Path) -> None:
    model = places / "few.safetensors"
    code, out, _ = run("classify", places / "one.png", "--model", model, "--json")
    assert code == 0
    (told,) = json.loads(out)["images"]
    result = tapetum.classify(places / "one.png", model=str(model), top=9)
    (found,) = result.images
    assert isinstance(found, Classes)
    assert len(found.names) == 7  # it has no more
    assert found.names == tuple(f"class {number}" for number in found.numbers)
    assert found.probabilities.sum() == pytest.approx(1.0, abs=1e-5)
    assert told["path"] == found.path
    assert [row["number"] for row in told["classes"]] == list(found.numbers[:5])
    np.testing.assert_allclose([row["probability"] for row in told["classes"]], found.probabilities[:5], atol=1e-6)


def test_what_cannot_be_read_is_told_and_the_rest_is_done(run: Run, places: Path) -> None:
    images = [places / name for name in ("bad.png", "one.png", "gone.png")]
    code, out, err = run("classify", *images, "--model", places / "few.safetensors", "--top", 1)
    assert code == 2
    assert out.splitlines()[0] == str(places / "one.png")
    lines = err.splitlines()
    assert len(lines) == 3
    assert "bad.png is not an image" in lines[0]
    assert "cannot read" in lines[1]
    assert lines[2] == "tapetum: 2 of 3 images could not be read; see above"
    with pytest.warns(UserWarning, match=r"bad\.png is not an image"):
        result = classify(images[:2], model=str(places / "few.safetensors"))
    assert result.failed == (str(places / "bad.png"),)


@pytest.mark.slow
def test_processes_say_what_one_says(run: Run, places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    siglip2(places / "tower")
    monkeypatch.chdir(places)
    images = ["one.png", "bad.png", "photos"]
    for model in (["few.safetensors"], ["tower", "--labels", "a cat", "an owl"]):
        words = ["classify", *images, "--json", "--model", *model]
        alone, beside = run(*words, "--device", "cpu"), run(*words, "--workers", 2)
        assert (alone[0], beside[0]) == (2, 2)
        assert "bad.png is not an image" in beside[2]
        one, two = json.loads(alone[1]), json.loads(beside[1])
        assert one["failed"] == two["failed"] == ["bad.png"]
        for ours, theirs in zip(one["images"], two["images"], strict=True):
            assert ours["path"] == theirs["path"]
            for mine, yours in zip(
                ours.get("classes", ours.get("labels")), theirs.get("classes", theirs.get("labels")), strict=True
            ):
                assert mine == pytest.approx(yours, abs=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "there are no IMAGES"),
        ("bad.png bad.png --model few.safetensors", "none of 2 images could be read"),
        ("empty --model few.safetensors", "the folder empty and those below hold no images"),
        ("one.png --top 0", "--top is 0; it must be 1 or more"),
        ("one.png --model efficientnet-lite9", "did you mean efficientnet-lite"),
        ("one.png --model hip-nano", "hip-nano is for tapetum embed, not for classify"),
        ("one.png --model none.safetensors", "none.safetensors holds no encoder with a classifier"),
        ("one.png --model bad.png", "bad.png is not a file of weights alone"),
    ],
)
def test_refusals(run: Run, places: Path, monkeypatch: pytest.MonkeyPatch, words: str, message: str) -> None:
    monkeypatch.chdir(places)
    (places / "empty").mkdir()
    code, out, err = run("classify", *words.split())
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]


@pytest.mark.skipif(not location(PUBLISHED[2]).is_file(), reason="the package of efficientnet-lite2 is not installed")
def test_the_default_knows_a_drawn_traffic_light(run: Run, tmp_path: Path) -> None:
    rows, columns = np.indices((320, 240))
    image = np.full((320, 240, 3), (120, 170, 230), np.uint8)
    image[40:280, 80:160] = 25
    for row, colour in ((80, (255, 40, 30)), (160, (70, 60, 20)), (240, (20, 60, 30))):
        image[np.hypot(rows - row, columns - 120) < 30] = colour
    Image.fromarray(image).save(tmp_path / "drawn.png")
    code, out, err = run("classify", tmp_path / "drawn.png", "--top", 2)
    assert (code, err) == (0, "")
    assert "traffic light" in out


def test_embed_takes_an_encoder(run: Run, places: Path) -> None:
    out = places / "vectors.npz"
    files, how = (places / "photos", places / "one.png"), ("--model", places / "few.safetensors", "--dtype", "float32")
    code, told, err = run("embed", *files, *how, "--out", out)
    assert code == 0
    assert "what is no image, recording or video is left out: 1 (.txt)" in err
    assert "3 vectors of 64 numbers, of 3 files" in told
    encoder = tapetum.load(places / "few.safetensors")
    with np.load(out) as stored, torch.no_grad():
        image = np.asarray(Image.open(places / "one.png"))
        np.testing.assert_allclose(stored["embedding"][2], encoder(encoder.prepare(image[None])).pooled[0], atol=1e-5)
        assert stored["modalities"].tolist() == ["image"] * 3
    tracker = location(tapetum.hub.registry.known()["tapir-nano"])
    code, _, err = run("embed", places / "one.png", "--model", tracker, "--out", out)
    assert code == 2
    assert "holds a TapirTracker, which makes no vectors" in err
