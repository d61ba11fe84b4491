"""Servers that never answer, never end, lie about sizes or drip: each ends in one line, and soon."""

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.file_server import FileServer, serving
from tapetum.core.errors import BadInput
from tapetum.core.limits import Limits
from tapetum.hub.connection import Unreachable, check_address, within
from tapetum.hub.download import announced_size, download

CONTENT = b"0123456789" * 20_000
PATH = "/weights.pt"
SHORT = Limits(answer=0.3, stall=0.3, least=1000, reserve=0, tries=1)
TWICE = replace(SHORT, tries=2)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving({PATH: CONTENT}) as it:
        yield it


def refused(server: FileServer, folder: Path, limits: Limits = SHORT, **options: object) -> str:
    """Fetch what cannot be had; gives what is said, which must not take long."""
    begin = time.monotonic()
    with pytest.raises(BadInput) as refusal:
        download(server.base + PATH, folder / "weights.pt", pause=0.0, limits=limits, **options)  # type: ignore[arg-type]
    assert time.monotonic() - begin < 60
    assert not (folder / "weights.pt").exists()
    return str(refusal.value)


def test_headers_that_drip_are_no_sign_of_life(server: FileServer, tmp_path: Path) -> None:
    server.drip = 0.1
    assert "cannot be reached (no answer in 0.3 seconds); 0 bytes are kept" in refused(server, tmp_path)
    with pytest.raises(Unreachable, match=r"no answer in 0\.3 seconds"):
        announced_size(server.base + PATH, SHORT)


def test_a_body_that_drips_is_cut(server: FileServer, tmp_path: Path) -> None:
    server.slow, server.piece = 0.02, 10
    assert " bytes in 0.3 seconds); " in refused(server, tmp_path)


def test_a_slow_body_is_waited_for(server: FileServer, tmp_path: Path) -> None:
    server.slow, server.piece = 0.05, 20_000  # half a second in all, longer than the limit on a stall
    seen: list[tuple[int, int | None]] = []
    download(server.base + PATH, tmp_path / "a", pause=0.0, limits=SHORT, progress=lambda *said: seen.append(said))
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_there_are_signs_of_life_while_nothing_comes(server: FileServer, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tapetum.hub.connection._TICK", 0.02)
    server.drip = 0.1
    seen: list[tuple[int, int | None]] = []
    refused(server, tmp_path, progress=lambda *said: seen.append(said))
    assert len(seen) >= 10
    assert set(seen) == {(0, None)}


def test_a_size_that_nobody_has_is_refused_at_once(server: FileServer, tmp_path: Path) -> None:
    server.says = str(10**18)
    assert "has 1,000,000,000,000,000,000 bytes or more, and " in refused(server, tmp_path)
    assert len(server.asked) == 1
    server.says = str(shutil.disk_usage(tmp_path).free + 10**9)
    assert f"and {tmp_path} has room for " in refused(server, tmp_path)
    assert len(server.asked) == 2


def test_a_server_that_says_much_and_closes_is_given_up(server: FileServer, tmp_path: Path) -> None:
    server.says, server.files[PATH], server.etag = str(10**8), CONTENT[:2000], ""
    assert "the connection ended after 2000 of 100000000 bytes" in refused(server, tmp_path, TWICE)
    assert len(server.asked) == 2


def test_one_that_begins_anew_for_ever_is_given_up(server: FileServer, tmp_path: Path) -> None:
    server.ranges, server.faults = False, [-100_000, -50_000, -100_000, -50_000, -100_000]
    refused(server, tmp_path, TWICE)
    assert len(server.asked) == 4


def test_a_body_without_a_length_does_not_fill_the_disk(server: FileServer, tmp_path: Path, monkeypatch) -> None:
    server.length, server.endless = False, True
    assert "and 1,000,000 are taken at most" in refused(server, tmp_path, Limits(most=10**6))
    assert (tmp_path / "weights.pt.part").stat().st_size <= 10**6
    monkeypatch.setattr("tapetum.hub.download._BETWEEN", 300_000)
    nearly = Limits(reserve=shutil.disk_usage(tmp_path).free + 10**12)
    assert "has room for 0" in refused(server, tmp_path, nearly)


@pytest.mark.parametrize("length", ["abc", "-5", "1e3", "²"])
def test_a_length_that_is_no_number(server: FileServer, tmp_path: Path, length: str) -> None:
    server.says = length.encode().decode("latin-1")
    assert "bytes come, which is no number" in refused(server, tmp_path)


def test_what_is_no_server_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # it takes connections and says nothing
        port = deaf.getsockname()[1]
        for url in (f"http://127.0.0.1:{port}/x", f"https://127.0.0.1:{port}/x", "http://127.0.0.1:9/x", "http://a..b/x"):
            with pytest.raises(BadInput, match=r"cannot be reached \(.+\); 0 bytes are kept"):
                download(url, tmp_path / "x", pause=0.0, limits=SHORT)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "http://[::1",
        "http://",
        "file:///etc/passwd",
        "ftp://a/b",
        "http://a:b/",
        "http://a/\n",
        "http://é/",
        "http://a b/",
    ],
)
def test_what_is_no_address(tmp_path: Path, url: str) -> None:
    for ask in (check_address, announced_size, lambda url: download(url, tmp_path / "x")):
        with pytest.raises(BadInput, match="is no address to fetch from"):
            ask(url)


def test_what_takes_too_long_is_left_behind() -> None:
    assert within(1.0, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(1.0, lambda: 1 // 0)
    never = threading.Event()
    with pytest.raises(TimeoutError):
        within(0.05, never.wait)
    never.set()
