"""How long somebody waits on the page: from a click to the first track, to a correction, to an answer.

    python evidence/web-soak/clicks.py [--video FILE] [--pause 5] [--out FILE.json]

In a process of its own `tapetum serve` serves a clip of 854x480 with 82 frames, drawn here unless another is given. Five points
are put with a pause, as by hand, and tracked; one is corrected twice; three questions are asked. Times are of the requests that
the page makes, in seconds. Wanted, where nothing else runs: the first tracks within 3 s, a correction within 2 s, a second
question within 1.5 s. `load` says what else ran before, `cores` how many there are.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tapetum.video import write_video

POINTS = (0.35, 0.42), (0.42, 0.46), (0.47, 0.52), (0.53, 0.48), (0.44, 0.62)
"""Of width and height."""


def draw_clip(path: Path, frames: int = 82, width: int = 854, height: int = 480) -> None:
    """Draw a texture that drifts behind a window."""
    rng = np.random.default_rng(0)
    texture = np.kron(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))
    write_video(path, (texture[t : t + height, 2 * t : 2 * t + width] for t in range(frames)), 24)


class Visitor:
    """Somebody with the page open."""

    def __init__(self, client: httpx.Client):
        self.client = client
        self.about = client.get("/api/state").json()["items"][0]
        self.item = f"/api/items/{self.about['id']}"

    def edit(self, kind: str, **content: Any) -> dict[str, Any]:
        """Edit points."""
        answer = self.client.post(f"{self.item}/edits", json={"type": kind, **content})
        return answer.raise_for_status().json()

    def known(self) -> float:
        """Read the share of all places that are known."""
        whole = np.frombuffer(self.client.get(f"{self.item}/tracks.bin").content, "<f4").reshape(-1, 4)
        return float(np.isfinite(whole[:, 0]).mean())

    def track(self) -> dict[str, float]:
        """Track: seconds until more is known than before, until all is, and until the job is over."""
        before, begin, times = self.known(), time.perf_counter(), {}
        job = self.client.post(f"{self.item}/jobs", json={"kind": "track"}).raise_for_status().json()
        while job["state"] in ("waiting", "running"):
            share, now = self.known(), round(time.perf_counter() - begin, 2)
            if share > before:
                times.setdefault("first_tracks_s", now)
            if share == 1:
                times.setdefault("all_tracks_s", now)
            time.sleep(0.05)
            job = self.client.get(f"/api/jobs/{job['id']}").json()
        assert job["state"] == "done", job
        return {**times, "checked_s": round(time.perf_counter() - begin, 2)}

    def ask(self, text: str) -> float:
        """Ask a question: seconds until the answer."""
        begin = time.perf_counter()
        job = self.client.post(f"{self.item}/look", json={"verb": "ask", "frame": 3, "text": text}).raise_for_status().json()
        while job["state"] in ("waiting", "running"):
            time.sleep(0.05)
            job = self.client.get(f"/api/jobs/{job['id']}").json()
        assert job["state"] == "done", job
        return round(time.perf_counter() - begin, 2)


def measure(client: httpx.Client, pause: float) -> dict[str, Any]:
    """Do all of it."""
    visitor = Visitor(client)
    width, height = visitor.about["width"], visitor.about["height"]
    for x, y in POINTS:
        points = visitor.edit("add_point", frame=0, x=x * width, y=y * height)["points"]
        time.sleep(pause)
    result: dict[str, Any] = {"five_points": visitor.track()}
    for number, frame in (("first", 40), ("second", 60)):
        visitor.edit("move_point", point=points[0]["id"], frame=frame, x=0.4 * width, y=0.4 * height)
        result[f"{number}_correction"] = visitor.track()
    result["questions_s"] = [visitor.ask(text) for text in ("what is this?", "what is it made of?", "what is behind it?")]
    return result


def main() -> None:
    """Print what was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--pause", type=float, default=5.0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    result: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 1)}
    with tempfile.TemporaryDirectory() as folder:
        if given.video is None:
            draw_clip(Path(folder) / "clip.mp4")
        else:
            shutil.copy(given.video, folder)
        command = [sys.executable, "-m", "tapetum.app.shell.main", "serve", folder, "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            found = re.match(r"(http://\S+)/\?token=(\S+)", server.stdout.readline())
            assert found
            with httpx.Client(base_url=found[1], headers={"X-Tapetum-Token": found[2]}, timeout=600) as client:
                result |= measure(client, given.pause)
            server.terminate()
    text = json.dumps(result, indent=1)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
