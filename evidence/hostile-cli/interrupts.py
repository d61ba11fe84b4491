"""Press Ctrl-C once at random moments of `tapetum track` on a tiny clip, and count the presses that are lost.

    python evidence/hostile-cli/interrupts.py [--presses 50] [--seed 0] [--model static] [--grid 300] [--cold] [--json FILE]

First one run is left alone, to know how long one takes; then each gets a single press. Every other one gets it at a moment
drawn evenly from that time, the others as long after they began to write as is drawn evenly from a third of it: most
is imported there, and most could be lost. With --cold each run finds no compiled bytecode, as the first in a fresh clone does.

    heard   ended with 130 and said "interrupted"
    early   ended by the signal itself or by Python's own start, before the command line was ours, or after it had ended
    over    had ended before the press
    lost    went on to its end as if nothing had been pressed
    fault   anything else: another exit code, a traceback, or something half-written beside the results
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from tapetum.video import write_video

KINDS = "heard", "early", "over", "lost", "fault"


def begin(clip: Path, folder: Path, model: str, grid: int, cold: bool) -> subprocess.Popen[str]:
    """Start one run into `folder`."""
    environment = {**os.environ, "TAPETUM_DEBUG": ""}
    if cold:
        environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    words = ["track", str(clip), "--model", model, "--grid", str(grid), "--out", str(folder / "results" / "out")]
    (folder / "results").mkdir(parents=True)
    return subprocess.Popen(
        [sys.executable, "-m", "tapetum.app.shell.main", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def press(process: subprocess.Popen[str], after: float, folder: Path, writing: bool) -> tuple[str, float, str]:
    """Press once `after` so many seconds; give what became of it, seconds from the press to the end, and what was said."""
    while writing and process.poll() is None and not any((folder / "results").iterdir()):
        time.sleep(0.005)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    else:
        process.communicate()
        return "over", 0.0, ""
    pressed = time.monotonic()
    out, err = process.communicate()
    seconds, said = time.monotonic() - pressed, (out + err).strip()
    left = [path.name for path in (folder / "results").rglob("*") if ".tmp" in path.name]
    before_main = "KeyboardInterrupt" in err and "main.py" not in err
    if (process.returncode == -signal.SIGINT or before_main) and not left:
        return "early", seconds, said
    if process.returncode == 0 and not left:
        return "lost", seconds, said
    heard = process.returncode == 130 and "tapetum: interrupted" in err and "Traceback" not in err and not left
    return "heard" if heard else "fault", seconds, f"code {process.returncode}, left {left}: {said[-1500:]}"


def main() -> None:
    """Run all, print what was not heard, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presses", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="static")
    parser.add_argument("--grid", type=int, default=300)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rng, counts, slowest = random.Random(given.seed), Counter[str](), 0.0
    with tempfile.TemporaryDirectory() as base:
        clip = Path(base) / "clip.mp4"
        write_video(clip, np.random.default_rng(0).integers(0, 255, (6, 48, 64, 3), np.uint8), 10)
        began = time.monotonic()
        begin(clip, Path(base) / "alone", given.model, given.grid, given.cold).communicate()
        whole = time.monotonic() - began
        for number in range(given.presses):
            folder, writing = Path(base) / str(number), bool(number % 2)
            after = rng.uniform(0, whole / 3 if writing else whole)
            kind, seconds, said = press(begin(clip, folder, given.model, given.grid, given.cold), after, folder, writing)
            counts[kind] += 1
            slowest = max(slowest, seconds)
            if kind in ("lost", "fault"):
                print(f"{number}: {kind}, pressed after {after:.2f} s of {whole:.2f}: {said}", flush=True)
    found = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS)
    print(f"{given.presses} presses in runs of {whole:.1f} s: {found}; at most {slowest:.1f} s from the press to the end")
    if given.json:
        content = {"presses": given.presses, "seed": given.seed, "run_s": round(whole, 2), **{k: counts[k] for k in KINDS}}
        given.json.write_text(json.dumps({**content, "slowest_s": round(slowest, 2)}, indent=1) + "\n")
    sys.exit(bool(counts["lost"] or counts["fault"]))


if __name__ == "__main__":
    main()
