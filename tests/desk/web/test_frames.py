"""Items of a folder, and their frames."""

import io
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from support.files import make_image
from support.web_page import edit, error_of, ok, read_state, serving, track
from tapetum.desk.web.answers import Refused
from tapetum.desk.web.frames import Frames
from tapetum.desk.web.items import MediaItem
from tapetum.video import open_video, write_video


def items_of(client: TestClient) -> dict[str, dict]:
    return {each["name"]: each for each in read_state(client)["items"]}


def test_the_state_lists_videos_and_images_without_their_place(page: TestClient, folder: Path) -> None:
    make_image(folder / "inner" / "b.png", (1, 2, 3), (20, 12))
    (folder / "inner" / "notes.txt").write_text("x")
    (folder / "broken.mp4").write_bytes(b"no video")
    make_image(folder / ".hidden" / "c.png", (1, 2, 3))
    content = read_state(page)
    found = [{name: value for name, value in each.items() if name not in ("id", "order")} for each in content["items"]]
    assert found == [
        {"name": "clip.mp4", "kind": "video", "frames": 6, "fps": 10.0, "width": 64, "height": 48},
        {"name": "inner/b.png", "kind": "image", "frames": 1, "fps": 25.0, "width": 20, "height": 12},
    ]
    assert str(folder) not in page.get("/api/state").text
    assert content["models"]["track"] == "static"
    assert set(content) == {"version", "folder", "items", "next", "count", "unread", "models", "limits", "exports"}


def test_ids_stay_and_follow_the_content(folder: Path, tmp_path: Path) -> None:
    with serving(folder) as client:
        number = items_of(client)["clip.mp4"]["id"]
    with serving(folder) as client:
        assert items_of(client)["clip.mp4"]["id"] == number
        os.utime(folder / "clip.mp4", (1, 1))
        assert items_of(client)["clip.mp4"]["id"] == number
        (folder / "clip.mp4").rename(folder / "moved.mp4")
        assert items_of(client)["moved.mp4"]["id"] == number
        shutil.move(folder / "moved.mp4", tmp_path / "away.mp4")
        assert items_of(client) == {}
        error_of(client.get(f"/api/items/{number}/project"), 404)
        write_video(folder / "moved.mp4", np.zeros((3, 16, 16, 3), np.uint8), 10)
        assert items_of(client)["moved.mp4"]["id"] != number
        shutil.move(tmp_path / "away.mp4", folder / "clip.mp4")
        assert items_of(client)["clip.mp4"]["id"] == number


def test_a_file_that_was_broken_is_read_when_it_is_whole(page: TestClient, folder: Path, clip: Path) -> None:
    (folder / "b.mp4").write_bytes(clip.read_bytes()[:100])
    assert list(items_of(page)) == ["clip.mp4"]
    (folder / "b.mp4").write_bytes(clip.read_bytes() + b"more")
    assert list(items_of(page)) == ["b.mp4", "clip.mp4"]


def test_frames_are_those_of_the_video(page: TestClient, item: str, clip: Path) -> None:
    video = open_video(clip)
    for number in (5, 0, 3, 2, 5):
        answer = page.get(f"{item}/frames/{number}.jpg")
        image = np.asarray(Image.open(io.BytesIO(answer.content)))
        assert image.shape == (48, 64, 3)
        apart = [np.abs(image.astype(int) - frame).mean() for frame in video]
        assert int(np.argmin(apart)) == number
    with Image.open(io.BytesIO(page.get(f"{item}/frames/1.jpg?width=32").content)) as small:
        assert small.size == (32, 24)
    with Image.open(io.BytesIO(page.get(f"{item}/frames/1.jpg?width=4000").content)) as large:
        assert large.size == (64, 48)


def test_frames_may_be_kept_for_good(page: TestClient, item: str) -> None:
    answer = page.get(f"{item}/frames/1.jpg?width=32")
    assert answer.headers["content-type"] == "image/jpeg"
    assert "immutable" in answer.headers["cache-control"]
    again = page.get(f"{item}/frames/1.jpg?width=32", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = page.get(f"{item}/frames/1.jpg?width=16", headers={"If-None-Match": answer.headers["etag"]})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("frames/6.jpg", 404),
        ("frames/-1.jpg", 404),
        (f"frames/{'9' * 5000}.jpg", 404),
        ("frames/١.jpg", 404),
        ("frames/1.jpg?width=x", 400),
        ("frames/1.jpg?width=12345678", 400),
    ],
)
def test_frames_that_are_not_there(page: TestClient, item: str, path: str, status: int) -> None:
    error_of(page.get(f"{item}/{path}"), status)


def test_what_is_kept_is_bounded_and_decoders_too(tmp_path: Path) -> None:
    rng, frames = np.random.default_rng(0), Frames(kept_bytes=20_000)
    for number in range(7):
        path = write_video(tmp_path / f"{number}.mp4", rng.integers(0, 255, (5, 64, 64, 3), dtype=np.uint8), 10)
        item = MediaItem(str(number), path, path.name, str(number), "video", 5, 10.0, 64, 64)
        made = [frames.jpeg(item, frame) for frame in range(5)]
        assert made == [frames.jpeg(item, frame) for frame in range(5)]
    frames.pool.shutdown()
    assert sum(map(len, frames.made.values())) <= 20_000
    assert len(frames._readers) <= 4
    frames.close()


def test_frames_around_are_made_ahead(page: TestClient, item: str) -> None:
    frames = page.app.state.page.frames
    page.get(f"{item}/frames/2.jpg?width=32")
    frames.pool.shutdown()
    assert {key[1] for key in frames.made} == set(range(6))


def test_an_item_that_is_not_there(page: TestClient) -> None:
    for path in ("project", "tracks.bin", "check", "export?format=csv", "frames/0.jpg"):
        error_of(page.get(f"/api/items/0123456789abcdef/{path}"), 404)
    for path in ("edits", "undo", "redo", "jobs", "look"):
        error_of(page.post(f"/api/items/0123456789abcdef/{path}", json={}), 404)


def test_many_requests_at_once_are_decoded_in_rising_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that wait for the decoder do not send it back and forth; frames made ahead wait for them."""
    opened, free, decoded = threading.Event(), threading.Event(), []

    class Slow:
        def __init__(self, path: Path):
            self.video = open_video(path)

        def __getitem__(self, number: int) -> np.ndarray:
            opened.set()
            free.wait()
            decoded.append(number)
            return self.video[number]

        def close(self) -> None:
            self.video.close()

    monkeypatch.setattr("tapetum.desk.web.frames.open_video", Slow)
    frames, item = Frames(), MediaItem("x", folder / "clip.mp4", "clip.mp4", "x", "video", 6, 10.0, 64, 48)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(frames.jpeg, item, 3)
        opened.wait()
        others = [pool.submit(frames.jpeg, item, number) for number in (5, 1, 4, 0)]
        while len(frames._readers["x"]._requested) < 4:
            time.sleep(0.01)
        free.set()
        made = [each.result() for each in (first, *others)]
    assert decoded[:5] == [3, 4, 5, 0, 1]
    assert made[0] == Frames().jpeg(item, 3)
    frames.close()


def test_requests_that_wait_are_let_go_when_the_server_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ThreadPoolExecutor, "submit", lambda *_: None)  # no thread gets to it
    frames, item = Frames(), MediaItem("x", folder / "clip.mp4", "clip.mp4", "x", "video", 6, 10.0, 64, 48)
    refused: list[str] = []

    def ask() -> None:
        try:
            frames.jpeg(item, 2)
        except Refused as error:
            refused.append(str(error))

    waiting = threading.Thread(target=ask)
    waiting.start()
    while not (frames._readers and frames._readers["x"]._requested):
        time.sleep(0.01)
    frames.close()
    waiting.join()
    assert refused == ["the server is ending"]
    with pytest.raises(Refused, match="ending"):
        frames.jpeg(item, 2)


def test_a_known_file_that_becomes_a_link_out_of_the_folder_is_no_longer_shown(
    page: TestClient, item: str, folder: Path, tmp_path: Path
) -> None:
    shutil.move(folder / "clip.mp4", tmp_path / "outside.mp4")
    (folder / "clip.mp4").symlink_to(tmp_path / "outside.mp4")  # size and time are those of before
    for path in ("frames/0.jpg", "project", "tracks.bin"):
        error_of(page.get(f"{item}/{path}"), 404)
    assert page.app.state.page.items.by_path(folder / "clip.mp4") is None


def test_a_file_that_is_another_one_is_not_shown_as_the_old(page: TestClient, item: str, folder: Path, clip: Path) -> None:
    write_video(folder / "clip.mp4", np.zeros((3, 16, 16, 3), np.uint8), 10)
    assert "another file" in error_of(page.get(f"{item}/frames/0.jpg"), 404)
    (folder / "clip.mp4").write_bytes(clip.read_bytes())
    assert page.get(f"{item}/frames/0.jpg").status_code == 200


def test_names_need_not_be_utf_8(page: TestClient, folder: Path, clip: Path) -> None:
    strange = os.fsdecode(b"caf\xe9")
    for _ in range(2):  # once new, once known
        make_image(folder / f"{strange}.png", (1, 2, 3), (20, 12))
        found = items_of(page)
        assert set(found) == {"caf\\xe9.png", "clip.mp4"}
        number = found["caf\\xe9.png"]["id"]
        assert page.get(f"/api/items/{number}/frames/0.jpg").status_code == 200
    ok(page.post("/api/upload?name=new.mp4", content=clip.read_bytes() + b"more"))
    os.rename(folder / "clip.mp4", folder / f"{strange}.mp4")
    number = items_of(page)["caf\\xe9.mp4"]["id"]
    item = f"/api/items/{number}"
    edit(page, item, "add_point", frame=0, x=1, y=1)
    track(page, item)
    assert page.get(f"{item}/export?format=csv").status_code == 200
