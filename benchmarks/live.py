"""The live step beside OpenCV's Lucas-Kanade: latency, processor time, dropped frames, memory.

    python benchmarks/live.py [--size 1280x720] [--points 16] [--frames 10000] [--rate 25]
        [--threads 2] [--model causal-tapir] [--dtype bfloat16] [--json FILE]

A textured image drifts below a frame of that size. Both get the same frames and points, alternately, so that a busy machine
slows both. First every frame is worked on (`each`): median, 95th and 99th percentile in ms, and milliseconds of the processor.
Then (`camera`) frames come at `--rate` into a `LiveTracker`, whose queue has room for one: frames dropped, and latency from the
arrival of a frame to its points. Memory is that of the process after a tenth of the frames, and the most until the end.
Published networks have random weights (`--model causal-tapir`). Lucas-Kanade is pyramidal with a check backwards, as in
benchmarks/tap_cutouts.py; the conversion to gray counts.
"""

import argparse
import json
import os
import resource
import time

import cv2
import numpy as np
import torch

import tapetum
from tapetum.hub.registry import known
from tapetum.tracks.live import LiveTracker

LUCAS_KANADE = {"winSize": (21, 21), "maxLevel": 3}


class Drift:
    """Frames of a texture that moves 3 pixels to the right and 2 down in each, back and forth."""

    def __init__(self, width, height):
        rng = np.random.default_rng(0)
        coarse = rng.integers(0, 255, (height // 8 + 20, width // 8 + 28, 3), dtype=np.uint8)
        self.image = cv2.resize(coarse, (width + 200, height + 140), interpolation=cv2.INTER_CUBIC)
        self.width, self.height = width, height

    def __call__(self, number):
        step = abs((number + 60) % 120 - 60)
        return np.ascontiguousarray(self.image[2 * step : 2 * step + self.height, 3 * step : 3 * step + self.width])


class LucasKanade:
    """Points from frame to frame, with a check backwards."""

    def __init__(self, frame, points):
        self.gray, self.points = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), points[:, None] - 0.5

    def step(self, frame):
        gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        there, _, _ = cv2.calcOpticalFlowPyrLK(self.gray, gray, self.points, None, **LUCAS_KANADE)
        cv2.calcOpticalFlowPyrLK(gray, self.gray, there, None, **LUCAS_KANADE)
        self.gray, self.points = gray, there


def resident_mb():
    """Memory of this process now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def row(seconds, processor):
    milliseconds = 1000 * np.array(seconds)
    names = {"median": 50, "p95": 95, "p99": 99}
    return {name: float(np.percentile(milliseconds, share)) for name, share in names.items()} | {
        "processor_ms": 1000 * processor / len(seconds)
    }


def each(tracker, frames, points, count, sizes):
    """Every frame by both, in turn."""
    seconds, processor = {"tapetum": [], "lucas-kanade": []}, {"tapetum": 0.0, "lucas-kanade": 0.0}
    stream, peer = tracker.start(frames(0), points, **sizes), LucasKanade(frames(0), points)
    memory = []

    def ours(frame):
        nonlocal stream
        stream, _ = tracker.step(stream, frame)

    for number in range(count):
        frame = frames(number)
        for name, step in (("tapetum", ours), ("lucas-kanade", peer.step)):
            begin, worked = time.perf_counter(), time.process_time()
            step(frame)
            seconds[name].append(time.perf_counter() - begin)
            processor[name] += time.process_time() - worked
        memory.append(resident_mb())
    rows = {name: row(seconds[name][2:], processor[name]) for name in seconds}
    return rows | {
        "first_frames_ms": [1000 * s for s in seconds["tapetum"][:2]],
        "memory_mb": (memory[count // 10], max(memory)),
    }


def camera(tracker, frames, points, count, rate):
    """Frames at a rate, as they come from a camera."""
    latency = []
    with LiveTracker(tracker, lambda tracks: latency.append(tracks.latency_s)) as live:
        begin = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
            live.submit(frames(number), number / rate, points if number == 0 else None)
        live.wait()
        tracked_rate = len(latency) / (time.monotonic() - begin)
    return row(latency, 0.0) | {"dropped": live.dropped, "frames_per_second": tracked_rate}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--points", type=int, nargs="+", default=[1, 16, 256])
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=25.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--refine", help="such as 256: the only side of refinement; by default as the model's config says")
    parser.add_argument("--model", default="causal-tapir-nano")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--json")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    cv2.setNumThreads(given.threads)
    width, height = map(int, given.size.split("x"))
    tracker = tapetum.load(given.model, dtype=given.dtype) if known()[given.model].bundled else tapetum.tap.build(given.model)
    frames = Drift(width, height)
    sizes = {} if given.refine is None else {"refinement_resolutions": [(int(given.refine), int(given.refine))]}
    load = f"load before {os.getloadavg()[0]:.2f}"
    print(f"{given.size}, {given.threads} threads, {load}, {given.frames} frames, refine {given.refine}")
    results = {}
    for count in given.points:
        rng = np.random.default_rng(count)
        points = rng.uniform(0.1, 0.9, (count, 2)).astype(np.float32) * np.float32([width, height])
        results[count] = rows = each(tracker, frames, points, given.frames, sizes)
        if not sizes:
            rows["camera"] = camera(tracker, frames, points, min(given.frames, 500), given.rate)
        for name in ("tapetum", "lucas-kanade", "camera"):
            if name in rows:
                print(f"{count:4} points {name:13}", {k: round(v, 1) for k, v in rows[name].items()}, flush=True)
        early, most = rows["memory_mb"]
        print(
            f"     first two frames {[round(s) for s in rows['first_frames_ms']]} ms; memory {early:.0f} MB, most {most:.0f} MB"
        )
    if given.json:
        with open(given.json, "w") as file:
            json.dump({"given": vars(given), "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
