"""Files that are sent to the server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from support.files import make_image
from support.web_page import error_of, ok, serving
from tapetum.app.web.uploads import read_name


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


def test_names_of_other_scripts_are_taken() -> None:
    assert read_name("фильм 1.MP4") == "фильм 1.MP4"
