"""`tapetum ask`, `caption`, `detect` and `segment` from the command line."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.files import listed
from support.scripts import GOLDEN, script
from tapetum.systems import paligemma
from tapetum.systems.paligemma.config import NAMED

Run = Callable[..., tuple[int, str, str]]
WORLD = script("tests/golden/make_paligemma_taught_golden.py")
MODEL = ("--model", str(GOLDEN / "paligemma_taught.safetensors"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.fromarray(WORLD.make_image("green", "right")).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_words_are_printed_and_options_stand_anywhere(run: Run, image: Path, tmp_path: Path):
    question = "what color is the square ?"
    assert run("ask", image, question, *MODEL)[:2] == (0, "green\n")
    assert run("caption", *MODEL, image)[:2] == (0, "a green square\n")
    Image.fromarray(WORLD.make_image("red")).save(tmp_path / "b.png")
    code, out, _ = run("ask", image, *MODEL, tmp_path / "b.png", "--tokens", "8", question)
    assert code == 0
    assert out.split() == [str(image), "green", str(tmp_path / "b.png"), "red"]
    code, out, _ = run("ask", image, question, "--json", *MODEL)
    [row] = json.loads(out)["images"]
    assert (code, row["answer"], row["boxes"], row["width"]) == (0, "green", [], 56)


def test_a_file_that_does_not_say_what_it_is_is_told(run: Run, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = paligemma.load(GOLDEN / "paligemma_taught.safetensors")
    monkeypatch.setitem(NAMED, "taught", model.config)
    np.savez(tmp_path / "a.npz", **{name: t.numpy() for name, t in paligemma.to_state(model, "big_vision").items()})
    shutil.copy(GOLDEN / "paligemma_taught.model", tmp_path / "a.model")
    asked = ("ask", image, "what color is the square ?", "--model", tmp_path / "a.npz")
    assert run(*asked, "--model-config", "taught")[:2] == (0, "green\n")
    code, _, err = run(*asked)
    assert code == 2
    assert "a.npz does not say that it is a PaliGemma" in err
    code, _, err = run(*asked, "--model-config", "taugth")
    assert code == 2
    assert "did you mean taught?" in err


def test_boxes_and_masks_are_printed_and_drawn(run: Run, image: Path, tmp_path: Path):
    code, out, _ = run("segment", image, "square", *MODEL, "--out", tmp_path / "drawn.png")
    assert code == 0
    first, drawn = out.splitlines()
    x1, y1, x2, y2, score, area, unit, label = first.split()
    np.testing.assert_allclose([float(v) for v in (x1, y1, x2, y2)], WORLD.box("right"), atol=0.1)
    assert 0.5 < float(score) <= 1
    assert 200 < int(area) <= 256
    assert (unit, label) == ("pixels", "square")
    assert drawn == f"drawn    {tmp_path / 'drawn.png'}"
    code, out, _ = run("detect", image, "square", *MODEL, "--json")
    [row] = json.loads(out)["images"]
    assert row["boxes"][0]["label"] == "square"


def test_things_are_followed(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    np.save("clip.npy", np.stack([WORLD.make_image("blue")] * 4))
    code, out, _ = run("detect", "clip.npy", "square", "--track", "--tracker", "static", *MODEL)
    assert code == 0
    assert out.splitlines()[:2] == ["square: in 4 of 4 frames, found 1 times", f"model: {MODEL[1]}"]
    assert set(listed(Path("clip-boxes"))) == {"boxes.csv", "boxes.npz", "overlay.mp4"}
    assert len(Path("clip-boxes/boxes.csv").read_text().splitlines()) == 5
    code, out, _ = run("detect", "clip.npy", "square", "--track", "--tracker", "static", *MODEL, "--json")
    assert json.loads(out)["things"] == [{"label": "square", "frames_shown": 4, "times_found": 1}]


def test_one_of_several_that_cannot_be_read_is_an_error_at_the_end(run: Run, image: Path, tmp_path: Path):
    (tmp_path / "b.png").write_text("no image")
    code, out, err = run("caption", image, tmp_path / "b.png", *MODEL)
    assert code == 2
    assert "a green square" in out
    assert "b.png is not an image" in err
    assert err.splitlines()[-1] == "tapetum: 1 of 2 images could not be read; see above"


def test_commands_are_read_without_numpy():
    code = (
        "import sys; from tapetum.app.shell.main import parse; parse(['detect', 'a.png', 'cup']); "
        "parse(['ask', 'a.png', 'what?']); sys.exit([name for name in ('torch', 'numpy', 'av') if name in sys.modules] or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_answers_and_boxes_go_into_one_file(run: Run, image: Path, tmp_path: Path):
    out = tmp_path / "a.json"
    assert run("detect", image, "square", *MODEL, "--out", out)[0] == 0
    assert listed(tmp_path) == ["a.json", image.name]
    [row] = json.loads(out.read_text())
    assert [box["label"] for box in row["boxes"]] == ["square"]
    assert "there is no folder" in run("ask", image, "what ?", *MODEL, "--out", tmp_path / "none" / "a.json")[2]
    np.save(tmp_path / "clip.npy", np.stack([WORLD.make_image("blue")] * 4))
    for name, word in (("b.csv", "table"), ("b.npz", "boxes"), ("b.mp4", "overlay")):
        words = ("detect", tmp_path / "clip.npy", "square", "--track", "--tracker", "static", *MODEL, "--out", tmp_path / name)
        code, stdout, _ = run(*words)
        assert code == 0
        assert stdout.splitlines()[-1].split() == [word, str(tmp_path / name)]
    assert set(listed(tmp_path)) == {image.name, "a.json", "clip.npy", "b.csv", "b.npz", "b.mp4"}
