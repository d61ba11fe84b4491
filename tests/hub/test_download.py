"""Downloads from a real server that drops connections, changes its file, lies and fails."""

import base64
import hashlib
import json
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from google_crc32c import value as crc32c

from support.file_server import FileServer, serving
from tapetum.core.errors import BadInput, Remark
from tapetum.hub import download as downloads
from tapetum.hub.connection import Unreachable
from tapetum.hub.download import announced_size, check, download, record_of, sha256_of

CONTENT = np.random.default_rng(0).bytes(3_000_000)


PATH = "/folder/weights.pt"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving({PATH: CONTENT}) as it:
        yield it


def fetch(server: FileServer, target: Path, **options: object) -> None:
    download(server.base + PATH, target, pause=0.0, **options)  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_file_arrives_with_its_record(server: FileServer, tmp_path: Path) -> None:
    seen = []
    target = tmp_path / "deep" / "weights.pt"
    fetch(server, target, progress=lambda done, size: seen.append((done, size)))
    assert target.read_bytes() == CONTENT
    assert names(target.parent) == ["weights.pt", "weights.pt.json"]
    record = record_of(target)
    assert record is not None
    assert (record.source, record.size, record.version) == (server.base + PATH, len(CONTENT), '"one"')
    assert record.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    fetch(server, target)
    assert len(server.asked) == 1, "a file that is here is not asked for again"


def test_dropped_connections_go_on_where_they_stopped(server: FileServer, tmp_path: Path) -> None:
    server.faults = [-2_000_000, 503, -700_000, -1]
    fetch(server, tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000000-", "bytes=1000000-", "bytes=2300000-", "bytes=2999999-"]


def test_a_later_call_goes_on(server: FileServer, tmp_path: Path) -> None:
    server.faults = [-1_000_000] + [503] * 5
    with pytest.raises(BadInput, match=r"cannot be reached \(503 .*2000000 bytes are kept, run again to go on"):
        fetch(server, tmp_path / "weights.pt")
    assert names(tmp_path) == ["weights.pt.part", "weights.pt.part.json"]
    fetch(server, tmp_path / "weights.pt")
    assert server.asked[-1] == "bytes=2000000-"
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_is_not_stitched(server: FileServer, tmp_path: Path) -> None:
    server.faults = [-1_000_000] + [503] * 5
    with pytest.raises(BadInput):
        fetch(server, tmp_path / "weights.pt")
    server.files[PATH], server.etag, server.sums[PATH] = CONTENT[::-1], '"two"', []
    fetch(server, tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT[::-1]


def test_a_server_without_versions_sends_all_again(server: FileServer, tmp_path: Path) -> None:
    server.etag = 'W/"weak"'
    server.faults = [-1_000_000]
    fetch(server, tmp_path / "weights.pt")
    assert server.asked == [None, None]
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["md5", "crc32c", "sha256"])
def test_damage_on_the_way_is_refused_and_dropped(server: FileServer, tmp_path: Path, kind: str) -> None:
    wanted = hashlib.sha256(CONTENT).hexdigest()
    server.files[PATH] = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    if kind == "sha256":
        server.sums[PATH] = []
    if kind == "crc32c":
        server.sums[PATH] = ["crc32c=" + base64.b64encode(crc32c(CONTENT).to_bytes(4, "big")).decode()]
    with pytest.raises(BadInput, match="is not what it should be"):
        fetch(server, tmp_path / "weights.pt", sha256=wanted if kind == "sha256" else None)
    assert names(tmp_path) == []


def test_what_is_not_there_and_who_is_not_there(server: FileServer, tmp_path: Path) -> None:
    server.faults = [404]
    with pytest.raises(BadInput, match=r"cannot be had \(404"):
        fetch(server, tmp_path / "weights.pt")
    with pytest.raises(BadInput, match="cannot be reached"):
        download("http://127.0.0.1:9/weights.pt", tmp_path / "weights.pt", pause=0.0)
    assert names(tmp_path) == []


def test_one_flipped_byte_is_refused_by_name(server: FileServer, tmp_path: Path) -> None:
    target = tmp_path / "weights.pt"
    fetch(server, target)
    check(target)
    data = bytearray(CONTENT)
    data[1234] ^= 1
    target.write_bytes(data)
    with pytest.raises(BadInput, match=r"weights\.pt has changed since it was fetched"):
        check(target)
    target.write_bytes(CONTENT[:-1])
    with pytest.raises(BadInput, match=r"weights\.pt has 2999999 bytes where 3000000 were fetched"):
        check(target)
    target.with_name("weights.pt.json").write_text(json.dumps({"size": 3}))
    with pytest.raises(BadInput, match=r"the record .*weights\.pt\.json cannot be read"):
        check(target)


def test_a_file_of_the_user_is_taken_as_it_is(server: FileServer, tmp_path: Path) -> None:
    target = tmp_path / "weights.pt"
    target.write_bytes(b"mine")
    check(target)
    fetch(server, target)
    assert target.read_bytes() == b"mine"
    assert server.asked == []
    assert sha256_of(target) == hashlib.sha256(b"mine").hexdigest()


def test_the_sum_of_files_that_were_uploaded_in_parts_is_checked(server: FileServer, tmp_path: Path) -> None:
    server.sums[PATH] = ["crc32c=" + base64.b64encode(crc32c(CONTENT).to_bytes(4, "big")).decode()]
    fetch(server, tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT


def test_sums_are_passed_over_with_one_remark_where_the_package_is_missing(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    monkeypatch.setattr(downloads, "_crc32c_extend", cache(downloads._crc32c_extend.__wrapped__))
    server.sums[PATH] = ["crc32c=AAAAAA=="]
    with pytest.warns(Remark, match=r"google-crc32c is not installed: .* pip install 'tapetum\[addresses\]'"):
        fetch(server, tmp_path / "a.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fetch(server, tmp_path / "b.pt")
    assert (tmp_path / "b.pt").read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_sends_all_again(server: FileServer, tmp_path: Path) -> None:
    server.ranges = False
    server.faults = [-1_000_000]
    fetch(server, tmp_path / "weights.pt")
    assert server.asked == [None, "bytes=2000000-"]
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT


def test_sizes_are_asked_for_without_fetching(server: FileServer) -> None:
    assert announced_size(server.base + PATH) == len(CONTENT)
    with pytest.raises(Unreachable):
        announced_size("http://127.0.0.1:9/weights.pt")
    server.length = False
    assert announced_size(server.base + PATH) is None
    with pytest.raises(BadInput, match=r"cannot be had \(404"):
        announced_size(server.base + "/other")
    assert server.asked == []
