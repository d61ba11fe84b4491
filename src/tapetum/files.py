"""Writing files, and folders of them, so that a reader never meets half of one.

What is not finished lies beside its place as `.NAME.PID.tmp`, NAME being that of the result and PID the number of the process.
A process that is killed leaves it there; whoever writes the same result next sweeps it away.
"""

import errno
import glob
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tapetum.errors import BadInput

_FULL = errno.ENOSPC, errno.EDQUOT, errno.EFBIG


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on leaving, flush it to disk and rename it to `path`.

    If anything fails, `path` is as it was before and the temporary file is gone. Raises BadInput if the disk is full, the
    folder is missing or may not be written, or a folder stands at `path`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_file(Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     print([p.name for p in Path(folder).iterdir()])
    ['a.txt']
    """
    path = Path(path)
    refuse_folder(path)
    temporary = temporary_file(path)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # it was never made, or cannot be reached at all
            temporary.unlink()


def temporary_file(path: Path) -> Path:
    """Name the file in which `path` is written until it is finished; those that dead processes left are swept away."""
    _sweep(path.parent, f".{path.stem}.", f".tmp{path.suffix}")
    return path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")


def plain_name(path: str | Path) -> str:
    """Give the name of a file or folder without its ending, also where it is given as "." or is a link that leads nowhere.

    >>> plain_name("videos/../clip.mp4")
    'clip'
    """
    return Path(os.path.realpath(path)).stem


def same_place(one: str | Path, other: str | Path) -> bool:
    """Say whether two paths lead to one place, whether or not something is there."""
    return os.path.realpath(one) == os.path.realpath(other)


def refuse_folder(path: Path) -> None:
    """Raise `BadInput` where a folder stands in the place of a file that is to be written."""
    if path.is_dir():
        raise BadInput(f"cannot write {path}: it is a folder; move it, or choose another place")


class Results:
    """Files that appear in the folder `out` together or not at all. See `results`."""

    def __init__(self, out: Path):
        self.out = out
        self._temporary = out / f".{os.getpid()}.tmp" if out.is_dir() else out.with_name(f".{out.name}.{os.getpid()}.tmp")

    @property
    def folder(self) -> Path:
        """The folder to write into until the next `commit`. Raises BadInput where it cannot be made."""
        try:
            self._temporary.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.out, error) from error
        return self._temporary

    def commit(self, instead_of: Iterable[str] = ()) -> None:
        """Move what was written since the last `commit` into `out`; files named in `instead_of` that are not among it go.

        Raises BadInput where that cannot be; `out` is as it was then, and what was written lies in a folder that the message
        names.
        """
        new = self.folder
        gone = [name for name in instead_of if not (new / name).exists()]
        try:
            if not self.out.exists():
                os.replace(new, self.out)
            else:
                self._exchange(new, gone)
        except OSError as error:
            raise BadInput(f"{cannot_write(self.out, error)}; {self._kept(new)}") from error
        self._temporary = self.out / f".{os.getpid()}.tmp"

    def _exchange(self, new: Path, gone: list[str]) -> None:
        """Moves files one by one; those that they replace are kept until all are there, and come back where one fails."""
        names = sorted(path.name for path in new.iterdir())
        for name in names:
            if (self.out / name).is_dir() and not (self.out / name).is_symlink():
                raise IsADirectoryError(errno.EISDIR, f"a folder stands at {self.out / name}")
        old = self.out / f".old.{os.getpid()}.tmp"
        old.mkdir()
        done: list[str] = []
        try:
            for name in (*names, *gone):
                if os.path.lexists(self.out / name):
                    second_name(self.out / name, old / name)
            for name in names:
                done.append(name)
                os.replace(new / name, self.out / name)
            for name in gone:
                (self.out / name).unlink(missing_ok=True)
        except BaseException:
            for name in (*done, *gone):
                if os.path.lexists(self.out / name) and not os.path.lexists(new / name):
                    second_name(self.out / name, new / name)
                if os.path.lexists(old / name):
                    os.replace(old / name, self.out / name)
                elif name in done:
                    (self.out / name).unlink(missing_ok=True)
            raise
        finally:
            shutil.rmtree(old, ignore_errors=True)

    def _kept(self, new: Path) -> str:
        """Saves what was written from being swept away, and says where it is."""
        for number in range(1, 1000):
            kept = self.out.with_name(f"{self.out.name}-{number}")
            if not os.path.lexists(kept):
                with suppress(OSError):
                    os.replace(new, kept)
                    return f"the results are in {kept}"
        return "the results are lost"

    def close(self) -> None:
        """Throw away what was written since the last `commit`."""
        shutil.rmtree(self._temporary, ignore_errors=True)


@contextmanager
def results(out: Path, names: Iterable[str] = ()) -> Iterator[Results]:
    """Give what writes files into the folder `out`, with a `commit` for those that are to appear together.

    What is not committed on leaving is thrown away. Raises BadInput at once, before any work is done for it, where `out` is no
    folder or cannot be made, or a folder stands in the place of one of the files `names`.
    """
    if os.path.lexists(out) and not out.is_dir():
        what = "a link that leads nowhere" if out.is_symlink() and not out.exists() else "a file"
        raise BadInput(f"{out} is {what}; give --out a folder, or a name that is free")
    for name in names:
        refuse_folder(out / name)
    _sweep(out.parent, f".{out.name}.", ".tmp")
    _sweep(out, ".", ".tmp")
    _sweep(out, ".old.", ".tmp")
    made = Results(out)
    try:
        made.folder  # noqa: B018  # it is made now, so that a place that cannot be written is known before the work
        yield made
    finally:
        made.close()


@contextmanager
def whole_folder(out: Path, names: Iterable[str] = ()) -> Iterator[Path]:
    """Give a temporary folder beside `out` whose files are moved into `out` on leaving; nothing is left if that fails.

    Raises BadInput as `results`.
    """
    with results(out, names) as made:
        yield made.folder
        made.commit()


def second_name(path: Path, other: Path) -> None:
    """Give a file another name as well; a copy where the disk knows no such thing."""
    try:
        os.link(path, other, follow_symlinks=False)
    except OSError:
        shutil.copy2(path, other, follow_symlinks=False)


def _sweep(folder: Path, before: str, after: str) -> None:
    """Removes what processes that are no more left unfinished: `before`, a number, `after`."""
    try:
        left = list(folder.glob(f"{glob.escape(before)}*{glob.escape(after)}"))
    except (OSError, ValueError):
        return  # that nothing can be written there is said by whoever tries
    for path in left:
        number = re.fullmatch(r"\d{1,9}", path.name[len(before) : -len(after)])
        if number and not _lives(int(number[0])):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()


def _lives(process: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def no_pipe(path: str | Path) -> None:
    """Raise OSError where `path` is a pipe, a socket or a device, which may never end or never begin; else, open it.

    What cannot be found raises what opening it would raise.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return
    kind = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
    raise OSError(errno.EINVAL, f"it is {kind}, not a file")


def cannot_write(path: str | Path, error: OSError) -> BadInput:
    """Return the one line to say when writing `path` failed with `error`."""
    if error.errno in _FULL:
        return BadInput(f"the disk is full: {path} was not written; free some room and run again")
    return BadInput(f"cannot write {path} ({error.strerror or error}): choose a place that can be written")
