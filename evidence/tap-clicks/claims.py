"""What a second and a third click on a point bring: average Jaccard on cut-outs, in frames that nobody clicked.

    python benchmarks/tap_cutouts.py make photos.parquet clicks.pkl --videos 12 --points 24 --seed 2300
    python evidence/tap-clicks/claims.py clicks.pkl --out results.json

Each point is clicked first where it is first seen. Two ways to choose further clicks, both where the point can be seen:

    spread   the last frame in which it is seen, then the one nearest to the middle of the other two
    worst    where the track so far is farthest from the truth, or says hidden: what somebody does who corrects tracks

All rows of a table count the same frames: those that no row clicked. `alone` is what the clicks bring without knowing of each
other: each is tracked as a query of its own, and the tracks are blended.
"""

import argparse
import json
import pickle
import time
from pathlib import Path

import numpy as np

import tapetum
from tapetum.systems.tap.tracking.clicks import blend
from tapetum.tracks.metrics import mean_metrics, tapvid_metrics


def clicks_spread(seen):
    """Frames of three clicks of each point (n, 3); a point seen in fewer frames repeats some."""
    chosen = []
    for row in seen:
        frames = np.flatnonzero(row)
        middle = frames[np.abs(frames - (frames[0] + frames[-1]) / 2).argmin()]
        chosen.append((frames[0], frames[-1], middle))
    return np.array(chosen)


def clicks_of(xy, frames):
    """Clicks (k, 3) and the points that they are of (k,), from the frames of each point (n, c); those twice are one."""
    rows = [(t, n) for n, times in enumerate(frames) for t in dict.fromkeys(times.tolist())]
    return np.array([(t, *xy[n, t]) for t, n in rows], np.float32), np.array([n for _, n in rows])


def worst(tracks, xy, seen, frames):
    """The frame of each point that asks most for a click; clicked ones do not."""
    error = np.linalg.norm(tracks.xy - xy, axis=-1) + 1000 * ~tracks.visible
    error[~seen] = -1
    np.put_along_axis(error, frames, -1, 1)
    # of a run of equally lost frames, the middle one
    return np.array(
        [(at := np.flatnonzero(row >= 1000) if (row >= 1000).any() else [row.argmax()])[len(at) // 2] for row in error]
    )


def alone(tracker, video, clicks, numbers):
    """Clicks that know nothing of each other."""
    tracks = tracker.track(video, clicks)
    xy, sure, _ = blend(clicks, numbers, tracks.xy, tracks.confidence, min(video.shape[1:3]))
    return xy, sure > 0.5


def score(xy, seen, counted, found, visible):
    """Average Jaccard and position accuracy over the frames that count."""
    start = np.zeros((len(xy), 3))
    start[:, 0] = (~counted).argmax(1)  # one that does not count anyway
    scores = tapvid_metrics(start, ~(seen & counted), xy, ~(visible & counted), found, "strided")
    return {name: scores[name] for name in ("average_jaccard", "average_pts_within_thresh")}


def measure(tracker, data):
    """Scores of each video by how clicks were chosen and how many there were."""
    rows, seconds = {}, {}
    for name, clip in data.items():
        video, size = clip["video"], np.array(clip["video"].shape[2:0:-1])
        keep = (~clip["occluded"]).sum(1) >= 4
        xy, seen = clip["points"][keep] * size, ~clip["occluded"][keep]
        for how in ("spread", "worst"):
            frames, results = clicks_spread(seen), {}
            for count in (1, 2, 3):
                if how == "worst" and count > 1:
                    frames = np.concatenate(
                        [frames[:, : count - 1], worst(tracks, xy, seen, frames[:, : count - 1])[:, None]], 1
                    )
                clicks, numbers = clicks_of(xy, frames[:, :count])
                begin = time.perf_counter()
                tracks = tracker.track(video, clicks, ids=numbers)
                seconds.setdefault(count, []).append(time.perf_counter() - begin)
                results[f"{count}"] = tracks.xy, tracks.visible
                if count > 1:
                    results[f"{count} alone"] = alone(tracker, video, clicks, numbers)
            counted = np.ones(seen.shape, bool)
            np.put_along_axis(counted, frames, False, 1)
            for label, (found, visible) in results.items():
                rows.setdefault(f"{how} {label}", []).append(score(xy, seen, counted, found, visible))
        print(name, {label: round(scores[-1]["average_jaccard"], 3) for label, scores in rows.items()}, flush=True)
    means = {label: mean_metrics(scores)[0] for label, scores in rows.items()}
    return {"scores": means, "videos": rows, "seconds": {count: float(np.mean(each)) for count, each in seconds.items()}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default="tapir-nano")
    parser.add_argument("--videos", type=int, default=12)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    every = pickle.loads(Path(given.data).read_bytes())
    result = measure(tapetum.load(given.model), dict(list(every.items())[: given.videos]))
    for label, means in result["scores"].items():
        print(f"{label:16} average Jaccard {means['average_jaccard']:.3f}  position {means['average_pts_within_thresh']:.3f}")
    if given.out:
        given.out.write_text(json.dumps(result, indent=1))
