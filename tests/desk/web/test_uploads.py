"""Files that are sent to the server."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from support.files import make_image
from support.web_page import ADDRESS, TOKEN, error_of, ok, serving


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / ".tapetum-web").rglob("*") if path.suffix in (".mp4", ".png"))


def test_a_video_is_put_into_the_folder(page: TestClient, folder: Path, clip: Path) -> None:
    answer = ok(page.post("/api/upload?name=new%20clip.mp4", content=clip.read_bytes()))
    assert (folder / "new clip.mp4").read_bytes() == clip.read_bytes()
    assert answer["name"] == "new clip.mp4"
    assert answer["frames"] == 6
    assert answer in ok(page.get("/api/state"))["items"]
    assert page.get(f"/api/items/{answer['id']}/frames/0.jpg").status_code == 200
    assert left(folder) == []


def test_no_file_is_replaced(page: TestClient, folder: Path, clip: Path, tmp_path: Path) -> None:
    before = clip.read_bytes()
    names = [ok(page.post("/api/upload?name=clip.mp4", content=before + bytes(k)))["name"] for k in (1, 2)]
    assert names == ["clip-2.mp4", "clip-3.mp4"]
    assert (folder / "clip.mp4").read_bytes() == before
    make_image(tmp_path / "outside.png", (1, 2, 3))
    (folder / "a.png").symlink_to(tmp_path / "nothing.png")
    assert ok(page.post("/api/upload?name=a.png", content=(tmp_path / "outside.png").read_bytes()))["name"] == "a-2.png"
    assert not (tmp_path / "nothing.png").exists()


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".mp4", ".hidden.mp4", "../a.mp4", "a/b.mp4", "/etc/a.mp4", "a\\b.mp4", "a\nb.mp4", "a\0.mp4"),
        *("a.exe", "a", "a.mp4.sh", "a.mp4 ", " a.mp4", "a.npy", "x" * 200 + ".mp4", "é" * 100 + ".mp4", "a\u202e4pm.mp4"),
    ],
)
def test_names_that_are_refused(page: TestClient, folder: Path, clip: Path, name: str) -> None:
    error_of(page.post("/api/upload", params={"name": name}, content=clip.read_bytes()), 400)
    assert sorted(path.name for path in folder.iterdir()) == [".tapetum-web", "clip.mp4"]


def test_a_content_that_is_no_video_is_refused(page: TestClient, folder: Path) -> None:
    for content in (b"", b"<html>", b"\0" * 5000):
        line = error_of(page.post("/api/upload?name=a.mp4", content=content), 400)
        assert "a.mp4" in line
        assert str(folder) not in line
    assert sorted(path.name for path in folder.iterdir()) == [".tapetum-web", "clip.mp4"]
    assert left(folder) == []


def test_more_than_the_cap_is_refused(folder: Path, clip: Path) -> None:
    data = clip.read_bytes()
    sent = []

    def parts() -> Iterator[bytes]:
        for k in range(0, len(data), 100):
            sent.append(k)
            yield data[k : k + 100]

    with serving(folder, upload_bytes=len(data) - 1) as client:
        error_of(client.post("/api/upload?name=a.mp4", content=data), 413)
        error_of(client.post("/api/upload?name=a.mp4", content=parts()), 413)  # of no stated length
        assert ok(client.get("/api/state"))["limits"] == {"upload_bytes": len(data) - 1}
    assert sorted(path.name for path in folder.iterdir()) == [".tapetum-web", "clip.mp4"]
    assert left(folder) == []
    with serving(folder, upload_bytes=len(data)) as client:
        ok(client.post("/api/upload?name=a.mp4", content=data))


def test_a_full_disk_is_one_line(page: TestClient, folder: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert "disk is full" in error_of(page.post("/api/upload?name=a.mp4", content=clip.read_bytes()), 400)
    assert left(folder) == []


def test_a_tab_that_is_closed_while_it_sends_leaves_nothing(
    page: TestClient, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def send() -> list[Any]:
        heard = iter([{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}])
        said: list[Any] = []

        async def receive() -> Any:
            return next(heard)

        async def answer(message: Any) -> None:
            said.append(message)

        headers = [(b"host", ADDRESS.removeprefix("http://").encode()), (b"x-tapetum-token", TOKEN.encode())]
        scope = {"type": "http", "method": "POST", "path": "/api/upload", "query_string": b"name=a.mp4", "headers": headers}
        await page.app({**scope, "app": page.app}, receive, answer)
        return said

    assert asyncio.run(send())[0]["status"] == 400
    assert left(folder) == []
    assert capsys.readouterr().err == ""


def test_a_full_disk_under_the_database_is_one_line(
    page: TestClient, clip: Path, item: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.app.state.page.database.rows("PRAGMA max_page_count = 1")
    for _ in range(50):
        answer = page.post(f"{item}/edits", json={"type": "add_grid", "frame": 0, "rows": 8, "columns": 8})
        if answer.status_code != 200:
            break
    assert "full" in error_of(answer, 400)
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert "disk is full" in error_of(page.get(f"{item}/export?format=csv"), 400)
