"""Search on the page: indexes of several models, which jobs make, and what is found in them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from support.files import make_image
from support.web_page import error_of, finished, ok, read_state, serving
from tapetum.app.verb import Listener
from tapetum.desk.search.index import IndexOptions, index
from tapetum.desk.search.search import SearchOptions, search
from tapetum.desk.search.vector_index import IndexedPiece, VectorIndex
from tapetum.desk.web import job_files, models
from tapetum.desk.web import search as web_search
from tapetum.desk.web.index_job import contents_file, index_folder, own_model


def find(page: TestClient, **query: Any) -> Any:
    """Search, and where there is no index yet, again once the job is done."""
    answer = page.get("/api/search", params=query)
    if answer.status_code == 409:
        assert "being made" in error_of(answer, 409)
        job = finished(page, answer.json()["job"])
        assert job["state"] == "done", job
        answer = page.get("/api/search", params=query)
    return ok(answer)


@pytest.mark.slow
def test_moments_are_found_by_words_in_an_index_that_a_job_makes(page: TestClient, item: str, folder: Path) -> None:
    make_image(folder / "a.png", (250, 200, 40), (64, 48))
    query = {"text": "a box", "model": "mcvit-films"}
    answer = page.get("/api/search", params=query)
    again = page.get("/api/search", params=query).json()["job"]["id"]
    assert again == answer.json()["job"]["id"]
    job = finished(page, answer.json()["job"])
    assert (job["state"], job["result"]["files"], job["result"]["failed"]) == ("done", 2, 0)
    assert own_model(folder) == "mcvit-films"
    found = ok(page.get("/api/search", params=query))
    assert found["model"] == "mcvit-films"
    assert "does not know the real world" in " ".join(found["remarks"])
    assert "tapetum weights fetch" in found["remarks"][-1]
    assert "job" not in found
    ids = {each["id"]: each for each in read_state(page)["items"]}
    assert {row["item"] for row in found["results"]} == set(ids)
    assert [row["cosine"] for row in found["results"]] == sorted((row["cosine"] for row in found["results"]), reverse=True)
    for row in found["results"]:
        assert 0 <= row["frame"] < ids[row["item"]]["frames"]
        assert all(each.startswith("data:image/jpeg;base64,") for each in row["thumbnails"])
        assert row["thumbnails"]
    (folder / "a.png").unlink()
    renewed = ok(page.get("/api/search", params=query))
    assert {row["item"] for row in renewed["results"]} == {item.rsplit("/", 1)[1]}  # what is gone is not shown
    assert finished(page, renewed["job"])["result"]["files"] == 1
    assert "job" not in ok(page.get("/api/search", params=query))


@pytest.mark.slow
def test_the_index_of_the_folder_is_used_and_others_lie_beside_it(page: TestClient, item: str, folder: Path) -> None:
    for number, color in enumerate(((250, 10, 10), (240, 20, 15), (10, 10, 250))):
        make_image(folder / f"{number}.png", color, (64, 48))
    index.run(IndexOptions((folder,), model="resnet-nano"), Listener())
    listed = ok(page.get("/api/models"))["search"]
    assert listed[0]["name"] == "resnet-nano"
    first = read_state(page)["items"]
    [chosen] = [each["id"] for each in first if each["name"] == "0.png"]
    found = find(page, item=chosen, frame=0)
    command = search.run(SearchOptions(place=folder, image=str(folder / "0.png"), count=60), Listener())
    names = {each["id"]: each["name"] for each in first}
    assert [names[row["item"]] for row in found["results"]] == [Path(each.path).name for each in command.moments]
    np.testing.assert_allclose([row["cosine"] for row in found["results"]], [each.cosine for each in command.moments])
    assert found["model"] == "resnet-nano"
    moment = find(page, item=item.rsplit("/", 1)[1], frame=2)
    assert item.rsplit("/", 1)[1] not in {row["item"] for row in moment["results"]}  # not that which was asked with
    other = find(page, item=chosen, frame=0, model="hip-nano")
    assert other["model"] == "hip-nano"
    assert index_folder(folder, "hip-nano").is_relative_to(folder / ".tapetum-web")
    assert own_model(folder) == "resnet-nano"
    refused = error_of(page.get("/api/search", params={"text": "red", "model": "resnet-nano"}), 400)
    assert "reads no words" in refused
    assert "tapetum weights fetch" in refused


def test_names_that_a_classifier_gave_are_searched(
    page: TestClient, item: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_search, "search_models", lambda: ["namer"])
    tags = (("tabby", 0.7), ("sock", 0.1)), (("espresso", 0.9),)
    with VectorIndex.create(folder / ".tapetum-index", "identity", 2, reference="namer", words="") as made:
        pieces = [
            IndexedPiece(path=str(folder / "clip.mp4"), start_s=k, stop_s=k + 1, tags=each) for k, each in enumerate(tags)
        ]
        made.put(str(folder / "clip.mp4"), "print", pieces, np.eye(2, dtype=np.float32))
    job_files.write(contents_file(folder, "namer"), page.app.state.page.items.signature())
    found = ok(page.get("/api/search?text=cat"))
    assert [(row["start_s"], row["cosine"]) for row in found["results"]] == [(0, None)]
    assert found["results"][0]["probability"] == pytest.approx(0.7)
    assert "the model reads no words" in " ".join(found["remarks"])
    assert ok(page.get("/api/search?text=banana"))["results"] == []
    assert "try a common noun" in error_of(page.get("/api/search?text=unicorn"), 400)


def test_searches_that_cannot_be(page: TestClient, item: str) -> None:
    number = item.rsplit("/", 1)[1]
    error_of(page.get("/api/search"), 400)
    error_of(page.get("/api/search?text=%20"), 400)
    error_of(page.get(f"/api/search?text={'x' * 1001}"), 400)
    error_of(page.get("/api/search?item=gone&frame=0"), 404)
    assert "choose one of" in error_of(page.get("/api/search?text=x&model=../nobody"), 400)
    for frame in ("6", "-1", "x", "9" * 20):
        error_of(page.get(f"/api/search?item={number}&frame={frame}"), 400)
    assert not page.app.state.page.jobs.busy()


def test_models_are_described_with_what_they_do_not_know(page: TestClient) -> None:
    described = ok(page.get("/api/models"))
    by_name = {each["name"]: each for each in described["search"]}
    assert by_name["mcvit-films"]["words"]
    assert "synthetic scenes" in by_name["mcvit-films"]["remarks"][0]
    assert not by_name["resnet-nano"]["words"]
    assert "dinov2-small" in by_name["resnet-nano"]["remarks"][1]
    answering = {each["name"]: each["remarks"] for each in described["answer"]}
    assert "tapetum weights fetch" in answering["paligemma-nano-2"][1]
    assert "tapetum weights fetch" in described["missing"]["words"]
    assert models.reads_words("siglip2-base-32")


def test_frames_and_seconds_of_an_item_agree(page: TestClient, item: str, folder: Path) -> None:
    items = page.app.state.page.items
    video = items.by_path(folder / "clip.mp4")
    assert [video.frame_at(video.seconds_of(frame)) for frame in range(6)] == list(range(6))
    assert video.frame_at(1e9) == video.frames - 1
    items.settle(video.id, 6, np.array([5.0, 5.1, 5.5, 6.0, 6.1, 9.0]).tobytes())
    settled = items.by_path(folder / "clip.mp4")
    assert settled.seconds_of(3) == 1.0
    assert [settled.frame_at(seconds) for seconds in (0, 0.4, 0.5, 3.9, 50)] == [0, 1, 2, 4, 5]


def test_a_server_finds_its_indexes_again(folder: Path) -> None:
    changing = VectorIndex.create(folder / ".tapetum-index", "identity", 2, reference="resnet-nano", words="")
    with changing, serving(folder) as client:
        assert ok(client.get("/api/models"))["search"][0]["name"] == "resnet-nano"
