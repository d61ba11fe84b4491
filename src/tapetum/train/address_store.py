"""Checkpoints at an address such as s3://bucket/run: the manifest is written last, and a folder without one does not count."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tapetum.core.addresses import cached_files, check_writable, join_address, list_files, name_at, remove_below, write_at
from tapetum.core.errors import BadInput
from tapetum.train.checkpoint import MANIFEST, CheckpointStore, Place, folder_name, is_folder_name, step_of
from tapetum.train.launch import local_rank
from tapetum.train.process_group import ProcessGroup


class AddressStore(CheckpointStore):
    """The checkpoints at an address, in parts (`tapetum.train.sharded`)."""

    parent: str

    def path(self, name: str) -> str:
        return join_address(self.parent, name)

    def checkpoints(self) -> list[Place]:
        return [self.path(name) for name, complete in self._folders().items() if complete]

    def begin(self, step: int) -> None:
        self.discard_unfinished(step)

    def _write_pieces(self, step: int, name: str, pieces: Iterable[bytes | memoryview]) -> None:
        write_at(join_address(self.path(folder_name(step)), name), b"".join(pieces))

    def commit(self, step: int, kind: str, files: Mapping[str, Mapping[str, Any]]) -> None:
        self.write(step, MANIFEST, {"format": kind, "step": step, "files": files})

    def discard(self, folder: Place) -> None:
        remove_below(str(folder), first=MANIFEST)

    def discard_unfinished(self, step: int | None = None) -> None:
        unfinished = (
            [name for name, complete in self._folders().items() if not complete] if step is None else [folder_name(step)]
        )
        for name in unfinished:
            self.discard(self.path(name))

    def local_folder(self, folder: Place, processes: ProcessGroup) -> Path:
        """Copy the checkpoint's files into the cache, in one process a machine."""
        copies, problem = None, None
        for turn in (True, False):
            if (local_rank() == 0) == turn:
                try:
                    copies = cached_files(str(folder), [name_at(file.address) for file in list_files(str(folder))])
                except BadInput as error:
                    problem = error
            processes.barrier()
        if copies is None:
            raise problem or BadInput(f"there is nothing at {folder}; check the address")
        return copies

    def check_writable(self) -> None:
        check_writable(self.parent)

    def _folders(self) -> dict[str, bool]:
        """List the folders with parts of checkpoints, oldest first, and whether each has its manifest."""
        folders: dict[str, bool] = {}
        for file in list_files(self.parent):
            name, _, rest = file.address.removeprefix(self.parent.rstrip("/") + "/").partition("/")
            if is_folder_name(name) and (rest == MANIFEST or fnmatch(rest, "part-*.safetensors")):
                folders[name] = folders.get(name, False) or rest == MANIFEST
        return dict(sorted(folders.items(), key=lambda item: step_of(item[0])))
