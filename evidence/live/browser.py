"""The loop of examples/live_browser in Chromium beside `step` of Python: how far their tracks are apart, and frames a second.

    python evidence/live/browser.py [--size 256x256] [--frames 60] [--points 16] [--onnx FILE] [--out FILE]

Needs chromium, playwright for Python, and `npm ci` in examples/live_browser. Exports causal-tapir-nano with `--program live`
(to FILE, unless it exists) and tracks random points through the drifting texture of benchmarks/live.py, given as raw pixels,
one thread each. Distances are over points that Python sees; milliseconds of a frame are medians, frames a second of all frames.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tapetum

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "live_browser"
sys.path += [str(ROOT / "benchmarks"), str(Path(__file__).parent)]

SCRIPT = """async ([points, count]) => {
  const load = file => import(new URL(file, location));
  const ort = await load("node_modules/onnxruntime-web/dist/ort.wasm.min.mjs"), { Tracker } = await load("tracker.js");
  const bytes = async file => new Uint8Array(await (await fetch(file)).arrayBuffer());
  ort.env.wasm.numThreads = 1;
  const tracker = new Tracker(ort, await ort.InferenceSession.create(await bytes("live.onnx")));
  const clip = await bytes("clip.rgb"), frames = [], spent = [];
  for (let number = 0; number < count; ++number) {
    const frame = clip.subarray(number * clip.length / count, (number + 1) * clip.length / count), begin = performance.now();
    const now = await tracker.step(frame, points.filter(point => point[0] === number).map(point => point.slice(1)));
    spent.push(performance.now() - begin);
    frames.push(now.map(({ at, visible, confidence }) => [...at, visible, confidence]));
  }
  return [frames, spent];
}"""


class Quiet(SimpleHTTPRequestHandler):
    """A static file server that prints nothing."""

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(folder: Path, model: Path) -> Iterator[str]:
    """Serve the example beside a network from a folder; gives the address."""
    for path in (*EXAMPLE.iterdir(), model):
        name = "live.onnx" if path == model else path.name
        if not (folder / name).exists():
            (folder / name).symlink_to(path.resolve())
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()


def in_browser(page: Any, folder: Path, frames: np.ndarray, queries: np.ndarray) -> tuple[list[np.ndarray], Any]:
    """Track queries (t, x, y) by the loop: x, y, visible and confidence of each point by frame; milliseconds of each frame."""
    (folder / "clip.rgb").write_bytes(frames.tobytes())
    seen, spent = page.evaluate(SCRIPT, [queries.tolist(), len(frames)])
    return [np.array(rows, float).reshape(-1, 4) for rows in seen], spent


def table(result: dict[str, Any]) -> str:
    """Write the rows in Markdown."""
    head = ["apart: median", "most", "seen by one", "Chromium, a frame", "frames a second", "Python, a frame"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in result["rows"]:
        apart = (
            f"{row['apart_median_px']:.6f} px",
            f"{row['apart_most_px']:.4f} px",
            f"{row['seen_by_one_only']} of {row['seen']}",
        )
        costs = f"{row['browser_ms']:.1f} ms", f"{row['frames_per_second']:.1f}", f"{row['python_ms']:.1f} ms"
        lines.append("| " + " | ".join([*apart, *costs]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Track, compare, print and write."""
    from playwright.sync_api import sync_playwright

    from cpp import clip_of, in_python

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="256x256")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--points", type=int, default=16)
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    (width, height), rows, load = map(int, given.size.split("x")), [], os.getloadavg()[0]
    points = np.random.default_rng(0).uniform(0.05, 0.95, (given.points, 2)).astype(np.float32) * np.array(
        [width, height], np.float32
    )
    frames = clip_of("drift", (width, height), given.frames)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        model = given.onnx or folder / "network.onnx"
        if not model.exists():
            tapetum.export("causal-tapir-nano", str(model), size=given.size, program="live")
        browser = playwright.chromium.launch(executable_path=given.chromium, args=["--no-sandbox"])
        with served(folder, model) as address:
            page = browser.new_page()
            page.set_default_timeout(0)
            page.goto(address)
            seen, spent = in_browser(page, folder, frames, np.insert(points, 0, 0, 1))
            xy, visible, cost = in_python(tapetum.load("causal-tapir-nano"), frames, points)
            theirs = np.stack(seen)
            apart = np.linalg.norm(theirs[..., :2] - xy, axis=-1)[visible]
            row = {
                "apart_most_px": float(apart.max()),
                "apart_median_px": float(np.median(apart)),
                "seen": int(visible.sum()),
                "seen_by_one_only": int((visible != (theirs[..., 2] > 0)).sum()),
                "browser_ms": float(np.median(spent)),
                "frames_per_second": 1000 / float(np.mean(spent)),
                "python_ms": cost["median_ms"],
            }
            rows.append(row)
            print(json.dumps(row), flush=True)
        result = {**{k: getattr(given, k) for k in ("size", "points", "frames")}, "load_before": load, "rows": rows}
        result["chromium"] = browser.version
        browser.close()
    print(table(result))
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
