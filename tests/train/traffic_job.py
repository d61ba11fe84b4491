"""A job of pairs.py: the bytes that a step of DINO exchanges and keeps, counted where they are handed on."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel

from support.pretraining_task import dino
from tapetum.systems.pretraining.run import loop_config
from tapetum.train import accumulation, fit, fsdp, loop
from tapetum.train.launch_config import Launch
from tapetum.train.process_group import is_sharded


def traffic(out: str, **options: Any) -> None:
    """Count the bytes that the second step of a run of DINO exchanges, and those of weights and moments of this rank."""
    counts: Counter = Counter()
    own_step, own_ddp, own_reduce = loop._Run._step, accumulation.parallelise, dist.all_reduce

    def step(run: Any, stream: Any) -> Any:
        counts.clear()
        record = own_step(run, stream)
        tensors = [*run.state.model.parameters(), *run.state.averages["teacher"].average.values()]
        moments = [t for o in run.state.optimizers.values() for s in o.state.values() for t in s.values() if t.dim()]
        counts["weights"] = sum(4 * t.to_local().numel() for t in tensors if is_sharded(t))
        counts["moments"] = sum(4 * t.to_local().numel() for t in moments if is_sharded(t))
        (Path(out) / f"traffic-{os.environ['RANK']}.json").write_text(json.dumps(counts))
        return record

    def gather(self: Any, output_tensor: Tensor, input_tensor: Tensor, group: Any, async_op: bool = False) -> Any:
        counts["gathered"] += output_tensor.nbytes
        return own_gather(self, output_tensor, input_tensor, group, async_op)

    def scatter(self: Any, output_tensor: Tensor, input_tensor: Tensor, group: Any, op: Any, async_op: bool = False) -> Any:
        counts["scattered"] += input_tensor.nbytes
        return own_scatter(self, output_tensor, input_tensor, group, op, async_op)

    def reduce(tensor: Tensor, *arguments: Any, group: Any = None, **others: Any) -> Any:
        counts["replicated"] += tensor.nbytes if group is not None else 0  # of FSDP2 and DDP; the loop's own name no group
        return own_reduce(tensor, *arguments, group=group, **others)

    def ddp(*arguments: Any) -> Any:
        model = own_ddp(*arguments)
        if isinstance(model, DistributedDataParallel):
            model.register_comm_hook(None, default_hooks.allreduce_hook)  # its own is out of sight, in C++
        return model

    own_gather, own_scatter = fsdp._AllGather.__call__, fsdp._ReduceScatter.__call__
    fsdp._AllGather.__call__, fsdp._ReduceScatter.__call__ = gather, scatter  # pyright: ignore[reportAttributeAccessIssue]
    loop._Run._step, accumulation.parallelise, dist.all_reduce = step, ddp, reduce
    task, launch = dino(), Launch(out=Path(out), workers=0, threads=1, device="cpu", **options)
    fit(task, loop_config(task, launch, tensorboard=False), out)
