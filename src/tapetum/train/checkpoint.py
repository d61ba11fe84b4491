"""Checkpoints that survive a crash at any moment, without pickle.

A checkpoint is a folder of safetensors files, a state.json and a manifest with the SHA-256 of each. It is written under
another name and appears by one rename:

    checkpoints/tmp-step_00000500/   files written, each fsynced
                                     manifest.json written and fsynced, folder fsynced
    checkpoints/step_00000500/       renamed; parent fsynced

So a folder named step_... is whole unless the disk damaged it later, which its checksums tell.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from tapetum.core.errors import BadInput, visible
from tapetum.core.reading import no_pipe, open_file, read_json

FORMAT = "tapetum-checkpoint-1"
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the errors of a disk, a quota or a file size that is used up."""


def folder_name(step: int) -> str:
    """Name the checkpoint after `step` steps.

    >>> folder_name(500)
    'step_00000500'
    """
    return f"step_{step:08d}"


def step_of(folder: Path) -> int:
    """Read the steps done off a checkpoint's name."""
    return int(folder.name.removeprefix("step_"))


def checkpoints(parent: Path) -> list[Path]:
    """List all checkpoint folders, oldest first, whole or damaged; half-written ones have another name."""
    folders = [f for f in parent.glob("step_*") if f.is_dir() and f.name.removeprefix("step_").isdigit()]
    return sorted(folders, key=step_of)


def save(parent: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> Path:
    """Write `<name>.safetensors` for each entry of `tensors` and state.json; returns the new folder.

    BadInput when the disk is full or read-only; nothing half-written stays and the older checkpoints are untouched.
    """
    final, temporary = parent / folder_name(step), parent / f"tmp-{folder_name(step)}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        discard(temporary)
        temporary.mkdir()
        for name, content in tensors.items():
            _write_tensors(temporary / f"{name}.safetensors", content)
        _write_json(temporary / "state.json", dict(state))
        files = {f.name: {"bytes": f.stat().st_size, "sha256": _sha256(f)} for f in sorted(temporary.iterdir())}
        _write_json(temporary / "manifest.json", {"format": FORMAT, "step": step, "files": files})
        _sync(temporary)
        discard(final)
        temporary.rename(final)
        _sync(parent)
    except (OSError, safetensors.SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        older = checkpoints(parent)
        kept = f"the previous one, {older[-1].name}, is intact" if older else "there is no earlier one"
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadInput(
            f"cannot save checkpoint {final.name}: {reason}; {kept}; make room and run the same command again to resume"
        ) from error
    return final


def load(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read tensors by file name, and the state, if all checksums hold; BadInput says which file is damaged."""
    verify(folder)
    tensors = {f.stem: safetensors.torch.load_file(no_pipe(f)) for f in sorted(folder.glob("*.safetensors"))}
    return tensors, read_json(folder / "state.json")


def verify(folder: Path) -> None:
    """Raise BadInput unless every file of the manifest is there and has its checksum."""
    advice = "wanted the checkpoint as it was written; delete the folder to be rid of it"
    try:
        manifest = read_json(folder / "manifest.json")
        files = {name: entry["sha256"] for name, entry in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"checkpoint {folder.name} has no readable manifest.json; {advice}") from error
    for name, digest in files.items():
        path = folder / Path(name).name
        if not path.is_file():
            raise BadInput(f"checkpoint {folder.name} lacks its file {path.name}; {advice}")
        if _sha256(path) != digest:
            raise BadInput(f"checkpoint {folder.name} is damaged: {path.name} does not match its checksum; {advice}")


def latest(parent: Path) -> Path | None:
    """Find the newest checkpoint that is whole; damaged newer ones are named on stderr. None where there is none at all.

    BadInput when there are checkpoints and all are damaged.
    """
    folders = checkpoints(parent)
    for folder in reversed(folders):
        try:
            verify(folder)
        except BadInput as error:
            print(visible(f"warning: {error}; looking for an older one"), file=sys.stderr)
            continue
        return folder
    if folders:
        raise BadInput(
            f"none of the {len(folders)} checkpoints in {parent.name} is whole; delete that folder to train from the start"
        )
    return None


def prune(parent: Path, keep_last: int, keep_every: int) -> None:
    """Delete all but the newest `keep_last` checkpoints and those at multiples of `keep_every`, and half-written ones."""
    for folder in checkpoints(parent)[:-keep_last]:
        if not keep_every or step_of(folder) % keep_every:
            discard(folder)
    for folder in parent.glob("tmp-*"):
        discard(folder)


def discard(folder: Path) -> None:
    """Delete a folder, out of sight first, so that a crash never leaves half of it under its name."""
    if folder.is_dir():
        doomed = folder if folder.name.startswith("tmp-") else folder.rename(folder.with_name(f"tmp-old-{folder.name}"))
        shutil.rmtree(doomed)


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    content = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    safetensors.torch.save_file(content, path)
    path.chmod(path.parent.stat().st_mode & 0o666)
    with open_file(path) as file:
        header = int.from_bytes(file.read(8), "little")
        size = 8 + header + sum(t.numel() * t.element_size() for t in content.values())
        os.fsync(file.fileno())
    if path.stat().st_size != size:
        raise OSError(None, f"{path.name} has {path.stat().st_size} of {size} bytes (disk full?)")


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with path.open("w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
            if not isinstance(error, OSError) or error.errno not in DISK_FULL:
                raise
            raise BadInput(
                f"cannot write to {out}: {error.strerror}; make room and run the same command again to resume"
            ) from error
