"""How long runs were said to take, and how long they took: five small ones, one after the other.

    python evidence/predictions/claims.py [--only NAME ...] [--out FILE.json]

Each run is predicted as its command does before the first step (`tapetum.train.rehearsal`), then done, in one process. Printed
are seconds on the clock and CPU seconds of all threads and processes: predicted, measured and predicted / measured. Exit code 1
where a ratio lies beyond a factor of 1.5 either way. On a busy machine the clock says nothing; the CPU seconds say a little. Of
whole commands the start of Python (2 to 4 s) and the pages at the end are left out on both sides.
"""

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tapetum.systems.pretraining.recipes import recipe
from tapetum.systems.pretraining.run import loop_config, predict, pretrain, task_for
from tapetum.train.launch_config import Launch
from tapetum.train.rehearsal import Seconds

FACTOR = 1.5
Timed = tuple[float, float | None]
"""Predicted seconds on the clock, and CPU seconds where they are predicted."""


def photos(folder: Path, count: int = 128) -> Path:
    """Images of two classes, as files."""
    rng = np.random.default_rng(0)
    for k in range(count):
        path = folder / "photos" / "train" / "ab"[k % 2] / f"{k:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (96, 96, 3), dtype=np.uint8)).save(path)
    return folder / "photos"


def pretraining(method: str, encoder: str, steps: int, workers: int, **changes: object) -> Callable:
    """A run of pre-training from image files."""

    def work(folder: Path) -> tuple[Timed, Callable[[], None]]:
        given = {"encoder": encoder, "size": 32, "batch_size": 16, "micro_batch": 16, "steps": steps, **changes}
        run = recipe(method, str(photos(folder)), **given)
        launch = Launch(out=folder / "run", workers=workers, threads=1)
        found = predict((task := task_for(run)), loop_config(task, launch))
        return (found.seconds, found.cpu_seconds), lambda: _ledgered(pretrain, run, launch)

    return work


def _ledgered(work: Callable, *arguments: object) -> float:
    """Do a run; gives the CPU seconds of its workers, which are in its ledger and not on this process's clock."""
    launch = next(value for value in arguments if isinstance(value, Launch))
    began = time.process_time()
    work(*arguments, lambda text: None)
    own = time.process_time() - began
    ledger = json.loads((launch.out / "ledger.json").read_text())
    return max(ledger["total"]["cpu_seconds"] - own, 0.0)


RUNS: dict[str, Callable] = {
    "simclr resnet": pretraining("simclr", "resnet-18", 40, 0, change=("stem=3x3", "stem_width=16", "depths=(1,1,1,1)")),
    "dino vit": pretraining("dino", "vit-nano", 40, 0, change=("patch=8", "width=96", "depth=4", "heads=3", "mlp_width=192")),
    "mae vit, a worker": pretraining(
        "mae", "vit-nano", 100, 1, change=("patch=4", "width=128", "depth=4", "heads=4", "mlp_width=256")
    ),
    "byol, accumulated": pretraining("byol", "resnet-18", 15, 0, change=("stem=3x3", "stem_width=16"), batch_size=64),
    "supervised, small": pretraining(
        "supervised", "vit-nano", 600, 0, change=("patch=8", "width=16", "depth=1", "heads=2", "mlp_width=32")
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(RUNS), choices=list(RUNS))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows, good = [], True
    print(f"{'run':20} {'clock, predicted':>17} {'measured':>9} {'ratio':>6}   {'CPU, predicted':>15} {'measured':>9}  ratio")
    for name in given.only:
        with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
            (wall, cpu), work = RUNS[name](Path(folder))
            began = Seconds.now()
            workers = work()
            taken = began.until(Seconds.now())
        measured_cpu = taken.cpu + (workers if isinstance(workers, float) else 0.0)
        row = {"run": name, "wall": wall, "measured_wall": taken.wall, "cpu": cpu, "measured_cpu": measured_cpu}
        ratios = [wall / taken.wall, *([] if cpu is None else [cpu / measured_cpu])]
        good &= all(1 / FACTOR <= ratio <= FACTOR for ratio in ratios)
        rows.append(row | {"ratios": ratios})
        text = f"{name:20} {wall:15.1f} s {taken.wall:7.1f} s {ratios[0]:6.2f}"
        print(text + ("" if cpu is None else f"   {cpu:13.1f} s {measured_cpu:7.1f} s {ratios[1]:6.2f}"), flush=True)
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"all within a factor of {FACTOR}" if good else f"not all within a factor of {FACTOR}")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
