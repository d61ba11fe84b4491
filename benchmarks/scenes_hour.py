"""Peak memory of `tapetum scenes episodes` for videos of a minute, ten minutes and an hour, each in a process of its own.

    python benchmarks/scenes_hour.py [--minutes 1 10 60] [--size 48] [--rate 2] [--story mixture] [--json OUT.json]

All that an episode has is written: video, sound, records, annotations, tracks. Prints the peak of resident memory, how much of
it was there before the work began, the time, and what the files take.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ALONE = """
import resource, sys
from tapetum.app.make.scenes import episodes
import tapetum.world.files.recording
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
folder, seconds, size, rate, story = sys.argv[1:]
made = episodes(folder, n=1, seconds=float(seconds), size=int(size), frame_rate=float(rate), story=story, points=16)
used = resource.getrusage(resource.RUSAGE_SELF)
print(made.frames, made.questions, before / 1024, used.ru_maxrss / 1024, used.ru_utime + used.ru_stime)
"""


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 60])
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--story", default="mixture")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = []
    print("minutes  frames  questions  MB at start  MB at most  CPU s  wall s  MB of files")
    for minutes in given.minutes:
        with tempfile.TemporaryDirectory() as folder:
            start, words = time.time(), [str(v) for v in (60 * minutes, given.size, given.rate, given.story)]
            command = [sys.executable, "-c", ALONE, f"{folder}/out", *words]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            files = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / 1e6
        frames, questions, before, peak, cpu = (float(v) for v in told[-5:])
        wall = time.time() - start
        row = {"minutes": minutes, "frames": int(frames), "questions": int(questions), "mb_before": round(before)}
        rows.append(row | {"mb_peak": round(peak), "cpu_s": round(cpu), "wall_s": round(wall), "mb_files": round(files, 1)})
        print(
            f"{minutes:7g} {frames:7.0f} {questions:10.0f} {before:12.0f} {peak:11.0f} {cpu:6.0f} {wall:7.0f} {files:12.1f}",
            flush=True,
        )
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
