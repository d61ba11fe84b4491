"""External zip files, unpacked so that they can only create plain files in the intended folders.

The directory of a zip is checked completely before a byte is written. Each refusal has a name:

    [escape]      a member's name leads out of the folder: `..`, a leading slash, a drive, a backslash, control characters
    [link]        a member is a link, a pipe or a device
    [bomb]        a member, or all of them, would grow beyond the limits; or members share their bytes
    [locked]      a member is encrypted
    [twice]       two members would become one file
    [other-file]  another file with other content exists already
    [damaged]     it is not a zip, it is truncated, or the output has another CRC-32 than the directory says

Each file appears whole; an existing file with the size and CRC-32 in the directory is left unchanged. So the next call
continues one that was stopped.
"""

import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.core.reading import no_pipe, open_file

_PIECE = 1 << 20
_TINY = 1 << 20
"""Bytes up to which a member may shrink as far as it likes."""
_ENCRYPTED = 1


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """What a zip may become."""

    ratio: float = 100.0
    """Most bytes that come of one, of a member and of all together."""
    total: int = 1 << 40
    """Bytes of all."""
    members: int = 1 << 18
    """Files and folders."""


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """A file that came of a member."""

    path: Path
    size: int
    crc32: int


def unpack(
    archive: Path,
    folder: Path,
    place: Callable[[str], str | None],
    *,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    limits: ArchiveLimits | None = None,
) -> list[Unpacked]:
    """Write members of a zip below `folder`, and return them.

    Args:
        place: maps a member's name to its path below `folder`; None to skip it.
        progress: called with the bytes written so far, and the total.

    Raises:
        BadInput: see above; and if nothing can be written. Files unpacked before are whole and stay.
    """
    try:
        with zipfile.ZipFile(no_pipe(archive)) as content:
            chosen = _judge(archive, content.infolist(), place, limits or ArchiveLimits())
            total = sum(member.file_size for member, _ in chosen)
            done, made = 0, []
            for member, name in chosen:
                path = folder / name
                if not _here(path, member, archive):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    _write(content, member, path, lambda bytes_, before=done: progress(before + bytes_, total))
                done += member.file_size
                progress(done, total)
                made.append(Unpacked(path=path, size=member.file_size, crc32=member.CRC))
            return made
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{archive.name} is no whole zip file ({' '.join(str(error).split())}); fetch it again [damaged]"
        ) from error


def _judge(
    archive: Path, members: Sequence[zipfile.ZipInfo], place: Callable[[str], str | None], limits: ArchiveLimits
) -> list[tuple[zipfile.ZipInfo, str]]:
    """Choose the members to unpack, and their paths; raise BadInput for a zip with anything hostile in it, selected or not."""

    def refuse(member: zipfile.ZipInfo | None, what: str, name: str) -> None:
        of = "" if member is None else f"{_shown(member.filename)} in "
        raise BadInput(f"{of}{archive.name} {what}; nothing of it is unpacked: get it from its publisher [{name}]")

    if len(members) > limits.members:
        refuse(None, f"has {len(members):,} members, more than {limits.members:,}", "bomb")
    for member in members:
        if leads_out(member.orig_filename) or leads_out(member.filename):
            refuse(member, "has a name that leads out of its folder", "escape")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            refuse(member, "is a link" if kind == stat.S_IFLNK else "is a pipe or a device", "link")
        if member.flag_bits & _ENCRYPTED:
            refuse(member, "is encrypted", "locked")
        if member.file_size > _TINY and member.file_size > limits.ratio * max(member.compress_size, 1):
            refuse(member, f"would become {member.file_size:,} bytes of {member.compress_size:,}", "bomb")
    size, stored, whole = archive.stat().st_size, sum(m.compress_size for m in members), sum(m.file_size for m in members)
    if stored > size:
        refuse(None, f"claims {stored:,} bytes of contents and has {size:,}", "bomb")
    if whole > limits.total or whole > limits.ratio * size + _TINY:
        refuse(None, f"would become {whole:,} bytes", "bomb")
    chosen: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        name = None if member.is_dir() else place(member.filename)
        if name is None:
            continue
        if leads_out(name):
            refuse(member, "has a name that leads out of its folder", "escape")
        if chosen.setdefault(name, member) is not member:
            refuse(member, f"and another member are both called {name}", "twice")
    return [(member, name) for name, member in chosen.items()]


def leads_out(name: str) -> bool:
    """Check whether a member's name could refer to a place outside the folder, on any system.

    >>> [leads_out(name) for name in ("videos/a.mp4", "../a", "a/../../b", "/etc/a", "C:a", "a\\\\b", "a\\x00b")]
    [False, True, True, True, True, True, True]
    """
    parts = name.split("/")
    odd = "\\" in name or any(unicodedata.category(letter) == "Cc" for letter in name)
    return not name or odd or name.startswith("/") or ".." in parts or ":" in parts[0]


def _here(path: Path, member: zipfile.ZipInfo, archive: Path) -> bool:
    if not path.is_file():
        return False
    if path.stat().st_size == member.file_size and crc32_of(path) == member.CRC:
        return True
    raise BadInput(
        f"{path} is there already, and is another file than {_shown(member.filename)} in {archive.name}; "
        "remove it, or choose another folder [other-file]"
    )


def crc32_of(path: Path) -> int:
    """Compute the CRC-32 of a file, as in zip files."""
    value = 0
    with open_file(path) as file:
        while piece := file.read(_PIECE):
            value = zlib.crc32(piece, value)
    return value


def _write(content: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, progress: Callable[[int], None]) -> None:
    done = 0
    with whole_file(path) as temporary, content.open(member) as source, open(temporary, "wb") as out:
        while piece := source.read(_PIECE):
            done += len(piece)
            if done > member.file_size:
                raise zipfile.BadZipFile(f"{_shown(member.filename)} is longer than it says")
            out.write(piece)
            progress(done)
        if done < member.file_size:
            raise zipfile.BadZipFile(f"{_shown(member.filename)} ends after {done} of {member.file_size} bytes")


def _shown(name: str) -> str:
    """An external name, made safe for one line of a message."""
    return ascii(name)[1:-1][:80]
