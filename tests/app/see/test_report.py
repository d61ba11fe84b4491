"""Reports of commands about images: their numbers are those of the results, names are text, what failed is on top."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tapetum
from tapetum.app.see.classify import Classes, Classified
from tapetum.app.see.classify_labels import FittingLabels, LabelsFitted
from tapetum.app.see.replies import ImageReplies, ImageReply
from tapetum.app.see.report import write_classes_report, write_replies_report, write_things_report
from tapetum.app.track.track_things import Things
from tapetum.app.verb import Listener
from tapetum.core.errors import BadInput
from tapetum.tracks.boxes import BoxTracks
from tapetum.types import Answer, Boxes, Masks
from tapetum.video import open_video

Run = Callable[..., tuple[int, str, str]]
NASTY = "<script>alert(1)<.png"


def table_of(page: Path) -> dict[str, Any]:
    """The table of a page, as its script reads it."""
    text = page.read_text()
    assert "<script>alert" not in text
    [data] = re.findall(r"<script id=\"data\" type=\"application/json\">(.*?)</script>", text)
    return json.loads(data)["table"]


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number, name in enumerate((NASTY, "b.png", "c.png")):
        Image.fromarray(noise(number)).save(folder / name)
    (folder / "broken.png").write_bytes(b"none")
    return folder


@pytest.mark.slow
def test_classify_writes_its_report(images: Path, tmp_path: Path, run: Run) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    tapetum.encoders.save(tapetum.encoders.build("resnet-18", classes=5), tmp_path / "mine.safetensors")
    page = tmp_path / "r.html"
    code, out, _ = run("classify", images, "--model", tmp_path / "mine.safetensors", "--report", page, "--json")
    assert code == 2  # one could not be read
    result = json.loads(out)
    assert result["report"] == str(page)
    table = table_of(page)
    assert table["rows"][0] == {"cells": [str(images / "broken.png")] + [None] * 4, "trouble": "could not be read"}
    best = {image["path"]: image["classes"][0] for image in result["images"]}
    shown = [row["cells"] for row in table["rows"][1:]]
    assert [cells[2] for cells in shown] == sorted(cells[2] for cells in shown)
    for path, name, probability, *_ in shown:
        assert (name, round(best[path]["probability"], 6)) == (best[path]["name"], pytest.approx(probability, abs=1e-6))
    assert [image is not None for image in table["images"]] == [False, True, True, True]


def test_what_fits_no_label_comes_before_the_unsure(tmp_path: Path) -> None:
    def fitting(path: str, fits: bool, share: float) -> FittingLabels:
        shares = (share, 1 - share)
        return FittingLabels(
            path=path,
            fits=fits,
            names=("cat", "dog"),
            shares=shares,
            probabilities=None,
            cosines=shares,
            margin=0.1,
            others=0.2,
        )

    fitted = LabelsFitted(
        model="m", images=(fitting("a", True, 0.9), fitting("b", False, 0.99), fitting("c", True, 0.6)), failed=()
    )
    sources = [(name, noise(0)) for name in "abc"]
    table = table_of(write_classes_report(tmp_path / "r.html", fitted, sources, Listener()))
    assert [row["cells"][:3] for row in table["rows"]] == [["b", "none of these", None], ["c", "cat", 0.6], ["a", "cat", 0.9]]


def test_an_image_of_one_class_has_no_second(tmp_path: Path) -> None:
    only = Classes(path="a", names=("cat",), numbers=(0,), probabilities=np.array([1.0], np.float32))
    page = write_classes_report(tmp_path / "r.html", Classified(images=(only,), failed=()), [("a", noise(0))], Listener())
    assert [column["name"] for column in table_of(page)["columns"]] == ["image", "class", "probability"]


def reply(path: str, scores: list[float], text: str = "", score: float = 0.5, malformed: int = 0) -> ImageReply:
    corners = np.tile([4.0, 4, 30, 30], (len(scores), 1))
    return ImageReply(
        path=path,
        prompt="detect cup",
        width=64,
        height=48,
        frames=1,
        frame=None,
        answer=Answer(text=text, score=score),
        ended=text != "cut",
        boxes=Boxes(xyxy=corners, labels=["cup"] * len(scores), scores=np.array(scores)),
        masks=Masks(masks=np.zeros((0, 48, 64), bool)),
        malformed=malformed,
    )


def test_nothing_found_is_first_then_the_least_sure_box(tmp_path: Path) -> None:
    replies = ImageReplies(
        images=(reply("a", [0.9, 0.4]), reply("b", []), reply("c", [0.8]), reply("d", [0.95], malformed=2)),
        failed=({"path": "e", "trouble": "is gone"},),
        regions=True,
    )
    sources = {name: noise(k) for k, name in enumerate("abcd")}
    table = table_of(write_replies_report(tmp_path / "r.html", replies, sources, None, "Boxes", Listener()))
    assert [row["cells"][0] for row in table["rows"]] == ["e", "b", "d", "a", "c"]
    assert table["rows"][2]["cells"][1:] == [1, "cup (2 malformed)", 0.95]
    assert table["rows"][0]["trouble"] == "is gone"


def test_answers_that_are_cut_or_improbable_are_first(tmp_path: Path) -> None:
    replies = ImageReplies(images=(reply("a", [], "yes", 0.9), reply("b", [], "no", 0.2), reply("c", [], "cut", 0.95)))
    sources = {name: noise(k) for k, name in enumerate("abc")}
    table = table_of(write_replies_report(tmp_path / "r.html", replies, sources, None, "Answers", Listener()))
    assert [row["cells"][:3] for row in table["rows"]] == [["c", "cut", 0.95], ["b", "no", 0.2], ["a", "yes", 0.9]]


def test_things_that_are_lost_are_first(tmp_path: Path) -> None:
    boxes = BoxTracks(
        xyxy=np.tile([4.0, 4, 30, 30], (2, 4, 1)),
        shown=np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool),
        detected=np.array([[1, 0, 0, 0], [1, 0, 0, 0]], bool),
        scores=np.array([[0.9, 0.8, 0.7, 0.9], [0.9, 0.6, 0.1, 0.1]]),
        labels=["cup", NASTY],
    )
    about = {"video": "v", "width": 64, "height": 48, "frame_rate": 10.0, "model": "m", "tracker": "static"}
    things = Things(**about, boxes=boxes, looked=(0,), malformed=0, seconds=0.0, out=None)
    video = open_video(np.stack([noise(k) for k in range(4)]))
    table = table_of(write_things_report(tmp_path / "r.html", things, video, Listener()))
    assert [row["cells"] for row in table["rows"]] == [[NASTY, 0.5, 1, 0.6, 1], ["cup", 1.0, 1, 0.7, 2]]


@pytest.mark.slow
def test_discover_writes_its_page_twice(images: Path, tmp_path: Path, run: Run) -> None:
    page = tmp_path / "r.html"
    code, out, _ = run("discover", images, "--out", tmp_path / "found", "--report", page, "--json")
    assert code == 2
    result = json.loads(out)
    assert page.read_text() == (tmp_path / "found" / "objects.html").read_text()
    table = table_of(page)
    counts = {Path(image["path"]).name: image["objects"] for image in result["images"]}
    assert {row["cells"][0]: row["cells"][1] for row in table["rows"][1:]} == counts


@pytest.mark.parametrize("report", ["r.txt", "missing/r.html"])
def test_a_report_that_cannot_be_is_refused_before_any_work(report: str, images: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--report"):
        tapetum.classify(images, model="efficientnet-lite0", report=tmp_path / report)
    with pytest.raises(BadInput, match="--report"):
        tapetum.caption(images, report=tmp_path / report)
    with pytest.raises(BadInput, match="--report"):
        tapetum.track(images / "b.png", model="static", report=tmp_path / report)
