"""Checkpoints that survive a crash at any moment, without pickle.

A checkpoint is a folder of safetensors files, a state.json and a manifest with the SHA-256 of each. It is written under
a temporary name and appears by a single rename:

    checkpoints/tmp-step_00000500/   files written, each fsynced
                                     manifest.json written and fsynced, folder fsynced
    checkpoints/step_00000500/       renamed; parent fsynced

So a folder named step_... is complete unless the disk damages it later, which its checksums reveal.

Either the main process writes one file for the model, each average and each optimiser (`save`), or each process writes one
(`tapetum.train.sharded`).
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from huggingface_hub import split_state_dict_into_shards_factory
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.core.files import sync, whole_file, write_json
from tapetum.core.reading import no_pipe, read_json, sha256_of
from tapetum.hub.state_dicts import safetensors_pieces
from tapetum.train.launch import say
from tapetum.train.process_group import ProcessGroup, gather_tensor

ALONE = ProcessGroup(0, 1, torch.device("cpu"))
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


def step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step_"))


class CheckpointStore:
    def __init__(self, parent: Path):
        self.parent = parent

    def checkpoints(self) -> list[Path]:
        """List all checkpoints, oldest first, intact or damaged; incomplete ones do not count."""
        return sorted(
            (f for f in self.parent.glob("step_*") if f.is_dir() and f.name.removeprefix("step_").isdigit()), key=step_of
        )

    def begin(self, step: int) -> None:
        """Make the empty folder in which the checkpoint after `step` steps is written until `commit`."""
        folder = self.writing_folder(step)
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.discard(folder)
        folder.mkdir()

    def writing_folder(self, step: int) -> Path:
        return self.parent / f"tmp-{folder_name(step)}"

    def write(self, step: int, name: str, content: Iterable[bytes | memoryview] | Mapping[str, Any]) -> dict[str, Any]:
        """Write a file of a checkpoint, pieces of bytes or JSON, flushed to disk; returns its entry in the manifest."""
        if isinstance(content, Mapping):
            content = [json.dumps(dict(content), indent=1).encode()]
        size, digest = 0, hashlib.sha256()

        def counted() -> Iterator[bytes | memoryview]:
            nonlocal size
            for piece in content:
                size += len(piece)
                digest.update(piece)
                yield piece

        with (self.writing_folder(step) / name).open("wb") as file:
            file.writelines(counted())
            file.flush()
            os.fsync(file.fileno())
        return {"bytes": size, "sha256": digest.hexdigest()}

    def commit(self, step: int, kind: str, files: Mapping[str, Mapping[str, Any]]) -> None:
        """Make the files written since `begin` a checkpoint of format `kind`; `files` has bytes and sha256 of each file."""
        self.write(step, MANIFEST, {"format": kind, "step": step, "files": files})
        folder, final = self.writing_folder(step), self.parent / folder_name(step)
        sync(folder)
        self.discard(final)
        folder.rename(final)
        sync(final.parent)

    def discard(self, folder: Path) -> None:
        """Delete a folder, renaming it first, so that a crash never leaves half of it under its name."""
        if folder.is_dir():
            shutil.rmtree(
                folder if folder.name.startswith("tmp-") else folder.rename(folder.with_name(f"tmp-old-{folder.name}"))
            )

    def discard_unfinished(self, step: int | None = None) -> None:
        """Delete files of the checkpoint after `step` steps, or of any checkpoint, that were never committed."""
        for folder in self.parent.glob("tmp-*step_*" if step is None else f"tmp-{folder_name(step)}"):
            self.discard(folder)

    def prune(self, keep_last: int) -> None:
        """Delete all but the newest `keep_last` checkpoints, and incomplete ones."""
        for folder in self.checkpoints()[:-keep_last]:
            self.discard(folder)
        self.discard_unfinished()

    def cannot_save(self, step: int, error: Exception, who: str = "") -> BadInput:
        """Remove the files written for the checkpoint after `step` steps, and make the error; `who` failed."""
        with suppress(OSError, BadInput):
            self.discard_unfinished(step)
        try:
            older = self.checkpoints()
        except BadInput:
            older = []
        kept = f"the previous one, {older[-1].name}, is intact" if older else "there is no earlier one"
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        advice = "run the same command again to resume"
        if not isinstance(error, BadInput):
            advice = f"make room and {advice}"
        return BadInput(f"cannot save checkpoint {folder_name(step)}: {who}{reason}; {kept}; {advice}")

    def save(
        self, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], processes: ProcessGroup = ALONE
    ) -> Path:
        """Write `<name>.safetensors` for each entry of `tensors` and state.json; returns the new folder.

        All processes must call it alike: the main one writes, and gathers sharded tensors one at a time. It raises BadInput
        when the disk is full or read-only; no incomplete checkpoint stays and the older ones are untouched.
        """
        files: dict[str, dict[str, Any]] = {}
        problem: OSError | None = None
        try:
            if processes.main:
                self.begin(step)
        except OSError as error:
            problem = error
        for name, content in sorted(tensors.items()):
            pieces = safetensors_pieces(content, gather=partial(gather_tensor, processes=processes))
            try:
                if processes.main and problem is None:
                    files[f"{name}.safetensors"] = self.write(step, f"{name}.safetensors", pieces)
            except OSError as error:
                problem = error
            for _ in pieces:  # what the other processes gather with this one
                pass
        try:
            if problem is not None:
                raise problem
            if processes.main:
                self.commit(step, FORMAT, {**files, STATE: self.write(step, STATE, state)})
        except OSError as error:
            raise self.cannot_save(step, error) from error
        return self.parent / folder_name(step)

    def latest(self, processes: ProcessGroup = ALONE) -> Path | None:
        """Find the newest intact checkpoint; damaged newer ones are named on stderr. None if there is no checkpoint at all.

        All processes must call it alike; each verifies its share of the files. BadInput if there are checkpoints but all are
        damaged.
        """
        folders = processes.broadcast(self.checkpoints() if processes.main else None)
        for folder in reversed(folders):
            damage = None
            try:
                verify(folder, processes.rank, processes.size)
            except BadInput as error:
                damage = error
            if not processes.mean({"damaged": float(damage is not None)})["damaged"]:
                return folder
            if damage is not None:
                say(f"warning: {damage}; looking for an older one")
        if folders:
            where = self.parent.name
            raise BadInput(
                f"none of the {len(folders)} checkpoints in {where} is whole; delete that folder to train from the start"
            )
        return None


def load(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read tensors by file name, and the state, if all checksums match; BadInput says which file is damaged."""
    verify(folder)
    tensors = {f.stem: safetensors.torch.load_file(no_pipe(f)) for f in sorted(folder.glob("*.safetensors"))}
    return tensors, read_json(folder / STATE)


def is_sharded(folder: Path) -> bool:
    return (folder / PART.format(0)).is_file()


LARGEST_FILE = 5_000_000_000
"""Bytes of tensors in a file of finished weights at most, but for a single larger one, as on hubs."""


def write_weights(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], processes: ProcessGroup) -> None:
    """Write `<name>.safetensors` into the folder for each entry of `tensors`, each file whole or not at all.

    Above `LARGEST_FILE` there are several, `<name>-00001-of-00002.safetensors` and so on, and an index as hubs have it. All
    processes must call it alike: the main one writes, and gathers sharded tensors one at a time.
    """
    if processes.main:
        folder.mkdir(exist_ok=True)
    for name, content in tensors.items():
        plan = split_state_dict_into_shards_factory(
            dict(content),
            get_storage_size=lambda tensor: tensor.nbytes,
            filename_pattern=f"{name}{{suffix}}.safetensors",
            max_shard_size=LARGEST_FILE,
        )
        for file_name, keys in plan.filename_to_tensors.items():
            part = {key: content[key] for key in keys}
            pieces = safetensors_pieces(part, gather=partial(gather_tensor, processes=processes))
            if processes.main:
                with whole_file(folder / file_name, own=True) as temporary, temporary.open("wb") as file:
                    file.writelines(pieces)
            for _ in pieces:
                pass
        index = folder / f"{name}.safetensors.index.json"
        if plan.is_sharded and processes.main:
            about = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
            write_json(index, about, own=True)
        elif processes.main:
            index.unlink(missing_ok=True)


def verify(folder: Path, rank: int = 0, size: int = 1) -> None:
    """Raise BadInput unless every file of the manifest exists with its checksum, and no other file has tensors.

    Each of `size` processes checks its share of the files.
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
        if sha256_of(path) != digest:
            raise BadInput(f"checkpoint {folder.name} is damaged: {path.name} does not match its checksum; {advice}")
