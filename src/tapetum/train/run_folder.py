"""The folder of a run, locked for as long as the run is in progress, and where its checkpoints are. Imports no torch."""

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tapetum.core.addresses import is_address
from tapetum.core.errors import BadInput

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the errors of a disk, a quota or a file size that is used up."""


def checkpoint_parent(out: Path, folder: str | None) -> Path | str:
    """Find where the checkpoints of the run in `out` are: in `folder`, a path or an address, where that is given.

    >>> checkpoint_parent(Path("run"), None), checkpoint_parent(Path("run"), "s3://bucket/run")
    (PosixPath('run/checkpoints'), 's3://bucket/run')
    """
    if folder is None:
        return out / "checkpoints"
    return folder if is_address(folder) else Path(folder)


@contextmanager
def lock_folder(out: Path) -> Iterator[None]:
    """Make the folder and lock it, so that no second run writes there; a lock dies with its process.

    Where an error comes before anything else was written, the folders that were made are taken away again.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / ".lock").open("a")
    except OSError as error:
        raise BadInput(f"cannot write to {out}: {error.strerror}; choose a folder that can be written") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(f"another run is training in {out}; wait for it, or choose another folder") from error
        try:
            yield
        except BaseException as error:
            if made and not any(path.name != ".lock" for path in out.iterdir()):
                (out / ".lock").unlink(missing_ok=True)
                with suppress(OSError):  # something else is in there
                    for folder in made:
                        folder.rmdir()
            if not isinstance(error, OSError) or error.errno not in _DISK_FULL:
                raise
            raise BadInput(
                f"cannot write to {out}: {error.strerror}; make room and run the same command again to resume"
            ) from error
