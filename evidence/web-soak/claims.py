"""How fast the local page's server answers, and whether it holds, on a video of 1280x720 with a key frame every 250 frames.

    python evidence/web-soak/claims.py [--frames 600] [--requests 2000] [--at-once 20] [--out FILE.json]

In a process of its own `tapetum serve` gives frames by number, one after the other, backward and at random (each median and
95th percentile in ms), and then answers many requests at once while it tracks points. Memory is that of the server's process
(resident) before and after. Wanted: a frame within 100 ms in the median.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np

WIDTH, HEIGHT, KEY_EVERY = 1280, 720, 250


def make_video(path: Path, frames: int) -> None:
    """Encode a drifting texture with some grain as H.264, as phones and cameras make it: few key frames."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    texture = np.kron(coarse, np.ones((24, 24, 1), np.uint8))
    grain = rng.integers(-8, 8, (8, HEIGHT, WIDTH, 3))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"crf": "23", "preset": "veryfast", "g": str(KEY_EVERY)})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(frames):
            x, y = number % 600, number // 2 % 700
            image = (texture[y : y + HEIGHT, x : x + WIDTH].astype(int) + grain[number % 8]).clip(0, 255)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image.astype(np.uint8), "rgb24")))
        out.mux(stream.encode(None))


def resident_mib(process: int) -> float:
    """Read the memory of a process."""
    text = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    return round(int(found[1]) / 1024, 1) if found else float("nan")


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Compute median, 95th percentile and most of times, in ms."""
    values = np.array(seconds) * 1000
    return {"median_ms": round(float(np.median(values)), 1), "p95_ms": round(float(np.percentile(values, 95)), 1),
            "most_ms": round(float(values.max()), 1)}  # fmt: skip


def measure(client: httpx.Client, paths: Sequence[str], pause_s: float = 0.0) -> dict[str, float]:
    """Ask for addresses one after the other."""
    seconds = []
    for path in paths:
        begin = time.perf_counter()
        client.get(path).raise_for_status()
        seconds.append(time.perf_counter() - begin)
        time.sleep(pause_s)
    return summary(seconds)


def soak(make_client: Callable[[], httpx.Client], paths: Sequence[str], at_once: int) -> dict[str, Any]:
    """Ask for addresses, so many at once; count errors, and sum up the times by kind."""
    waiting, times, errors, lock = list(enumerate(paths)), {}, [], threading.Lock()

    def work() -> None:
        with make_client() as client:
            while True:
                with lock:
                    if not waiting:
                        return
                    _, path = waiting.pop()
                begin = time.perf_counter()
                try:
                    client.get(path).raise_for_status()
                except httpx.HTTPError as error:
                    errors.append(repr(error))
                kind = path.split("?")[0].rsplit("/", 1)[1] if ".jpg" not in path else "frame"
                with lock:
                    times.setdefault(kind, []).append(time.perf_counter() - begin)

    begin = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    each_kind = {kind: {"count": len(seconds), **summary(seconds)} for kind, seconds in times.items()}
    return {
        "requests": len(paths),
        "errors": len(errors),
        "seconds": round(time.perf_counter() - begin, 1),
        "by_kind": each_kind,
    }


def main() -> None:
    """Print what was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--width", type=int, default=960)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_video(Path(folder) / "clip.mp4", given.frames)
        command = [sys.executable, "-m", "tapetum.app.shell.main", "serve", folder, "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            found = re.match(r"(http://\S+)/\?token=(\S+)", server.stdout.readline())
            assert found
            address, headers = found[1], {"X-Tapetum-Token": found[2]}
            result = run(given, server.pid, lambda: httpx.Client(base_url=address, headers=headers, timeout=120))
        finally:
            server.kill()
            server.wait()
    text = json.dumps(result, indent=1)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n")


def run(given: argparse.Namespace, process: int, make_client: Callable[[], httpx.Client]) -> dict[str, Any]:
    """Measure all of it."""
    rng = random.Random(0)
    with make_client() as client:
        number = client.get("/api/state").json()["items"][0]["id"]
        item = f"/api/items/{number}"

        def frame(index: int, width: int = given.width) -> str:
            return f"{item}/frames/{index}.jpg?width={width}"

        count = min(200, given.frames)
        result: dict[str, Any] = {
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "memory_before_mib": resident_mib(process),
        }
        result["first_frame"] = measure(client, [frame(0)])
        result["forward"] = measure(client, [frame(k) for k in range(1, count)], 1 / 30)
        result["backward"] = measure(client, [frame(k) for k in range(given.frames - 1, given.frames - count, -1)], 1 / 30)
        numbers = rng.sample(range(given.frames), count)
        result["random_cold"] = measure(client, [frame(k, given.width - 2) for k in numbers[:20]])  # no such width is kept
        result["random"] = measure(client, [frame(k, given.width - 4) for k in numbers], 0.2)
        client.post(f"{item}/edits", json={"type": "add_grid", "frame": 0, "rows": 8, "columns": 8}).raise_for_status()
        job = client.post(f"{item}/jobs", json={"kind": "track"}).json()
        kinds = [lambda: frame(rng.randrange(given.frames))] * 5 + [
            lambda: f"{item}/project", lambda: f"{item}/tracks.bin", lambda: f"{item}/check", lambda: "/api/state",
            lambda: f"/api/jobs/{job['id']}",
        ]  # fmt: skip
        result["soak"] = soak(make_client, [rng.choice(kinds)() for _ in range(given.requests)], given.at_once)
        result["job_after_soak"] = client.get(f"/api/jobs/{job['id']}").json()
        client.delete(f"/api/jobs/{job['id']}").raise_for_status()
        result["memory_after_mib"] = resident_mib(process)
    return result


if __name__ == "__main__":
    main()
