"""Resident memory of pre-training in shards at every moment: BYOL of a ViT-B on 1, 2 and 4 processes of this machine.

    python evidence/scale/memory.py [--processes 1 2 4] [--size 32] [--steps 2] [--json evidence/scale/memory.json]

Each run is `tapetum.systems.pretraining.run.pretrain` in processes of its own, one after the other: forecast, start, steps,
checkpoints in parts, the finished weights and the file of the encoder. This process, outside of them, reads the resident memory
of each every 10 ms from /proc. Counted is what it grows by over the same process when it had imported everything and made
nothing; memory that several processes share counts in each. Bytes hardly depend on what else the machine does; seconds do.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tapetum.account.machine import machine
from tapetum.core.devices import resident_bytes

PHASES = "forecast", "start", "steps", "save", "end", "after"
"""After: when the loop has returned, and the file of the encoder is written."""


def train(args: argparse.Namespace, out: Path) -> None:
    """Train in this process, and write to stdout when each phase begins."""
    import torch
    import torch.distributed.checkpoint.state_dict_saver
    import torch.distributed.fsdp

    from tapetum.systems.pretraining import run as pretraining
    from tapetum.systems.pretraining.recipes import recipe
    from tapetum.train import fsdp, launch, loop, sharded
    from tapetum.train.launch_config import Launch
    from tapetum.train.state import Saver

    assert callable(fsdp.shard)  # imported before the first phase, so that their memory is not that of the import
    assert callable(sharded.load)
    torch.set_num_threads(1)
    torch._dynamo  # noqa: B018, what building an optimiser imports
    phase("idle")
    time.sleep(0.1)
    mark(pretraining, "fit", "start", "after")
    mark(loop._Run, "train", "steps", "end")
    mark(Saver, "save", "save", "steps")
    own = args.batch // launch.world_size()
    sizes = {"size": args.size, "batch_size": args.batch, "micro_batch": own, "steps": args.steps}
    run = recipe("byol", str(out / "images"), "vit", bf16=False, encoder=args.encoder, enlarge=True, **sizes)
    options: dict[str, Any] = {"parallel": "fsdp", "checkpoint": "sharded", "save_every": args.steps // 2, "workers": 0}
    phase("forecast")
    pretraining.pretrain(run, Launch(out=out / "run", threads=1, device="cpu", **options), partial(print, file=sys.stderr))
    phase("ended")


begun: list[str] = []


def phase(name: str) -> None:
    """Write to stdout that a phase begins, but for those of the steps that a forecast may make."""
    if begun or name in ("idle", "forecast", "start"):
        print(time.monotonic(), name, flush=True)
    if name == "start":
        begun.append(name)


def mark(owner: Any, name: str, during: str, after: str) -> None:
    """Let a function say when it begins and ends."""
    own: Callable[..., Any] = getattr(owner, name)

    def call(*arguments: Any, **others: Any) -> Any:
        phase(during)
        result = own(*arguments, **others)
        phase(after)
        return result

    setattr(owner, name, call)


def measure(processes: int, folder: Path, script: str = __file__, until: Path | None = None) -> dict[str, Any]:
    """Run in so many processes; returns growth and seconds of each by phase, and its MB at each tenth of a second.

    When there is a file or folder `until`, the last process is killed, and the others end.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    command = [sys.executable, script, *sys.argv[1:], "--train", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    children, logs = [], [folder / f"phases-{rank}" for rank in range(processes)]
    for rank, log in enumerate(logs):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), **shared} if processes > 1 else {}
        with log.open("w") as stdout, log.with_suffix(".err").open("w") as stderr:
            children.append(subprocess.Popen(command, env={**environment, **own}, stdout=stdout, stderr=stderr))
    curves: list[list[tuple[float, int]]] = [[] for _ in children]
    while any(child.poll() is None for child in children):
        for child, curve in zip(children, curves, strict=True):
            curve.append((time.monotonic(), resident_bytes(child.pid)))
        if until is not None and until.exists():
            children[-1].kill()
        time.sleep(0.01)
    if until is None and any(child.returncode for child in children):
        raise SystemExit(f"{processes} processes: one of them failed: {logs[0].with_suffix('.err').read_text()[-2000:]}")
    return {"processes": processes, "ranks": [summary(log, curve) for log, curve in zip(logs, curves, strict=True)]}


def summary(log: Path, curve: list[tuple[float, int]]) -> dict[str, Any]:
    """Summarise the curve of a process whose phases it wrote to `log`."""
    lines = [line.split() for line in log.read_text().splitlines()]
    marks = [(float(began), name) for began, name in lines]
    begun, ended = marks[0][0], marks[-1][0]
    idle = max(size for now, size in curve if now <= begun + 0.1)
    peaks, seconds = dict.fromkeys(PHASES, 0), dict.fromkeys(PHASES, 0.0)
    for (began, name), (until, _) in pairwise(marks):
        if name in peaks:
            seconds[name] += until - began
            peaks[name] = max([peaks[name], *(size - idle for now, size in curve if began <= now < until)])
    tenths: dict[int, int] = {}
    for now, size in curve:
        if begun <= now < ended:
            at = int(10 * (now - begun))
            tenths[at] = max(tenths.get(at, 0), size - idle)
    return {
        "idle_mb": round(idle / 1e6),
        "peak_mb": {name: round(size / 1e6) for name, size in peaks.items()},
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "curve_mb": [round(tenths.get(at, 0) / 1e6) for at in range(max(tenths) + 1)],
    }


def draw(curve: list[int], width: int = 60) -> str:
    """Draw a curve with blocks of eight heights, each the largest of its part.

    >>> draw([0, 4, 8], 3)
    ' ▄█'
    """
    width, top = min(width, len(curve)), max(*curve, 1)
    parts = [curve[len(curve) * k // width : len(curve) * (k + 1) // width] for k in range(width)]
    return "".join(" ▁▂▃▄▅▆▇█"[8 * max(part) // top] for part in parts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory of training in shards, moment by moment.")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4], help="each divides --batch")
    parser.add_argument("--encoder", default="vit-base-16")
    parser.add_argument("--size", type=int, default=32, help="of the views, in pixels")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        train(args, args.train)
        return
    rows = []
    print(f"| processes | rank | idle MB | {' | '.join(PHASES)} | largest, of one process's | seconds |\n|{'---|' * 11}")
    for processes in args.processes:
        with tempfile.TemporaryDirectory() as name:
            rng = np.random.default_rng(0)
            (Path(name) / "images").mkdir()
            for k in range(32):
                Image.fromarray(rng.integers(0, 255, (96, 96, 3), np.uint8)).save(Path(name) / "images" / f"{k}.png")
            rows.append(measure(processes, Path(name)))
        one = max(rows[0]["ranks"][0]["peak_mb"].values())
        for rank, each in enumerate(rows[-1]["ranks"]):
            peaks, total = each["peak_mb"], sum(each["seconds"].values())
            each["share_of_one"] = max(peaks.values()) / one
            cells = [processes, rank, each["idle_mb"], *peaks.values(), f"{each['share_of_one']:.2f}", f"{total:.0f}"]
            print(f"| {' | '.join(map(str, cells))} |  {draw(each['curve_mb'])}", flush=True)
        if args.json:
            settings = {name: getattr(args, name) for name in ("encoder", "size", "batch", "steps")}
            args.json.write_text(json.dumps({"machine": machine(), **settings, "runs": rows}) + "\n")


if __name__ == "__main__":
    main()
