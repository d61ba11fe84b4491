"""Does bootstrapping on unlabelled videos make the bundled tracker better, and which ingredient does it?

    python evidence/bootstrap/claims.py VIDEOS --held bear.mp4 apple.mp4 --cutouts cutouts.pkl --textures photos.parquet \
        --out runs [--model tapir-nano] [--steps 400] [--seeds 1 2 3] [--without nothing footage proximity ...]

Runs `tapetum bootstrap` on the videos for each seed, with each ingredient of --without left out, and scores what a
user gets: average Jaccard on the cut-outs (`tap_cutouts.py`), made of photographs that were never trained on, and cycle error
on the clips of --held, which must not be among the videos. Of the textures every tenth image, of which the cut-outs are made,
is left out. Each run goes on where it was stopped; what is finished is only scored.

Prints two rows for every run, of the network alone and (unless --alone) with its tracks polished, mean and deviation over the
seeds, and by how much each run that leaves something out changes from that with `nothing` left out, video by video, with its
interval (`plus_minus.py`); results.json in --out keeps all. A tracker that only calls more points visible scores otherwise on
all of these, so there are two columns that this does not move: `best` is the average Jaccard with the threshold of visibility
that suits it best, and `as many` the mean cycle error of its surest points, as many as the start calls visible. The last two
are position accuracy and average Jaccard on the real clips, where Lucas-Kanade follows a point there and back (`followed`),
which tells of steady points only.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import tapetum
from tapetum.bench.tapvid import read_clips, sample_queries
from tapetum.systems.tap.bootstrap.config import WITHOUT, BootstrapRun, Ingredients, without
from tapetum.systems.tap.bootstrap.run import bootstrap
from tapetum.systems.tap.bootstrap.samples import CycleErrors, cycle_errors, grid
from tapetum.tracks.metrics import THRESHOLDS, mean_metrics, tapvid_metrics
from tapetum.tracks.training.tracker_task import CONFIDENCES
from tapetum.train.launch_config import Launch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from plus_minus import as_many, difference, with_deviation, with_interval
from tap_cutouts import lucas_kanade
from tap_real import load

CHANGES = "nothing", *WITHOUT, "footage", "+cycle"
"""What `--without` leaves out: an ingredient; footage: only the synthetic clips are learned, as a control; with a plus it is
put in."""

THRESHOLD = 0.5
"""Confidence above which a point is called visible."""
NUMBERS = "average_jaccard", "best_average_jaccard", "average_pts_within_thresh", "occlusion_accuracy", "followed_jaccard"


def score(model, cutouts, held, polish):
    tracker = tapetum.load(model)
    tracker.model.config = replace(tracker.model.config, polish=polish)
    by_threshold, jaccards = cutout_scores(tracker, cutouts)
    usual = by_threshold[THRESHOLD]
    real = [load(path, 48)[0] for path in held]
    errors, confidence = np.concatenate([cycle(tracker, video) for video in real], 1)
    summary = CycleErrors(np.where(confidence > THRESHOLD, errors, np.nan)).summary()
    return {
        **{name: usual[name] for name in ("average_jaccard", "average_pts_within_thresh", "occlusion_accuracy")},
        "best_average_jaccard": max(scores["average_jaccard"] for scores in by_threshold.values()),
        **{f"cycle_{k}": v for k, v in summary.items()},
        **followed_scores(tracker, real),
        "jaccards": [round(jaccard, 5) for jaccard in jaccards],
        "errors": [[round(float(c), 4), round(float(e), 3)] for c, e in zip(confidence, errors, strict=True) if c > 0],
    }


def cutout_scores(tracker, cutouts):
    """Scores by the confidence above which a point is called visible, and the average Jaccard of every video at THRESHOLD."""
    rows = {threshold: [] for threshold in CONFIDENCES}
    for clip in read_clips(cutouts):
        asked = sample_queries(clip.tracks, clip.occluded, "first")
        end = [asked.occluded.shape[1] - 1, *clip.video.shape[2:0:-1]]
        tracks = tracker.track(clip.video, asked.queries.clip(0, end).astype(np.float32))
        for threshold, row in rows.items():
            hidden = tracks.confidence <= threshold
            row.append(tapvid_metrics(asked.queries, asked.occluded, asked.tracks, hidden, tracks.xy, "first"))
    means = {threshold: mean_metrics(row)[0] for threshold, row in rows.items()}
    return means, [float(scores["average_jaccard"]) for scores in rows[THRESHOLD]]


def cycle(tracker, video):
    """Of each point of a grid: how far from its place it comes back, and how sure the tracker was of it at the end.

    A point that leaves the image has confidence 0.
    """
    sure = []

    def track(video, queries):
        tracks = tracker.track(video, queries)
        sure.append(tracks.confidence[:, -1])
        return tracks.xy, np.ones_like(tracks.visible)

    errors = cycle_errors(track, video, grid(video.shape[1:], 12)).error
    return errors, np.where(np.isfinite(errors), sure[0], 0)


def followed(video, n=24):
    """Queries on the first frame, places, and where these are true as far as real video tells.

    Lucas-Kanade follows a point from frame to frame; it counts as long as each step is undone within half a pixel, and the
    whole way back from there (every eighth frame) ends within one of where it began.
    """
    queries = grid(video.shape[1:], n)
    xy, true = lucas_kanade(video, queries, 0.5)
    for t in (*range(8, len(video), 8), len(video) - 1):
        back, _ = lucas_kanade(video[: t + 1], np.column_stack([np.full(len(xy), t), xy[:, t]]))
        true[np.linalg.norm(back[:, 0] - queries[:, 1:], axis=1) >= 1, t:] = False
    return queries, xy, true


def followed_scores(tracker, videos):
    """Position accuracy and average Jaccard where `followed` knows the truth, a mean over videos; all of it is visible."""
    rows = []
    for video in videos:
        queries, xy, true = followed(video)
        tracks = tracker.track(video, queries)
        error, seen = np.linalg.norm(tracks.xy - xy, axis=-1)[:, 1:], tracks.visible[:, 1:]
        counts = true[:, 1:]
        within = [(error < d) & counts for d in THRESHOLDS]
        jaccard = [(w & seen).sum() / (counts.sum() + (counts & seen & ~w).sum()) for w in within]
        rows.append((np.mean([w.sum() / counts.sum() for w in within]), np.mean(jaccard)))
    position, jaccard = np.mean(rows, 0)
    return {"followed_position": float(position), "followed_jaccard": float(jaccard)}


def tail(left_out, apart):
    told = {"nothing": "", "+cycle": " with cycle"}.get(left_out, f" without {left_out}")
    return told + " apart" * apart


def row(name, s, start):
    print(
        f"{name:<36}{s['average_jaccard']:>8.3f}{s['best_average_jaccard']:>8.3f}{s['average_pts_within_thresh']:>8.3f}"
        f"{s['occlusion_accuracy']:>8.3f}{s['cycle_median_px']:>9.2f}{s['cycle_mean_px']:>8.2f}{s['cycle_judged']:>8.2f}"
        f"{s['cycle_back_within_4px']:>9.3f}"
        + "{:>11.2f}{:>7.3f}".format(*as_many(start, s, THRESHOLD))
        + f"{s['followed_position']:>9.3f}{s['followed_jaccard']:>7.3f}",
        flush=True,
    )


def recipe(args, left_out, seed):
    """The run without an ingredient; what is not given on the command line is as `BootstrapRun` has it."""
    footage = left_out != "footage"
    settings = Ingredients(
        cycle=left_out == "+cycle", separate_moments=args.apart and footage, weight=Ingredients.weight if footage else 0.0
    )
    names = "model", "textures", "steps", "clips", "frames", "iterations", "scenes", "image_clips", "lr"
    given = {name: getattr(args, name) for name in names}
    run = BootstrapRun(settings=settings, part="train", seed=seed, **given)
    return without(run, [left_out] if left_out in WITHOUT else [])


def run(args):
    file = args.out / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}

    def scored(name, model):
        for polish in (False,) if args.alone else (False, True):
            key = name + " polished" * polish
            if key not in results:
                results[key] = score(model, args.cutouts, args.held, polish)
                args.out.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(results, indent=1))
            row(key, results[key], results["start" + " polished" * polish])

    names = f"{'AJ':>8}{'best':>8}{'<d':>8}{'OA':>8}{'cycle':>9}{'mean':>8}{'judged':>8}{'back':>9}"
    print(f"{'run':<36}{names}{'as many':>11}{'<4 px':>7}{'real <d':>9}{'AJ':>7}")
    scored("start", args.model)
    for seed in args.seeds:
        for left_out in args.without:
            name = f"seed {seed}{tail(left_out, args.apart)}"
            out = args.out / name.replace(" ", "-")
            if name not in results:
                launch = Launch(out=out, workers=args.workers, threads=args.threads)
                if bootstrap(args.videos, recipe(args, left_out, seed), launch) is None:
                    return
            scored(name, out)
    for left_out in args.without:
        told = tail(left_out, args.apart)
        for ending in (told,) if args.alone else (told, told + " polished"):
            rows = [results[f"seed {seed}{ending}"] for seed in args.seeds]
            found = np.array([[r[k] for k in NUMBERS] for r in rows])
            print(f"{'mean' + ending:<36}" + "".join(f"  {with_deviation(values, 3)}" for values in found.T.tolist()))
    for seed in args.seeds:
        whole = results.get(f"seed {seed}{tail('nothing', args.apart)}", {})
        for left_out in args.without:
            name = f"seed {seed}{tail(left_out, args.apart)}"
            if "jaccards" in whole and "jaccards" in results[name] and left_out != "nothing":
                change = with_interval(difference(whole, results[name]), 4)
                print(f"{name:<36}{change} of average Jaccard, over the same videos")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--held", nargs="+", type=Path, required=True)
    parser.add_argument("--cutouts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="tapir-nano")
    parser.add_argument("--textures", default=None)
    parser.add_argument("--steps", type=int, default=BootstrapRun.steps)
    parser.add_argument("--clips", type=int, default=BootstrapRun.clips)
    parser.add_argument("--frames", type=int, default=BootstrapRun.frames)
    parser.add_argument("--iterations", type=int, default=BootstrapRun.iterations)
    parser.add_argument("--scenes", type=int, default=BootstrapRun.scenes)
    parser.add_argument("--warped", dest="image_clips", type=int, default=BootstrapRun.image_clips)
    parser.add_argument("--lr", type=float, default=BootstrapRun.lr)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--without", nargs="+", default=["nothing"], choices=CHANGES)
    parser.add_argument("--apart", action="store_true", help="both losses with optimiser moments of their own, as published")
    parser.add_argument("--alone", action="store_true", help="without the rows of polished tracks, in half of the time")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    run(parser.parse_args())
