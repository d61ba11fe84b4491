"""Writing files, and folders of them, so that a reader never meets half of one."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tapetum.errors import BadInput


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on leaving, flush it to disk and rename it to `path`.

    If anything fails, `path` is as it was before and the temporary file is gone. Raises BadInput if the disk is full, the
    folder is missing or may not be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_file(Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     print([p.name for p in Path(folder).iterdir()])
    ['a.txt']
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Give a temporary folder beside `out` whose files are moved into `out` on leaving; nothing is left if that fails.

    Raises BadInput at once where `out` is no folder or cannot be made, before any work is done for it.
    """
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out} is a file; give --out a folder, or a name that is free")
    temporary = out / f".{os.getpid()}.tmp" if out.is_dir() else out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        _make(temporary, out)
        yield temporary
        _move(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _make(temporary: Path, out: Path) -> None:
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise cannot_write(out, error) from error


def _move(temporary: Path, out: Path) -> None:
    try:
        if not out.is_dir():
            os.replace(temporary, out)
            return
        for file in temporary.iterdir():
            os.replace(file, out / file.name)
    except OSError as error:
        raise cannot_write(out, error) from error


def cannot_write(path: str | Path, error: OSError) -> BadInput:
    """Return the one line to say when writing `path` failed with `error`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return BadInput(f"the disk is full: {path} was not written; free some room and run again")
    return BadInput(f"cannot write {path} ({error.strerror or error}): choose a place that can be written")
