"""What a network that looks at every n-th frame only loses, on real clips with marks and on cut-outs, and what it saves.

    python evidence/live/keyframes.py --videos FOLDER ... [--every 1 2 4] [--late 3] [--rate 25] [--model causal-tapir-nano]
        [--out FILE]
    python evidence/live/keyframes.py --cutouts cutouts.pkl [...]

Points are tracked frame by frame, forwards, by `KeyframeTracker`; marks and scores are those of evidence/real-marks, the twelve
clips and the seven, or the clips are those that `benchmarks/tap_cutouts.py make` wrote, with truth in every frame. A new point
makes a keyframe. With --late also by `RealtimeTracker` with a network that answers exactly so many frames later, the same on
every machine. With --rate by the real one, at so many frames a second, on one thread for the network and one for the patches:
that needs an idle machine. Prints average Jaccard and CPU seconds of each clip; --out keeps what an earlier run found of the
others.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tapetum
from tapetum.bench.tapvid import read_clips, sample_queries
from tapetum.metrics.statistics import bootstrap_interval
from tapetum.tracks.keyframes import KeyframeTracker, RealtimeTracker
from tapetum.tracks.metrics import tapvid_metrics
from tapetum.types import Tracks

MARKS = Path(__file__).parents[1] / "real-marks"
sys.path.append(str(MARKS))

import real_marks


class FrameByFrame:
    """A live tracker as a tracker of clips: before its query a point is hidden."""

    def __init__(self, tracker: KeyframeTracker, rate: float | None = None):
        self.tracker, self.rate = tracker, rate

    def track(self, video: np.ndarray, queries: np.ndarray) -> Tracks:
        shape = len(queries), len(video)
        xy, visible = np.zeros((*shape, 2), np.float32), np.zeros(shape, bool)
        stream, order = None, list[int]()
        begin = time.monotonic()
        for t, frame in enumerate(video):
            if self.rate is not None:
                time.sleep(max(0.0, begin + t / self.rate - time.monotonic()))
            new = np.flatnonzero(queries[:, 0].astype(int) == t)
            if len(new):
                points = queries[new, 1:]
                stream = self.tracker.start(frame, points) if stream is None else self.tracker.add(stream, frame, points)
                order += new.tolist()
            if stream is not None:
                stream, seen = self.tracker.step(stream, frame)
                xy[order, t], visible[order, t] = seen.xy, seen.visible
        return Tracks(xy, visible, visible.astype(np.float32), queries)


@dataclass
class Answer:
    """What a network finds in a frame; it is done when it has been asked for `late` times."""

    found: Any
    late: int

    def done(self) -> bool:
        self.late -= 1
        return self.late <= 0

    def result(self) -> Any:
        return self.found


class LateTracker(RealtimeTracker):
    """A tracker in real time whose network answers exactly `late` frames after it was shown one."""

    def __init__(self, tracker: Any, late: int):
        super().__init__(tracker)
        self.late, self._worker = late, self  # type: ignore[assignment]

    def submit(self, look: Any, *given: Any) -> Answer:
        """Look at once, and answer later."""
        return Answer(look(*given), self.late)


def clips(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[FrameByFrame], float]]]:
    """Yield the name of each clip, and what computes a tracker's average Jaccard on it."""
    if options.cutouts:
        for clip in read_clips(options.cutouts):
            yield clip.name, partial(cutout_score, clip)
        return
    for marks in [each for name in ("marks.csv", "seven-clips.csv") for each in real_marks.read_marks(MARKS / name)]:
        frames, size = real_marks.read_video(marks, options.videos)
        yield marks.clip, lambda side, given=(marks, frames, size): real_marks.score(side, *given)["average_jaccard"]


def cutout_score(clip: Any, side: FrameByFrame) -> float:
    """Compute average Jaccard, mode first, over all frames of a clip."""
    sampled = sample_queries(clip.tracks, clip.occluded, "first")
    end = [sampled.occluded.shape[1] - 1, *clip.video.shape[2:0:-1]]
    tracks = side.track(clip.video, sampled.queries.clip(0, end).astype(np.float32))
    scores = tapvid_metrics(sampled.queries, sampled.occluded, sampled.tracks, ~tracks.visible, tracks.xy, "first")
    return float(scores["average_jaccard"])


def table(results: dict[str, Any]) -> str:
    """Write in Markdown the mean of average Jaccard, the paired difference to every frame, and CPU time beside it."""
    lines = ["| the network looks at | average Jaccard | less every frame (95 %) | CPU time |", "|---|---|---|---|"]
    first = results["rows"]["1"]
    for every, rows in results["rows"].items():
        scores, beside = (np.array([row["average_jaccard"] for row in each]) for each in (rows, first))
        low, high = bootstrap_interval(scores - beside)
        seconds = sum(row["seconds"] for row in rows) / sum(row["seconds"] for row in first)
        names = {
            "1": "every frame",
            "2": "every second frame",
            "realtime": f"the newest one, from a camera of {results['rate'] or 0:g} a second",
        }
        late = f"the newest one, and answers {every.removeprefix('late ')} frames later"
        name = names.get(every, late if "late" in every else f"every {every}th frame")
        less = "" if every == "1" else f"{(scores - beside).mean():+.3f} ({low:+.3f} to {high:+.3f})"
        lines.append(f"| {name} | {scores.mean():.3f} | {less} | {seconds:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--videos", nargs="+", type=Path)
    source.add_argument("--cutouts", type=Path)
    parser.add_argument("--every", nargs="*", type=int, default=[1, 2, 4])
    parser.add_argument("--late", nargs="*", type=int, default=[])
    parser.add_argument("--rate", type=float)
    parser.add_argument("--model", default="causal-tapir-nano")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tracker = tapetum.load(options.model)
    sides = {str(every): FrameByFrame(KeyframeTracker(tracker, every)) for every in options.every}
    sides |= {f"late {late}": FrameByFrame(LateTracker(tracker, late)) for late in options.late}
    if options.rate:
        sides["realtime"] = FrameByFrame(RealtimeTracker(tracker), options.rate)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for clip, score in clips(options):
        for name, side in sides.items():
            start = time.process_time()
            row = {"name": clip, "average_jaccard": score(side), "seconds": time.process_time() - start}
            rows[name].append(row)
            print(name, row, flush=True)
    before = json.loads(options.out.read_text()) if options.out and options.out.is_file() else {"rows": {}}
    results = {"model": options.model, "rate": options.rate or before.get("rate"), "rows": {**before["rows"], **rows}}
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
