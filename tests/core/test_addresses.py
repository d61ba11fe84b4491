"""Files at addresses: listed and copied, from real servers on this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.file_server import serving
from support.storage import object_storage, web_server
from tapetum.core import addresses
from tapetum.core.addresses import describe, list_files, temporary_copy
from tapetum.core.errors import BadInput


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files, one of them hidden, one below, and one beside."""
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
    with temporary_copy(f"{web[0]}/photos/a%20b.bin") as path:
        assert (path.name, path.read_bytes()) == ("a b.bin", b"12345")
    assert not path.exists()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ftp://host/a", "has the scheme ftp; give s3://"),
        ("s3://a::file:///etc", "is no address of files"),
        ("https://me:secret@host/a", r"^https://...@host has a user or a password in it; leave them out$"),
        ("http://127.0.0.1:1/a.png", r"cannot read http://127.0.0.1:1/a.png: Connect call failed"),
        ("http://[::1/a", "is no address of files"),
    ],
)
def test_addresses_that_are_refused(address: str, message: str) -> None:
    with pytest.raises(BadInput, match=message), temporary_copy(address):
        pass


def test_what_is_not_there_or_too_large(web: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="there is nothing at"), temporary_copy(f"{web[0]}/none.bin"):
        pass
    assert describe(f"{web[0]}/none.bin") is None
    monkeypatch.setattr(addresses, "RESERVED_BYTES", 1 << 60)
    with pytest.raises(BadInput, match=r"has 5 bytes, and .* has room for 0"), temporary_copy(f"{web[0]}/photos/a%20b.bin"):
        pass


@pytest.mark.parametrize("page", [b"x", b'<a href="1.png">a</a>'])
def test_a_list_of_files_without_end_is_refused(monkeypatch: pytest.MonkeyPatch, page: bytes) -> None:
    monkeypatch.setattr("tapetum.core.addresses._PAGE_BYTES", 1 << 20)
    with serving({"/folder/": page * 1000}) as server:
        server.endless, server.length = True, False
        with pytest.raises(BadInput, match=r"the list of files at .* has no end"):
            list_files(f"{server.base}/folder/")


def test_a_file_without_a_length_is_refused() -> None:
    with serving({"/a.png": bytes(1 << 22)}) as server:
        server.length = False
        message = r"the server does not say how large http.*/a\.png is; copy it to this machine yourself"
        with pytest.raises(BadInput, match=message), temporary_copy(f"{server.base}/a.png"):
            pass


@pytest.mark.slow
def test_object_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    with object_storage(monkeypatch) as client:
        for name in ("photos/a b.png", "photos/.hidden/a.png", "photos/below/c.png", "photos2/d.png"):
            client.put_object(Bucket="bucket", Key=name, Body=name.encode())
        files = list_files("s3://bucket/photos")
        assert [file.address for file in files] == ["s3://bucket/photos/a b.png", "s3://bucket/photos/below/c.png"]
        assert [file.size for file in files] == [14, 18]
        assert all(file == describe(file.address) and file.mark for file in files)
        with temporary_copy(files[0].address) as path:
            assert path.read_bytes() == b"photos/a b.png"
        with pytest.raises(BadInput, match="there is nothing at s3://none/x"):
            list_files("s3://none/x")
