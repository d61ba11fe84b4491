"""Downloads from real servers that drop connections, lie, fail and redirect."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from support.file_server import FileServer, serving
from support.hub import SHA, serve
from tapetum.core.errors import BadInput
from tapetum.core.reading import sha256_of
from tapetum.hub.download import check, check_address, download, record_of
from tapetum.hub.fetch import fetch_folder
from tapetum.hub.registry import find

CONTENT = np.random.default_rng(0).bytes(3_000_000)
PATH = "/folder/weights.pt"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr("tapetum.hub.download._PAUSE", 0.0)
    with serving({PATH: CONTENT}) as it:
        yield it


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_with_its_record(server: FileServer, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "deep" / "weights.pt"
    record = download(server.base + PATH, target, progress=lambda done, size: seen.append((done, size)))
    assert target.read_bytes() == CONTENT
    assert names(target.parent) == ["weights.pt", "weights.pt.json"]
    assert record == record_of(target)
    assert (record.source, record.size) == (server.base + PATH, len(CONTENT))
    assert record.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert download(server.base + PATH, target) == record
    assert len(server.asked) == 1, "a file that is here is not asked for again"


def test_dropped_connections_go_on_where_they_stopped(server: FileServer, tmp_path: Path) -> None:
    server.faults = [-2_000_000, -700_000, -1]
    download(server.base + PATH, tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT
    assert [int(asked[6:-1]) > 900_000 * k for k, asked in enumerate(server.asked[1:], 1) if asked] == [True] * 3


def test_what_has_half_arrived_does_not_count_and_a_later_call_goes_on(server: FileServer, tmp_path: Path) -> None:
    target, wanted = tmp_path / "weights.pt", hashlib.sha256(CONTENT).hexdigest()
    server.faults = [-1_000_000, 404]
    with pytest.raises(BadInput, match=r"cannot be had \(404"):
        download(server.base + PATH, target, sha256=wanted)
    assert names(tmp_path) == ["weights.pt.part", "weights.pt.part.version"]
    assert download(server.base + PATH, target, sha256=wanted).sha256 == wanted
    assert int(str(server.asked[-1])[6:-1]) > 1_900_000
    assert names(tmp_path) == ["weights.pt", "weights.pt.json"]


@pytest.mark.parametrize("change", ["version", "no version", "no ranges"])
def test_a_file_that_changed_on_the_server_is_not_stitched(server: FileServer, tmp_path: Path, change: str) -> None:
    server.etag = 'W/"weak"' if change == "no version" else server.etag
    server.ranges = change != "no ranges"
    server.faults = [-1_000_000, 404]
    with pytest.raises(BadInput):
        download(server.base + PATH, tmp_path / "weights.pt")
    server.files[PATH] = CONTENT[::-1]
    server.etag = '"two"' if change == "version" else server.etag
    download(server.base + PATH, tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT[::-1]


def test_what_is_not_the_published_file_is_refused_and_dropped(server: FileServer, tmp_path: Path) -> None:
    target = tmp_path / "weights.pt"
    with pytest.raises(BadInput, match="is not what it should be"):
        download(server.base + PATH, target, sha256="0" * 64)
    with pytest.raises(BadInput, match="more than 1,000,000 bytes"):
        download(server.base + PATH, target, most=1_000_000)
    assert not target.exists()
    assert not target.with_name("weights.pt.part").exists()


def test_what_is_not_there_and_who_is_not_there(server: FileServer, tmp_path: Path) -> None:
    for url, message in (
        (server.base + "/other", r"cannot be had \(404"),
        ("http://127.0.0.1:9/weights.pt", "cannot be reached"),
        ("http://a..b/x", "a..b"),
    ):
        with pytest.raises(BadInput, match=message) as caught:
            download(url, tmp_path / "weights.pt")
        assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize("url", ["", "x", "http://[::1", "file:///etc/passwd", "ftp://a/b", "http://a:b/", "http://a/\n"])
def test_what_is_no_address(tmp_path: Path, url: str) -> None:
    with pytest.raises(BadInput, match="is no address to fetch from"):
        check_address(url)
    with pytest.raises(BadInput, match="is no address to fetch from"):
        download(url, tmp_path / "x")


def test_one_flipped_byte_is_refused_by_name(server: FileServer, tmp_path: Path) -> None:
    target = tmp_path / "weights.pt"
    download(server.base + PATH, target)
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
    download(server.base + PATH, target)
    assert target.read_bytes() == b"mine"
    assert server.asked == []
    assert sha256_of(target) == hashlib.sha256(b"mine").hexdigest()


@contextmanager
def redirecting(to: str) -> Iterator[tuple[str, list[str | None]]]:
    """A server that sends every file's request to another one; yields its address, and the tokens that it received."""
    tokens: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            tokens.append(self.headers.get("Authorization"))
            self.send_response(302)
            name = self.path.rpartition("/")[2]
            self.send_header("Location", f"{to}/{name}")
            for header in ("ETag", "X-Linked-ETag"):
                self.send_header(header, f'"{hashlib.sha256(FILES[name]).hexdigest()}"')
            self.send_header("X-Linked-Size", str(len(FILES[name])))
            self.send_header("X-Repo-Commit", SHA)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{http.server_port}", tokens
    finally:
        http.shutdown()
        http.server_close()


FILES = {"config.json": b"{}", "model.safetensors": b"x" * 5000}


def test_the_token_is_not_sent_on_to_another_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's files lie on another host, which must not learn the token."""
    for name, content in FILES.items():
        (tmp_path / "repository").mkdir(exist_ok=True)
        (tmp_path / "repository" / name).write_bytes(content)
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    seen: list[str | None] = []
    with serving({f"/{name}": content for name, content in FILES.items()}) as store:
        answer = store.answer
        store.answer = lambda request, head=False: (seen.append(request.headers.get("Authorization")), answer(request, head))  # type: ignore[method-assign, assignment]
        with redirecting(store.base) as (base, tokens), serve({"own/model": tmp_path / "repository"}) as environment:
            monkeypatch.setenv("HF_ENDPOINT", environment["HF_ENDPOINT"])
            about = {"siblings": [{"rfilename": name, "size": len(content)} for name, content in FILES.items()]}
            monkeypatch.setattr("tapetum.hub.fetch._describe", lambda entry: _about("own/model", about))
            monkeypatch.setattr("tapetum.hub.fetch.hub", lambda: base)
            folder = fetch_folder(find("own/model"))
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert set(tokens) == {"Bearer hf_secret"}
    assert set(seen) == {None}


def _about(name: str, more: dict[str, object]) -> object:
    from huggingface_hub.hf_api import ModelInfo

    return ModelInfo(id=name, sha=SHA, tags=[], **more)  # type: ignore[arg-type]
