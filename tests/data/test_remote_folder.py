"""Copies of data sets at addresses: made once, gone on with, bounded, and never outside of their folder."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.file_server import serving
from support.storage import object_storage, web_server
from tapetum.core import remote_cache
from tapetum.core.errors import BadInput, UnreachableAddress
from tapetum.core.remote_cache import RemoteCache
from tapetum.data import remote_folder
from tapetum.data.labelled import labelled_images
from tapetum.data.remote_folder import local_data, local_place
from tapetum.data.segmentation import SEGMENTED


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with six images in two classes, one of whose names has a space."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remote_cache, "PAUSES_S", (0.01, 0.01))
    monkeypatch.setattr(remote_folder, "_used", {})
    rng = np.random.default_rng(0)
    for name in ("train/a/0", "train/a/a b", "train/b/0", "val/a/0", "val/b/0", "val/b/1"):
        file = tmp_path / "web" / "images" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 9, 3), np.uint8)).save(file)
    return tmp_path / "web"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_copied_once_and_again_where_it_changed(web: Path) -> None:
    cache = RemoteCache()
    with web_server(web, ranges=True) as (base, requests):
        copied = local_place(f"{base}/images/", cache)
        assert copied.name == "images"
        assert contents(copied) == contents(web / "images")
        images, labels, classes = labelled_images(copied, "train")
        assert (len(images), labels.tolist(), classes) == (3, [0, 0, 1], ("a", "b"))
        requests.clear()
        assert local_place(f"{base}/images", cache) == copied
        assert not [request for request in requests if request.endswith(".png") or "bytes=" in request]
        (web / "images" / "train" / "a" / "0.png").write_bytes(b"another")
        (web / "images" / "val" / "b" / "1.png").unlink()
        assert contents(local_place(f"{base}/images", cache)) == contents(web / "images")
    assert local_place("images", cache) == local_place(Path("images"), cache) == Path("images")


def test_a_copy_that_broke_off_is_gone_on_with(web: Path) -> None:
    (web / "images" / "train" / "a" / "0.png").write_bytes(bytes(range(200)))
    cut = {"/images/train/a/0.png": 4}
    with web_server(web, ranges=True, cut=cut) as (base, requests):
        with pytest.raises(UnreachableAddress, match=r"/a/0.png: .*; 3 tries failed: run the same command again to go on$"):
            local_place(f"{base}/images", RemoteCache())
        assert cut["/images/train/a/0.png"] == 1
        requests.clear()
        assert contents(local_place(f"{base}/images", RemoteCache())) == contents(web / "images")
        assert len([request for request in requests if "/a/0.png bytes" in request]) == 2
        assert len({request.split()[1] for request in requests if "bytes=" in request}) < 6


def test_what_may_not_be_copied(web: Path) -> None:
    with web_server(web, ranges=True) as (base, _):
        with pytest.raises(BadInput, match=r"has .* GB and is copied to this machine, and --cache-gb allows 1e-07; give"):
            local_place(f"{base}/images", RemoteCache(100))
        with pytest.raises(BadInput, match="there is nothing at"):
            local_place(f"{base}/gone.parquet", RemoteCache())
    with pytest.raises(BadInput, match=r"x/\.\./\.\./y would be copied out of its folder; rename it"):
        remote_folder._name_below("s3://bucket/x", "x", "s3://bucket/x/../../y")


def test_files_without_a_length_have_no_more_room_than_others(web: Path, tmp_path: Path) -> None:
    page = b"<a href='a.png'><a href='b.png'>"
    with serving({"/of/": page, "/of/a.png": bytes(10**6), "/of/b.png": bytes(10**6)}) as server:
        server.length = False
        with pytest.raises(BadInput, match=r"b\.png sends more than 500,000 bytes"):
            local_place(f"{server.base}/of", RemoteCache(1_500_000))
        assert sum(map(len, contents(tmp_path / "cache").values())) < 1_001_000


def test_what_was_used_longest_ago_makes_room_unless_it_is_used(web: Path) -> None:
    sizes = [sum(map(len, contents(web / "images" / part).values())) for part in ("train", "val")]
    cache = RemoteCache(sum(sizes) - 1)
    with web_server(web, ranges=True) as (base, _):
        first = local_place(f"{base}/images/train", cache)
        local_place(f"{base}/images/val", cache)
        assert first.is_dir()  # this process uses it
        for lock in remote_folder._used.values():
            lock.close()
        remote_folder._used.clear()
        local_place(f"{base}/images/val", cache)
        assert not first.exists()


@dataclass(frozen=True)
class Options:
    data: tuple[str | Path, ...]
    checks: str | int | None = None
    model: str = "https://example.org/weights"


def test_addresses_in_options_become_paths_of_copies(web: Path) -> None:
    with web_server(web, ranges=True) as (base, _):
        given = Options((f"{base}/images/val/a/0.png", "images"), f"{base}/images/val")
        with local_data(given, ("data", "checks", "videos"), 1.0) as local:
            assert [Path(place).is_absolute() for place in local.data] == [True, False]
            assert Path(local.data[0]).read_bytes() == (web / "images/val/a/0.png").read_bytes()
            assert contents(Path(str(local.checks))) == contents(web / "images/val")
            assert local.model == given.model
        with pytest.raises(BadInput, match=f"^{base}/images/val/b is empty$"), local_data(given, ("checks",), 1.0) as local:
            raise BadInput(f"{local.checks}/b is empty")
        plain = Options(("images",), 3)
        with local_data(plain, ("data", "checks"), 1.0) as local:
            assert local is plain


def test_images_that_lines_name_are_copied_with_them(web: Path) -> None:
    names = ["train/a/a b.png", "train/b/0.png"]
    rows = [{"image": names}, {"image": names[0]}, {"image": "gone.png"}, {"text": "without"}]
    lines = web / "images" / "some.jsonl"
    lines.write_text("\n".join(map(json.dumps, rows)) + "\nno JSON\n")
    with web_server(web, ranges=True) as (base, _):
        copied = local_place(f"{base}/images/some.jsonl", RemoteCache())
        copies = {name: content for name, content in contents(copied.parent).items() if name[0] not in ".f"}
        assert copies == {name: (web / "images" / name).read_bytes() for name in (*names, "some.jsonl")}
        lines.write_text(json.dumps({"image": "../0.png"}))
        with pytest.raises(BadInput, match=r"^\.\./0\.png of http.*/some\.jsonl would be copied out of its folder; rename it$"):
            local_place(f"{base}/images/some.jsonl", RemoteCache())


@pytest.mark.slow
def test_a_data_set_in_object_storage(web: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "camvid"
    for part in ("train", "val"):
        for folder in (part, f"{part}annot"):
            (root / folder).mkdir(parents=True)
            Image.fromarray(np.ones((4, 4), np.uint8)).save(root / folder / "0.png")
        (root / f"{part}.txt").write_text(f"/SegNet/CamVid/{part}/0.png /SegNet/CamVid/{part}annot/0.png\n")
    with object_storage(monkeypatch) as client:
        for name, content in contents(root).items():
            client.put_object(Bucket="bucket", Key=f"data/camvid/{name}", Body=content)
        copied = local_place("s3://bucket/data/camvid", RemoteCache())
        assert contents(copied) == contents(root)
        images = SEGMENTED["camvid"](copied, "train")
        assert images.read(0)[1].tolist() == np.ones((4, 4)).tolist()
