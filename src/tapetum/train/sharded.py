"""Checkpoints in parts, one written by each process during training, through torch.distributed.checkpoint (DCP).

    part-00000.safetensors   process 0: its rows of sharded tensors, its share of those that are replicated
    part-00001.safetensors   process 1: the same; the header says where each belongs
    state.json               process 0, once all parts are there
    manifest.json            written last; without it the checkpoint does not count

DCP decides who writes what, copies it to the host (pinned memory, from a GPU), writes in a thread, and reads any number of
parts into any number of processes, each reading the rows it needs. The format is DCP's for Hugging Face, without pickle.

Names in the parts combine the file names of a whole checkpoint with the tensor names in them: model/NAME, ema/NAME,
optimizer/NAME/exp_avg.
"""

import dataclasses
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import safetensors
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint._hf_utils import CUSTOM_METADATA_KEY, SAVED_OFFSETS_KEY
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, SavePlan, SavePlanner
from torch.distributed.checkpoint.staging import BlockingAsyncStager
from torch.distributed.checkpoint.state_dict_loader import load as load_by_dcp
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.checkpoint.state_dict_saver import save as save_by_dcp
from torch.distributed.checkpoint.storage import StorageWriter
from torch.futures import Future as TorchFuture

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.hub.state_dicts import TensorFile, safetensors_pieces
from tapetum.train import checkpoint
from tapetum.train.checkpoint import CheckpointStore
from tapetum.train.process_group import TIMEOUT, ProcessGroup

FORMAT = "tapetum-sharded-checkpoint-1"
Files = dict[str, dict[str, Any]]
"""Bytes and SHA-256 of files, by name, as the manifest has them."""


class ShardedSaver:
    """Saves checkpoints in parts, one at a time; all processes must call it alike."""

    def __init__(self, store: CheckpointStore, processes: ProcessGroup, beside: bool):
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # DCP's remark on a process that is alone
        self.store, self.processes, self._beside = store, processes, beside
        # of its own: what DCP's thread exchanges must not meet what the training does
        self._group: Any = dist.new_group(backend="gloo", timeout=TIMEOUT) if processes.size > 1 else None
        self._stager = BlockingAsyncStager(cache_staged_state_dict=processes.device.type == "cuda")
        self._pending: tuple[int, Future[Any]] | None = None

    def begin(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any], after: Callable[[], None]) -> None:
        """Write the tensors, and call `after` once the checkpoint counts: now, or `beside` from a copy on the host in a thread.

        The previous save must have been waited for.
        """
        assert self._pending is None
        writer = _Writer(self.store, step, state, after)
        future: Any = Future()
        if self._beside:
            future = async_save(dict(tensors), storage_writer=writer, async_stager=self._stager, process_group=self._group)
        else:
            try:
                future.set_result(save_by_dcp(dict(tensors), storage_writer=writer, process_group=self._group))
            except CheckpointException as error:
                future.set_exception(error)
        self._pending = step, future

    @property
    def failed(self) -> bool:
        """Check whether the save in progress is known to have failed; `wait` says why."""
        return self._pending is not None and self._pending[1].done() and self._pending[1].exception() is not None

    def wait(self) -> int | None:
        """Wait for the save in progress; returns its step, or None if there is none.

        Raises BadInput if any process could not write it; the older checkpoints are untouched.
        """
        if self._pending is None:
            return None
        (step, future), self._pending = self._pending, None
        try:
            future.result()
        except CheckpointException as error:
            number, (cause, _) = next(iter(error.failures.items()))
            if not isinstance(cause, OSError | BadInput | safetensors.SafetensorError):
                raise cause from error
            who = f"process {number}: " if self.processes.size > 1 else ""
            raise self.store.cannot_save(step, cause, who) from error
        return step

    def close(self) -> None:
        """Wait for the end of the save in progress, whatever its result, and release the process group."""
        if self._pending is not None:
            self._pending[1].exception()
        if self._group is not None and dist.is_initialized():
            dist.destroy_process_group(self._group)


class _Writer(StorageWriter):
    """Writes the parts of one checkpoint as safetensors files, then the files that make it count."""

    def __init__(self, store: CheckpointStore, step: int, state: Mapping[str, Any], after: Callable[[], None]):
        self._store, self._step, self._state, self._after = store, step, state, after

    def reset(self, checkpoint_id: Any = None) -> None:
        """Do nothing: a writer belongs to one checkpoint."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Make the folder, in one process; the others write after that."""
        if is_coordinator:
            self._store.begin(self._step)

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        return [dataclasses.replace(plan, storage_data=number) for number, plan in enumerate(plans)]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> TorchFuture[list[Any]]:
        """Write this process's part; the future returns its entry for the manifest."""
        tensors: dict[str, Tensor] = {}
        offsets: dict[str, dict[str, Sequence[int]]] = {}
        for item in plan.items:
            assert item.tensor_data is not None
            value = planner.resolve_data(item)
            assert isinstance(value, Tensor)
            tensors[item.index.fqn] = value.detach()
            offsets[item.index.fqn] = {SAVED_OFFSETS_KEY: tuple(item.tensor_data.chunk.offsets)}
        pieces = safetensors_pieces(tensors, {CUSTOM_METADATA_KEY: json.dumps(offsets)})
        name = checkpoint.PART.format(plan.storage_data)
        done: TorchFuture[list[Any]] = TorchFuture()
        done.set_result([(name, self._store.write(self._step, name, pieces))])
        return done

    def finish(self, metadata: Metadata, results: list[list[Any]]) -> None:
        """Write the state and the manifest, in one process, after all parts."""
        files: Files = dict(entry for part in results for entry in part)
        files[checkpoint.STATE] = self._store.write(self._step, checkpoint.STATE, self._state)
        self._store.commit(self._step, FORMAT, files)
        self._after()

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return True


class _Reader(HuggingFaceStorageReader):
    """torch's own, but rows go from a file into their tensor; those that it maps into memory would count twice."""

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> TorchFuture[None]:
        """Read what this process needs of each file."""
        files: dict[str, TensorFile] = {}
        for item in plan.items:
            index, path = item.storage_index, self.storage_data[item.storage_index].relative_path
            file = files.get(path) or files.setdefault(path, TensorFile(Path(path), checked=False))
            assert tuple(item.lengths[1:]) == file.shapes[index.fqn][1:], "whole rows, as processes share weights out by rows"
            target = planner.resolve_tensor(item).detach()
            file.read(index.fqn, target, sum(item.storage_offsets[:1]))
            planner.commit_tensor(item, target)
        done: TorchFuture[None] = TorchFuture()
        done.set_result(None)
        return done


def load(folder: Path, like: Callable[[str, torch.Size], Tensor]) -> dict[str, dict[str, Tensor]]:
    """Read the tensors of a checkpoint in parts, by file name and name as `checkpoint.load` does.

    `like` makes an empty tensor for a name and its full size; of a sharded one, this process reads its rows. All processes must
    call it alike. Checksums are left to `checkpoint.verify`.
    """
    for file in folder.glob("*.safetensors"):  # which are all read, whatever their names
        no_pipe(file)
    reader = _Reader(str(folder))
    tensors: dict[str, Any] = {}
    for name, stored in reader.read_metadata().state_dict_metadata.items():
        assert isinstance(stored, TensorStorageMetadata)
        tensors[name] = like(name, stored.size)
    load_by_dcp(tensors, storage_reader=reader)
    grouped: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        group, _, rest = name.partition("/")
        grouped.setdefault(group, {})[rest] = value
    return grouped
