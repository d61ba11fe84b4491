"""Does bootstrapping on unlabelled videos make the bundled tracker better, and which ingredient does it?

    python benchmarks/tap_bootstrap.py VIDEOS --held bear.mp4 apple.mp4 --cutouts cutouts.pkl --textures photos.parquet \
        --out runs [--model tapir-nano] [--steps 400] [--seeds 1 2 3] [--without nothing cycle proximity ...]

Runs `tapetum bootstrap` on the videos for each seed, with each ingredient of --without left out, and scores what a
user gets: average Jaccard on the cut-outs (`tap_cutouts.py`), made of photographs that were never trained on, and cycle error
on the clips of --held, which must not be among the videos. Of the textures every tenth picture, of which the cut-outs are made,
is left out. Each run goes on where it was stopped; what is finished is only scored.

Prints two rows for every run, of the network alone and with its tracks polished, and mean and deviation over the seeds;
results.json in --out keeps all. The mean cycle error is over the points that a run judges (sees at the end of a clip), not
those that the start judges; the last column has the means of both over the points that both judge.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

import tapetum
from tap_real import load
from tapetum.bench.tapvid import evaluate
from tapetum.tap.bootstrap import Bootstrap
from tapetum.tap.recipes_bootstrap import BootstrapRun, bootstrap
from tapetum.tap.selfcheck import CycleErrors, cycle_errors, grid

WITHOUT = {
    "nothing": {},
    "shrink": {"shrink": False},
    "spoil": {"spoil": False},
    "requery": {"requery": False},
    "cycle": {"cycle": False},
    "confident": {"confident": 0.0},
    "polish": {"polish": False},
    "proximity": {"proximity": False},
    "rebalance": {"rebalance": 0.0},
    "synthetic": {"synthetic": False},
    "average": {"teacher": "start"},
    "footage": {},
}
"""What `--without` leaves out, as changes of `Bootstrap`; footage: only the synthetic clips are learned, as a control."""


def score(model, cutouts, held, polish):
    tracker = tapetum.load(model)
    tracker.model.config = replace(tracker.model.config, polish=polish)

    def track(video, queries):
        tracks = tracker.track(video, queries)
        return tracks.xy, tracks.visible

    result = evaluate(tracker, cutouts, "first")
    errors = []
    for path in held:
        video, _ = load(path, 48)
        errors.append(cycle_errors(track, video, grid(video.shape[1:], 12)).error)
    errors = np.concatenate(errors)
    cycle = CycleErrors(errors).summary()
    names = ("average_jaccard", "average_pts_within_thresh", "occlusion_accuracy")
    return {
        **{name: float(result[name]) for name in names},
        **{f"cycle_{k}": v for k, v in cycle.items()},
        "cycle_errors": [None if np.isnan(e) else round(float(e), 3) for e in errors],
    }


def shared(start, s):
    """Mean cycle error over the points that both judge, of the start and of a run: the others differ from run to run."""
    pairs = [(a, b) for a, b in zip(start["cycle_errors"], s["cycle_errors"], strict=True) if a is not None and b is not None]
    return np.mean(pairs, axis=0).tolist()


def tail(left_out, apart):
    return ("" if left_out == "nothing" else f" without {left_out}") + " apart" * apart


def row(name, s, start=None):
    print(
        f"{name:<36}{s['average_jaccard']:>8.3f}{s['average_pts_within_thresh']:>8.3f}{s['occlusion_accuracy']:>8.3f}"
        f"{s['cycle_median_px']:>9.2f}{s['cycle_mean_px']:>8.2f}{s['cycle_judged']:>8.2f}{s['cycle_back_within_4px']:>9.3f}"
        + ("" if start is None else "{:>9.2f} ->{:>6.2f}".format(*shared(start, s))),
        flush=True,
    )


def run(args):
    file = args.out / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}

    def scored(name, model):
        for polish in (False, True):
            key = name + " polished" * polish
            if key not in results:
                results[key] = score(model, args.cutouts, args.held, polish)
                args.out.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(results, indent=1))
            row(key, results[key], results["start" + " polished" * polish])

    print(f"{'run':<36}{'AJ':>8}{'<d':>8}{'OA':>8}{'cycle':>9}{'mean':>8}{'judged':>8}{'<4 px':>9}{'both judge':>18}")
    scored("start", args.model)
    for seed in args.seeds:
        for left_out in args.without:
            name = f"seed {seed}{tail(left_out, args.apart)}"
            out = args.out / name.replace(" ", "-")
            if name not in results:
                settings = Bootstrap(**WITHOUT[left_out], apart=args.apart)
                if left_out == "footage":
                    settings = replace(settings, apart=False, weight=0.0)
                recipe = BootstrapRun(
                    model=args.model,
                    settings=settings,
                    steps=args.steps,
                    clips=args.clips,
                    frames=args.frames,
                    iterations=args.iterations,
                    scenes=args.scenes,
                    warped=args.warped,
                    lr=args.lr,
                    textures=args.textures,
                    part="train",
                    seed=seed,
                )
                if bootstrap(args.videos, out, recipe, workers=args.workers, threads=args.threads) is None:
                    return
            scored(name, out)
    for left_out in args.without:
        for ending in (tail(left_out, args.apart), tail(left_out, args.apart) + " polished"):
            rows = [results[f"seed {seed}{ending}"] for seed in args.seeds]
            numbers = [key for key in rows[0] if key != "cycle_errors"]
            row("mean" + ending, {k: float(np.mean([r[k] for r in rows])) for k in numbers})
            row("deviation" + ending, {k: float(np.std([r[k] for r in rows])) for k in numbers})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--held", nargs="+", type=Path, required=True)
    parser.add_argument("--cutouts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="tapir-nano")
    parser.add_argument("--textures", default=None)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--clips", type=int, default=2)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument("--scenes", type=int, default=240)
    parser.add_argument("--warped", type=int, default=480)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--without", nargs="+", default=["nothing"], choices=list(WITHOUT))
    parser.add_argument("--apart", action="store_true", help="both losses with optimiser moments of their own, as published")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    run(parser.parse_args())
