"""Does `tapetum pretrain METHOD --dry` predict what a run then takes? Two runs on CIFAR-10, each after its prediction.

    python evidence/pretraining-speed/dry.py --data ../shared/data --json evidence/pretraining-speed/dry.json

The prediction is that of `--dry` and of the line before a run's first step: from first steps in a folder of its own. CPU
seconds are compared, which other users of the machine change little, and seconds by the clock, which they change much.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from tapetum.account.ledger import read
from tapetum.core.devices import processor
from tapetum.systems.pretraining.methods import DinoV2
from tapetum.systems.pretraining.recipes import recipe
from tapetum.systems.pretraining.run import loop_config, predict, run_task, task_for
from tapetum.train.launch_config import Launch

RUNS: dict[str, dict[str, Any]] = {
    "dinov2": {
        "encoder": "vit-tiny-16",
        "change": ("patch=8", "depth=2"),
        "batch_size": 32,
        "steps": 60,
        "dinov2": DinoV2(local_views=2, prototypes=1024, hidden=512),
    },
    "simclr": {"encoder": "resnet-nano", "batch_size": 64, "steps": 30},
}


def compare(method: str, data: str, folder: Path) -> dict[str, Any]:
    """Predict a run, then make it."""
    task = task_for(recipe(method, data, size=32, **RUNS[method]))
    launch = Launch(out=folder, workers=0, threads=1)
    predicted, began, cpu = predict(task, loop_config(task, launch)), time.perf_counter(), time.process_time()
    run_task(task, launch, None, tensorboard=False)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    return {
        "method": method,
        "steps": predicted.steps,
        "flops_predicted": predicted.flops,
        "flops": sum(read(folder / "ledger.json")["total"][f"flops_{way}"] for way in ("forward", "backward")),
        "cpu_s_predicted": round(predicted.cpu_seconds, 1),
        "cpu_s": round(cpu_s, 1),
        "seconds_predicted": round(predicted.seconds, 1),
        "seconds": round(seconds, 1),
    }


def table(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """List a row for each run: steps, and CPU and clock seconds, predicted and true, with their ratio."""
    keys = ("cpu_s_predicted", "cpu_s"), ("seconds_predicted", "seconds")
    return [
        (
            run["method"],
            str(run["steps"]),
            *(cell for one, other in keys for cell in (f"{run[one]:.1f}", f"{run[other]:.1f}", f"{run[one] / run[other]:.2f}")),
        )
        for run in results["runs"]
    ]


def main() -> None:
    """Make the runs and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cifar10/")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = str(args.data / "cifar10" / "train.parquet")
    with tempfile.TemporaryDirectory() as name:
        rows = [compare(method, data, Path(name) / method) for method in RUNS]
    results = {"processor": processor().vendor, "torch": torch.__version__, "runs": rows}
    args.json.write_text(json.dumps(results, indent=1) + "\n")
    print(*table(results), sep="\n")


if __name__ == "__main__":
    main()
