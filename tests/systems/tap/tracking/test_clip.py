"""Memory does not grow with the length of a video, in windows or frame by frame; in full: evidence/tap-memory/claims.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tapetum.video import write_video

FRAMES, EARLY = 1600, 400

CHILD = """
import json, sys, torch
from pathlib import Path
from support.networks import tracker
from tapetum.video import open_video

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024

torch.set_num_threads(1)
how, path = sys.argv[1:3]
tracker = tracker(causal=how == "live", pyramid_level=0, iterations=1, mixer_blocks=1, mixer_expansion=4)
seen, kept = [], []
with open_video(path) as video:
    if how == "live":
        stream = tracker.start(video[0], [[10, 10], [40, 30]])
        for t in range(len(video)):
            stream, where = tracker.step(stream, video[t])
            seen.append((t + 1, resident()))
    else:
        if how == "leak":  # what the test must notice
            features = tracker._features
            tracker._features = lambda *a: kept.append(features(*a)) or kept[-1]
        queries = [[0, 10, 10], [len(video) - 1, 40, 30]]
        tracker.track(video, queries, window=32, overlap=8, progress=lambda done, _: seen.append((done, resident())))
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    write_video(path, (image[t % 48 : t % 48 + 48, t % 64 : t % 64 + 64] for t in range(FRAMES)), 30)
    return path


def growth(how: str, video: Path) -> float:
    """The most that was resident to the end, over the most until frame EARLY."""
    env = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "1000000", "OMP_NUM_THREADS": "1"}
    out = subprocess.run([sys.executable, "-c", CHILD, how, str(video)], check=True, capture_output=True, text=True, env=env)
    frames, memory = np.array(json.loads(out.stdout)).T
    assert frames[-1] == FRAMES
    return memory.max() / memory[frames <= EARLY].max()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
@pytest.mark.parametrize("how", ["windows", "live"])
def test_memory_does_not_grow_with_the_length(how, video):
    assert growth(how, video) < 1.05
