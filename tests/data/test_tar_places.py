"""Shards and files at addresses: the samples that they have on the disk, from a web server and from object storage."""

from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest

from support.storage import object_storage, web_server
from tapetum.core.errors import BadInput, UnreachableAddress
from tapetum.core.remote_cache import RemoteCache
from tapetum.data import tar_index
from tapetum.data.shards import Shards, write_shards

COUNT = 12


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three tars with their indexes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    samples = [{"__key__": f"{k:02}", "bin": rng.bytes(1000 * k), "cls": k % 3} for k in range(COUNT)]
    write_shards(samples, tmp_path / "web" / "shards", "part", samples_per_shard=5)
    return tmp_path / "web" / "shards"


@pytest.fixture
def web(shards: Path) -> Iterator[tuple[str, list[str]]]:
    with web_server(shards.parent, ranges=True) as served:
        yield served


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tars that are read from end to end."""
    names: list[str] = []
    scan = tar_index._scan
    monkeypatch.setattr(tar_index, "_scan", lambda tar, *others: (names.append(Path(tar).name), scan(tar, *others))[1])
    return names


def test_shards_over_the_web_are_those_of_the_disk(web: tuple[str, list[str]], shards: Path, scanned: list[str]) -> None:
    base, requests = web
    here, there = Shards(shards), Shards(f"{base}/shards")
    assert scanned == []  # the indexes lie beside
    parts = [request.partition("bytes=")[2].split("-") for request in requests if "bytes=" in request]
    assert [int(last) - int(first) for first, last in parts] == [511] * 6  # headers of first and last members, and no more
    assert [there[k] for k in range(COUNT)] == [here[k] for k in range(COUNT)]
    assert str(there.locate(7)[0]) == f"{base}/shards/part-000001.tar"
    some = Shards(f"{base}/shards/part-{{000000..000001}}.tar", cache=RemoteCache(0))
    assert (len(some), some[9]) == (10, here[9])


def test_an_index_that_does_not_fit_is_made_anew(web: tuple[str, list[str]], shards: Path, scanned: list[str]) -> None:
    base, _ = web
    here = [Shards(shards)[k] for k in range(COUNT)]
    (shards / "part-000001.tar.index").unlink()
    (shards / "part-000002.tar.index").write_bytes((shards / "part-000000.tar.index").read_bytes())
    assert [Shards(f"{base}/shards")[k] for k in range(COUNT)] == here
    assert len(Shards(f"{base}/shards")) == COUNT  # of indexes that are kept here
    assert sorted(scanned) == ["part-000001.tar", "part-000002.tar"]


def test_what_is_no_shard_is_said(web: tuple[str, list[str]], shards: Path) -> None:
    base, _ = web
    (shards.parent / "empty").mkdir()
    with pytest.raises(BadInput, match=r"there is no \.tar at"):
        Shards(f"{base}/empty")
    tar = (shards / "part-000000.tar").read_bytes()
    (shards.parent / "empty" / "x.tar").write_bytes(tar[:3000])
    with pytest.raises(BadInput, match=r"x.tar is cut off"):
        Shards(f"{base}/empty")


@pytest.mark.slow
def test_object_storage_and_a_bucket_without_rights(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with object_storage(monkeypatch) as client:
        for path in shards.iterdir():
            client.put_object(Bucket="bucket", Key=f"data/{path.name}", Body=path.read_bytes())
        here, there = Shards(shards), Shards("s3://bucket/data")
        assert [there[k] for k in range(COUNT)] == [here[k] for k in range(COUNT)]
        alone = Shards("s3://bucket/data/part-000001.tar", cache=RemoteCache(0))
        endpoint = client.meta.endpoint_url
        _look_at_rights_after(endpoint, "0")
        try:
            with pytest.raises(BadInput, match=r"s3://bucket/data.* may not be read with the keys that are here"):
                Shards("s3://bucket/data")
            with pytest.raises(UnreachableAddress, match="may not be read with the keys that are here"):
                alone.read(0)
        finally:
            _look_at_rights_after(endpoint, "inf")


def _look_at_rights_after(endpoint: str, requests: str) -> None:
    text = {"Content-Type": "text/plain"}
    urlopen(Request(f"{endpoint}/moto-api/reset-auth", data=requests.encode(), headers=text, method="POST")).close()
