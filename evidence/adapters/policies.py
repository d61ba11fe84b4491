"""Frozen, adapters, full: what a policy learns from images, and what the trunk keeps (acceptance T-E, T-F of the notes).

    python evidence/adapters/policies.py OUT [--tasks drawer-open ...] [--cameras left] [--trunks efficientnet-lite0]
        [--regimes frozen adapters full] [--pixels 64] [--n 25] [--steps 200] [--seeds 0] [--shift] [--looks 0]
        [--photos photos.parquet | --labelled cifar10]

For every task and camera the expert makes --n demonstrations, and a fifth as many of other starts that are held out; for every
trunk, regime and seed a policy is trained, scored by the squared error of its standardised actions on what was held out, and
tried in --rollouts episodes of other starts, each as long as the longest demonstration and a quarter. With --shift also the
error where images of the same states are darker and from beside. --looks changes what the world looks like in training.

What the trunk still knows, before, after with adapters off, and with adapters on: --photos (columns image and label; a trunk
with a classifier of ImageNet), or --labelled (a folder with train.parquet and test.parquet), of which a linear classifier is
fitted to the features of the trunk as it was, and kept. And how far features have drifted. Everything is kept in OUT: what is
there is not done again, so the command goes on where it was stopped, and OUT/results.json has a row for each run. Frozen has
the head of two layers and no adapter; adapters are bottom-middle-top. Simulators need tapetum[robot].
"""

import argparse
import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

import tapetum
from tapetum.data.files import StoredFile, opened_image
from tapetum.encoders.features import prepare
from tapetum.systems.adapters import load_headed
from tapetum.systems.adapters.demos import make_demos, read_demos
from tapetum.systems.adapters.recipes import recipe
from tapetum.systems.adapters.worlds.world import TASKS, make_world, try_out
from tapetum.train.launch_config import Launch

HELD_OUT_SEED = 5000


def table(file, count, seed=0):
    """Images and labels of some rows."""
    read = pq.read_table(file, columns=["image", "label"])
    rows = np.random.default_rng(seed).permutation(read.num_rows)[:count]
    stored = read.column("image").take(rows).to_pylist()
    return [np.array(opened_image(StoredFile("image", one["bytes"]), "RGB")) for one in stored], read.column("label").take(
        rows
    ).to_pylist()


@torch.inference_mode()
def vectors(encoder, images, how):
    """Pooled vectors, twenty images at a time."""
    ready = [prepare(image[None], how) for image in images]
    return torch.cat([encoder(torch.cat(ready[i : i + 20])).pooled for i in range(0, len(ready), 20)])


class Knowledge:
    """What a trunk knows of images that have nothing to do with the task."""

    def __init__(self, trunk, args):
        self.original = tapetum.load(trunk)
        self.how = self.original.preprocessing
        if args.photos:
            sys.path.append(str(Path(__file__).parents[1] / "encoders"))
            from imagenet import classes_called

            self.images, labels = table(args.photos, args.photo_count)
            self.labels = [classes_called(label) for label in labels]
            self.head = self.original.head
        else:
            shown, labels = table(Path(args.labelled) / "train.parquet", 5 * args.photo_count)
            self.images, tests = table(Path(args.labelled) / "test.parquet", args.photo_count)
            self.labels = [{label} for label in tests]
            self.head = fitted(vectors(self.original, shown, self.how), labels)
        self.features = vectors(self.original, self.images, self.how)
        self.before = self.score(self.features)

    def score(self, features):
        """Top-1."""
        with torch.inference_mode():
            best = self.head(features).argmax(1).tolist()
        return sum(one in label for one, label in zip(best, self.labels, strict=True)) / len(best)

    def kept(self, policy):
        """Compare a finished run's trunk with the one that it was."""
        with policy.trunk.off():
            off = vectors(policy.trunk, self.images, self.how)
        on = off if policy.trunk.in_use is None else vectors(policy.trunk, self.images, self.how)
        told = {"before": self.before, "after": self.score(off), "equal": bool(torch.equal(off, self.features))}
        told |= {"adapters_on": self.score(on), "images": len(self.labels)}
        return {**told, "cka": linear_cka(self.features, on), "drift": cosine_drift(self.features, on)}


def linear_cka(one, other):
    """Linear centred kernel alignment (arXiv 1905.00414, section 3): 1 where features agree but for turns and scale."""
    a, b = (x.double() - x.double().mean(0) for x in (one, other))
    return float((b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm()))


def cosine_drift(one, other):
    """Mean of one minus the cosine between an image's features in two networks: 0 where they agree."""
    return float((1 - torch.nn.functional.cosine_similarity(one.double(), other.double(), dim=1)).mean())


def fitted(features, labels):
    """A linear classifier by ridge regression on standardised features."""
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    x = torch.cat([(features - mean) / deviation, torch.ones(len(features), 1)], 1).double()
    y = torch.nn.functional.one_hot(torch.tensor(labels)).double()
    weights = torch.linalg.solve(x.T @ x + 0.1 * len(x) * torch.eye(x.shape[1]), x.T @ y).float()
    return lambda some: torch.cat([(some - mean) / deviation, torch.ones(len(some), 1)], 1) @ weights


def world_of(args, task, camera, shift):
    return make_world(task, camera, args.pixels, **({} if TASKS.get(task) == "kitchen" else {"shift": shift}))


def demonstrations(args, task, camera):
    """Folders of demonstrations to learn from, of those held out, and of those held out that look otherwise."""
    learn, held, other = (args.out / "demos" / f"{task}-{camera}{part}" for part in ("", "-held", "-shifted"))
    wanted = [(learn, args.looks, args.n, 0), (held, args.looks, max(1, args.n // 5), HELD_OUT_SEED)]
    wanted += [(other, 1.0, max(1, args.n // 5), HELD_OUT_SEED)] if args.shift else []
    for folder, looks, n, seed in wanted:
        if not folder.exists():
            world = world_of(args, task, camera, looks)
            try:
                make_demos(world, folder, n=n, seed=seed)
            finally:
                world.close()
    return learn, held, other


@torch.inference_mode()
def error(policy, held):
    """Mean squared error of standardised actions on demonstrations."""
    demos, head = read_demos(held), policy.head
    pooled = vectors(policy.trunk, list(demos.frames), policy.trunk.preprocessing)
    found = policy.of_pooled(pooled, torch.from_numpy(demos.own))
    return float((found - head.action(torch.from_numpy(demos.actions))).square().mean())


def tried(args, policy, task, camera, longest):
    world = world_of(args, task, camera, args.looks)
    world.horizon = min(world.horizon, longest * 5 // 4)
    try:
        return {**try_out(world, policy.act, args.rollouts), "horizon": world.horizon}
    finally:
        world.close()


def one(args, task, camera, trunk, regime, seed, knowledge):
    learn, held, other = demonstrations(args, task, camera)
    lr = {"frozen": 1e-3, "adapters": args.lr, "full": args.full_lr}[regime]
    rate = "" if regime == "frozen" else f"-{lr:g}"
    if regime == "adapters":
        rate += "" if args.maps == "parallel" else f"-{args.maps}"
        rate += "" if args.kernel == 1 else f"-{args.kernel}x{args.kernel}"
    rate += "" if args.steps == 200 else f"-{args.steps}-steps"
    out = args.out / "runs" / f"{task}-{camera}-{Path(trunk).stem}-{regime}{rate}-{seed}"
    done = out / "row.json"
    if done.exists():
        return json.loads(done.read_text())
    how = {
        "trunk": trunk,
        "regime": regime,
        "steps": args.steps,
        "seed": seed,
        "lr": lr,
        "maps": args.maps,
        "kernel": args.kernel,
    }
    run = recipe("clone", str(learn), rollouts=0, **how)
    began = time.process_time()
    finished = tapetum.adapt(run, Launch(out=out, threads=1))
    if finished is None:
        raise SystemExit(f"stopped in {out}")
    row = {"task": task, "camera": camera, "trunk": Path(trunk).stem, "regime": regime, "seed": seed, "lr": lr}
    row |= {
        "maps": args.maps,
        "kernel": args.kernel,
        "steps": args.steps,
        "demos": args.n,
        "pixels": args.pixels,
        "train_cpu_s": time.process_time() - began,
    }
    row |= {"learned": dict(finished.parameters), "bytes": sum(p.stat().st_size for p in out.glob("*.safetensors"))}
    row["proven"] = finished.proof is not None and finished.proof.now == finished.proof.before
    policy = load_headed(finished.weights)
    row["error"], row["shifted"] = error(policy, held), error(policy, other) if args.shift else None
    if args.rollouts:
        longest = max(np.bincount(read_demos(learn).episode).tolist())
        row["tried"] = tried(args, policy, task, camera, longest)
    row["kept"] = knowledge(trunk).kept(policy) if args.photos or args.labelled else None
    row["cpu_s"] = time.process_time() - began
    done.write_text(json.dumps(row, indent=1) + "\n")
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--tasks", nargs="+", default=["drawer-open", "button-press-topdown", "hammer", "assembly", "bin-picking"]
    )
    parser.add_argument("--cameras", nargs="+", default=["left"])
    parser.add_argument("--trunks", nargs="+", default=["efficientnet-lite0"])
    parser.add_argument("--regimes", nargs="+", default=["frozen", "adapters", "full"])
    parser.add_argument("--pixels", type=int, default=64)
    parser.add_argument("--n", type=int, default=25)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rollouts", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--lr", type=float, default=1e-3, help="of adapters")
    parser.add_argument("--full-lr", type=float, default=1e-3, help="of the whole trunk")
    parser.add_argument("--maps", default="parallel", help="form of adapters on maps: parallel, series, bottleneck")
    parser.add_argument("--kernel", type=int, default=1, choices=(1, 3), help="width of the convolutions of adapters on maps")
    parser.add_argument("--looks", type=float, default=0.0, help="how far the world looks unlike itself, 0 to 1")
    parser.add_argument("--shift", action="store_true", help="also try it where images look otherwise")
    parser.add_argument("--photos")
    parser.add_argument("--labelled")
    parser.add_argument("--photo-count", type=int, default=200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {}

    def knowledge(trunk):
        if trunk not in found:
            found[trunk] = Knowledge(trunk, args)
        return found[trunk]

    rows = []
    for seed, task, camera, trunk, regime in itertools.product(args.seeds, args.tasks, args.cameras, args.trunks, args.regimes):
        row = one(args, task, camera, trunk, regime, seed, knowledge)
        rows.append(row)
        print(task, camera, Path(trunk).stem, regime, f"{row['lr']:g}", seed, f"error {row['error']:.3f}", end=" ")
        print(row["shifted"], row.get("tried", {}).get("success"), end=" ")
        print(row["kept"] or "", f"{row['cpu_s']:.0f} CPU-s", flush=True)
    every = [json.loads(path.read_text()) for path in sorted((args.out / "runs").glob("*/row.json"))]
    (args.out / "results.json").write_text(json.dumps(every, indent=1) + "\n")


if __name__ == "__main__":
    main()
