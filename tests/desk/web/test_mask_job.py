"""The mask of an object on the page: from clicks and boxes to files, as the command line makes it."""

import io
import json
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from support.web_page import edit, error_of, finished, first_item, folder_with, ok, serving
from tapetum.app.verb import Listener
from tapetum.data.rle import decode_mask
from tapetum.desk.web import mask_job, track_job
from tapetum.desk.web.database import FILE
from tapetum.desk.web.hidden import HIDDEN
from tapetum.desk.web.masks import MaskStore, signature
from tapetum.hub import loading
from tapetum.metrics.masks import mask_iou
from tapetum.video import write_video

FRAMES, SIZE = 5, (72, 96)
BOX = [22.0, 14.0, 64.0, 52.0]
TRUTH = np.zeros(SIZE, bool)
TRUTH[20:46, 30:58] = True


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of a block that stands still, so that the tracker static is right about it."""
    noise = np.random.default_rng(0).normal(0, 8, (FRAMES, *SIZE, 3))
    frames = np.where(TRUTH[..., None], (190, 60, 50), (80, 130, 90)) + noise
    return write_video(tmp_path_factory.mktemp("video") / "still.mp4", frames.clip(0, 255).astype(np.uint8), 10)


@pytest.fixture
def folder(tmp_path: Path, still: Path) -> Path:
    return folder_with(still, tmp_path / "videos")


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    yield
    mask_job._kept.clear()
    track_job._drop_kept()


def masked(client: TestClient, item: str) -> dict[str, Any]:
    job = finished(client, ok(client.post(f"{item}/jobs", json={"kind": "mask"})))
    assert job["state"] == "done", job
    return job


def decoded(client: TestClient, item: str) -> list[np.ndarray]:
    return [decode_mask({"size": SIZE, "counts": each}) for each in ok(client.get(f"{item}/masks"))["runs"]]


def test_masks_and_files_are_those_of_the_command_line(
    page: TestClient, item: str, folder: Path, run: Callable[..., Any]
) -> None:
    assert ok(page.get(f"{item}/masks")) == {"runs": [], "current": False, "job": None}
    project = edit(page, item, "prompt", frame=1, box=BOX)
    assert project["prompts"] == [{"frame": 1, "box": BOX, "inside": [], "outside": []}]
    assert "press Mask first" in error_of(page.get(f"{item}/export?format=masks-png"), 409)
    assert masked(page, item)["result"] == {"frames": FRAMES, "computed": 1}
    assert ok(page.get(f"{item}/masks"))["current"]
    masks = decoded(page, item)
    assert min(mask_iou(mask[None], TRUTH[None])[0] for mask in masks) > 0.9
    out = folder.parent / "out"
    box = "1," + ",".join(map(str, BOX))
    assert run("segment", folder / "clip.mp4", "--box", box, "--tracker", "static", "--out", out)[0] == 0
    answer = page.get(f"{item}/export?format=masks-coco")
    assert answer.headers["content-disposition"] == 'attachment; filename="clip-masks.json"'
    assert json.loads(answer.content) == json.loads((out / "masks.json").read_text())
    for kind, inside in (("masks-png", 255), ("masks-davis", 1)):
        with zipfile.ZipFile(io.BytesIO(page.get(f"{item}/export?format={kind}").content)) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(".png"))
            assert names == [f"clip/{frame:05d}.png" for frame in range(FRAMES)]
            for name, mask in zip(names, masks, strict=True):
                np.testing.assert_array_equal(np.asarray(Image.open(archive.open(name))), mask * inside)


def test_a_correction_an_undo_and_clear(page: TestClient, item: str) -> None:
    edit(page, item, "prompt", frame=0, box=BOX)
    masked(page, item)
    before = decoded(page, item)
    project = edit(page, item, "prompt", frame=4, x=31.0, y=21.0, inside=False)
    assert project["prompts"][1] == {"frame": 4, "box": None, "inside": [], "outside": [[31.0, 21.0]]}
    shown = ok(page.get(f"{item}/masks"))
    assert (shown["current"], len(shown["runs"])) == (False, FRAMES)  # the earlier mask stays to be seen
    masked(page, item)
    after = decoded(page, item)
    assert before[4][21, 31]
    assert not after[4][21, 31]
    np.testing.assert_array_equal(after[0], before[0])
    assert len(ok(page.post(f"{item}/undo"))["prompts"]) == 1
    assert not ok(page.get(f"{item}/masks"))["current"]
    ok(page.post(f"{item}/redo"))
    assert ok(page.get(f"{item}/masks"))["current"]
    ok(page.post("/api/trackers", json={"name": "tapir-nano"}))
    assert not ok(page.get(f"{item}/masks"))["current"]
    assert edit(page, item, "clear_prompts")["prompts"] == []
    assert ok(page.post(f"{item}/undo"))["prompts"]
    assert ok(page.get(f"{item}/masks"))["runs"] == []


def test_the_first_mask_comes_before_the_points_and_a_correction_costs_what_it_changes(
    page: TestClient, item: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[tuple[bool, list[int]]] = []
    save = MaskStore.save

    def save_and_look(store: MaskStore, number: str, key: str, runs: list[str | None]) -> None:
        save(store, number, key, runs)
        saved.append((key != "", [frame for frame, each in enumerate(runs) if each is not None]))

    monkeypatch.setattr(MaskStore, "save", save_and_look)
    monkeypatch.setattr(loading, "_kept", None)
    loading.keep_loaded()
    number = item.rsplit("/", 1)[1]

    def work() -> int:
        prompts = ok(page.get(f"{item}/project"))["prompts"]
        job = {"item": number, "settings": {"model": "static", "device": None, "prompts": prompts}}
        return mask_job.work(job, folder, Listener())["result"]["computed"]

    edit(page, item, "prompt", frame=2, box=BOX)
    assert work() == 1
    assert saved == [(False, [2]), (True, [0, 1, 2, 3, 4])]
    edit(page, item, "prompt", frame=0, x=31.0, y=21.0, inside=False)
    assert work() == 1
    ok(page.post(f"{item}/undo"))
    assert work() == 0
    mask_job._kept.clear()
    assert work() == 1


@pytest.mark.parametrize(
    "content",
    [
        {"frame": FRAMES, "box": BOX},
        {"frame": 0, "box": [3, 3, 3, 9]},
        {"frame": 0, "box": [1, 2, 3]},
        {"frame": 0, "box": [1, 2, 3, "4"]},
        {"frame": 0, "x": 97, "y": 1},
        {"frame": 0, "x": None, "y": 1},
        {},
    ],
)
def test_prompts_that_cannot_be(page: TestClient, item: str, content: dict[str, Any]) -> None:
    error_of(page.post(f"{item}/edits", json={"type": "prompt", **content}), 400)
    assert ok(page.get(f"{item}/project"))["revision"] == 0


def test_jobs_without_a_place_inside_are_refused(page: TestClient, item: str) -> None:
    assert "draw a box" in error_of(page.post(f"{item}/jobs", json={"kind": "mask"}), 400)
    edit(page, item, "prompt", frame=0, x=5.0, y=5.0, inside=False)
    assert "add one inside" in error_of(page.post(f"{item}/jobs", json={"kind": "mask"}), 400)
    assert not page.app.state.page.jobs.busy()


@pytest.mark.parametrize(
    ("runs", "status"),
    [("{", 409), ('{"a": 1}', 409), ("[1, 2]", 409), ('["99", null]', 400), ('["' + "o" * 40 + '1"]', 400), ("[]", 409)],
)
def test_masks_that_no_server_saved(folder: Path, runs: str, status: int) -> None:
    with serving(folder) as page:
        item = first_item(page)
        prompts = edit(page, item, "prompt", frame=0, box=BOX)["prompts"]
        content = page.app.state.page.items.get(item.rsplit("/", 1)[1]).content
    values = item.rsplit("/", 1)[1], signature("static", content, prompts), runs
    with closing(sqlite3.connect(folder / HIDDEN / FILE)) as other, other:
        other.execute("INSERT INTO masks VALUES (?, ?, ?)", values)
    with serving(folder) as page:
        assert page.get(f"{item}/masks").status_code == 200
        for kind in ("masks-coco", "masks-png"):
            error_of(page.get(f"{item}/export?format={kind}"), status)


@pytest.mark.parametrize(
    "planted",
    [
        {"type": "prompt"},
        {"type": "prompt", "frame": "0", "x": 1, "y": 1, "inside": True},
        {"type": "prompt", "frame": 0, "x": 1, "y": 1, "inside": True, "box": None},
        {"type": "prompt", "frame": 0, "box": "1234"},
        {"type": "prompt", "frame": 0, "box": [1, 2, 3, float("inf")]},
    ],
)
def test_prompts_that_no_server_saved(folder: Path, planted: dict[str, Any]) -> None:
    with serving(folder) as page:
        item = first_item(page)
        edit(page, item, "prompt", frame=0, box=BOX)
    with closing(sqlite3.connect(folder / HIDDEN / FILE)) as other, other:
        other.execute("UPDATE edits SET edit = ?", (json.dumps(planted),))
    with serving(folder) as page:
        assert "move .tapetum-web away" in error_of(page.get(f"{item}/project"), 409)
