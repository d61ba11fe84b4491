"""Search on the page, in the index of the folder."""

from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from support.files import make_image
from support.web_page import error_of, ok, read_state
from tapetum.app.verb import Listener
from tapetum.desk.search.index import IndexOptions, index
from tapetum.desk.search.search import SearchOptions, search
from tapetum.desk.search.vector_index import IndexedPiece, VectorIndex


@pytest.mark.slow
def test_the_page_finds_what_the_command_finds(page: TestClient, item: str, folder: Path) -> None:
    for number, color in enumerate(((250, 10, 10), (240, 20, 15), (10, 10, 250))):
        make_image(folder / f"{number}.png", color, (64, 48))
    index.run(IndexOptions((folder,), model="resnet-nano"), Listener())
    items = read_state(page)["items"]
    names = {each["id"]: each["name"] for each in items}
    [chosen] = [number for number, name in names.items() if name == "0.png"]
    found = ok(page.get("/api/search", params={"item": chosen, "frame": 0}))
    command = search.run(SearchOptions(place=folder, image=str(folder / "0.png"), count=60), Listener())
    assert [names[row["item"]] for row in found["results"]] == [Path(each.path).name for each in command.moments]
    np.testing.assert_allclose([row["cosine"] for row in found["results"]], [each.cosine for each in command.moments])
    assert found["model"] == "resnet-nano"
    frames = {each["id"]: each["frames"] for each in items}
    for row in found["results"]:
        assert 0 <= row["frame"] < frames[row["item"]]
        assert row["thumbnails"]
        assert all(each.startswith("data:image/jpeg;base64,") for each in row["thumbnails"])
    moment = ok(page.get("/api/search", params={"item": item.rsplit("/", 1)[1], "frame": 2}))
    assert item.rsplit("/", 1)[1] not in {row["item"] for row in moment["results"]}  # the query itself
    (folder / "1.png").unlink()
    again = ok(page.get("/api/search", params={"item": chosen, "frame": 0}))
    assert len(again["results"]) == len(found["results"]) - 1  # a file that is gone is not shown
    refused = error_of(page.get("/api/search", params={"text": "red"}), 400)
    assert "reads no words" in refused
    assert "tapetum weights fetch" in refused


@pytest.mark.parametrize("reference", ["evil.py:Net", "OWNER/NAME", "/models/own.safetensors", "siglip2-base-32", ""])
def test_a_model_that_a_folder_names_is_loaded_only_if_it_is_here(page: TestClient, folder: Path, reference: str) -> None:
    VectorIndex.create(folder / ".tapetum-index", "identity", 2, reference=reference, words="yes").close()
    with VectorIndex.open(folder / ".tapetum-index", writes=True) as made:
        made.put("a.png", "print", [IndexedPiece(path="a.png")], np.ones((1, 2), np.float32))
    assert "not on this machine" in error_of(page.get("/api/search?text=x"), 409)


def test_searches_that_cannot_be(page: TestClient, item: str) -> None:
    number = item.rsplit("/", 1)[1]
    assert "tapetum index FOLDER" in error_of(page.get("/api/search?text=x"), 409)
    error_of(page.get("/api/search"), 400)
    error_of(page.get("/api/search?text=%20"), 400)
    error_of(page.get(f"/api/search?text={'x' * 1001}"), 400)
    error_of(page.get("/api/search?item=gone&frame=0"), 404)
    for frame in ("6", "-1", "x", "9" * 20):
        error_of(page.get(f"/api/search?item={number}&frame={frame}"), 400)


def test_models_are_described_with_what_they_do_not_know(page: TestClient) -> None:
    described = ok(page.get("/api/models"))
    answering = {each["name"]: each["remarks"] for each in described["answer"]}
    assert "tapetum weights fetch" in answering["paligemma-nano-2"][1]
    assert "tapetum weights fetch" in described["missing"]["words"]


def test_frames_and_seconds_of_an_item_agree(page: TestClient, item: str, folder: Path) -> None:
    items = page.app.state.page.items
    video = items.by_path(folder / "clip.mp4")
    assert [video.frame_at(video.seconds_of(frame)) for frame in range(6)] == list(range(6))
    assert video.frame_at(1e9) == video.frames - 1
    items.settle(video.id, 6, np.array([5.0, 5.1, 5.5, 6.0, 6.1, 9.0]).tobytes())
    settled = items.by_path(folder / "clip.mp4")
    assert settled.seconds_of(3) == 1.0
    assert [settled.frame_at(seconds) for seconds in (0, 0.4, 0.5, 3.9, 50)] == [0, 1, 2, 4, 5]
