"""Frozen, adapters, full: what a policy learns from pictures, and what the trunk keeps (acceptance T-E, T-F of the notes).

    python benchmarks/adapter_policies.py OUT [--tasks drawer-open ...] [--cameras left] [--trunks efficientnet-lite0]
        [--regimes frozen adapters full] [--pixels 64] [--n 25] [--steps 2000] [--seeds 1] [--photos photos.parquet]

For every task and camera it lets the expert make --n demonstrations; for every trunk, regime and seed it trains a policy,
tries it in --rollouts episodes at three moments (the mean is what counts), and with --shift in as many whose pictures are
darker and from beside. With --photos (columns image and label; a trunk with a classifier of ImageNet) it says what the trunk
still knows of them, before and after with adapters off, and how far its features drifted with adapters on. Everything is kept
in OUT: what is there is not done again, so the command goes on where it was stopped, and OUT/results.json has a row for each
run. Frozen has the head of two layers and no adapter; adapters are bottom-middle-top. Simulators need tapetum[robot].
"""

import argparse
import itertools
import json
import time
from pathlib import Path

import numpy as np
import torch

import tapetum
from tapetum.adapters import load_headed
from tapetum.adapters.recipes import recipe
from tapetum.adapters.retention import cosine_drift, linear_cka
from tapetum.adapters.rollouts import try_out
from tapetum.adapters.worlds.makers import make_world
from tapetum.train.launch_config import Launch
from tapetum.verbs import demos


class Photos:
    """What an encoder says of photographs."""

    def __init__(self, file, count):
        import pyarrow.parquet as pq

        from encoders_imagenet import classes_called
        from tapetum.data.media import Stored, opened_picture

        table = pq.read_table(file, columns=["image", "label"])
        rows = np.random.default_rng(0).permutation(table.num_rows)[:count]
        stored = table.column("image").take(rows).to_pylist()
        self.pictures = [np.array(opened_picture(Stored("picture", one["bytes"]), "RGB")) for one in stored]
        self.labels = [classes_called(label) for label in table.column("label").take(rows).to_pylist()]

    @torch.inference_mode()
    def look(self, encoder, preprocessing):
        """Top-1 and pooled vectors."""
        from tapetum.encoders.features import prepare

        pooled = torch.cat([encoder(prepare(picture[None], preprocessing)).pooled for picture in self.pictures])
        best = encoder.head(pooled).argmax(1).tolist()
        return sum(one in label for one, label in zip(best, self.labels, strict=True)) / len(best), pooled


def kept(finished, trunk, photos):
    """What the trunk of a finished run still knows."""
    original = tapetum.load(trunk)
    before, features = photos.look(original, original.preprocessing)
    loaded = load_headed(finished.weights).trunk
    with loaded.off():
        after, same = photos.look(loaded, original.preprocessing)
    on, drifted = photos.look(loaded, original.preprocessing)
    told = {"before": before, "after": after, "equal": bool(torch.equal(same, features)), "adapters_on": on}
    return {**told, "cka": linear_cka(features, drifted), "drift": cosine_drift(features, drifted)}


def shifted(finished, task, camera, pixels, rollouts):
    """Success where the pictures look otherwise."""
    world = make_world(task, camera, pixels, **({} if task in ("light", "microwave", "slide-door") else {"shift": 1.0}))
    try:
        return try_out(world, load_headed(finished.weights).act, rollouts).as_json()
    finally:
        world.close()


def one(args, task, camera, trunk, regime, seed, photos):
    data = args.out / "demos" / f"{task}-{camera}"
    if not data.exists():
        demos.make(task, n=args.n, out=data, camera=camera, pixels=args.pixels, film=True)
    out = args.out / "runs" / f"{task}-{camera}-{Path(trunk).stem}-{regime}-{seed}"
    done = out / "row.json"
    if done.exists():
        return json.loads(done.read_text())
    lr = {"frozen": 1e-3, "adapters": args.lr, "full": args.full_lr}[regime]
    run = recipe("clone", str(data), trunk=trunk, regime=regime, steps=args.steps, seed=seed, rollouts=args.rollouts, lr=lr)
    began = time.process_time()
    finished = tapetum.adapt(run, Launch(out=out, threads=1))
    if finished is None:
        raise SystemExit(f"stopped in {out}")
    row = {"task": task, "camera": camera, "trunk": trunk, "regime": regime, "seed": seed, "cpu_s": time.process_time() - began}
    row |= {"scores": dict(finished.scores), "learned": dict(finished.parameters), "bytes": finished.weights.stat().st_size}
    row["shift"] = shifted(finished, task, camera, args.pixels, args.rollouts) if args.shift else None
    row["kept"] = kept(finished, trunk, photos) if photos else None
    done.write_text(json.dumps(row, indent=1) + "\n")
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--tasks", nargs="+", default=["assembly", "bin-picking", "button-press-topdown", "drawer-open", "hammer"]
    )
    parser.add_argument("--cameras", nargs="+", default=["left"])
    parser.add_argument("--trunks", nargs="+", default=["efficientnet-lite0"])
    parser.add_argument("--regimes", nargs="+", default=["frozen", "adapters", "full"])
    parser.add_argument("--pixels", type=int, default=64)
    parser.add_argument("--n", type=int, default=25)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rollouts", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--lr", type=float, default=1e-3, help="of adapters")
    parser.add_argument("--full-lr", type=float, default=1e-4, help="of the whole trunk")
    parser.add_argument("--shift", action="store_true", help="also try it where pictures look otherwise")
    parser.add_argument("--photos")
    parser.add_argument("--photo-count", type=int, default=200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    photos = Photos(args.photos, args.photo_count) if args.photos else None
    rows = []
    for seed, task, camera, trunk, regime in itertools.product(
        range(args.seeds), args.tasks, args.cameras, args.trunks, args.regimes
    ):
        rows.append(one(args, task, camera, trunk, regime, seed, photos))
        (args.out / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
        last = rows[-1]
        told = {
            key: round(last["scores"][key], 3)
            for key in ("success_mean", "success_max", "success", "any")
            if key in last["scores"]
        }
        print(task, camera, Path(trunk).stem, regime, seed, told, last["kept"] or "", f"{last['cpu_s']:.0f} CPU-s", flush=True)


if __name__ == "__main__":
    main()
