"""Questions about a frame."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import tapetum
from support.encoder_folders import siglip2
from support.web_page import error_of, finished, first_item, ok, serving
from tapetum.app.see.classify_labels import LabelsFitted
from tapetum.app.see.replies import ImageReplies, ImageReply
from tapetum.app.verb import Listener
from tapetum.desk.web import look_job
from tapetum.types import Answer, Boxes, Masks
from tapetum.video import open_video


def look(page: TestClient, item: str, **content: Any) -> Any:
    return finished(page, ok(page.post(f"{item}/look", json=content)))


@pytest.mark.slow
def test_a_question_is_answered(page: TestClient, item: str) -> None:
    job = look(page, item, verb="ask", frame=3, text="how many cubes are there?")
    assert (job["state"], job["kind"]) == ("done", "look")
    [image] = job["result"]["images"]
    assert (image["width"], image["height"], image["frames"]) == (64, 48, 1)
    assert job["result"]["model"] == "efficientnet-lite2"
    assert job["result"]["model"] in job["model"]
    assert job["result"]["masks"] == []


def test_masks_come_as_images(monkeypatch: pytest.MonkeyPatch, page: TestClient, item: str, folder: Path) -> None:
    mask = np.zeros((1, 48, 64), bool)
    mask[0, 10:20, 5:30] = True
    seen = []

    def replies(verb: str, image: np.ndarray, text: str, model: str, listener: Listener) -> ImageReplies:
        seen.append((verb, image.shape, text, model))
        reply = ImageReply(
            path="image-0",
            prompt="segment box",
            width=64,
            height=48,
            frames=1,
            frame=None,
            answer=Answer(text="", score=0.5),
            ended=True,
            boxes=Boxes(xyxy=np.array([[5.0, 10, 30, 20]]), labels=["box"], scores=np.array([0.5])),
            masks=Masks(masks=mask, labels=["box"], scores=np.array([0.5])),
            malformed=0,
        )
        return ImageReplies(images=(reply,), regions=True, model="paligemma-nano-2")

    monkeypatch.setattr(look_job, "_replies", replies)
    job = {"item": item.rsplit("/", 1)[1], "settings": {"verb": "segment", "frame": 5, "text": "box", "labels": []}}
    made = json.loads(json.dumps(look_job.work(job, folder, Listener())))
    assert seen == [("segment", (48, 64, 3), "box", "efficientnet-lite2")]
    [drawn] = made["result"]["masks"]
    with Image.open(io.BytesIO(base64.b64decode(drawn.removeprefix("data:image/png;base64,")))) as image:
        np.testing.assert_array_equal(np.asarray(image) > 127, mask[0])
    [reply] = made["result"]["images"]
    assert reply["boxes"] == [{"label": "box", "score": 0.5, "box": [5, 10, 30, 20]}]


def test_models_that_answer_are_offered_the_classifier_first(
    page: TestClient, item: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapetum.desk.web.models.is_here", lambda name: name in ("paligemma-nano-2", "efficientnet-lite2"))
    names = [each["name"] for each in ok(page.get("/api/models"))["answer"]]
    assert names[0] == "efficientnet-lite2"
    refused = page.post(f"{item}/look", json={"verb": "detect", "text": "cup", "model": "mcvit-films"})
    assert f"choose one of {', '.join(names)}" in error_of(refused, 400)


@pytest.mark.slow
def test_a_frame_is_compared_with_labels_as_on_the_command_line(folder: Path, tmp_path: Path) -> None:
    """By an encoder in the layout of its publishers, of which the page knows the name of its folder alone."""
    tower, lines = tmp_path / "tower", folder / "lines.txt"
    siglip2(tower)
    lines.write_text("secret\n")
    labels = ["a cat", "an owl", str(lines)]
    with serving(folder, words=str(tower)) as page:
        item = first_item(page)
        assert ok(page.get("/api/models"))["words"][0]["name"] == "tower"
        job = look(page, item, verb="classify", frame=2, labels=labels, model="tower")
        assert job["state"] == "done", job
        [image] = job["result"]["images"]
        assert str(tmp_path) not in job["model"]
        assert "tower" in error_of(page.post(f"{item}/look", json={"verb": "classify", "labels": labels, "model": "x"}), 400)
    frame = open_video(folder / "clip.mp4")[2]
    same = tapetum.classify([frame], labels=tuple(labels), model=str(tower))
    assert isinstance(same, LabelsFitted)
    assert [each["name"] for each in image["labels"]] == list(same.images[0].names)
    np.testing.assert_allclose([each["share"] for each in image["labels"]], same.images[0].shares, atol=1e-6)
    alone = look_job._fit(frame, {"labels": [str(lines)], "loads": str(tower), "model": "tower"}, Listener())["result"]
    assert [each["name"] for each in alone["images"][0]["labels"]] == [str(lines)]  # a label is no file of labels


def test_labels_need_a_model_that_reads_words(monkeypatch: pytest.MonkeyPatch, page: TestClient, item: str) -> None:
    monkeypatch.setattr("tapetum.desk.web.models.installed_word_models", list)
    refused = page.post(f"{item}/look", json={"verb": "classify", "labels": ["a cat"]})
    assert "run: tapetum weights fetch" in error_of(refused, 400)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"verb": "track", "frame": 0},
        {"verb": "ask", "frame": 0, "text": "  "},
        {"verb": "detect", "frame": 6, "text": "x"},
        {"verb": "ask", "frame": 0, "text": "x" * 10_001},
        {"verb": "ask", "frame": 0, "text": "x", "model": "../nobody"},
        {"verb": "classify", "frame": 0, "labels": "cat"},
        {"verb": "classify", "frame": 0, "labels": ["x"] * 1001},
    ],
)
def test_what_is_no_question(page: TestClient, item: str, content: dict[str, Any]) -> None:
    error_of(page.post(f"{item}/look", json=content), 400)
    assert not page.app.state.page.jobs.busy()
