"""Files at addresses: listed, copied, and kept in a cache of bounded size, from real servers on this machine."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.file_server import FileServer, serving
from support.storage import object_storage, web_server
from tapetum.core import addresses, limits, remote_cache
from tapetum.core.addresses import RemoteFile, cached_files, describe, list_files, local_copy
from tapetum.core.errors import BadInput, UnreachableAddress
from tapetum.core.limits import USUAL
from tapetum.core.remote_cache import read_part


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two files, one of them hidden, one below, and one beside."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, content in {"a b.bin": "12345", "below/c.bin": "c", ".hidden/d.bin": "d", "../beside.bin": "e"}.items():
        path = tmp_path / "web" / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path / "web"


@pytest.fixture
def web(folder: Path) -> Iterator[tuple[str, list[str]]]:
    with web_server(folder) as served:
        yield served


def test_a_web_server_is_listed_below_the_address_alone(web: tuple[str, list[str]], folder: Path) -> None:
    links = "/beside.bin", "a%20b.bin", "?sort=name", "below/", "../", "below/../../beside.bin"
    (folder / "photos" / "index.html").write_text(" ".join(f"<a href='{link}'>" for link in links))
    base = f"{web[0]}/photos"
    assert [file.address for file in list_files(base)] == [f"{base}/a%20b.bin", f"{base}/below/c.bin"]


def test_a_file_is_copied_for_a_while(web: tuple[str, list[str]]) -> None:
    with local_copy(f"{web[0]}/photos/a%20b.bin") as path:
        assert (path.name, path.read_bytes()) == ("a b.bin", b"12345")
    assert not path.exists()


def test_files_are_kept_until_they_change_there_or_here(web: tuple[str, list[str]], folder: Path) -> None:
    base, requests = web
    first = cached_files(f"{base}/photos", ["a b.bin", "none"])
    assert (first / "a b.bin").read_bytes() == b"12345"
    assert not (first / "none").exists()
    requests.clear()
    assert cached_files(f"{base}/photos", ["a b.bin", "none"]) == first
    assert not any("a%20b.bin" in each for each in requests)
    (first / "a b.bin").write_bytes(b"1234X")  # damage of the copy
    assert (cached_files(f"{base}/photos", ["a b.bin"]) / "a b.bin").read_bytes() == b"12345"
    (folder / "photos" / "a b.bin").write_bytes(b"other")
    os.utime(folder / "photos" / "a b.bin", (1e9, 1e9))
    assert (cached_files(f"{base}/photos", ["a b.bin"]) / "a b.bin").read_bytes() == b"other"


def test_what_was_used_longest_ago_makes_room(
    web: tuple[str, list[str]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = []
    for number in range(3):
        (folder / str(number)).mkdir()
        (folder / str(number) / "a.bin").write_bytes(bytes(1000))
        places.append(cached_files(f"{web[0]}/{number}", ["a.bin"]))
        os.utime(places[-1], (number, number))
    cached_files(f"{web[0]}/0", ["a.bin"])  # used again
    monkeypatch.setattr(addresses, "MOST_CACHED", 3500)
    places.append(cached_files(f"{web[0]}/photos", ["a b.bin"]))
    assert [place.is_dir() for place in places] == [True, False, True, True]


def test_files_that_change_meanwhile_are_not_kept(
    web: tuple[str, list[str]], folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = addresses.copy_file

    def copy_and_change(address: str, path: Path) -> None:
        copy(address, path)
        (folder / "beside.bin").write_bytes(b"longer")

    monkeypatch.setattr(addresses, "copy_file", copy_and_change)
    with pytest.raises(BadInput, match="changed while they were copied"):
        cached_files(web[0], ["beside.bin"])
    assert list((tmp_path / "cache" / "tapetum" / "addresses").iterdir()) == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ftp://host/a", "has the scheme ftp; give s3://"),
        ("s3://", "is no address of files"),
        ("s3://a::file:///etc", "is no address of files"),
        ("https://me:secret@host/a", r"^https://...@host has a user or a password in it; leave them out$"),
        ("http://127.0.0.1:1/a.png", r"cannot read http://127.0.0.1:1/a.png: Connect call failed"),
        ("http://[::1/a", "is no address of files"),
    ],
)
def test_addresses_that_are_refused(address: str, message: str) -> None:
    with pytest.raises(BadInput, match=message), local_copy(address):
        pass


def test_what_is_not_there_or_too_large(web: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="there is nothing at"), local_copy(f"{web[0]}/none.bin"):
        pass
    assert describe(f"{web[0]}/none.bin") is None
    with pytest.raises(BadInput, match="Connect call failed"):
        cached_files("http://127.0.0.1:1", ["a"])
    with pytest.raises(BadInput, match="there is none of a, b at"):
        cached_files(web[0], ["a", "b"])
    monkeypatch.setattr(addresses, "LIMITS", replace(USUAL, reserve=1 << 60))
    with pytest.raises(BadInput, match=r"brings 5 bytes more, and .* has room for 0"), local_copy(f"{web[0]}/photos/a%20b.bin"):
        pass


@pytest.mark.slow
def test_object_storage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with object_storage(monkeypatch) as client:
        for name in ("photos/a b.png", "photos/.hidden/a.png", "photos/below/c.png", "photos2/d.png"):
            client.put_object(Bucket="bucket", Key=name, Body=name.encode())
        files = list_files("s3://bucket/photos")
        assert [file.address for file in files] == ["s3://bucket/photos/a b.png", "s3://bucket/photos/below/c.png"]
        assert [file.size for file in files] == [14, 18]
        assert all(file == describe(file.address) and file.mark for file in files)
        with local_copy(files[0].address) as path:
            assert path.read_bytes() == b"photos/a b.png"
        kept = cached_files("s3://bucket/photos", ["a b.png"])
        client.put_object(Bucket="bucket", Key="photos/a b.png", Body=b"photos/x y.png")
        assert (kept / "a b.png").read_bytes() == b"photos/a b.png"
        assert (cached_files("s3://bucket/photos", ["a b.png"]) / "a b.png").read_bytes() == b"photos/x y.png"
        with pytest.raises(BadInput, match="there is nothing at s3://none/x"):
            list_files("s3://none/x")


class Pages(dict[str, bytes]):
    """Pages of a server at every path, made of its path."""

    def __init__(self, page: Callable[[str], bytes]):
        super().__init__()
        self.page = page

    def __contains__(self, path: object) -> bool:
        return True

    def __missing__(self, path: str) -> bytes:
        return self.page(path)


def deeper(path: str) -> bytes:
    return b"<a href='on/'>"


def onward(path: str) -> bytes:
    return f"<a href='/{path.count('x') * 'x'}x/'>".encode()


def many(path: str) -> bytes:
    return "".join(f"<a href='{k}.png'>" for k in range(2000)).encode()


def long(path: str) -> bytes:
    return bytes(1 << 21)


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (deeper, r"/ leads to more than 5 folders inside each other, and may never end; give a folder in it"),
        (onward, r"/ leads to more than 50 pages of links"),
        (many, r"/ leads to more than 1,000 files and folders"),
        (long, r"/ sends more than 1,000,000 bytes, and no more are taken; check the address"),
    ],
)
def test_a_listing_ends(monkeypatch: pytest.MonkeyPatch, page: Callable[[str], bytes], message: str) -> None:
    monkeypatch.setattr(addresses, "LIMITS", replace(USUAL, page=10**6, pages=50, links=1000, depth=5))
    with serving(Pages(page)) as server:
        server.length = False
        with pytest.raises(BadInput, match=message):
            list_files(server.base)
        assert len(server.asked) <= 60


@pytest.fixture
def endless() -> Iterator[FileServer]:
    """A server whose file has 4 MB and no length."""
    with serving({"/a.png": bytes(1 << 22)}) as server:
        server.length = False
        yield server


def test_a_file_without_a_length_has_an_end(endless: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(addresses, "LIMITS", replace(USUAL, unsaid=10**6))
    monkeypatch.setattr(remote_cache, "LIMITS", replace(USUAL, unsaid=10**6))
    message = r"a\.png sends more than 1,000,000 bytes, and no more are taken"
    with pytest.raises(BadInput, match=message), local_copy(f"{endless.base}/a.png"):
        pass
    with pytest.raises(UnreachableAddress, match=message):
        read_part(RemoteFile(f"{endless.base}/a.png", None, ""))
    with pytest.raises(UnreachableAddress, match="on a server that sends no parts of files"):
        read_part(RemoteFile(f"{endless.base}/a.png", 1 << 22, ""), 100, 200)


def test_the_disk_is_looked_at_as_a_file_comes(endless: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter([10**12, 10**12, *[0] * 1000])
    monkeypatch.setattr(limits.shutil, "disk_usage", lambda place: SimpleNamespace(free=next(free)))
    with (
        pytest.raises(BadInput, match=r"a\.png brings 0 bytes more, and .* has room for 0"),
        local_copy(f"{endless.base}/a.png"),
    ):
        pass
    assert next(free) == 0


@pytest.mark.parametrize("drip", [0.0, 0.05])
def test_what_drips_is_given_up(endless: FileServer, monkeypatch: pytest.MonkeyPatch, drip: float) -> None:
    monkeypatch.setattr(addresses, "LIMITS", replace(USUAL, answer=0.3, stall=0.3, listing=0.3))
    begin, endless.files = time.monotonic(), {"/a.png": bytes(200_000)}
    endless.drip, endless.slow, endless.piece = drip, 0.05, 10
    with pytest.raises(BadInput, match=r"too slowly; try later|cannot read"), local_copy(f"{endless.base}/a.png"):
        pass
    endless.files = Pages(deeper)
    with pytest.raises(BadInput, match=r"the listing takes longer than|too slowly|cannot read"):
        list_files(endless.base)
    assert time.monotonic() - begin < 300
