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
from tapetum.app.see.ask_models import write_replies_report
from tapetum.app.see.replies import ImageReplies, ImageReply
from tapetum.app.verb import Listener
from tapetum.core.errors import BadInput
from tapetum.types import Answer, Boxes, Masks

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
    assert table["rows"][0] == {"cells": [str(images / "broken.png"), None, None], "trouble": "could not be read"}
    best = {image["path"]: image["classes"][0] for image in result["images"]}
    shown = [row["cells"] for row in table["rows"][1:]]
    assert [cells[2] for cells in shown] == sorted(cells[2] for cells in shown)
    for path, names, probability in shown:
        assert names.startswith(best[path]["name"])
        assert probability == pytest.approx(best[path]["probability"], abs=1e-6)
    assert [image is not None for image in table["images"]] == [False, True, True, True]


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
    table = table_of(write_replies_report(tmp_path / "r.html", replies, sources, None, Listener()))
    assert [row["cells"][0] for row in table["rows"]] == ["e", "b", "a", "c", "d"]
    assert table["rows"][4]["cells"][1:] == ["cup (2 malformed)", 0.95]
    assert table["rows"][0]["trouble"] == "is gone"


def test_improbable_answers_are_first(tmp_path: Path) -> None:
    replies = ImageReplies(images=(reply("a", [], "yes", 0.9), reply("b", [], NASTY, 0.2)))
    sources = {"a": noise(0)}  # the other file has gone
    page = write_replies_report(tmp_path / "r.html", replies, sources, None, Listener())
    table = table_of(page)
    assert [row["cells"] for row in table["rows"]] == [["b", NASTY, 0.2], ["a", "yes", 0.9]]
    assert [image is not None for image in table["images"]] == [False, True]


@pytest.mark.slow
def test_discover_writes_its_page_twice(images: Path, tmp_path: Path, run: Run) -> None:
    page = tmp_path / "r.html"
    code, out, _ = run("discover", images, "--out", tmp_path / "found", "--report", page, "--json")
    assert code == 2
    result = json.loads(out)
    assert page.read_text() == (tmp_path / "found" / "objects.html").read_text()
    table = table_of(page)
    counts = {Path(image["path"]).name: image["objects"] for image in result["images"]}
    assert {row["cells"][0]: int(row["cells"][1].removeprefix("objects: ")) for row in table["rows"][1:]} == counts


@pytest.mark.parametrize("report", ["r.txt", "missing/r.html"])
def test_a_report_that_cannot_be_is_refused_before_any_work(report: str, images: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--report"):
        tapetum.classify(images, model="efficientnet-lite0", report=tmp_path / report)
    with pytest.raises(BadInput, match="--report"):
        tapetum.caption(images, report=tmp_path / report)
    with pytest.raises(BadInput, match="--report"):
        tapetum.track(images / "b.png", model="static", report=tmp_path / report)
