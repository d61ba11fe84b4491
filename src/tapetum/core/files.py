"""Writing files and folders atomically: readers never see partial ones; and HTML pages in one file.

Unfinished files are beside the result as `.NAME.PID.tmp`, where NAME is the result's name and PID the process number.

A page is a template with placeholders, filled in one pass, so that inserted text is not scanned again.
"""

import base64
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.provenance import check

_FULL = errno.ENOSPC, errno.EDQUOT, errno.EFBIG


@contextmanager
def whole_file(path: str | os.PathLike[str], own: bool = False) -> Iterator[Path]:
    """Open a temporary path beside `path`; on leaving, flush it to disk and rename it to `path`.

    If anything fails, `path` is unchanged and the temporary file is removed. Raises BadInput if the disk is full, the
    folder is missing or not writable, or `path` is a folder or a file that must not be replaced
    (`tapetum.core.provenance`). `own`: it belongs to a cache, to which nobody else writes.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_file(Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     print([p.name for p in Path(folder).iterdir()])
    ['a.txt']
    """
    path = named_path(path)
    refuse_folder(path)
    if not own:
        check(path)
    temporary = temporary_file(path)
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # it was never made, or cannot be reached at all
            temporary.unlink()


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cache_folder(name: str) -> Path:
    """Find the folder of one of tapetum's caches: tapetum/NAME in $XDG_CACHE_HOME, by default ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "tapetum", name)


def temporary_file(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")


def writable(text: str) -> str:
    """Escape bytes of a text, such as a file name, that are not UTF-8 as \\xNN, so that it can be written anywhere.

    >>> writable(os.fsdecode(b"caf\\xe9.png"))
    'caf\\\\xe9.png'
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # halves of characters that are no bytes of a name
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_text(path: str | os.PathLike[str], text: str, own: bool = False) -> None:
    """Write UTF-8, as `whole_file` does; names that are not UTF-8 can be restored from JSON, elsewhere they become \\uNNNN."""
    with whole_file(path, own) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_json(path: str | os.PathLike[str], content: Any, own: bool = False) -> None:
    write_text(path, json.dumps(content, indent=1) + "\n", own)


def write_folder(path: Path, files: dict[str, bytes]) -> None:
    """Write a folder with these files, whole or not at all. Raises BadInput if it exists, or cannot be written."""
    if path.exists():
        raise BadInput(f"{path} is there already; give a folder that is not there yet")
    try:
        with whole_folder(path) as folder:
            for name, content in files.items():
                (folder / name).write_bytes(content)
    except OSError as error:
        raise cannot_write(path, error) from error


def plain_name(path: str | Path) -> str:
    """Compute the name of a file or folder without its extension, also for "." and for broken links.

    >>> plain_name("videos/../clip.mp4")
    'clip'
    """
    return Path(os.path.realpath(path)).stem


def same_place(one: str | Path, other: str | Path) -> bool:
    """Check whether two paths lead to the same place, whether or not it exists."""
    return os.path.realpath(one) == os.path.realpath(other)


def named_path(path: str | os.PathLike[str]) -> Path:
    """Convert a name to a path. Raises BadInput for an empty name, which `Path` takes for the current folder.

    >>> named_path("clip.mp4").suffix
    '.mp4'
    """
    if os.fspath(path) == "":
        raise BadInput("the name of a file or folder is empty; give one ('.' is the current folder)")
    return Path(path)


def refuse_folder(path: Path) -> None:
    """Raise `BadInput` if a folder exists at the path of a file to be written."""
    if path.is_dir():
        raise BadInput(f"cannot write {path}: it is a folder; move it, or choose another place")


def check_place(path: Path, sources: Iterable[Any] = (), option: str = "--out") -> None:
    """Raise BadInput, before any work, if the folder of a file to be written is missing, or the file is one of `sources`."""
    if not path.absolute().parent.is_dir():
        raise BadInput(f"{option} {path}: there is no folder {path.parent}; make it first")
    if any(isinstance(each, str | Path) and same_place(each, path) for each in sources):
        raise BadInput(f"{option} {path} is what is read; give another name")


class Results:
    """Writes files that are moved into the folder `out` once all of them are whole. See `results`."""

    def __init__(self, out: Path):
        self.out = out
        self._temporary = out / f".{os.getpid()}.tmp" if out.is_dir() else out.with_name(f".{out.name}.{os.getpid()}.tmp")

    @property
    def folder(self) -> Path:
        """Make the folder to write into until the next `commit`. Raises BadInput if that fails."""
        try:
            self._temporary.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.out, error) from error
        return self._temporary

    def commit(self, instead_of: Iterable[str] = ()) -> None:
        """Move the files written since the last `commit` into `out`; other files named in `instead_of` are removed.

        Raises BadInput if one must not be replaced, or if a move fails; the message names the folder of those not moved.
        """
        new = self.folder
        names = sorted(path.name for path in new.iterdir())
        try:
            for name in names:
                refuse_folder(self.out / name)
                check(self.out / name)
            for path in new.rglob("*"):
                sync(path)
            if self.out.exists():
                for name in names:
                    os.replace(new / name, self.out / name)
            else:
                os.replace(new, self.out)
            for name in set(instead_of) - set(names):
                (self.out / name).unlink(missing_ok=True)
        except (OSError, BadInput) as error:
            kept = mkdtemp(prefix=f"{os.path.basename(os.path.abspath(self.out))}-{os.getpid()}-", dir=new.parent)
            os.replace(new, kept)
            message = error if isinstance(error, BadInput) else cannot_write(self.out, error)
            raise BadInput(f"{message}; the results are in {kept}") from error

    def close(self) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)


@contextmanager
def results(out: Path, names: Iterable[str] = ()) -> Iterator[Results]:
    """Open a writer of files into the folder `out`, with a `commit` for files that are to appear together.

    Uncommitted files are deleted on leaving. Raises BadInput immediately, before any work is done, if `out` is not a
    folder or cannot be made, or if one of the files `names` is a folder or must not be replaced
    (`tapetum.core.provenance`).
    """
    if os.path.lexists(out) and not out.is_dir():
        what = "a link that leads nowhere" if out.is_symlink() and not out.exists() else "a file"
        raise BadInput(f"{out} is {what}; give --out a folder, or a name that is free")
    for name in names:
        refuse_folder(out / name)
        check(out / name)
    made = Results(out)
    try:
        made.folder  # noqa: B018  # it is made now, so that a place that cannot be written is known before the work
        yield made
    finally:
        made.close()


@contextmanager
def whole_folder(out: Path, names: Iterable[str] = ()) -> Iterator[Path]:
    """Open a temporary folder beside `out` whose files are moved into `out` on leaving; nothing remains if that fails."""
    with results(out, names) as made:
        yield made.folder
        made.commit()


def second_name(path: Path, other: Path) -> None:
    """Link a file to another name; copy it if the file system does not support links."""
    try:
        os.link(path, other, follow_symlinks=False)
    except OSError:
        shutil.copy2(path, other, follow_symlinks=False)


def cannot_write(path: str | Path, error: OSError) -> BadInput:
    """Compose the one-line message for a failed write of `path` with `error`."""
    if error.errno in _FULL:
        return BadInput(f"the disk is full: {path} was not written; free some room and run again")
    return BadInput(f"cannot write {path} ({error.strerror or error}): choose a place that can be written")


_MARK = re.compile(r"<!--(\w+)-->|/\*(\w+)\*/")


def filled(package: str, template: str, parts: Mapping[str, str]) -> str:
    """Fill the placeholders <!--name--> and /*name*/ of a template inside a package."""
    return _MARK.sub(lambda mark: parts[mark[1] or mark[2]], resource(package, template))


def resource(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text("utf-8")


def content_security_policy(style: str, script: str) -> str:
    """Build a policy that lets a page run only this script, use this style and show images embedded in it.

    >>> content_security_policy("", "").split("; ")[0]
    "default-src 'none'"
    """

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    rules = "default-src 'none'", "img-src data:", f"style-src {source(style)}", f"script-src {source(script)}"
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])


def embedded_json(value: Any) -> str:
    """Write JSON that is safe inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
