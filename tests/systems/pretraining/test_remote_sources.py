"""Training from addresses: the same run as from the disk, stopped and gone on with; what addresses lack."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from support.storage import object_storage, web_server
from systems.pretraining.conftest import tiny
from tapetum.core import remote_cache
from tapetum.core.errors import BadInput, UnreachableAddress
from tapetum.core.remote_cache import RemoteCache
from tapetum.data.shards import write_shards
from tapetum.systems.pretraining.run import pretrain
from tapetum.systems.pretraining.sources import read_source
from tapetum.train.launch_config import Launch


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with shards of 20 images of two classes with captions, and two of the images beside them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remote_cache, "PAUSES_S", (0.01, 0.01))
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
        there = read_source(f"{base}/{folder}", captions=True)
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


def test_what_cannot_be_learned_from_is_said(web: Path) -> None:
    (web / "empty").mkdir()
    (web / "empty" / "a.parquet").write_bytes(b"")
    (web / "photos" / "b" / "x.txt").unlink()
    with web_server(web, ranges=True) as (base, _):
        with pytest.raises(BadInput, match=r"empty holds no images, .tar or .parquet files that begin with train"):
            read_source(f"{base}/empty")
        with pytest.raises(BadInput, match=r"1 of 2 images at .* have no caption, the first is b/x.png"):
            read_source(f"{base}/photos", captions=True)
        source = read_source(f"{base}/photos", cache=RemoteCache(0))
    with pytest.raises(UnreachableAddress, match="cannot read http"):  # not damage, which would be skipped
        source.images[0]


@pytest.mark.slow
def test_a_run_from_object_storage_is_that_from_the_disk(web: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def launch(name: str, **changes: object) -> Launch:
        return Launch(out=tmp_path / name, **{"workers": 0, "threads": 1, **changes})

    with object_storage(monkeypatch) as client:
        for path in (web / "shards").iterdir():
            client.put_object(Bucket="bucket", Key=f"shards/{path.name}", Body=path.read_bytes())
        whole = pretrain(tiny("supervised", web / "shards", steps=4), launch("whole"), str)
        run = tiny("supervised", "s3://bucket/shards", steps=4)
        assert pretrain(run, launch("part", minutes=0, cache_gb=0), str) is None
        part = pretrain(run, launch("part", workers=1), str)  # another cache and workers change nothing
    assert whole is not None
    assert part is not None
    assert whole.encoder.read_bytes() == part.encoder.read_bytes()


@pytest.mark.slow
def test_a_server_that_fails_ends_the_run_with_one_line(web: Path, tmp_path: Path) -> None:
    cut: dict[str, int] = {}
    with web_server(web, ranges=True, cut=cut) as (base, _):
        run = tiny("simclr", f"{base}/photos", batch_size=2, steps=2)
        cut["/photos/a/x.png"] = 2  # the third try is whole
        assert pretrain(run, Launch(out=tmp_path / "a", workers=0, threads=1), str) is not None
        cut["/photos/a/x.png"] = 1000
        with pytest.raises(UnreachableAddress, match=r"cannot read http://.*/photos/a/x.png: .*; 3 tries failed: run the same"):
            pretrain(run, Launch(out=tmp_path / "b", workers=0, threads=1, cache_gb=0), str)
