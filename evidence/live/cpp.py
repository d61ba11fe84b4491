"""The C++ loop of examples/live_cpp beside `step` of Python: how far their tracks are apart, and what a frame takes.

    python evidence/live/cpp.py VIDEO ... [--size 1280x720] [--frames 60] [--points 64] [--onnx FILE] [--out FILE]

Exports causal-tapir-nano with `--program live` (to FILE, unless it exists), compiles the loop and tracks random points through
the first frames of each video, resized, and of the drifting texture of benchmarks/live.py; one thread each. Distances are over
points that Python sees; jitter is how far Python's own tracks move when the points do by a ten-thousandth of a pixel.
Milliseconds are the median of all frames, and processor time of a frame without reading and writing.
"""

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import tapetum
from tapetum.video import open_video

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "examples" / "live_cpp" / "live.cpp"
FLAGS = ["-std=c++17", "-O3", "-march=native", "-ffast-math"]
sys.path.append(str(ROOT / "benchmarks"))


def build(folder: Path) -> Path:
    """Compile the loop."""
    library = subprocess.run(["pkg-config", "--cflags", "--libs", "libonnxruntime"], capture_output=True, text=True, check=True)
    subprocess.run(["g++", *FLAGS, SOURCE, "-o", folder / "live", *library.stdout.split()], check=True)
    return folder / "live"


def clip_of(video: str, size: tuple[int, int], count: int) -> np.ndarray:
    """Read the first frames, resized to (width, height) `size`; of "drift" make them."""
    if video == "drift":
        from live import Drift

        return np.stack([Drift(*size)(number) for number in range(count)])
    with open_video(video) as frames:
        return np.stack([cv2.resize(frame, size) for frame, _ in zip(frames, range(count), strict=False)])


def in_python(tracker: Any, frames: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Track by `step`: places, visibility, and what a frame took."""
    stream, seen, spent, worked = tracker.start(frames[0], points), [], [], 0.0
    for frame in frames:
        begin, processor = time.perf_counter(), time.process_time()
        stream, now = tracker.step(stream, frame)
        spent.append(time.perf_counter() - begin)
        worked += time.process_time() - processor
        seen.append(now)
    cost = {"median_ms": 1000 * float(np.median(spent)), "processor_ms": 1000 * worked / len(frames)}
    return np.stack([s.xy for s in seen]), np.stack([s.visible for s in seen]), cost


def in_cpp(program: Path, model: Path, frames: np.ndarray, points: np.ndarray) -> tuple[Any, Any, dict[str, float]]:
    """The same by the loop."""
    table = program.with_name("points.csv")
    table.write_text("t,x,y\n" + "".join(f"0,{x},{y}\n" for x, y in points))
    done = subprocess.run([program, model, table], input=frames.tobytes(), capture_output=True, check=True)
    rows = np.genfromtxt(io.BytesIO(done.stdout), delimiter=",", names=True)
    shape = len(frames), len(points)
    xy = np.stack([rows["x"], rows["y"]], 1).reshape(*shape, 2)
    median, processor = re.findall(r"(?:median|processor) ([\d.]+) ms", done.stderr.decode())
    return xy, rows["visible"].reshape(shape) > 0, {"median_ms": float(median), "processor_ms": float(processor)}


def table(result: dict[str, Any]) -> str:
    """Write the rows in Markdown."""
    head = ["clip", "apart: median", "most", "within 0.1 px"]
    head += ["jitter: most", "within 0.1 px", "seen by one", "Python", "C++"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in result["rows"]:
        apart = f"{row['apart_median_px']:.5f} px", f"{row['apart_most_px']:.3f} px", f"{row['share_within_a_tenth_px']:.2%}"
        jitter = f"{row['jitter_most_px']:.3f} px", f"{row['jitter_share_within_a_tenth_px']:.2%}"
        seen = f"{row['seen_by_one_only']} of {row['seen']}"
        costs = [f"{cost['median_ms']:.1f} ({cost['processor_ms']:.1f})" for cost in (row["python"], row["cpp"])]
        lines.append("| " + " | ".join([row["video"], *apart, *jitter, seen, *costs]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Track, compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--points", type=int, default=64)
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    width, height = map(int, given.size.split("x"))
    points = np.random.default_rng(0).uniform(0.05, 0.95, (given.points, 2)).astype(np.float32) * np.array(
        [width, height], np.float32
    )
    load, rows = os.getloadavg()[0], []
    print(f"{given.size}, {given.points} points, load before {load:.2f}")
    with tempfile.TemporaryDirectory() as folder:
        model = given.onnx or Path(folder, "live.onnx")
        if not model.exists():
            tapetum.export("causal-tapir-nano", str(model), size=given.size, program="live")
        megabytes, program = model.stat().st_size / 1e6, build(Path(folder))
        tracker = tapetum.load("causal-tapir-nano")
        for video in [*given.videos, "drift"]:
            frames = clip_of(video, (width, height), given.frames)
            xy, visible, cost = in_python(tracker, frames, points)
            xy_cpp, visible_cpp, cost_cpp = in_cpp(program, model, frames, points)
            again, visible_again, _ = in_python(tracker, frames, points + np.float32(1e-4))
            apart = np.linalg.norm(xy - xy_cpp, axis=-1)[visible]
            jitter = np.linalg.norm(xy - again, axis=-1)[visible]
            row = {
                "video": Path(video).name,
                "frames": len(frames),
                "apart_most_px": float(apart.max()),
                "apart_median_px": float(np.median(apart)),
                "share_within_a_tenth_px": float((apart < 0.1).mean()),
                "jitter_most_px": float(jitter.max()),
                "jitter_share_within_a_tenth_px": float((jitter < 0.1).mean()),
                "seen": int(visible.sum()),
                "seen_by_one_only": int((visible != visible_cpp).sum()),
                "jitter_seen_by_one_only": int((visible != visible_again).sum()),
                "python": cost,
                "cpp": cost_cpp,
            }
            rows.append(row)
            print(json.dumps(row), flush=True)
    if given.out:
        result = {"size": given.size, "points": given.points, "load_before": load, "megabytes": megabytes, "rows": rows}
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
