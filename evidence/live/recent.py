"""What patches of recent frames add to a live tracker, on real clips with marks and on fast cut-outs with truth in every frame.

    python evidence/live/recent.py --videos FOLDER ... [--out FILE]
    python benchmarks/tap_cutouts.py make photos.parquet cutouts.pkl --videos 20 --size 480 --frames 18 --speed 2
    python evidence/live/recent.py --cutouts cutouts.pkl [--out FILE]

Points are tracked frame by frame, forwards, on one thread, at the clip's own size. Marks are those of evidence/real-marks, of
the clips that the folders have. Beside the tracker as it is stand the same without patches of recent frames, at the base and at
all resolutions of refinement, and the network alone. Scores are those of TAP-Vid, mode first, in pixels of 256; milliseconds
are of the processor, of a frame.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tapetum
from tapetum.bench.tapvid import SIZE, read_clips, sample_queries
from tapetum.metrics.statistics import bootstrap_interval
from tapetum.tracks.metrics import tapvid_metrics

MARKS = Path(__file__).parents[1] / "real-marks"
sys.path.append(str(MARKS))

import real_marks

MODEL = "causal-tapir-nano"
SCORES = ("average_jaccard", "average_pts_within_thresh", "pts_within_4", "occlusion_accuracy")
SIDES = {
    "as it is, float32": ("float32", {}, True),
    "as it is, bfloat16": ("bfloat16", {}, True),
    "the query's patch alone": ("float32", {}, False),
    "the query's patch alone, all resolutions": ("float32", {"all": True}, False),
    "no patch": ("float32", {"polish": False, "refinement_resolutions": [(SIZE, SIZE)]}, False),
}


def track(side: str, video: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Track by one side, frame by frame: places (n, t, 2) and visibility (n, t); before its query a point is hidden."""
    dtype, options, recent = SIDES[side]
    tracker = tapetum.load(MODEL, dtype=dtype)
    if "all" in options:
        options = {"refinement_resolutions": tracker.model.refinements(video.shape[1:3])}
    shape = len(queries), len(video)
    xy, visible = np.zeros((*shape, 2), np.float32), np.zeros(shape, bool)
    stream, order = None, list[int]()
    for t, frame in enumerate(video):
        new = np.flatnonzero(queries[:, 0].astype(int) == t)
        if len(new):
            points = queries[new, 1:]
            stream = tracker.start(frame, points, **options) if stream is None else tracker.add(stream, frame, points)
            order += new.tolist()
        if stream is not None:
            stream, seen = tracker.step(stream if recent else replace(stream, recent=None), frame)
            xy[order, t], visible[order, t] = seen.xy, seen.visible
    return xy, visible


def clips(options: argparse.Namespace) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield name, video, numbers of the frames with truth, and the truth: places as shares of the frame, and what is hidden."""
    if options.cutouts:
        for clip in read_clips(options.cutouts):
            size = np.array(clip.video.shape[2:0:-1])
            yield clip.name, clip.video, np.arange(len(clip.video)), clip.tracks / size, clip.occluded
        return
    there = {path.name for folder in options.videos for path in folder.iterdir()}
    for marks in [each for name in ("marks.csv", "seven-clips.csv") for each in real_marks.read_marks(MARKS / name)]:
        if marks.clip in there:
            frames, size = real_marks.read_video(marks, options.videos)
            yield marks.clip, np.stack(frames), marks.frames - marks.frames[0], marks.xy / np.array(size), marks.occluded


def table(results: dict[str, Any]) -> str:
    """Write in Markdown the means over clips, and the paired difference of average Jaccard to the tracker as it is."""
    lines = [
        "| causal-tapir-nano, live | average Jaccard | less the first row (95 %) | positions | within 4 px | occlusion | CPU |",
        "|---|---|---|---|---|---|---|",
    ]
    first = np.array([row["average_jaccard"] for row in results["as it is, float32"]])
    for side, rows in results.items():
        jaccard, places, within, hidden = (np.array([row[name] for row in rows]) for name in SCORES)
        low, high = bootstrap_interval(jaccard - first)
        less = "" if (jaccard == first).all() else f"{(jaccard - first).mean():+.4f} ({low:+.4f} to {high:+.4f})"
        cells = [f"{each.mean():.3f}" for each in (places, within, hidden)]
        spent = f"{np.mean([row['milliseconds'] for row in rows]):.0f} ms"
        lines.append("| " + " | ".join([side, f"{jaccard.mean():.3f}", less, *cells, spent]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--videos", nargs="+", type=Path)
    source.add_argument("--cutouts", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for name, video, at, shares, occluded in clips(options):
        to_frame = np.array(video.shape[2:0:-1]) / SIZE
        sampled = sample_queries(shares * SIZE, occluded, "first")
        queries = sampled.queries.copy()
        queries[:, 0], queries[:, 1:] = at[queries[:, 0].astype(int)], queries[:, 1:] * to_frame
        queries = queries.clip(0, [len(video) - 1, *video.shape[2:0:-1]]).astype(np.float32)
        for side, rows in results.items():
            begin = time.process_time()
            xy, visible = track(side, video, queries)
            spent = 1000 * (time.process_time() - begin) / len(video)
            known = ~visible[:, at], (xy / np.float32(to_frame))[:, at]
            scores = tapvid_metrics(sampled.queries, sampled.occluded, sampled.tracks, *known, "first")
            rows.append({"name": name, **{key: float(scores[key]) for key in SCORES}, "milliseconds": spent})
            print(side, rows[-1], flush=True)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
