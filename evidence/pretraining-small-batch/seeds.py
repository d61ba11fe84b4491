"""Does `pretrain dinov2` at batch 32 stay finite and keep its features apart, whatever the seed and the options?

    python evidence/pretraining-small-batch/seeds.py --data ../shared/data --json evidence/pretraining-small-batch/results.json

Twenty seeds of a ViT-Tiny, or of its first blocks (--depth), on views of 32 pixels: in turn on images of the world (made
here), on CIFAR-10 and on photographs; in turn with centring, with Sinkhorn-Knopp, with that and a queue, and in two
micro-batches of 16. A seed passes if every loss and every weight is finite, the run saw no collapse, and features of its
images fill more than 5 directions. Seeds that the file has are not run again.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import tapetum
from tapetum.core.devices import processor
from tapetum.metrics.spectrum import rank_me
from tapetum.systems.pretraining.methods import DinoV2
from tapetum.systems.pretraining.recipes import recipe
from tapetum.systems.pretraining.run import run_task, task_for
from tapetum.systems.pretraining.scores import ShownImages
from tapetum.train.launch_config import Launch
from tapetum.transfer.probing import features_of

SETTINGS = {"local_views": 2, "prototypes": 1024, "hidden": 512, "decay": 0.99, "frozen_epochs": 0.0}
HOW: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "centring": ({}, {}),
    "sinkhorn": ({"centring": "sinkhorn"}, {}),
    "queue": ({"centring": "sinkhorn", "queue": 512}, {}),
    "two micro-batches of 16": ({}, {"micro_batch": 16}),
}
LEAST_RANK = 5.0


def one_seed(seed: int, name: str, data: str, how: str, steps: int, depth: int, folder: Path) -> dict[str, Any]:
    """Train with a seed and describe what came out."""
    settings, changes = HOW[how]
    sizes = {"size": 32, "batch_size": 32, "micro_batch": 32, "steps": steps, "enlarge": True, "seed": seed}
    sizes |= {"change": ("patch=8", f"depth={depth}"), "base_lr": 2e-3}
    run = recipe("dinov2", data, **{**sizes, **changes}, dinov2=DinoV2(**{**SETTINGS, "koleo": 0.1, **settings}))
    task, began = task_for(run), time.process_time()
    try:
        finished = run_task(task, Launch(out=folder, workers=0, threads=1), None, tensorboard=False)
    except tapetum.TapetumError as error:  # it stopped itself
        return {"seed": seed, "data": name, "how": how, "passes": False, "error": str(error)}
    if finished is None:
        raise SystemExit("stopped; the same command begins this seed again")
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    encoder = tapetum.load(finished.encoder)
    finite = all(math.isfinite(line["loss"]) for line in lines) and all(bool(p.isfinite().all()) for p in encoder.parameters())
    last = lines[-1]["metrics"]
    rank = rank_me(features_of(encoder, ShownImages(task, 256)).numpy())
    return {
        "seed": seed,
        "data": name,
        "how": how,
        "passes": finite and finished.collapsed_at is None and task.collapse(last) is None and rank > LEAST_RANK,
        "finite": finite,
        "collapsed_at": finished.collapsed_at,
        "rank_me": round(rank, 2),
        "losses": [round(lines[k]["loss"], 4) for k in (0, -1)],
        "feature_std": round(last["feature_std"], 4),
        "prototype_entropy": round(last["prototype_entropy"], 4),
        "target_entropy": round(last["target_entropy"], 4),
        "skipped": lines[-1]["skipped"],
        "cpu_s": round(time.process_time() - began, 1),
    }


def table(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """List a row for each data set: its seeds, how many passed, least rank and deviation of features, losses at both ends."""
    rows = []
    for data in dict.fromkeys(row["data"] for row in results["seeds"]):
        seeds = [row for row in results["seeds"] if row["data"] == data]
        done = [row for row in seeds if "rank_me" in row]
        ends = ", ".join(f"{sum(row['losses'][k] for row in done) / len(done):.2f}" for k in (0, -1)) if done else ""
        least = [f"{min(row[key] for row in done):.3g}" if done else "" for key in ("rank_me", "feature_std")]
        rows.append((data, f"{sum(row['passes'] for row in seeds)} of {len(seeds)}", *least, ends))
    return rows


def main() -> int:
    """Run the seeds that the file does not have, and write it after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cifar10/ and photos/")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(args.json.read_text())["seeds"] if args.json.exists() else []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        from tapetum.app.make.scenes import images

        images(scratch / "world", n=64, size=64, seed=1)
        sources = {
            "world": str(scratch / "world" / "images"),
            "CIFAR-10": str(args.data / "cifar10" / "train.parquet"),
            "photographs": str(args.data / "photos" / "photos.parquet"),
        }
        for seed in range(len(rows) + 1, args.seeds + 1):
            data, how = list(sources)[seed % len(sources)], list(HOW)[seed % len(HOW)]
            rows.append(one_seed(seed, data, sources[data], how, args.steps, args.depth, scratch / f"seed{seed}"))
            print(rows[-1], flush=True)
            summary = {
                "processor": processor().vendor,
                "torch": torch.__version__,
                "steps": args.steps,
                "depth": args.depth,
                "passed": sum(row["passes"] for row in rows),
                "of": len(rows),
                "seeds": rows,
            }
            args.json.write_text(json.dumps(summary, indent=1) + "\n")
    return 0 if all(row["passes"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
