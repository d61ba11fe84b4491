"""`ask`, `caption`, `detect` and `segment` with a tiny model that knows a tiny world by heart."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tapetum
from support.files import listed
from support.scripts import GOLDEN, script
from tapetum.app.see.ask import AskOptions
from tapetum.app.see.detect import DetectOptions
from tapetum.app.see.segment import SegmentOptions
from tapetum.app.track.track_things import ThingsOptions
from tapetum.app.verb import Listener
from tapetum.core.errors import BadInput
from tapetum.video import write_video

WORLD = script("tests/golden/make_paligemma_taught_golden.py")
MODEL = str(GOLDEN / "paligemma_taught.safetensors")
QUESTION = "what color is the square ?"


class Ear(Listener):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.last: tuple[int, int | None] = (0, None)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, task: str, done: int, total: int | None) -> None:
        self.last = done, total


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "images"
    made.mkdir()
    for k, (colour, corner) in enumerate([("red", "left"), ("green", "right"), (None, "left"), ("blue", "low left")]):
        Image.fromarray(WORLD.make_image(colour, corner)).save(made / f"{k}.png")
    return made


def test_ask_and_caption_of_one_image(folder: Path):
    asked = tapetum.ask(folder / "0.png", QUESTION, model=MODEL)
    assert asked.text == "red"
    [seen] = asked.images
    assert (seen.width, seen.height, seen.frames, seen.frame) == (56, 56, 1, None)
    assert seen.prompt == f"answer en {QUESTION}"
    assert 0.5 < seen.answer.score <= 1
    assert tapetum.caption(WORLD.make_image("blue"), model=MODEL).text == "a blue square"
    assert tapetum.ask(Image.fromarray(WORLD.make_image("blue")), "caption en", model=MODEL, raw=True).text == "a blue square"


def test_a_folder_is_asked_about_once(folder: Path, tmp_path: Path):
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out = tmp_path / "out"
    options = AskOptions((folder,), QUESTION, model=MODEL, out=out)
    ear = Ear()
    asked = tapetum.ask.run(options, ear)
    assert [seen.answer.text for seen in asked.images] == ["red", "green", "none", "blue"]
    [failed] = asked.failed
    assert failed["path"].endswith("broken.png")
    assert any("broken" in text for text in ear.notes)
    assert ear.last == (5, 5)
    assert set(listed(out)) == {"answers.json", *(f"{k}.{end}" for k in range(4) for end in ("png", "json"))}
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("?.json")}
    Image.fromarray(WORLD.make_image("blue")).save(folder / "0.png")
    (out / "1.png").unlink()
    second = Ear()
    again = tapetum.ask.run(options, second)
    assert sum("1 result that was kept there differs in images; it is computed again" in note for note in second.notes) == 1
    assert [seen.answer.text for seen in again.images] == ["blue", "green", "none", "blue"]
    redone = {path.name for path in stamps if path.stat().st_mtime_ns != stamps[path]}
    assert redone == {"0.json", "1.json"}
    rows = json.loads((out / "answers.json").read_text())
    assert [row["answer"] for row in rows if "answer" in row] == ["blue", "green", "none", "blue"]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_images_in_memory_are_told_apart_by_their_content(tmp_path: Path):
    for colour in ("red", "green"):
        assert tapetum.ask([WORLD.make_image(colour)], QUESTION, model=MODEL, out=tmp_path / "out").text == colour


def test_detect_and_segment_draw_and_come_back_from_their_files(folder: Path, tmp_path: Path):
    one = tapetum.detect(folder / "1.png", "square", model=MODEL, out=tmp_path / "drawn.png")
    np.testing.assert_allclose(one.images[0].boxes.xyxy, [WORLD.box("right")], atol=0.05)
    drawn = np.asarray(Image.open(tmp_path / "drawn.png"))
    assert drawn.shape == (392, 392, 3)
    plain = np.asarray(Image.fromarray(WORLD.make_image("green", "right"))).repeat(7, 0).repeat(7, 1)
    changed = (drawn != plain).any(-1)
    assert changed[8 * 7, 34 * 7 : 50 * 7].all()
    assert not changed[200:].any()

    out = tmp_path / "out"
    first = tapetum.segment(folder, "square", model=MODEL, out=out)
    again = tapetum.segment(folder, "square", model=MODEL, out=out)
    assert [len(seen.masks) for seen in first.images] == [1, 1, 0, 1]
    for one_, other in zip(first.images, again.images, strict=True):
        assert (one_.masks.masks == other.masks.masks).all()
        assert one_.as_json() == other.as_json()


def test_a_video_is_asked_as_a_whole_and_searched_frame_by_frame(tmp_path: Path):
    frames = np.stack([WORLD.make_image("red", corner) for corner in ("left", "right", "low left", "low right")]).repeat(4, 0)
    write_video(tmp_path / "clip.mp4", frames, 8)
    np.save(tmp_path / "clip.npy", frames)
    with pytest.raises(BadInput, match="is a video of 16 frames; show some of them with --frames"):
        tapetum.detect(tmp_path / "clip.mp4", "square", model=MODEL)
    found = tapetum.detect(tmp_path / "clip.npy", "square", model=MODEL, frames=4, out=tmp_path / "sheet.png")
    assert [seen.frame for seen in found.images] == [2, 6, 10, 14]
    corners = [seen.boxes.xyxy[0].round().astype(int).tolist() for seen in found.images]
    assert corners == [list(WORLD.box(corner)) for corner in WORLD.CORNERS]
    assert Image.open(tmp_path / "sheet.png").size == (784, 784)
    asked = tapetum.ask(tmp_path / "clip.mp4", QUESTION, model=MODEL, frames=2)
    assert asked.images[0].frames == 2
    together = tapetum.ask([frames[0], frames[5]], QUESTION, model=MODEL, together=True)
    assert len(together.images) == 1
    assert together.images[0].frames == 2


def test_malformed_answers_are_counted_and_told(folder: Path):
    ear = Ear()
    found = tapetum.detect.run(DetectOptions((folder / "0.png",), "square", model=MODEL, tokens=3), ear)
    assert found.images[0].malformed == 1
    assert not found.images[0].ended
    assert ear.notes == ["0: 1 boxes or masks in the answer were malformed and left out"]


@pytest.mark.parametrize("find", [tapetum.detect, tapetum.segment])
def test_what_was_not_asked_for_is_left_out_and_told(folder: Path, find):
    ear = Ear()
    options = {"detect": DetectOptions, "segment": SegmentOptions}[find.__name__]
    found = find.run(options((folder / "0.png",), "dog", model=MODEL), ear)
    [seen] = found.images
    assert seen.answer.text.endswith("square")
    assert (len(seen.boxes), len(seen.masks), seen.unasked) == (0, 0, ("square",))
    assert ear.notes == ["0: the model boxed what was not asked for (square), which is left out"]
    assert find(folder / "0.png", "square", model=MODEL).images[0].boxes.labels == ("square",)


def test_a_thing_that_was_not_asked_for_is_not_followed():
    ear = Ear()
    options = ThingsOptions(np.stack([WORLD.make_image("blue")] * 4), "cat", model=MODEL, tracker="static")
    things = tapetum.track_things.run(options, ear)
    assert len(things.boxes) == 0
    assert any("not asked for (square" in text for text in ear.notes)


def test_what_cannot_be_asked_is_refused_in_one_line(folder: Path, tmp_path: Path):
    image = folder / "0.png"
    (tmp_path / "empty").mkdir()
    (tmp_path / "deep").mkdir()
    Image.fromarray(WORLD.make_image("red")).save(tmp_path / "deep" / "0.png")
    cases = [
        (([], QUESTION), {}, "there is no image"),
        ((image, " "), {}, "the prompt is empty"),
        ((image, "<loc9999>"), {}, "is no token"),
        ((image, "word " * 9000), {}, "together they may be"),
        ((tmp_path / "none.png", QUESTION), {}, "there is no file"),
        ((tmp_path / "empty", QUESTION), {}, "hold no images"),
        ((image, QUESTION), {"frames": 0}, "--frames is 0"),
        ((image, QUESTION), {"model": "tapir-nano"}, "tapir-nano is for"),
        ((image, QUESTION), {"model": "paligema-nano"}, "there are no weights named"),
        ((folder, QUESTION), {"out": tmp_path / "one.png"}, "is one image, and there are several"),
        ((image, QUESTION), {"out": image.parent / "0.png" / "x"}, "cannot|folder"),
        (([image, *[tmp_path / "deep" / "0.png"] * 3], QUESTION), {}, "two images are called deep-0.png"),
    ]
    for words, more, message in cases:
        with pytest.raises(BadInput, match=message) as caught:
            tapetum.ask(*words, **{"model": MODEL} | more)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="no thing was named"):
        tapetum.detect(image, ";", model=MODEL)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_ray_gives_the_same(folder: Path, tmp_path: Path):
    here = tapetum.segment(folder, "square", model=MODEL)
    there = tapetum.segment(folder, "square", model=MODEL, engine="ray", out=tmp_path / "out")
    assert [seen.answer.text for seen in here.images] == [seen.answer.text for seen in there.images]
    assert (tmp_path / "out" / "3.png").exists()
