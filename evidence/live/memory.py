"""Resident memory of live tracking after every thousand of 10,000 frames.

    python evidence/live/memory.py [--frames 10000] [--json evidence/live/memory.json]

Frames of 64x48 pixels of a drifting texture go into a `LiveTracker` with a small causal network of random weights, one at a
time; every 500th frame has a new point, and then the oldest one is removed.
"""

import argparse
import json
import resource
import sys
from pathlib import Path

import numpy as np
import torch

from tapetum.tracks.live import LiveTracker

sys.path.append(str(Path(__file__).parents[2] / "tests"))

from support.networks import tracker


def resident_mb() -> float:
    """Compute the memory of this process now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def measure(frames: int) -> dict[str, float]:
    """Track so many frames; returns memory after each tenth of them."""
    texture = np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)
    memory = {}
    with LiveTracker(tracker(causal=True, polish=True)) as live:
        ids = live.submit(texture[:48, :64], 0.0, [[20, 15], [40, 30], [50, 8]])
        for number in range(1, frames + 1):
            x, y = abs(number % 60 - 30), abs(number % 20 - 10)
            new = [[30, 20]] if number % 500 == 0 else None
            ids += live.submit(texture[y : y + 48, x : x + 64], number / 25, new)
            if new:
                live.remove([ids.pop(0)])
            live.wait(3600)
            if number % (frames // 10) == 0:
                memory[f"after {number}"] = resident_mb()
                print(number, round(resident_mb(), 1), flush=True)
    return memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = {"frames": given.frames, "resident_mb": measure(given.frames)}
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
