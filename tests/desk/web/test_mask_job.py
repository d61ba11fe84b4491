"""Masks by clicks on the page, and models that it fetches: a tiny SAM 2, from a folder of weights and from a hub of our own."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from support.hub import serve
from support.sam2_model import save_sam2
from support.web_page import error_of, finished, first_item, ok, serving
from tapetum.hub.registry import find
from tapetum.systems.sam2.segmenter import MaskPrompt, VideoSegmenter
from tapetum.video import open_video

CLICKS = [[1, 20, 20, "in", 1], [1, 50, 40, "out", 1], [2, 30.5, 10, "in", 2]]
BOX = [4, 5, 5, 30, 40, 2]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    save_sam2(folder / "sam2-tiny")
    return folder


def image_of(page: TestClient, job: dict[str, Any], frame: int) -> np.ndarray:
    answer = page.get(f"/api/jobs/{job['id']}/masks/{frame}.png")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.mode == "P"
        assert image.convert("RGBA").getpixel((0, 0))[3] == (140 if image.getpixel((0, 0)) else 0)  # type: ignore[index]
        return np.asarray(image)


@pytest.mark.slow
def test_a_frame_is_shown_first_then_the_video(monkeypatch: pytest.MonkeyPatch, weights: Path, folder: Path) -> None:
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(weights))
    prompts = [
        MaskPrompt(frame=1, point=(20.0, 20.0)),
        MaskPrompt(frame=1, point=(50.0, 40.0), inside=False),
        MaskPrompt(frame=2, object=2, point=(30.5, 10.0)),
        MaskPrompt(frame=4, object=2, box=(5.0, 5.0, 30.0, 40.0)),
    ]
    segmenter = VideoSegmenter.load(weights / "sam2-tiny")
    with open_video(folder / "clip.mp4") as video, serving(folder) as page:
        item = first_item(page)
        job = finished(page, ok(page.post(f"{item}/masks", json={"clicks": CLICKS, "boxes": [BOX], "frame": 1})))
        assert (job["state"], job["kind"], job["result"]) == ("done", "mask", {"objects": [1], "frames": 1})
        [*_, (_, _, first)] = [made for made in segmenter.segment(video, prompts[:2]) if made[0] == 1]
        assert 0 < first.mean() < 1
        np.testing.assert_array_equal(image_of(page, job, 1), first)
        error_of(page.get(f"/api/jobs/{job['id']}/masks/4.png"), 404)
        error_of(page.get(f"/api/jobs/{job['id']}/masks/..%2f..%2fjob.json.png"), 404)

        begun = ok(page.post(f"{item}/masks", json={"clicks": CLICKS, "boxes": [BOX]}))
        assert "wait for that" in error_of(page.post(f"{item}/masks", json={"clicks": CLICKS}), 409)
        job = finished(page, begun)
        assert job["state"] == "done", job["message"]
        assert job["result"] == {"objects": [1, 2], "frames": len(video)}
        assert ok(page.get(f"{item}/project"))["masks"]["id"] == job["id"]
        expected = np.zeros((len(video), video.height, video.width), np.uint8)
        for frame, name, mask in segmenter.segment(video, prompts):
            expected[frame][mask] = np.maximum(expected[frame][mask], name)
        assert set(np.unique(expected)) == {0, 1, 2}
        packed = page.get(f"/api/jobs/{job['id']}/masks.zip")
        assert 'filename="clip-masks.zip"' in packed.headers["content-disposition"]
        with zipfile.ZipFile(io.BytesIO(packed.content)) as file:
            assert file.namelist() == [f"{frame:05d}.png" for frame in range(len(video))]
        for frame, numbers in enumerate(expected):
            np.testing.assert_array_equal(image_of(page, job, frame), numbers)
        job = finished(page, ok(page.post(f"{item}/masks", json={"clicks": [[0, 900, 1]], "frame": 0})))
        assert (job["state"], job["message"]) == ("failed", "a prompt at 900.0, 1.0 lies outside the image, which is 64x48")


def test_what_is_no_click_is_refused(monkeypatch: pytest.MonkeyPatch, weights: Path, page: TestClient, item: str) -> None:
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(weights / "none"))
    good = {"clicks": [[0, 5, 5]]}
    assert error_of(page.post(f"{item}/masks", json=good), 409).endswith(f"run: {find('sam2-tiny').fetch_text}")
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(weights))
    for content, words in (
        ({}, "give at least one"),
        ({"clicks": [5]}, "no lists"),
        ({"clicks": [[0, 5]]}, "frame,x,y"),
        ({"boxes": [[0, 5, [5], 6, 7]]}, "frame,x1,y1,x2,y2"),
        ({**good, "frame": 1}, "no click and no box is in frame 1"),
        ({**good, "frame": "0"}, "no click and no box"),
        ({**good, "model": "sam2-large"}, "choose one of sam2-tiny"),
        ({**good, "model": ["sam2-tiny"]}, "choose one of sam2-tiny"),
    ):
        assert words in error_of(page.post(f"{item}/masks", json=content), 400)
    monkeypatch.setattr("tapetum.desk.web.mask_job._MOST_PROMPTS", 0)
    error_of(page.post(f"{item}/masks", json=good), 400)


@pytest.mark.slow
def test_a_model_is_fetched_when_asked(monkeypatch: pytest.MonkeyPatch, weights: Path, folder: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    with serve({str(find("sam2-tiny").repository): weights / "sam2-tiny"}) as hub, serving(folder) as page:
        for name, value in hub.items():
            monkeypatch.setenv(name, value)

        def state_of(name: str) -> str:
            return next(each["state"] for each in ok(page.get("/api/weights"))["weights"] if each["name"] == name)

        assert [state_of(name) for name in ("tapir-nano", "sam2-tiny", "paligemma2-3b-mix-224")] == ["here", "fetch", "extra"]
        assert "no model 'nothing'" in error_of(page.post("/api/weights", json={"name": "nothing"}), 400)
        assert "is here already" in error_of(page.post("/api/weights", json={"name": "tapir-nano"}), 409)
        assert "accept the Gemma licence" in error_of(page.post("/api/weights", json={"name": "paligemma2-3b-mix-224"}), 409)
        assert ok(page.get("/api/models"))["masks"] == []
        job = finished(page, ok(page.post("/api/weights", json={"name": "sam2-tiny"})))
        assert (job["state"], job["result"]) == ("done", {"name": "sam2-tiny"})
        assert "licence" in job["message"]
        assert state_of("sam2-tiny") == "here"
        assert ok(page.get("/api/weights"))["job"]["id"] == job["id"]
        assert [each["name"] for each in ok(page.get("/api/models"))["masks"]] == ["sam2-tiny"]
        monkeypatch.setattr("tapetum.desk.web.models.find_spec", lambda name: None)
        assert state_of("sam2-tiny") == "extra"
