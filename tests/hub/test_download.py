"""Downloads from a real server that drops connections, changes its file, lies and fails."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tapetum.errors import BadInput
from tapetum.hub.download import check, download, record_of, sha256_of

CONTENT = np.random.default_rng(0).bytes(3_000_000)


class Server:
    """Serves one file, with byte ranges as the official store does.

    `faults` come first, one a request: a status, or minus the bytes that are cut off.
    """

    def __init__(self) -> None:
        self.content, self.etag = CONTENT, '"one"'
        self.faults: list[int] = []
        self.asked: list[str | None] = []
        self.hash: str | None = "md5=" + base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/folder/weights.pt"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        range_, condition = request.headers.get("Range"), request.headers.get("If-Range")
        self.asked.append(range_)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None and fault > 0:
            request.send_error(fault)
            return
        begin = int(range_[6:-1]) if range_ and condition == self.etag else 0
        if begin >= len(self.content):
            request.send_error(416)
            return
        request.send_response(206 if begin else 200)
        if begin:
            request.send_header("Content-Range", f"bytes {begin}-{len(self.content) - 1}/{len(self.content)}")
        request.send_header("Content-Length", str(len(self.content) - begin))
        request.send_header("ETag", self.etag)
        if self.hash:
            request.send_header("x-goog-hash", "crc32c=AAAAAA==")
            request.send_header("x-goog-hash", self.hash)
        request.end_headers()
        body = self.content[begin:]
        request.wfile.write(body if fault is None else body[:fault])


@pytest.fixture
def server() -> Iterator[Server]:
    it = Server()
    thread = threading.Thread(target=it.http.serve_forever)
    thread.start()
    yield it
    it.http.shutdown()
    thread.join()
    it.http.server_close()


def fetch(server: Server, target: Path, **options: object) -> None:
    download(server.url, target, pause=0.0, **options)  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_file_arrives_with_its_record(server: Server, tmp_path: Path) -> None:
    seen = []
    target = tmp_path / "deep" / "weights.pt"
    fetch(server, target, progress=lambda done, size: seen.append((done, size)))
    assert target.read_bytes() == CONTENT
    assert names(target.parent) == ["weights.pt", "weights.pt.json"]
    record = record_of(target)
    assert record is not None
    assert (record.source, record.size, record.version) == (server.url, len(CONTENT), '"one"')
    assert record.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    fetch(server, target)
    assert len(server.asked) == 1, "a file that is here is not asked for again"


def test_dropped_connections_go_on_where_they_stopped(server: Server, tmp_path: Path) -> None:
    server.faults = [-2_000_000, 503, -700_000, -1]
    fetch(server, tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000000-", "bytes=1000000-", "bytes=2300000-", "bytes=2999999-"]


def test_a_later_call_goes_on(server: Server, tmp_path: Path) -> None:
    server.faults = [-1_000_000] + [503] * 5
    with pytest.raises(BadInput, match=r"cannot be reached \(503 .*2000000 bytes are kept, run again to go on"):
        fetch(server, tmp_path / "weights.pt")
    assert names(tmp_path) == ["weights.pt.part", "weights.pt.part.json"]
    fetch(server, tmp_path / "weights.pt")
    assert server.asked[-1] == "bytes=2000000-"
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_is_not_stitched(server: Server, tmp_path: Path) -> None:
    server.faults = [-1_000_000] + [503] * 5
    with pytest.raises(BadInput):
        fetch(server, tmp_path / "weights.pt")
    server.content, server.etag, server.hash = CONTENT[::-1], '"two"', None
    fetch(server, tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT[::-1]


def test_a_server_without_versions_sends_all_again(server: Server, tmp_path: Path) -> None:
    server.etag = 'W/"weak"'
    server.faults = [-1_000_000]
    fetch(server, tmp_path / "weights.pt")
    assert server.asked == [None, None]
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_damage_on_the_way_is_refused_and_dropped(server: Server, tmp_path: Path, kind: str) -> None:
    wanted = hashlib.sha256(CONTENT).hexdigest()
    server.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    if kind == "sha256":
        server.hash = None
    with pytest.raises(BadInput, match="is not what it should be"):
        fetch(server, tmp_path / "weights.pt", sha256=wanted if kind == "sha256" else None)
    assert names(tmp_path) == []


def test_what_is_not_there_and_who_is_not_there(server: Server, tmp_path: Path) -> None:
    server.faults = [404]
    with pytest.raises(BadInput, match=r"cannot be had \(404"):
        fetch(server, tmp_path / "weights.pt")
    with pytest.raises(BadInput, match="cannot be reached"):
        download("http://127.0.0.1:9/weights.pt", tmp_path / "weights.pt", pause=0.0)
    assert names(tmp_path) == []


def test_one_flipped_byte_is_refused_by_name(server: Server, tmp_path: Path) -> None:
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


def test_a_file_of_the_user_is_taken_as_it_is(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "weights.pt"
    target.write_bytes(b"mine")
    check(target)
    fetch(server, target)
    assert target.read_bytes() == b"mine"
    assert server.asked == []
    assert sha256_of(target) == hashlib.sha256(b"mine").hexdigest()
