"""`tapetum index` of images and films at addresses, and `tapetum search` in an index that lies at one."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import tapetum
from support.files import make_image
from support.storage import object_storage, web_server
from tapetum.core.errors import BadInput
from tapetum.desk.search.vector_index import VectorIndex
from tapetum.video import write_video

Run = Callable[..., tuple[int, str, str]]
MODEL = "resnet-nano"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images, a film of two seconds, one file that is damaged."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "web"
    (folder / "below").mkdir(parents=True)
    make_image(folder / "red one.png", (240, 10, 10))
    make_image(folder / "below" / "blue.png", (10, 10, 240))
    shades = np.repeat(np.array([[240, 10, 10], [10, 10, 240]], np.uint8), 5, axis=0)
    write_video(folder / "film.mp4", np.broadcast_to(shades[:, None, None], (10, 32, 48, 3)), 5)
    return folder


@pytest.fixture
def web(folder: Path) -> Iterator[tuple[str, list[str]]]:
    with web_server(folder) as served:
        yield served


def vectors_of(index: Path) -> dict[str, list[float]]:
    with VectorIndex.open(index) as opened:
        pieces = opened.pieces(opened.rows())
        names = [f"{piece.path.rpartition('/')[2].replace('%20', ' ')} {piece.start_s}" for piece in pieces]
        return dict(zip(names, opened.vectors().tolist(), strict=True))


@pytest.mark.slow
def test_an_index_of_an_address_is_that_of_the_folder(
    web: tuple[str, list[str]], folder: Path, tmp_path: Path, run: Run
) -> None:
    base, requests = web
    (folder / "broken.png").write_bytes(b"no image")
    code, out, err = run("index", base, "--out", tmp_path / "remote", "--model", MODEL, "--json")
    made = json.loads(out)
    assert (code, made["pieces"], made["failed"]) == (2, 4, [f"{base}/broken.png"])
    assert f"{base}/broken.png" in err
    (folder / "broken.png").unlink()
    tapetum.index(str(folder), out=tmp_path / "local", model=MODEL)
    assert vectors_of(tmp_path / "remote") == vectors_of(tmp_path / "local")
    found = tapetum.search(tmp_path / "remote", image=f"{base}/below/blue.png", count=1)
    assert [(each.path, each.start_s) for each in found.moments] == [(f"{base}/film.mp4", 1.0)]
    requests.clear()
    make_image(folder / "below" / "blue.png", (10, 240, 10))
    later = (folder / "below" / "blue.png").stat().st_mtime + 5
    os.utime(folder / "below" / "blue.png", (later, later))  # a server tells whole seconds
    (folder / "film.mp4").unlink()
    code, out, _ = run("index", base, "--out", tmp_path / "remote", "--json")
    assert (code, *(json.loads(out)[name] for name in ("pieces", "looked_at", "removed"))) == (0, 2, 1, 1)
    assert [each for each in requests if each.endswith(".png")] == ["GET /below/blue.png"]


@pytest.mark.slow
def test_an_index_at_an_address_is_searched(web: tuple[str, list[str]], folder: Path, tmp_path: Path) -> None:
    base, requests = web
    tapetum.index(str(folder), model=MODEL)
    for place in (base, f"{base}/.tapetum-index/"):
        found = tapetum.search(place, image=folder / "below" / "blue.png", count=1)
        assert [(Path(each.path).name, each.start_s) for each in found.moments] == [("film.mp4", 1.0)]
    assert requests.count("GET /.tapetum-index/vectors.f16") == 1
    shutil.rmtree(folder / ".tapetum-index")
    with pytest.raises(BadInput, match="there is no index at http"):
        tapetum.search(base, image=folder / "red one.png")


@pytest.mark.slow
def test_object_storage(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with object_storage(monkeypatch) as client:
        for file in folder.rglob("*.*"):
            client.put_object(Bucket="bucket", Key=f"photos/{file.relative_to(folder)}", Body=file.read_bytes())
        client.copy_object(Bucket="bucket", Key="photos/copy.png", CopySource="bucket/photos/below/blue.png")
        made = tapetum.index("s3://bucket/photos", out=tmp_path / "index", model=MODEL)
        assert (made.pieces, made.looked_at, made.copied, made.failed) == (5, 4, 0, ())
        again = tapetum.index("s3://bucket/photos", out=tmp_path / "index")
        assert (again.pieces, again.looked_at, again.removed) == (5, 0, 0)
        for file in (tmp_path / "index").iterdir():
            client.put_object(Bucket="bucket", Key=f"index/{file.name}", Body=file.read_bytes())
        found = tapetum.search("s3://bucket/index", image="s3://bucket/photos/below/blue.png", count=2)
        assert {each.path for each in found.moments} == {"s3://bucket/photos/copy.png", "s3://bucket/photos/film.mp4"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folders": ["s3://bucket/photos"]}, "or of addresses needs a place of its own"),
        ({"folders": ["ftp://host/photos"], "out": "i"}, "has the scheme ftp"),
        ({"folders": ["."], "out": "s3://bucket/index"}, "is an address; give a folder of this machine"),
    ],
)
def test_addresses_that_cannot_be_indexed(
    options: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=message):
        tapetum.index(**options)
    assert not list(tmp_path.iterdir())
