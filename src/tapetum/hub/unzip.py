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
from collections.abc import Callable
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.core.reading import no_pipe, open_file

_PIECE = 1 << 20
_TINY = 1 << 20
"""Bytes up to which a member may shrink as far as it likes."""
_ENCRYPTED = 1
MOST_RATIO, MOST_BYTES, MOST_MEMBERS = 100, 1 << 40, 1 << 18
"""Bytes that come of one, of a member and of all together; bytes of all; files and folders."""


def unpack(
    archive: Path,
    folder: Path,
    place: Callable[[str], str | None],
    *,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> list[Path]:
    """Write members of a zip below `folder`, and return their paths.

    Args:
        place: maps a member's name to its path below `folder`; None to skip it.
        progress: called with the bytes written so far, and the total.

    Raises:
        BadInput: see above; and if nothing can be written. Files unpacked before are whole and stay.
    """
    try:
        with zipfile.ZipFile(no_pipe(archive)) as content:
            chosen = _judge(archive, content.infolist(), place)
            done, total = 0, sum(member.file_size for member in chosen.values())
            for name, member in chosen.items():
                path, before = folder / name, done
                if not _is_here(path, member, archive):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with whole_file(path) as temporary, content.open(member) as source, open(temporary, "wb") as out:
                        while piece := source.read(_PIECE):  # of no more bytes than the directory says, and with its CRC-32
                            out.write(piece)
                            done += len(piece)
                            progress(done, total)
                done = before + member.file_size
                progress(done, total)
            return [folder / name for name in chosen]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{archive.name} is no whole zip file ({' '.join(str(error).split())}); fetch it again [damaged]"
        ) from error


def _judge(archive: Path, members: list[zipfile.ZipInfo], place: Callable[[str], str | None]) -> dict[str, zipfile.ZipInfo]:
    """Choose the members to unpack, by path; raise BadInput for a zip with anything hostile in it, selected or not."""

    def refuse(what: str, name: str, member: zipfile.ZipInfo | None = None) -> None:
        of = "" if member is None else f"{_shown(member)} in "
        raise BadInput(f"{of}{archive.name} {what}; nothing of it is unpacked: get it from its publisher [{name}]")

    if len(members) > MOST_MEMBERS:
        refuse(f"has {len(members):,} members, more than {MOST_MEMBERS:,}", "bomb")
    for member in members:
        if leads_out(member.orig_filename) or leads_out(member.filename):
            refuse("has a name that leads out of its folder", "escape", member)
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            refuse("is a link, a pipe or a device", "link", member)
        if member.flag_bits & _ENCRYPTED:
            refuse("is encrypted", "locked", member)
        if member.file_size > _TINY and member.file_size > MOST_RATIO * max(member.compress_size, 1):
            refuse(f"would become {member.file_size:,} bytes of {member.compress_size:,}", "bomb", member)
    size, stored, whole = archive.stat().st_size, sum(m.compress_size for m in members), sum(m.file_size for m in members)
    if stored > size:
        refuse(f"claims {stored:,} bytes of contents and has {size:,}", "bomb")
    if whole > MOST_BYTES or whole > MOST_RATIO * size + _TINY:
        refuse(f"would become {whole:,} bytes", "bomb")
    chosen: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        if member.is_dir() or (name := place(member.filename)) is None:
            continue
        if leads_out(name):
            refuse("has a name that leads out of its folder", "escape", member)
        if chosen.setdefault(name, member) is not member:
            refuse(f"and another member are both called {name}", "twice", member)
    return chosen


def leads_out(name: str) -> bool:
    """Check whether a member's name could refer to a place outside the folder, on any system.

    >>> [leads_out(name) for name in ("videos/a.mp4", "../a", "a/../../b", "/etc/a", "C:a", "a\\\\b", "a\\x00b")]
    [False, True, True, True, True, True, True]
    """
    parts = name.split("/")
    odd = "\\" in name or any(unicodedata.category(letter) == "Cc" for letter in name)
    return not name or odd or name.startswith("/") or ".." in parts or ":" in parts[0]


def _is_here(path: Path, member: zipfile.ZipInfo, archive: Path) -> bool:
    if not path.is_file():
        return False
    if path.stat().st_size == member.file_size and _crc32_of(path) == member.CRC:
        return True
    raise BadInput(
        f"{path} is there already, and is another file than {_shown(member)} in {archive.name}; remove it, or choose another "
        "folder [other-file]"
    )


def _crc32_of(path: Path) -> int:
    value = 0
    with open_file(path) as file:
        while piece := file.read(_PIECE):
            value = zlib.crc32(piece, value)
    return value


def _shown(member: zipfile.ZipInfo) -> str:
    """An external name, made safe for one line of a message."""
    return ascii(member.filename)[1:-1][:80]
