"""How long tracking takes by threads, by how threads wait, and by what else the machine does.

    python benchmarks/threads.py [--seconds 6] [--busy 0 1 2 ...]

The bundled tracker follows two points through 12 frames, again and again, in a process for each row; `busy` processes that
only count run beside it. "spins" is OpenMP's own way of waiting, "sleeps" what the command line asks for (OMP_WAIT_POLICY).
"""

import argparse
import os
import subprocess
import sys

_WORK = """
import sys, time
import numpy as np
from tapetum.systems.tap.tracking.tracker import load

tracker, seconds = load("tapir-nano"), float(sys.argv[1])
video = np.random.default_rng(0).integers(0, 255, (12, 128, 128, 3), dtype=np.uint8)
points = np.array([[0, 40.5, 40.5], [0, 88.5, 72.5]], np.float32)
tracker.track(video, points)
began, calls = time.perf_counter(), 0
while time.perf_counter() - began < seconds:
    tracker.track(video, points)
    calls += 1
print((time.perf_counter() - began) / calls, time.process_time() / calls)
"""


def measure(threads: int, sleeps: bool, seconds: float) -> tuple[float, float]:
    """Give seconds and processor seconds of a call."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_NUM_THREADS": str(threads)} | ({"OMP_WAIT_POLICY": "passive"} if sleeps else {})
    done = subprocess.run(
        [sys.executable, "-c", _WORK, str(seconds)], env=environment, capture_output=True, text=True, check=True
    )
    wall, processor = map(float, done.stdout.split())
    return wall, processor


def main() -> None:
    """Print a table."""
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, cores, 2 * cores])
    given = parser.parse_args()
    print(f"{cores} cores\n{'busy':>5} {'threads':>8} {'waiting':>8} {'s a call':>9} {'processor s':>12}")
    for busy in given.busy:
        beside = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
        try:
            for threads in sorted({1, 2, cores}):
                for sleeps in (False, True) if threads > 1 else (True,):
                    wall, processor = measure(threads, sleeps, given.seconds)
                    print(
                        f"{busy:5} {threads:8} {'sleeps' if sleeps else 'spins':>8} {wall:9.3f} {processor:12.3f}", flush=True
                    )
        finally:
            for process in beside:
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
