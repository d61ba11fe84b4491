"""Scores trackers on points that a model that reads images marked in real videos (evidence/real-marks/marks.csv).

    python evidence/real-marks/real_marks.py --videos FOLDER ... [--clips bear.mp4 ...] [--model tapir-nano ...] \\
        [--out results.json]
    python evidence/real-marks/real_marks.py --scores evidence/real-marks/results.json    # the tables anew, without a video
    python evidence/real-marks/real_marks.py --videos FOLDER ... --pickle marks.pkl
    python evidence/real-marks/real_marks.py --again evidence/real-marks/marked-again.csv

A clip is the part of a video from its first marked frame to its last, resized to 256x256 as in TAP-Vid (arXiv 2211.03726). A
tracker sees all its frames. The query of a point is its first visible mark, and the marked frames after that are scored by the
metrics of TAP-Vid, mode first; frames between marks, of which nothing is known, are not scored. Lucas-Kanade is scored beside
every model, and each model's difference to it has an interval of its own, from clips drawn in pairs. Of some clips the bundled
trackers know something (`USED`); all means are given without these clips too.

`--pickle` writes the marked frames alone as a TAP-Vid pickle, for other programs and `tapetum eval tapvid`. That is another and
harder test: a tracker sees every eighth frame only. `--again` prints how far second marks of points lie from the first.
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from tapetum.bench.baselines import Tracker, load_tracker
from tapetum.bench.tapvid import SIZE, as_json, compare, sample_queries
from tapetum.core.errors import BadInput
from tapetum.metrics.statistics import bootstrap_interval
from tapetum.tracks.metrics import HEADLINES, mean_metrics, tapvid_metrics
from tapetum.tracks.tapvid import TapVidEntry, write_entries
from tapetum.types import Tracks
from tapetum.video import open_video

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from tap_cutouts import lucas_kanade

MARKS = Path(__file__).with_name("marks.csv")
MODE = "first"
LEARNED, CHOSEN = "tapir-nano learned from it, without marks", "settings of the polish were chosen on it"
USED = {
    "bikes.mp4": (LEARNED,),
    "carphone_pristine.mp4": (LEARNED,),
    "vtest.avi": (LEARNED,),
    "backpack.mp4": (LEARNED, CHOSEN),
    "paragliding.mp4": (LEARNED, CHOSEN),
    "bear.mp4": (CHOSEN,),
    "01_dog.mp4": (LEARNED,),
    "02_cups.mp4": (LEARNED,),
    "03_blocks.mp4": (LEARNED,),
    "04_coffee.mp4": (LEARNED,),
    "bedroom.mp4": (LEARNED,),
    "cat.mp4": (LEARNED,),
    "pillow.mp4": (LEARNED,),
}
"""What was done with a clip before it was scored; the others are clean: nothing was learned from them or chosen by them."""
PAIRS = (("tapir-nano", "lucas-kanade"), ("tapir-nano", "tapir-nano-synthetic"))
"""Which trackers are compared by the difference of their means, clip by clip."""


@dataclass(frozen=True, eq=False)
class Marks:
    """Marks of one clip."""

    clip: str
    """Name of the video's file."""
    points: list[str]
    """Name of each point."""
    frames: Int[np.ndarray, " m"]
    """Numbers of the marked frames in the video, ascending."""
    xy: Float[np.ndarray, "n m 2"]
    """Raster pixels of the video; 0 where hidden."""
    occluded: Bool[np.ndarray, "n m"]
    """True where the point is hidden, or outside the image."""


class LucasKanade:
    """Pyramidal Lucas-Kanade as a tracker."""

    def track(self, video: np.ndarray, queries: np.ndarray) -> Tracks:
        """Track queries (n, 3), as (frame, x, y), through the video (t, h, w, 3)."""
        xy, visible = lucas_kanade(video, queries)
        return Tracks(xy=xy, visible=visible, confidence=visible.astype(np.float32), queries=queries.astype(np.float32))


def read_marks(path: Path) -> list[Marks]:
    """Read a table of marks (clip, point, frame, x, y, visible). Raises BadInput where a point lacks a frame of its clip."""
    tables: dict[str, dict[str, dict[int, tuple[float, float] | None]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            place = (float(row["x"]), float(row["y"])) if row["visible"] == "1" else None
            tables.setdefault(row["clip"], {}).setdefault(row["point"], {})[int(row["frame"])] = place
    return [_marks(clip, points) for clip, points in tables.items()]


def _marks(clip: str, points: dict[str, dict[int, tuple[float, float] | None]]) -> Marks:
    frames = sorted({frame for marks in points.values() for frame in marks})
    for name, marks in points.items():
        if missing := sorted(set(frames) - set(marks)):
            raise BadInput(f"{clip}: point {name!r} has no mark in frame {missing[0]}; give one row per point and frame")
    places = [[marks[frame] for frame in frames] for marks in points.values()]
    xy = np.array([[place or (0.0, 0.0) for place in row] for row in places])
    occluded = np.array([[place is None for place in row] for row in places])
    return Marks(clip, list(points), np.array(frames), xy, occluded)


def read_video(marks: Marks, folders: Sequence[Path]) -> tuple[list[UInt8[np.ndarray, "h w 3"]], tuple[int, int]]:
    """Read all frames from the first marked to the last, and their width and height. Raises BadInput where it is missing."""
    paths = [folder / marks.clip for folder in folders if (folder / marks.clip).is_file()]
    if not paths:
        raise BadInput(f"none of the folders has {marks.clip}; give its folder with --videos, or other names with --clips")
    first, last = int(marks.frames[0]), int(marks.frames[-1])
    with open_video(paths[0]) as video:
        return [video[index] for index in range(first, last + 1)], (video.width, video.height)


def score(
    tracker: Tracker, marks: Marks, frames: Sequence[UInt8[np.ndarray, "h w 3"]], size: tuple[int, int]
) -> dict[str, Any]:
    """Compute the metrics of TAP-Vid, mode first, on the marked frames of a clip of which the tracker sees all frames."""
    video = np.stack([np.asarray(Image.fromarray(f).resize((SIZE, SIZE), Image.Resampling.LANCZOS)) for f in frames])
    at = marks.frames - marks.frames[0]
    sampled = sample_queries(marks.xy * (SIZE / np.array(size)), marks.occluded, MODE)
    queries = sampled.queries.copy()
    queries[:, 0] = at[sampled.queries[:, 0].astype(int)]
    tracks = tracker.track(video, queries.astype(np.float32))
    xy, visible = tracks.xy[:, at], tracks.visible[:, at]
    scores = tapvid_metrics(sampled.queries, sampled.occluded, sampled.tracks, ~visible, xy, MODE)
    return {"name": marks.clip, "frames": len(frames), "queries": len(queries), **scores}


def result_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Compute the means over clips and their intervals by the bootstrap over clips, as `tapetum.bench.tapvid.evaluate` does."""
    means, dropped = mean_metrics([{name: value for name, value in row.items() if name != "name"} for row in rows])
    columns = {name: np.array([row[name] for row in rows]) for name in HEADLINES}
    intervals = {name: bootstrap_interval(column[~np.isnan(column)]) for name, column in columns.items()}
    headlines = {name: means[name] for name in HEADLINES}
    return {**headlines, "intervals": intervals, "dropped": dropped, "mode": MODE, "per_video": list(rows)}


def entry(marks: Marks, frames: Sequence[UInt8[np.ndarray, "h w 3"]], size: tuple[int, int]) -> TapVidEntry:
    """Build the TAP-Vid entry of the marked frames alone."""
    at = marks.frames - marks.frames[0]
    video = np.stack([frames[index] for index in at])
    return TapVidEntry(marks.clip, video, (marks.xy / np.array(size)).astype(np.float32), marks.occluded)


def distances_again(marks: Sequence[Marks], path: Path) -> Float[np.ndarray, " n"]:
    """Compute the distances in pixels between second marks (clip, point, frame, x, y) and the first of the same points."""
    first = {
        (m.clip, point, int(f)): m.xy[n, k] for m in marks for n, point in enumerate(m.points) for k, f in enumerate(m.frames)
    }
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    second = np.array([(float(row["x"]), float(row["y"])) for row in rows])
    return np.linalg.norm(second - [first[row["clip"], row["point"], int(row["frame"])] for row in rows], axis=1)


def clean(result: dict[str, Any]) -> dict[str, Any]:
    """Compute a result anew on the clips of which nothing was used."""
    return result_of([row for row in result["per_video"] if row["name"] not in USED])


def gain(one: dict[str, Any], other: dict[str, Any], key: str = "average_jaccard") -> str:
    """Write by how much the first is better than the second, with the interval over clips in pairs."""
    change = compare(other, one)[key]
    low, high = change["interval"]
    return f"{change['difference']:+.3f} ({low:+.3f} to {high:+.3f})"


def table(results: dict[str, dict[str, Any]], names: Sequence[str] = ()) -> str:
    """Write average Jaccard of all clips and of the clean ones in Markdown, of all trackers or of those named."""

    def jaccards(name: str, used: bool) -> np.ndarray:
        return np.array([row["average_jaccard"] for row in results[name]["per_video"] if used or row["name"] not in USED])

    def cell(values: np.ndarray, sign: str = "") -> str:
        low, high = bootstrap_interval(values)
        return f"{values.mean():{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"

    known = {"lucas-kanade": "Lucas-Kanade", "static": "a point that stays"}
    names = names or list(results)
    parts = {"all": True, "the clean": False}
    untouched = [row["name"] not in USED for row in results[names[0]]["per_video"]]
    if all(untouched) or not any(untouched):
        del parts["all" if all(untouched) else "the clean"]
    titles = (f"{title} {len(jaccards(names[0], used))} clips" for title, used in parts.items())
    lines = [["average Jaccard (95 %)", *titles], ["---"] * (1 + len(parts))]
    for name in names:
        lines.append([known.get(name, f"`{name}`"), *(cell(jaccards(name, used)) for used in parts.values())])
    for one, other in PAIRS:
        if {one, other} <= set(names):
            gains = (cell(jaccards(one, used) - jaccards(other, used), "+") for used in parts.values())
            lines.append([f"`{one}` less {known.get(other, f'`{other}`')}", *gains])
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def uses() -> str:
    """Write in Markdown what was done with which clips before they were scored."""
    lines = [["clip", "used"], ["---"] * 2, *([clip, "; ".join(used)] for clip, used in USED.items())]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def print_results(results: dict[str, dict[str, Any]]) -> None:
    """Print means with intervals of all clips and of the clean ones, differences, and average Jaccard per clip."""
    first = next(iter(results.values()))["per_video"]
    untouched = [row["name"] for row in first if row["name"] not in USED]
    parts = {f"all {len(first)} clips": results}
    if 0 < len(untouched) < len(first):
        parts[f"the {len(untouched)} clean clips"] = {name: clean(result) for name, result in results.items()}
    for title, part in parts.items():
        print(f"{title}: {', '.join(HEADLINES)}; 95 % by the bootstrap over clips")
        for name, result in part.items():
            cells = [f"{result[key]:.3f} [{low:.3f}, {high:.3f}]" for key, (low, high) in result["intervals"].items()]
            print(f"{name:<24}" + "  ".join(cells))
        for name, result in part.items():
            for key in HEADLINES if name != "lucas-kanade" else ():
                print(f"{name} less lucas-kanade, {key}: {gain(result, part['lucas-kanade'], key)}")
        for one, other in PAIRS[1:]:  # all have been compared with Lucas-Kanade
            if {one, other} <= set(part):
                print(f"{one} less {other}, average Jaccard: {gain(part[one], part[other])}")
    for rows in zip(*(result["per_video"] for result in results.values()), strict=True):
        jaccards = [f"{name} {row['average_jaccard']:.3f}" for name, row in zip(results, rows, strict=True)]
        used = "; ".join(USED.get(rows[0]["name"], ("clean",)))
        print(f"{rows[0]['name']:<24}{rows[0]['queries']} points, average Jaccard: {', '.join(jaccards)} ({used})")


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """Score the models that the command line names, write the pickle, or compare second marks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", nargs="+", type=Path, default=[], help="folders in which the videos lie")
    parser.add_argument("--marks", type=Path, default=MARKS)
    parser.add_argument("--clips", nargs="+", help="names of files to score; by default all that are marked")
    parser.add_argument("--model", nargs="+", default=["tapir-nano"])
    parser.add_argument("--out", type=Path, help="write all scores to this JSON file")
    parser.add_argument("--scores", type=Path, help="print the tables of a file that --out wrote, and score nothing")
    parser.add_argument("--pickle", type=Path, help="write a TAP-Vid pickle of the marked frames, and score nothing")
    parser.add_argument("--again", type=Path, help="print how far the second marks in this table lie from the first")
    args = parser.parse_args(arguments)
    if args.again:
        off = distances_again(read_marks(args.marks), args.again)
        median, ninetieth = np.quantile(off, (0.5, 0.9))
        print(f"{len(off)} marks: median {median:.2f} px, 90th percentile {ninetieth:.2f} px, most {off.max():.2f} px")
        return {}
    if args.scores:
        results = json.loads(args.scores.read_text(encoding="utf-8"))
        print_results(results)
        return results
    chosen = [marks for marks in read_marks(args.marks) if args.clips is None or marks.clip in args.clips]
    if not chosen:
        raise BadInput(f"none of {', '.join(args.clips or ['its clips'])} is marked in {args.marks}")
    if args.pickle:
        write_entries(args.pickle, {marks.clip: entry(marks, *read_video(marks, args.videos)) for marks in chosen})
        return {}
    trackers = {"lucas-kanade": LucasKanade(), **{name: load_tracker(name) for name in args.model}}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in trackers}
    for marks in chosen:
        frames, size = read_video(marks, args.videos)
        for name, tracker in trackers.items():
            rows[name].append(score(tracker, marks, frames, size))
    results = {name: result_of(scored) for name, scored in rows.items()}
    print_results(results)
    if args.out:
        args.out.write_text(json.dumps(as_json(results), indent=1) + "\n", encoding="utf-8")
    return results


if __name__ == "__main__":
    main()
