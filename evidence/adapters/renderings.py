"""From one rendering of a task to another, as from a simulator to a robot: what ten episodes there are worth.

    python evidence/adapters/renderings.py OUT [--tasks reach-disc] [--seeds 0 1 2]

In the usual rendering a policy learns from --n demonstrations, its trunk (--trunk) whole: the policy of the simulator. The
other rendering has the same task with `shift` 1: of triplet-3 another light and table, and the camera moved by 8 degrees; of
reach-disc stripes, other hues and noise. There the policy is tried as it is, and then, with a new head, from --few episodes:
its trunk stays (frozen), gets adapters, or learns whole (full). A seed has its own ten episodes; the policy of the simulator is
one for all. Scored are success at the last step in --rollouts episodes of other starts, and the squared error of standardised
actions on held-out demonstrations. `usual` is that error in the usual rendering, with the first policy's head and the trunk as
it then is, adapters off: what was kept.

OUT goes on where it was stopped; OUT/results.json has a row for each run.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch

import tapetum
from policies import error
from tapetum.metrics.statistics import wilson_interval
from tapetum.systems.adapters import load_headed
from tapetum.systems.adapters.demos import make_demos
from tapetum.systems.adapters.recipes import recipe
from tapetum.systems.adapters.task import Headed
from tapetum.systems.adapters.worlds.world import make_world, try_out
from tapetum.train.launch_config import Launch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from plus_minus import Part, with_deviation

REGIMES = "frozen", "adapters", "full"
HELD_OUT_SEED, FEW_SEED = 5000, 1000


def demonstrations(args, task, name, shift, n, seed):
    """Make the folder of demonstrations, or give that which was made."""
    folder = args.out / "demos" / f"{task}-{name}"
    if not folder.exists():
        world = make_world(task, None, args.pixels, shift=shift)
        try:
            make_demos(world, folder, n=n, seed=seed)
        finally:
            world.close()
    return folder


def tried(args, task, policy, shift, horizon):
    """Try a policy in a rendering."""
    world = make_world(task, None, args.pixels, shift=shift)
    world.horizon = horizon
    try:
        return try_out(world, policy.act, args.rollouts)
    finally:
        world.close()


def learned(args, task, name, demos, trunk, regime, steps, seed):
    """Train, or load what was trained."""
    out = args.out / "runs" / f"{task}-{name}"
    lr = {"frozen": 1e-3, "adapters": args.lr, "full": 1e-3}[regime]
    run = recipe("clone", str(demos), trunk=str(trunk), regime=regime, steps=steps, seed=seed, lr=lr, rollouts=0)
    finished = tapetum.adapt(run, Launch(out=out, threads=1))
    if finished is None:
        raise SystemExit(f"stopped in {out}")
    return out, load_headed(finished.weights), finished


def runs_of(args, task):
    """Give the name of each run of a task, and what makes its row."""
    many = demonstrations(args, task, "many", 0.0, args.n, 0)
    here, there = (demonstrations(args, task, f"held-{shift:g}", shift, 10, HELD_OUT_SEED) for shift in (0.0, 1.0))
    horizon = max(row["steps"] for row in json.loads((many / "demos.json").read_text())["episodes"]) * 5 // 4
    folder, first, _ = learned(args, task, "simulator", many, args.trunk, "full", args.steps_first, 0)

    def row(regime, seed, policy, finished=None):
        kept = Headed(policy.trunk, first.head, first.about).eval()
        scores = {"task": task, "regime": regime, "seed": seed, "error": error(policy, there)}
        scores["tried"] = tried(args, task, policy, 1.0, horizon)
        with policy.trunk.off():
            scores["usual"] = error(kept, here)
        return {**scores, "proven": bool(finished and finished.proof and finished.proof.now == finished.proof.before)}

    yield "simulator", lambda: {**row("unadapted", 0, first), "at_home": tried(args, task, first, 0.0, horizon)}
    for seed in args.seeds:
        few = demonstrations(args, task, f"few-{seed}", 1.0, args.few, FEW_SEED * (seed + 1))
        for regime in REGIMES:
            name = f"{regime}-{seed}"

            def make(regime=regime, name=name, seed=seed, few=few):
                _, *found = learned(args, task, name, few, folder / "encoder.safetensors", regime, args.steps, seed)
                return row(regime, seed, *found)

            yield name, make


def of(rows, task, regime):
    return sorted((row for row in rows if (row["task"], row["regime"]) == (task, regime)), key=lambda row: row["seed"])


def parts_of(rows):
    """What T-E's rule asks, by task: ten points above frozen, and 90 % of full fine-tuning's success."""
    found = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        frozen, adapters, full = ([100 * row["tried"]["success"] for row in of(rows, task, regime)] for regime in REGIMES)
        found[task] = [
            Part("adapters less frozen, points of success", [a - b for a, b in zip(adapters, frozen, strict=True)], 10),
            Part("full less frozen", [a - b for a, b in zip(full, frozen, strict=True)], 10),
            Part("adapters less 90 % of full", [a - 0.9 * b for a, b in zip(adapters, full, strict=True)]),
        ]
    return found


def table_rows(rows):
    """Give the cells of the page's table."""
    for task in dict.fromkeys(row["task"] for row in rows):
        for regime in ("unadapted", *REGIMES):
            mine = of(rows, task, regime)
            counts = [(round(row["tried"]["success"] * row["tried"]["n"]), row["tried"]["n"]) for row in mine]
            done, n = (sum(column) for column in zip(*counts, strict=True))
            low, high = wilson_interval(done, n)
            errors = (with_deviation([row[key] for row in mine], 3) for key in ("error", "usual"))
            yield task, regime, str(len(mine)), f"{100 * done / n:.0f} % ({100 * low:.0f} to {100 * high:.0f})", *errors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tasks", nargs="+", default=["reach-disc"])
    parser.add_argument("--trunk", default="resnet-nano")
    parser.add_argument("--pixels", type=int, default=16)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--few", type=int, default=10)
    parser.add_argument("--steps-first", type=int, default=200, help="of the simulator's policy")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--lr", type=float, default=1e-2, help="of adapters")
    parser.add_argument("--rollouts", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for task in args.tasks:
        for name, make in runs_of(args, task):
            file = args.out / f"{task}-{name}.json"
            if not file.exists():
                began = time.process_time()
                file.write_text(json.dumps({**make(), "cpu_s": time.process_time() - began}))
            rows.append(json.loads(file.read_text()))
            print(
                task,
                name,
                {key: rows[-1][key] for key in ("error", "usual", "cpu_s")},
                rows[-1]["tried"]["success"],
                flush=True,
            )
    settings = {key: value for key, value in vars(args).items() if key != "out"}
    (args.out / "results.json").write_text(json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n")
    for cells in table_rows(rows):
        print("| " + " | ".join(cells) + " |")
    for task, parts in parts_of(rows).items():
        print(task, *parts, sep="\n  ")


if __name__ == "__main__":
    main()
