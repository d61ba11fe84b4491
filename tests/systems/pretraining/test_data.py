"""Images from wherever they lie, damaged ones among them; training from addresses: the same run as from the disk."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from support.storage import object_storage, web_server
from systems.pretraining.conftest import tiny
from tapetum.core.errors import BadInput
from tapetum.data.shards import write_shards
from tapetum.systems.pretraining.data import ShuffledImages
from tapetum.systems.pretraining.run import pretrain, source_of
from tapetum.systems.pretraining.sources import FileImages, check_sizes, read_source
from tapetum.train.launch_config import Launch


def paint(path: Path, value: int, size: tuple[int, int] = (12, 10)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)
    return path


def test_a_folder_with_a_folder_a_class(tmp_path: Path) -> None:
    for k, name in enumerate(("cat/a.png", "cat/b.png", "dog/deep/c.TIF", ".trash/d.png")):
        paint(tmp_path / name, 10 * k)
    (tmp_path / "cat" / "notes.md").write_text("nothing")
    source = read_source(tmp_path)
    assert (len(source), source.classes, source.labels.tolist()) == (3, ("cat", "dog"), [0, 0, 1])
    assert source.images[2].shape == (12, 10, 3)
    assert source.images[2][0, 0].tolist() == [20, 20, 20]
    assert source.captions is None
    assert source.about == {"data": tmp_path.name, "images": 3}


def test_a_plain_folder_has_no_classes_and_train_is_what_is_learned_from(tmp_path: Path) -> None:
    for k in range(3):
        paint(tmp_path / "flat" / f"{k}.png", k)
        paint(tmp_path / "split" / "train" / f"class{k}" / "x.png", k)
        paint(tmp_path / "split" / "val" / f"class{k}" / "y.png", k)
    assert read_source(tmp_path / "flat").labels is None
    assert read_source(tmp_path / "split").classes == ("class0", "class1", "class2")
    assert len(read_source(tmp_path / "split")) == 3


def test_cifars_binary_files(data: Path, tmp_path: Path) -> None:
    source = read_source(data)
    assert (len(source), source.classes) == (40, ("square", "stripes"))
    first = np.fromfile(data / "data_batch_1.bin", np.uint8)[:3073]
    assert source.labels[0] == first[0]
    assert (source.images[0].transpose(2, 0, 1).ravel() == first[1:]).all()
    np.concatenate([[7], first]).astype(np.uint8).repeat(2).reshape(-1, 2).T.tofile(tmp_path / "train.bin")  # coarse, fine
    hundred = read_source(tmp_path)
    assert (hundred.labels.tolist(), len(hundred.classes)) == ([0, 0], 1)
    assert (hundred.images[1] == source.images[0]).all()
    (tmp_path / "train.bin").write_bytes(b"x" * 100)
    with pytest.raises(BadInput, match="has 100 bytes, no multiple of 3074"):
        read_source(tmp_path)


def test_parquet_and_shards(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    content = [paint(tmp_path / f"{k}.png", 20 * k).read_bytes() for k in range(4)]
    table = pa.table({"image": [{"bytes": c, "path": None} for c in content], "label": [0, 1, 0, 1]})
    (tmp_path / "p").mkdir()
    pq.write_table(table, tmp_path / "p" / "train.parquet")
    source = read_source(tmp_path / "p")
    assert [int(source.images[k][0, 0, 0]) for k in range(4)] == [0, 20, 40, 60]
    assert source.labels.tolist() == [0, 1, 0, 1]
    samples = [{"__key__": f"{k:02}", "png": content[k % 4], "txt": f"image {k}".encode()} for k in range(11)]
    write_shards(samples, tmp_path / "s", "all")
    source = read_source(tmp_path / "s", captions=True)  # every tenth is held out
    assert source.captions == [f"image {k}" for k in range(1, 10)]
    assert int(source.images[0][0, 0, 0]) == 20
    write_shards(samples[:3], tmp_path / "t" / "train", "all")
    assert read_source(tmp_path / "t", captions=True).captions == ["image 0", "image 1", "image 2"]


def test_captions_beside_images(tmp_path: Path) -> None:
    for k in range(3):
        paint(tmp_path / f"{k}.png", k).with_suffix(".txt").write_text(f"number {k}\n")
    assert read_source(tmp_path, captions=True).captions == ["number 0", "number 1", "number 2"]
    (tmp_path / "1.txt").unlink()
    with pytest.raises(BadInput, match=r"1 of 3 images have no caption, the first is .*1\.png; write one into 1\.txt"):
        read_source(tmp_path, captions=True)
    assert read_source(tmp_path).captions is None


def test_damaged_images_are_skipped_for_the_next_and_told_of(tmp_path: Path) -> None:
    for k in range(5):
        paint(tmp_path / f"{k}.png", 40 * k)
    (tmp_path / "2.png").write_bytes(b"no image")
    (tmp_path / "3.png").write_bytes((tmp_path / "4.png").read_bytes()[:40])
    samples = ShuffledImages(read_source(tmp_path), seed=0)
    seen = [samples[number] for number in range(10)]
    assert {shown.damaged for shown in seen} == {(), (2, 3), (3,)}
    assert all(shown.index == 4 for shown in seen if shown.damaged)
    assert all(int(shown.image[0, 0, 0]) == 40 * shown.index for shown in seen)
    assert sorted(samples.order(number) for number in range(5)) == [0, 1, 2, 3, 4]
    for k in (0, 1, 4):
        (tmp_path / f"{k}.png").write_bytes(b"")
    with pytest.raises(BadInput, match="5 images on end cannot be read, the last because"):
        ShuffledImages(read_source(tmp_path), seed=0)[0]


def test_decoded_images_are_kept_and_not_sent_to_workers(tmp_path: Path) -> None:
    import pickle

    images = read_source(paint(tmp_path / "a.png", 1).parent if paint(tmp_path / "b.png", 2) else tmp_path).images
    assert isinstance(images, FileImages)
    first = images[0]
    (tmp_path / "a.png").unlink()
    assert images[0] is first
    with pytest.raises(BadInput):
        pickle.loads(pickle.dumps(images))[0]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda place: None, "there is no "),
        (lambda place: place.mkdir(), "holds no images"),
        (lambda place: paint(place / "a.png", 1), "holds one image; give a folder with 2 or more"),
        (lambda place: place.write_text("x"), "is no folder, parquet file or tar"),
    ],
)
def test_places_without_images_are_refused(make, words: str, tmp_path: Path) -> None:
    make(tmp_path / "place")
    with pytest.raises(BadInput, match=words):
        read_source(tmp_path / "place")


def test_views_larger_than_the_images_are_refused(tmp_path: Path) -> None:
    for k in range(5):
        paint(tmp_path / f"{k}.png", k, (20, 50) if k < 3 else (200, 200))
    with pytest.raises(BadInput, match=r"views of 32 pixels are larger than the images of here, .* about 20; give --size 16"):
        check_sizes(read_source(tmp_path), 32, "here")
    check_sizes(read_source(tmp_path), 20, "here")


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with shards of 20 images of two classes with captions, and two of the images beside them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng, samples = np.random.default_rng(0), []
    for k in range(20):
        image = rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)
        samples.append({"__key__": f"{k:02}", "png": image, "cls": k % 2, "txt": f"number {k}"})
        if k < 2:
            (tmp_path / "web" / "photos" / "ab"[k]).mkdir(parents=True)
            Image.fromarray(image).save(tmp_path / "web" / "photos" / "ab"[k] / "x.png")
            (tmp_path / "web" / "photos" / "ab"[k] / "x.txt").write_text(f"number {k}\n")
    write_shards(samples, tmp_path / "web" / "shards", "s", samples_per_shard=8)
    (tmp_path / "web" / "shards" / "classes.json").write_text(json.dumps(["even", "odd"]))
    (tmp_path / "web" / "tables").mkdir()
    encoded = [(tmp_path / "web" / "photos" / "ab"[k % 2] / "x.png").read_bytes() for k in range(10)]
    table = pa.table({"image": [{"bytes": each, "path": "x.png"} for each in encoded], "label": [k % 2 for k in range(10)]})
    pq.write_table(table, tmp_path / "web" / "tables" / "train-0.parquet")
    return tmp_path / "web"


@pytest.mark.parametrize("folder", ["shards", "photos", "tables", "tables/train-0.parquet"])
def test_what_lies_at_an_address_is_what_lies_on_the_disk(folder: str, web: Path) -> None:
    here = read_source(web / folder, captions=True)
    with web_server(web, ranges=True) as (base, _):
        there = source_of(tiny("simclr", f"{base}/{folder}", enlarge=True), captions=True)
        assert len(there) == len(here)
        assert all((there.images[k] == here.images[k]).all() for k in range(len(here)))
        assert there.labels is not None
        assert here.labels is not None
        numbers = np.arange(len(here))
        assert there.labels[numbers].tolist() == here.labels[numbers].tolist()
        if here.captions is not None:
            assert there.captions is not None
            assert [there.captions[k] for k in numbers] == [here.captions[k] for k in numbers]
        assert (here.captions is None) == ("tables" in folder)
        assert (there.classes, there.about) == (here.classes, here.about)


@pytest.mark.slow
def test_a_run_from_object_storage_is_that_from_the_disk(web: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def launch(name: str, **changes: object) -> Launch:
        return Launch(out=tmp_path / name, **{"workers": 0, "threads": 1, **changes})

    with object_storage(monkeypatch) as client:
        for path in (web / "shards").iterdir():
            client.put_object(Bucket="bucket", Key=f"shards/{path.name}", Body=path.read_bytes())
        whole = pretrain(tiny("supervised", web / "shards", steps=4), launch("whole"), str)
        run = tiny("supervised", "s3://bucket/shards", steps=4)
        assert pretrain(run, launch("part", minutes=0), str) is None
        part = pretrain(run, launch("part", workers=1), str)  # workers change nothing
    assert whole is not None
    assert part is not None
    assert whole.encoder.read_bytes() == part.encoder.read_bytes()
