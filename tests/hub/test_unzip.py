"""Zip files of every bad kind leave nothing behind; good ones come out once, whole."""

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from tapetum.core.errors import BadInput
from tapetum.hub import unzip
from tapetum.hub.unzip import unpack


def packed(path: Path, members: dict[str, bytes], mode: int = 0, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = method
            file.writestr(info, content)
    return path


def base(name: str) -> str | None:
    return f"in/{Path(name).name}" if name.endswith(".txt") else None


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_is_wanted_comes_out_and_is_not_written_again(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"deep/a.txt": b"one" * 1000, "deep/": b"", "b.txt": b"two", "c.exe": b"no"})
    seen = []
    made = unpack(archive, tmp_path / "out", base, progress=lambda done, total: seen.append((done, total)))
    assert everything_in(tmp_path / "out") == ["in/a.txt", "in/b.txt"]
    assert (tmp_path / "out/in/a.txt").read_bytes() == b"one" * 1000
    assert [each.stat().st_size for each in made] == [3000, 3]
    assert seen[-1] == (3003, 3003)
    before = (tmp_path / "out/in/a.txt").stat().st_ino
    unpack(archive, tmp_path / "out", base)
    assert (tmp_path / "out/in/a.txt").stat().st_ino == before


def test_what_was_stopped_goes_on(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {f"{k}.txt": bytes([k]) * 5000 for k in range(4)})

    def stop(done: int, total: int | None) -> None:
        if done > 10_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path / "out", base, progress=stop)
    assert everything_in(tmp_path / "out") == ["in/0.txt", "in/1.txt"]
    unpack(archive, tmp_path / "out", base)
    assert everything_in(tmp_path / "out") == [f"in/{k}.txt" for k in range(4)]


@pytest.mark.parametrize(
    "name", ["../a.txt", "x/../../a.txt", "/a.txt", "..\\a.txt", "C:\\a.txt", "C:a.txt", "x/..", "a\n.txt", "\\\\host\\a.txt"]
)
def test_a_name_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"good.txt": b"x", name: b"evil"})
    with pytest.raises(BadInput, match=r"\[escape\]"):
        unpack(archive, tmp_path / "out", base)
    assert everything_in(tmp_path) == ["a.zip"]


def test_a_name_with_a_zero_byte_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"good.txtX../a": b"x"})
    archive.write_bytes(archive.read_bytes().replace(b"good.txtX", b"good.txt\0"))
    with pytest.raises(BadInput, match=r"\[escape\]"):
        unpack(archive, tmp_path / "out", base)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(kind: int, tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"a.txt": b"/etc/passwd"}, mode=kind | 0o777)
    with pytest.raises(BadInput, match=r"\[link\]"):
        unpack(archive, tmp_path / "out", base)
    assert everything_in(tmp_path) == ["a.zip"]


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = packed(tmp_path / "a.zip", {"a.txt": bytes(3 << 20)})
    with pytest.raises(BadInput, match=r"a\.txt in a\.zip would become 3,145,728 bytes of .*\[bomb\]"):
        unpack(archive, tmp_path / "out", base)
    many = packed(tmp_path / "b.zip", {f"{k}.txt": bytes(900_000) for k in range(20)})  # each too small to be told
    with pytest.raises(BadInput, match=r"\[bomb\]"):
        unpack(many, tmp_path / "out", base)
    monkeypatch.setattr(unzip, "MOST_MEMBERS", 10)
    with pytest.raises(BadInput, match=r"has 20 members, more than 10; .*\[bomb\]"):
        unpack(many, tmp_path / "out", base)
    stored = packed(tmp_path / "c.zip", {"a.txt": b"x" * 5000}, method=zipfile.ZIP_STORED)
    monkeypatch.setattr(unzip, "MOST_BYTES", 4000)
    with pytest.raises(BadInput, match=r"would become 5,000 bytes; .*\[bomb\]"):
        unpack(stored, tmp_path / "out", base)
    assert not (tmp_path / "out").exists()


def directory(entries: int) -> bytes:
    """A zip whose directory names the same bytes many times, so that they count over and over."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("0.txt", b"x" * 10_000)
    whole = buffer.getvalue()
    start = whole.index(b"PK\x01\x02")
    entry, end = whole[start : whole.index(b"PK\x05\x06")], whole[whole.index(b"PK\x05\x06") :]
    listed = b"".join(entry.replace(b"0.txt", b"%d.txt" % (k % 10)) for k in range(entries))
    tail = struct.pack("<4s4H2LH", end[:4], 0, 0, entries, entries, len(listed), start, 0)
    return whole[:start] + listed + tail


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(directory(10))
    with pytest.raises(BadInput, match=r"claims 100,000 bytes of contents .*\[bomb\]"):
        unpack(tmp_path / "a.zip", tmp_path / "out", base)


def test_two_members_for_one_file_and_another_file_in_the_way(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"x/a.txt": b"1", "y/a.txt": b"2"})
    with pytest.raises(BadInput, match=r"\[twice\]"):
        unpack(archive, tmp_path / "out", base)
    archive = packed(tmp_path / "b.zip", {"a.txt": b"1"})
    (tmp_path / "out/in").mkdir(parents=True)
    (tmp_path / "out/in/a.txt").write_bytes(b"3")
    with pytest.raises(BadInput, match=r"\[other-file\]"):
        unpack(archive, tmp_path / "out", base)
    assert (tmp_path / "out/in/a.txt").read_bytes() == b"3"


def test_damage_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"a.txt": b"x" * 5000}, method=zipfile.ZIP_STORED)
    whole = archive.read_bytes()
    for name, content in {
        "cut.zip": whole[:-30],
        "flipped.zip": whole.replace(b"xxxxx", b"xxyxx", 1),
        "text.zip": b"<html>not found</html>",
        "empty.zip": b"",
        "locked.zip": whole.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=r"\[locked\]" if name == "locked.zip" else r"\[damaged\]"):
            unpack(tmp_path / name, tmp_path / "out", base)
        assert everything_in(tmp_path / "out") == []
