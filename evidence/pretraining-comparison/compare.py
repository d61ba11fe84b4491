"""Which method learns most from the same number of FLOPs: DINO, DINOv2, LeJEPA, I-JEPA and MAE, from random weights.

    python evidence/pretraining-comparison/compare.py --data ../shared/data --folder compare/ \\
        --json evidence/pretraining-comparison/results.json

One small ViT (four blocks of ViT-Tiny, patches of 8 pixels) on views of 32 pixels, of CIFAR-10's 50,000 training images and of
900 photographs. Each method gets the steps whose FLOPs, in closed form, come next to those of `--minutes` of a core at the
ledger's GFLOP/s; settings are those of its preset `small` but for `COMMON` and `SETTINGS`, and none was tuned. What comes out
is scored on CIFAR-10 by 20 neighbours and a linear probe, 5,000 images to learn from and 2,000 to score, beside the network
before. A stopped run goes on from its checkpoint in `--folder`; runs that the file has are not repeated. All methods get their
first seed before any gets its second.
"""

import argparse
import json
import statistics
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

import tapetum
from tapetum.account.config import LedgerConfig
from tapetum.account.ledger import read
from tapetum.core.devices import processor
from tapetum.data.labelled import labelled_images
from tapetum.encoders.features import Encoder
from tapetum.systems.pretraining.cost import count_step
from tapetum.systems.pretraining.methods import Dino, DinoV2
from tapetum.systems.pretraining.recipes import PretrainRun, recipe
from tapetum.systems.pretraining.run import loop_config, run_task, task_for
from tapetum.systems.pretraining.task import PretrainTask
from tapetum.train.launch_config import Launch
from tapetum.train.state import new_model
from tapetum.transfer.probes import knn_accuracy, linear_probe
from tapetum.transfer.probing import Labelled, features_of

COMMON: dict[str, Any] = {"encoder": "vit-tiny-16", "size": 32, "enlarge": True, "batch_size": 64, "micro_batch": 64}
"""With `base_lr` 2e-3 AdamW's learning rate is 5e-4 for every method, as in its preset for batches of 256."""
SHORT: dict[str, Any] = {"prototypes": 1024, "hidden": 512, "decay": 0.99, "frozen_epochs": 0.0, "teacher_warmup_epochs": 0.0}
"""Of DINO: runs are shorter than the epochs in which the presets keep the last layer and raise the teacher's temperature."""
SETTINGS: dict[str, dict[str, Any]] = {
    "dino": {"dino": Dino(local_views=4, **SHORT)},
    "dinov2": {"dinov2": DinoV2(local_views=4, **SHORT)},
    "lejepa": {},
    "ijepa": {},
    "mae": {},
}
NAMES = {"dino": "DINO", "dinov2": "DINOv2", "lejepa": "LeJEPA", "ijepa": "I-JEPA", "mae": "MAE"}
SEEDS = 1, 2, 3


def planned(method: str, data: str, seed: int, budget: float) -> tuple[PretrainRun, int]:
    """Make a run of as many steps as the budget has FLOPs for, and count those of a step."""
    run = recipe(method, data, seed=seed, base_lr=2e-3, **COMMON, **SETTINGS[method])
    run = replace(run, change=("patch=8", *(text for text in run.change if text != "patch=8"), "depth=4"))
    step = count_step(run).total
    return replace(run, steps=max(1, round(budget / step))), step


_scored: dict[str, dict[str, float]] = {}
"""By a hash of its weights: methods begin with the same network."""


def scores(encoder: Encoder, cifar10: Path) -> dict[str, float]:
    """Compute the percentages of CIFAR-10's test images that neighbours and a linear probe classify rightly."""
    weights = sha256(b"".join(tensor.numpy().tobytes() for tensor in encoder.state_dict().values())).hexdigest()
    if weights in _scored:
        return _scored[weights]
    parts = (labelled_images(cifar10, split, most) for split, most in (("train", 5000), ("val", 2000)))
    train, test = (Labelled(features_of(encoder, images), torch.from_numpy(labels)) for images, labels, _ in parts)
    knn = knn_accuracy(train.features, train.labels, test.features, test.labels)
    _scored[weights] = {"knn": round(100 * knn, 2), "linear": round(100 * linear_probe(train, test, 10).accuracy, 2)}
    return _scored[weights]


def first_encoder(task: PretrainTask, launch: Launch) -> Encoder:
    """Make the encoder that a run begins with."""
    model: Any = new_model(task, loop_config(task, launch), torch.device("cpu"))
    return model.encoder.eval()


def one_run(method: str, data: str, source: str, seed: int, budget: float, cifar10: Path, folder: Path) -> dict[str, Any]:
    """Train, or go on with it, and score the network before and after."""
    run, step = planned(method, source, seed, budget)
    assert run.steps is not None
    task, launch = task_for(run), Launch(out=folder, workers=0, threads=1)
    finished = run_task(task, launch, None, tensorboard=False)
    if finished is None:
        raise SystemExit("stopped; the same command goes on")
    total = read(folder / "ledger.json")["total"]
    return {
        "method": method,
        "data": data,
        "seed": seed,
        "steps": run.steps,
        "images": run.steps * run.batch_size,
        "tflop": round(run.steps * step / 1e12, 3),
        "tflop_counted": round((total["flops_forward"] + total["flops_backward"]) / 1e12, 3),
        "cpu_s": round(total["cpu_seconds"]),
        "collapsed_at": finished.collapsed_at,
        "before": scores(first_encoder(task, launch), cifar10),
        "after": scores(tapetum.load(finished.encoder), cifar10),
    }


def table(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """List a row for each method and data set: images, minutes, and the scores of its seeds that have finished."""
    rows = []
    for data in ("CIFAR-10", "photographs"):
        for method, name in NAMES.items():
            runs = [run for run in results["runs"] if (run["method"], run["data"]) == (method, data)]
            if not runs:
                continue
            cells = [
                " ± ".join(f"{f(values):.1f}" for f in (statistics.fmean, statistics.stdev)[: len(values)])
                for values in (
                    [run[when][probe] for run in runs] for probe in ("knn", "linear") for when in ("before", "after")
                )
            ]
            minutes = statistics.fmean(run["cpu_s"] for run in runs) / 60
            seeds = ", ".join(str(run["seed"]) for run in runs)
            rows.append((data, name, seeds, f"{runs[0]['images']:,}", f"{runs[0]['tflop']:.2f}", f"{minutes:.1f}", *cells))
    return rows


def main() -> int:
    """Run what the file does not have, and write it after each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cifar10/ and photos/")
    parser.add_argument("--folder", type=Path, required=True, help="of the runs and their checkpoints")
    parser.add_argument("--minutes", type=float, default=60.0, help="of a core, for each run")
    parser.add_argument("--methods", nargs="+", default=[*SETTINGS], choices=[*SETTINGS])
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cifar10 = args.data / "cifar10"
    sources = {"CIFAR-10": str(cifar10 / "train.parquet"), "photographs": str(args.data / "photos" / "photos.parquet")}
    rate = LedgerConfig().constant("gflops_per_core").value
    about = {"minutes": args.minutes, "gflops_per_core": rate, "processor": processor().vendor, "torch": torch.__version__}
    results = json.loads(args.json.read_text()) if args.json.exists() else {**about, "runs": []}
    if results["minutes"] != args.minutes:
        parser.error(f"{args.json} has runs of {results['minutes']:g} minutes; give another file")
    done = {(run["method"], run["data"], run["seed"]) for run in results["runs"]}
    for seed in SEEDS:
        for data, source in sources.items():
            for method in args.methods:
                if (method, data, seed) in done:
                    continue
                folder, budget = args.folder / f"{method}-{data}-{seed}", args.minutes * 60 * rate * 1e9
                results["runs"].append(one_run(method, data, source, seed, budget, cifar10, folder))
                print(results["runs"][-1], flush=True)
                args.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
