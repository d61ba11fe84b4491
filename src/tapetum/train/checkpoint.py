"""Checkpoints that survive a crash at any moment, without pickle.

A checkpoint is a folder of safetensors files, a state.json and a manifest with the SHA-256 of each. It is written under
another name and appears by one rename:

    checkpoints/tmp-step_00000500/   files written, each fsynced
                                     manifest.json written and fsynced, folder fsynced
    checkpoints/step_00000500/       renamed; parent fsynced

So a folder named step_... is whole unless the disk damaged it later, which its checksums tell. At an address (a string such as
s3://bucket/run) nothing is renamed: files have their own names from the start, and the manifest is written last; a folder
without one does not count.

The files are one for the model, each average and each optimiser, written by the main process (`save`); or one for each process
(`tapetum.train.sharded`).
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from tapetum.core.addresses import cached_files, is_address, join_address, list_files, name_at, remove_below, write_at
from tapetum.core.errors import BadInput, visible
from tapetum.core.files import whole_file
from tapetum.core.reading import no_pipe, open_file, read_json
from tapetum.train.launch import local_rank
from tapetum.train.process_group import ProcessGroup

Place = Path | str
"""A folder, or the address of one."""
FORMAT = "tapetum-checkpoint-1"
MANIFEST, STATE = "manifest.json", "state.json"
PART = "part-{:05d}.safetensors"
"""Name of what each process wrote of a checkpoint in parts."""


def folder_name(step: int) -> str:
    """Name the checkpoint after `step` steps.

    >>> folder_name(500)
    'step_00000500'
    """
    return f"step_{step:08d}"


def step_of(folder: Place) -> int:
    """Read the steps done off a checkpoint's name."""
    return int(PurePosixPath(str(folder)).name.removeprefix("step_"))


def checkpoints(parent: Place) -> list[Place]:
    """List all checkpoints, oldest first, whole or damaged; half-written ones do not count."""
    if isinstance(parent, str):
        return [join_address(parent, name) for name, complete in _folders_at(parent).items() if complete]
    return sorted((f for f in parent.glob("step_*") if f.is_dir() and _is_name(f.name)), key=step_of)


def save(parent: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> Path:
    """Write `<name>.safetensors` for each entry of `tensors` and state.json; returns the new folder.

    BadInput when the disk is full or read-only; nothing half-written stays and the older checkpoints are untouched.
    """
    try:
        temporary = begin(parent, step)
        assert isinstance(temporary, Path)
        for name, content in tensors.items():
            _write_tensors(temporary / f"{name}.safetensors", content)
        write_json(temporary, STATE, state)
        files = {f.name: {"bytes": f.stat().st_size, "sha256": _sha256(f)} for f in sorted(temporary.iterdir())}
        commit(parent, step, FORMAT, files)
    except (OSError, safetensors.SafetensorError) as error:
        raise cannot_save(parent, step, error) from error
    return parent / folder_name(step)


def begin(parent: Place, step: int) -> Place:
    """Make the empty folder into which the checkpoint after `step` steps is written until `commit`."""
    folder = writing_folder(parent, step)
    if isinstance(folder, Path):
        folder.parent.mkdir(parents=True, exist_ok=True)
        discard(folder)
        folder.mkdir()
    else:
        discard(folder)
    return folder


def writing_folder(parent: Place, step: int) -> Place:
    """Name the folder into which the checkpoint after `step` steps is written."""
    if isinstance(parent, str):
        return join_address(parent, folder_name(step))
    return parent / f"tmp-{folder_name(step)}"


def commit(parent: Place, step: int, kind: str, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Make what was written since `begin` a checkpoint of format `kind`; `files` has bytes and sha256 of each file."""
    folder = writing_folder(parent, step)
    write_json(folder, MANIFEST, {"format": kind, "step": step, "files": files})
    if isinstance(folder, Path):
        assert isinstance(parent, Path)
        final = parent / folder_name(step)
        _sync(folder)
        discard(final)
        folder.rename(final)
        _sync(parent)


def cannot_save(parent: Place, step: int, error: Exception, who: str = "") -> BadInput:
    """Remove what was written of the checkpoint after `step` steps, and write the one line to say; `who` failed."""
    with suppress(OSError, BadInput):
        discard(writing_folder(parent, step))
    try:
        older = checkpoints(parent)
    except BadInput:
        older = []
    kept = f"the previous one, {_name(older[-1])}, is intact" if older else "there is no earlier one"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    advice = "run the same command again to resume"
    if not isinstance(error, BadInput):
        advice = f"make room and {advice}"
    return BadInput(f"cannot save checkpoint {folder_name(step)}: {who}{reason}; {kept}; {advice}")


def load(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read tensors by file name, and the state, if all checksums hold; BadInput says which file is damaged."""
    verify(folder)
    tensors = {f.stem: safetensors.torch.load_file(no_pipe(f)) for f in sorted(folder.glob("*.safetensors"))}
    return tensors, read_json(folder / STATE)


def is_sharded(folder: Path) -> bool:
    """Check whether a checkpoint was written in parts."""
    return (folder / PART.format(0)).is_file()


def write_weights(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write `<name>.safetensors` for each entry of `tensors` into the folder, each file at once."""
    folder.mkdir(exist_ok=True)
    for name, content in tensors.items():
        with whole_file(folder / f"{name}.safetensors", own=True) as temporary:
            _write_tensors(temporary, content)


def verify(folder: Path, rank: int = 0, size: int = 1) -> None:
    """Raise BadInput unless every file of the manifest is there and has its checksum, and no other has tensors.

    Of `size` processes each looks at its share of the files.
    """
    advice = "wanted the checkpoint as it was written; delete the folder to be rid of it"
    try:
        manifest = read_json(folder / MANIFEST)
        files = {name: entry["sha256"] for name, entry in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"checkpoint {folder.name} has no readable manifest.json; {advice}") from error
    for path in sorted(folder.glob("*.safetensors")):
        if path.name not in files:
            raise BadInput(f"checkpoint {folder.name} has {path.name}, which its manifest.json does not name; delete that file")
    for name, digest in list(files.items())[rank::size]:
        path = folder / Path(name).name
        if not path.is_file():
            raise BadInput(f"checkpoint {folder.name} lacks its file {path.name}; {advice}")
        if _sha256(path) != digest:
            raise BadInput(f"checkpoint {folder.name} is damaged: {path.name} does not match its checksum; {advice}")


def latest(parent: Place, processes: ProcessGroup | None = None) -> Place | None:
    """Find the newest checkpoint that is whole; damaged newer ones are named on stderr. None where there is none at all.

    All processes must call it alike; each verifies its share of the files. BadInput when there are checkpoints and all are
    damaged.
    """
    processes = processes or ProcessGroup(0, 1, torch.device("cpu"))
    folders = processes.broadcast(checkpoints(parent) if processes.main else None)
    for folder in reversed(folders):
        damage = None
        try:
            verify(local_folder(folder, processes), processes.rank, processes.size)
        except BadInput as error:
            damage = error
        if not processes.mean({"damaged": float(damage is not None)})["damaged"]:
            return folder
        if damage is not None:
            print(visible(f"warning: {damage}; looking for an older one"), file=sys.stderr)
    if folders:
        raise BadInput(
            f"none of the {len(folders)} checkpoints in {_name(parent)} is whole; delete that folder to train from the start"
        )
    return None


def local_folder(folder: Place, processes: ProcessGroup) -> Path:
    """Find the checkpoint's files on this machine: of one at an address, copies in the cache, made by one process a machine."""
    if isinstance(folder, Path):
        return folder
    copies, problem = None, None
    for turn in (True, False):
        if (local_rank() == 0) == turn:
            try:
                copies = cached_files(folder, [name_at(file.address) for file in list_files(folder)])
            except BadInput as error:
                problem = error
        processes.barrier()
    if copies is None:
        raise problem or BadInput(f"there is nothing at {folder}; check the address")
    return copies


def prune(parent: Place, keep_last: int, keep_every: int) -> None:
    """Delete all but the newest `keep_last` checkpoints and those at multiples of `keep_every`, and half-written ones."""
    for folder in checkpoints(parent)[:-keep_last]:
        if not keep_every or step_of(folder) % keep_every:
            discard(folder)
    if isinstance(parent, str):
        for name in [name for name, complete in _folders_at(parent).items() if not complete]:
            discard(join_address(parent, name))
    else:
        for folder in parent.glob("tmp-*step_*"):
            discard(folder)


def discard(folder: Place) -> None:
    """Delete a folder, out of sight first, so that a crash never leaves half of it under its name."""
    if isinstance(folder, str):
        remove_below(folder, first=MANIFEST)
    elif folder.is_dir():
        doomed = folder if folder.name.startswith("tmp-") else folder.rename(folder.with_name(f"tmp-old-{folder.name}"))
        shutil.rmtree(doomed)


def write_bytes(folder: Place, name: str, content: bytes) -> dict[str, Any]:
    """Write a file of a checkpoint, flushed to disk; returns what the manifest says of it."""
    if isinstance(folder, str):
        write_at(join_address(folder, name), content)
    else:
        with (folder / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def write_json(folder: Place, name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Write a file of JSON of a checkpoint; returns what the manifest says of it."""
    return write_bytes(folder, name, json.dumps(dict(content), indent=1).encode())


def _folders_at(address: str) -> dict[str, bool]:
    """The folders at an address with parts of checkpoints, oldest first, and whether each has its manifest."""
    folders: dict[str, bool] = {}
    for file in list_files(address):
        name, _, rest = file.address.removeprefix(address.rstrip("/") + "/").partition("/")
        if _is_name(name) and (rest == MANIFEST or fnmatch(rest, "part-*.safetensors")):
            folders[name] = folders.get(name, False) or rest == MANIFEST
    return dict(sorted(folders.items(), key=lambda item: step_of(item[0])))


def _is_name(name: str) -> bool:
    return name.startswith("step_") and name.removeprefix("step_").isdigit()


def _name(folder: Place) -> str:
    return str(folder) if is_address(folder) and not _is_name(name_at(str(folder))) else PurePosixPath(str(folder)).name


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


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
