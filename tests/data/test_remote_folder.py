"""Copies of data sets at addresses: made once, continued, and never outside of their folder."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.storage import object_storage, web_server
from tapetum.core.errors import BadInput
from tapetum.data import remote_folder
from tapetum.data.labelled import labelled_images
from tapetum.data.remote_folder import local_data, local_place
from tapetum.data.segmentation import SEGMENTED


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with six images in two classes, one of whose names has a space."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for name in ("train/a/0", "train/a/a b", "train/b/0", "val/a/0", "val/b/0", "val/b/1"):
        file = tmp_path / "web" / "images" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 9, 3), np.uint8)).save(file)
    return tmp_path / "web"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_copied_once_and_again_where_it_changed(web: Path) -> None:
    with web_server(web, ranges=True) as (base, requests):
        copied = local_place(f"{base}/images/")
        assert copied.name == "images"
        assert contents(copied) == contents(web / "images")
        images, labels, classes = labelled_images(copied, "train")
        assert (len(images), labels.tolist(), classes) == (3, [0, 0, 1], ("a", "b"))
        requests.clear()
        assert local_place(f"{base}/images") == copied
        assert not [request for request in requests if request.endswith(".png")]
        (web / "images" / "train" / "a" / "0.png").write_bytes(b"another")
        (web / "images" / "val" / "b" / "1.png").unlink()
        assert contents(local_place(f"{base}/images")) == contents(web / "images")
    assert local_place("images") == local_place(Path("images")) == Path("images")


def test_a_copy_that_broke_off_is_continued(web: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_folder, "_TOGETHER", 1)
    (web / "images" / "train" / "b" / "0.png").write_bytes(bytes(range(200)))
    cut = {"/images/train/b/0.png": 1}
    with web_server(web, ranges=True, cut=cut) as (base, requests):
        with pytest.raises(BadInput, match=rf"^cannot read {base}/images: "):
            local_place(f"{base}/images")
        requests.clear()
        assert contents(local_place(f"{base}/images")) == contents(web / "images")
        assert not [request for request in requests if "/train/a/" in request and request.endswith(".png")]


def test_what_may_not_be_copied(web: Path) -> None:
    with web_server(web, ranges=True) as (base, _), pytest.raises(BadInput, match="there is nothing at"):
        local_place(f"{base}/gone.parquet")
    with pytest.raises(BadInput, match=r"x/\.\./\.\./y would be copied out of its folder; rename it"):
        remote_folder._inside("x/../../y", "s3://bucket/x/../../y")


@dataclass(frozen=True)
class Options:
    data: tuple[str | Path, ...]
    checks: str | int | None = None
    model: str = "https://example.org/weights"


def test_addresses_in_options_become_paths_of_copies(web: Path) -> None:
    with web_server(web, ranges=True) as (base, _):
        given = Options((f"{base}/images/val/a/0.png", "images"), f"{base}/images/val")
        with local_data(given, ("data", "checks", "videos")) as local:
            assert [Path(place).is_absolute() for place in local.data] == [True, False]
            assert Path(local.data[0]).read_bytes() == (web / "images/val/a/0.png").read_bytes()
            assert contents(Path(str(local.checks))) == contents(web / "images/val")
            assert local.model == given.model
        with pytest.raises(BadInput, match=f"^{base}/images/val/b is empty$"), local_data(given, ("checks",)) as local:
            raise BadInput(f"{local.checks}/b is empty")
        plain = Options(("images",), 3)
        with local_data(plain, ("data", "checks")) as local:
            assert local is plain


def test_images_that_lines_name_are_copied_with_them(web: Path) -> None:
    names = ["train/a/a b.png", "train/b/0.png"]
    rows = [{"image": names}, {"image": names[0]}, {"image": "gone.png"}, {"text": "without"}]
    lines = web / "images" / "some.jsonl"
    lines.write_text("\n".join(map(json.dumps, rows)) + "\nno JSON\n")
    with web_server(web, ranges=True) as (base, _):
        copied = local_place(f"{base}/images/some.jsonl")
        copies = {name: content for name, content in contents(copied.parent).items() if name[0] != "."}
        assert copies == {name: (web / "images" / name).read_bytes() for name in (*names, "some.jsonl")}
        lines.write_text(json.dumps({"image": "../0.png"}))
        with pytest.raises(BadInput, match=r"^\.\./0\.png of http.*/some\.jsonl would be copied out of its folder; rename it$"):
            local_place(f"{base}/images/some.jsonl")


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
        copied = local_place("s3://bucket/data/camvid")
        assert contents(copied) == contents(root)
        images = SEGMENTED["camvid"](copied, "train")
        assert images.read(0)[1].tolist() == np.ones((4, 4)).tolist()
