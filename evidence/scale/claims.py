"""Training in shards on 1, 2 and 4 gloo processes of this machine: traffic, memory, and what a checkpoint costs.

    python evidence/scale/claims.py [--processes 1 2 4] [--width 1024] [--blocks 6] [--json evidence/scale.json]

A stack of linear layers learns for a few steps with FSDP2, AdamW and an average of its weights. Measured for each number of
processes:

    exchanged     bytes that a process receives of weights and gradients in a step, counted where FSDP2 hands them over, beside
                  the formula 3 m (n - 1) / n x bytes of the weights: gathered in the forward and in the backward pass of each
                  of its m micro-batches, whose gradients are scattered
    state         bytes of weights, moments and average in a process, and of those of one process the n-th part
    peak          growth of the process's resident memory over what it was before the run
    waits         seconds that training stands still for a checkpoint: whole; in parts; in parts, beside the training, where the
                  one before is written already
    resumed       seconds to load the checkpoint of n processes in another number, and whether weights and average are those

Seconds depend on what else the machine does; bytes do not.
"""

import argparse
import hashlib
import json
import os
import resource
import socket
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.account.machine import machine
from tapetum.core.files import whole_file
from tapetum.train import StepContext, Task, TrainConfig, fit, fsdp, loop, sharded
from tapetum.train.state import Saver

__all__ = ["sharded"]  # imported before the processes are forked, so that their memory is not that of the import
STEPS, MICRO_BATCHES = 6, 4
KINDS: dict[str, dict[str, Any]] = {
    "whole": {},
    "in parts": {"checkpoint": "sharded"},
    "beside": {"checkpoint": "sharded", "async_checkpoint": True},
}


class Vectors:
    """Random vectors."""

    def __init__(self, width: int):
        self.width = width

    def __getitem__(self, number: int) -> Tensor:
        return torch.randn(self.width)


class Stack(Task):
    """Linear layers that learn to reproduce their input."""

    def __init__(self, width: int, blocks: int):
        self.width, self.blocks = width, blocks

    def model(self) -> nn.Module:
        return nn.Sequential(*(nn.Linear(self.width, self.width, bias=False) for _ in range(self.blocks)))

    def shards(self, model: nn.Module) -> list[nn.Module]:
        return list(model.children())

    def dataset(self) -> Vectors:
        return Vectors(self.width)

    def loss(self, model: nn.Module, batch: Tensor, context: StepContext) -> tuple[Tensor, dict[str, Any]]:
        return (model(batch) - batch).square().mean(), {}


class Meter:
    """Counts bytes and seconds of a run of this process by what the loop calls."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.exchanged: list[int] = []
        """Bytes of each step."""
        self.waits: list[float] = []
        """Seconds of each checkpoint."""
        self.state = 0
        for owner, name, around in (
            (fsdp._AllGather, "__call__", self._count(0)),
            (fsdp._ReduceScatter, "__call__", self._count(1)),
            (loop._Run, "_step", self._step),
            (Saver, "save", self._save),
        ):
            setattr(owner, name, around(getattr(owner, name)))

    def _count(self, whole: int) -> Callable[[Any], Any]:
        """Count what comes from other processes; of the arguments the one of this number has the rows of all."""

        def around(own: Any) -> Any:
            def call(this: Any, *tensors: Any, **others: Any) -> Any:
                given = [*tensors, *(others[name] for name in ("output_tensor", "input_tensor") if name in others)]
                size = this.processes.size
                self.counts["bytes"] += given[whole].numel() * given[whole].element_size() * (size - 1) // size
                return own(this, *tensors, **others)

            return call

        return around

    def _step(self, own: Any) -> Any:
        def step(run: Any, *arguments: Any) -> Any:
            before = self.counts["bytes"]
            record = own(run, *arguments)
            self.exchanged.append(self.counts["bytes"] - before)
            return record

        return step

    def _save(self, own: Any) -> Any:
        def save(saver: Saver, state: Any, *arguments: Any) -> None:
            tensors = [*state.model.parameters(), *state.averages["ema"].average.values()]
            tensors += [value for each in state.optimizers[""].state.values() for value in each.values() if value.dim()]
            local = (t.to_local() if hasattr(t, "to_local") else t for t in tensors)
            self.state = sum(t.numel() * t.element_size() for t in local)
            saver.wait()
            began = time.perf_counter()
            own(saver, state, *arguments)
            self.waits.append(time.perf_counter() - began)

        return save


def train(out: Path, args: argparse.Namespace, processes: int, kind: str) -> dict[str, Any]:
    """Train, or load what was trained, in this process."""
    meter, before = Meter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    config = TrainConfig(
        steps=STEPS,
        batch_size=8 * MICRO_BATCHES,
        accumulation=MICRO_BATCHES // processes,
        ema_decay=0.9,
        parallel="fsdp",
        device="cpu",
        threads=1,
        checkpoint_every=2,
        checkpoint_minutes=None,
        tensorboard=False,
        **KINDS[kind],
    )
    began = time.perf_counter()
    result = fit(Stack(args.width, args.blocks), config, out)
    seconds = time.perf_counter() - began
    digest = hashlib.sha256()
    for tensors in (result.model.state_dict(), result.averages["ema"]):
        for value in tensors.values():
            digest.update(value.numpy().tobytes())
    return {
        "exchanged": meter.exchanged[-1] if meter.exchanged else 0,
        "state": meter.state,
        "peak": 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before),
        "waits": meter.waits[:-1],  # the last is waited for, however it is written
        "seconds": seconds,
        "digest": digest.hexdigest(),
    }


def run(out: Path, args: argparse.Namespace, processes: int, kind: str) -> list[dict[str, Any]]:
    """Train in so many processes; returns what each measured."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(processes):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                if processes > 1:
                    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
                    os.environ.update({name: str(value) for name, value in own.items()}, MASTER_ADDR="127.0.0.1")
                measured = train(out, args, processes, kind)
                out.with_suffix(f".{rank}").write_text(json.dumps(measured))
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    if any(os.waitpid(child, 0)[1] for child in children):
        raise SystemExit(f"{processes} processes, {kind}: one of them failed")
    return [json.loads(out.with_suffix(f".{rank}").read_text()) for rank in range(processes)]


def measure(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Make the rows of the table."""
    weights = 4 * args.width**2 * args.blocks
    rows = []
    for processes in args.processes:
        found = {kind: run(folder / f"{processes}-{kind.replace(' ', '-')}", args, processes, kind) for kind in KINDS}
        other = args.processes[(args.processes.index(processes) + 1) % len(args.processes)]
        again = run(folder / f"{processes}-beside", args, other, "beside")
        first = found["beside"][0]
        passes = 3 * MICRO_BATCHES // processes
        rows.append(
            {
                "processes": processes,
                "exchanged": first["exchanged"],
                "formula": passes * weights * (processes - 1) // processes,
                "state": max(each["state"] for each in found["beside"]),
                "state_of_one": 4 * weights,
                "peak": max(each["peak"] for each in found["whole"]),
                "peak_beside": max(each["peak"] for each in found["beside"]),
                "waits": {kind: max(statistics.median(each["waits"]) for each in ranks) for kind, ranks in found.items()},
                "resumed_in": other,
                "resumed_s": max(each["seconds"] for each in again),
                "resumed_equal": all(each["digest"] == first["digest"] for each in again),
            }
        )
        print(line(rows[-1]), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    """Write one row."""
    share = row["state"] * row["processes"] / row["state_of_one"]
    cells = [
        row["processes"],
        f"{row['exchanged']:,} ({row['formula']:,})",
        f"{row['state']:,} ({share:.3f} / n)",
        f"{row['peak'] / 1e6:.0f}, {row['peak_beside'] / 1e6:.0f}",
        *(f"{row['waits'][kind]:.2f}" for kind in KINDS),
        f"in {row['resumed_in']}: {row['resumed_s']:.1f} s, {'equal' if row['resumed_equal'] else 'DIFFERENT'}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4], help="each divides 4")
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    columns = "processes", "bytes exchanged (formula)", "bytes of state", "peak MB: whole, beside", *(f"{k} s" for k in KINDS)
    print(f"| {' | '.join((*columns, 'resumed'))} |\n|{'---|' * (len(columns) + 1)}")
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(args, Path(folder))
    if args.json:
        with whole_file(args.json) as temporary:
            content = {"machine": machine(), "width": args.width, "blocks": args.blocks, "rows": rows}
            temporary.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
