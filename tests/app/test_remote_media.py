"""Images and videos at addresses: the results of the disk, and read once."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tapetum
from support.files import make_image
from support.storage import object_storage, read_files, web_server

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of copies; the working directory is an empty one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "cache"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """A folder, the address at which a web server has it, and what was read there."""
    folder = tmp_path / "web"
    folder.mkdir()
    with web_server(folder, ranges=True) as (base, requests):
        yield folder, base, requests


@pytest.mark.slow
def test_images_are_read_once_and_classified_as_on_the_disk(web: tuple[Path, str, list[str]], tmp_path: Path) -> None:
    folder, base, requests = web
    for name, colour in (("one", (250, 0, 0)), ("photos/a b", (0, 0, 250)), ("photos/c", (250, 0, 0))):
        make_image(folder / f"{name}.png", colour)
    encoder = tapetum.encoders.build("resnet-18", stem_width=8, classes=7)
    tapetum.encoders.save(encoder, tmp_path / "few.safetensors")
    found = [
        tapetum.classify((f"{where}/one.png", f"{where}/photos"), model=str(tmp_path / "few.safetensors")).images
        for where in (folder, base, base)
    ]
    assert sorted(read_files(requests)) == ["GET /one.png", "GET /photos/a%20b.png", "GET /photos/c.png"]
    for images in found[1:]:
        assert [Path(image.path).name for image in images] == ["one.png", "a b.png", "c.png"]
        assert [image.numbers for image in images] == [image.numbers for image in found[0]]


@pytest.mark.slow
def test_videos_in_object_storage_are_tracked_as_on_the_disk(
    clip: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = "t,x,y\n0,10,12\n2,30,20\n"
    (tmp_path / "points.csv").write_text(points)
    words = "--model", "static", "--json"
    code, here, err = run("track", clip, "--points", tmp_path / "points.csv", "--out", "here.csv", *words)
    assert code == 0, err
    with object_storage(monkeypatch) as client:
        client.put_object(Bucket="bucket", Key="clips/a.mp4", Body=clip.read_bytes())
        client.put_object(Bucket="bucket", Key="clips/bad.mp4", Body=b"no video")
        client.put_object(Bucket="bucket", Key="points.csv", Body=points.encode())
        given = "--points", "s3://bucket/points.csv"
        code, there, err = run("track", "s3://bucket/clips/a.mp4", *given, "--out", "there.csv", *words)
        assert code == 0, err
        code, _, err = run("track", "s3://bucket/clips", "--grid", 2, *words)
    assert Path("here.csv").read_text() == Path("there.csv").read_text()
    assert json.loads(here)["frames"] == json.loads(there)["frames"]
    assert (code, "bad.mp4 is not a video that can be read" in err) == (2, True)
    assert [path.parent.name for path in Path().rglob("tracks.npz")] == ["a.mp4"]


def test_what_goes_wrong_is_one_line(web: tuple[Path, str, list[str]], cache: Path, run: Run) -> None:
    folder, base, requests = web
    for name in ("a.png", "a.mp4", "a.json"):
        (folder / name).write_bytes(b"nothing")
    still = "--model", "static"
    for words, message in (
        (("classify", f"{base}/gone.png"), f"there is nothing at {base}/gone.png; check the address"),
        (("caption", "ftp://host/a.png"), "has the scheme ftp; give s3://"),
        (("embed", "http://127.0.0.1:9/a.png", "--out", "a.npz"), "cannot read http://127.0.0.1:9/a.png: "),
        (("discover", f"{base}/a.png", "--out", "found"), f"{base}/a.png is not an image"),
        (("track", f"{base}/a.mp4", *still), f"{base}/a.mp4 is not a video"),
        (("show", f"{base}/a.json", f"{base}/a.mp4"), f"{base}/a.mp4 is not a video"),
        (("scenes", "make", "made", "--n", 1, "--textures", f"{base}/a.png"), f"{base}/a.png is neither a folder of images"),
    ):
        code, out, err = run(*words)
        assert (code, out, err.strip().count("\n")) == (2, "", 0), err
        assert message in err
        assert str(cache) not in err
    requests.clear()
    code, _, err = run("answer", f"{base}/a.mp4", "What?", "--options", "one")
    assert (code, "give two or more different answers" in err, requests) == (2, True, [])  # said before anything is read
