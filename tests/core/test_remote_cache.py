"""Parts of files at addresses: read once, read again, kept within bounds, by several processes at a time."""

import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.storage import web_server
from tapetum.core import remote_cache
from tapetum.core.addresses import RemoteFile, describe
from tapetum.core.errors import UnreachableAddress
from tapetum.core.limits import USUAL
from tapetum.core.remote_cache import BLOCK, RemoteCache, open_stream, read_part

CONTENT = np.random.default_rng(0).bytes(6 * BLOCK + 100)
Server = tuple[RemoteFile, list[str], dict[str, int]]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A file of six blocks and a bit, the requests for it, and how often an answer is cut."""
    monkeypatch.setattr(remote_cache, "PAUSES_S", (0.01, 0.01))
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "x.bin").write_bytes(CONTENT)
    cut: dict[str, int] = {}
    with web_server(tmp_path / "web", ranges=True, cut=cut) as (base, requests):
        file = describe(f"{base}/x.bin")
        assert file is not None
        yield file, requests, cut


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_each_block_is_read_once_and_by_all_processes(served: Server, tmp_path: Path) -> None:
    file, requests, _ = served
    cache = RemoteCache(folder=tmp_path / "cache")
    places = [(0, 10), (BLOCK - 5, 10), (5 * BLOCK + 7, BLOCK + 50), (6 * BLOCK + 99, 1), (0, len(CONTENT)), (3, 0)]
    for offset, size in places:
        assert cache.read(file, offset, size) == CONTENT[offset : offset + size]
    assert len(requests) == len(set(requests)) == 7
    script = "import pickle, sys; c, f = pickle.load(sys.stdin.buffer); sys.stdout.buffer.write(c.read(f, 5, 300_000))"
    other = subprocess.run([sys.executable, "-c", script], input=pickle.dumps((cache, file)), capture_output=True, check=True)
    assert other.stdout == CONTENT[5:300_005]
    assert len(requests) == 7


def test_many_threads_and_small_caches_give_the_same_bytes(served: Server, tmp_path: Path) -> None:
    file, _, _ = served
    caches = [RemoteCache(2 * BLOCK, tmp_path / "cache") for _ in range(2)]
    wrong: list[tuple[int, int]] = []

    def read(number: int) -> None:
        rng = np.random.default_rng(number)
        for _ in range(20):
            offset, size = int(rng.integers(len(CONTENT) - BLOCK)), int(rng.integers(BLOCK))
            if caches[number % 2].read(file, offset, size) != CONTENT[offset : offset + size]:
                wrong.append((offset, size))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert size_of(tmp_path / "cache") <= 2 * BLOCK + 2 * BLOCK  # each process may pass the limit until it has looked


def test_what_was_used_longest_ago_goes_first(served: Server, tmp_path: Path) -> None:
    file, requests, _ = served
    cache = RemoteCache(3 * BLOCK, tmp_path / "cache")
    for number in (0, 1, 2, 0, 3):  # 1 makes room for 3
        cache.read(file, number * BLOCK, 10)
        time.sleep(0.02)  # times of files are no finer than some milliseconds
    assert size_of(tmp_path / "cache") == 3 * BLOCK
    requests.clear()
    for number in (0, 2, 3):
        cache.read(file, number * BLOCK, 10)
    assert requests == []
    cache.read(file, BLOCK, 10)
    assert len(requests) == 1


def test_a_stream_that_is_cut_is_read_again_and_then_said(served: Server, tmp_path: Path) -> None:
    file, requests, cut = served
    cut["/x.bin"] = 2
    assert RemoteCache(folder=tmp_path / "cache").read(file, 0, BLOCK) == CONTENT[:BLOCK]
    assert len(requests) == 3
    cut["/x.bin"] = 3
    with pytest.raises(
        UnreachableAddress, match=r"^cannot read http://.*/x.bin: .*; 3 tries failed: run the same command again"
    ):
        RemoteCache(0).read(file, 0, BLOCK)
    assert not any(path.is_file() for path in (tmp_path / "none").rglob("*"))


def test_read_ahead_leaves_nothing_to_wait_for_and_failures_to_the_reader(served: Server, tmp_path: Path) -> None:
    file, requests, cut = served
    cache = RemoteCache(folder=tmp_path / "cache")
    cache.read_ahead([(file, 0, 3 * BLOCK), (file, BLOCK, 10)])
    assert cache._pool is not None
    cache._pool.shutdown()
    assert len(requests) == 3
    cache._pool = None
    assert cache.read(file, 5, 3 * BLOCK - 5) == CONTENT[5 : 3 * BLOCK]
    assert len(requests) == 3
    cut["/x.bin"] = 1
    cache.read_ahead([(file, 4 * BLOCK, 10)])
    assert cache.read(file, 4 * BLOCK, 10) == CONTENT[4 * BLOCK :][:10]


def test_what_another_try_cannot_mend_is_not_tried_again(served: Server, tmp_path: Path) -> None:
    file, requests, _ = served
    requests.clear()
    with pytest.raises(UnreachableAddress, match="there is nothing at"):
        read_part(RemoteFile(file.address + ".not", None, ""))
    assert len(requests) == 1
    with (
        web_server(tmp_path / "web") as (base, _),
        pytest.raises(UnreachableAddress, match=r"sends no parts of files \(ranges\)"),
    ):
        read_part(RemoteFile(f"{base}/x.bin", len(CONTENT), ""), 0, 10)


@pytest.mark.parametrize("ahead", [False, True])
def test_a_server_that_never_answers_is_given_up_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: bool) -> None:
    monkeypatch.setattr(remote_cache, "LIMITS", replace(USUAL, part=0.3))
    cache = RemoteCache(folder=tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        file = RemoteFile(f"http://127.0.0.1:{silent.getsockname()[1]}/x.tar", BLOCK, "")
        if ahead:
            cache.read_ahead([(file, 0, 10)])
        with pytest.raises(UnreachableAddress, match=r"^cannot read http://.*/x.tar: it was not there within 0.3 seconds; "):
            cache.read(file, 0, 10)


def test_a_stream_reads_from_end_to_end(served: Server) -> None:
    stream = open_stream(served[0])
    assert stream.read(10) == CONTENT[:10]
    stream.seek(5 * BLOCK)
    assert stream.read() == CONTENT[5 * BLOCK :]
