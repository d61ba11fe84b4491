"""Memory of the driver of verbs over many small items on Ray, while a node comes and one is lost.

    python evidence/scale/ray_items.py [--items 1000 10000] [--verbs embed ...] [--json evidence/scale/ray_items.json]

Each row is a command of its own (`tapetum VERB ... --engine ray`) on a cluster of two nodes of one processor each on this
machine (`ray.cluster_utils`). After a third of the results a third node joins, after two thirds the second is killed, as soon
as the command's own lines of progress say so, every five seconds. Memory is read from /proc ten times a second: resident in
all, and anonymous, which no file stands behind. `embed` and `index`: images of 32 x 32 pixels, each of another colour
(resnet-nano); `track`: one film of 4 frames of 32 x 32 pixels under many names (static, the point in the middle, no overlay);
`eval`: perception-test, a point in 4 frames, in as many annotated videos (static). A sample of the items is then done without
Ray, and compared.

With --engine, rows of the engine alone: `run_jobs` over so many numbers, which are squared, on such a cluster; its memory above
that at the tenth result.
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
from threading import Thread
from typing import Any

import numpy as np
from PIL import Image

import tapetum
from tapetum.account.machine import machine
from tapetum.core.devices import resident_bytes
from tapetum.desk.search.vector_index import VectorIndex
from tapetum.video.write import write_video

VERBS = {"embed": "embedding", "index": "indexing", "track": "videos", "eval": "videos"}
"""And the task that their lines of progress name."""
SAMPLE = 40


def make_items(verb: str, count: int, folder: Path) -> None:
    """Make the items: images/, films/ or annotations.json in `folder`."""
    if verb == "eval":
        point = {"id": 0, "points": [[0.5] * 4, [0.25] * 4], "frame_ids": [0, 1, 2, 3]}
        about = {"resolution": [32, 32], "frame_rate": 4.0, "num_frames": 4, "split": "valid"}
        videos = {f"video_{n}": {"metadata": about, "point_tracking": [point]} for n in range(count)}
        (folder / "annotations.json").write_text(json.dumps(videos))
        return
    place = folder / "items"
    place.mkdir()
    if verb == "track":
        frames = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), np.uint8)
        film = write_video(folder / "film.mp4", frames, 4)
    for n in range(count):
        if verb == "track":
            if n % 50_000 == 49_999:  # a file system has a limit of names for one file, such as 65,000
                film = Path(shutil.copy(film, folder / f"film_{n}.mp4"))
            os.link(film, place / f"{n:06}.mp4")
        else:
            Image.new("RGB", (32, 32), (n & 255, n >> 8 & 255, n >> 16)).save(place / f"{n:06}.png")


def options_of(verb: str, folder: Path) -> list[str]:
    """The command without `tapetum` and where it runs."""
    items, out = str(folder / "items"), str(folder / "out")
    if verb == "eval":
        given = ["--task", "point", "--annotations", str(folder / "annotations.json"), "--model", "static"]
        return ["eval", "perception-test", *given, "--out", out]
    if verb == "track":
        return ["track", items, "--model", "static", "--grid", "1", "--no-overlay", "--out", out]
    out = f"{out}.npz" if verb == "embed" else out
    return [verb, items, "--model", "resnet-nano", "--device", "cpu", "--out", out]


def memory(process: int) -> dict[str, float]:
    """Resident memory of a process in MB: all, and what no file stands behind."""
    text = Path(f"/proc/{process}/status").read_text()
    found = {name: re.search(rf"{name}:\s+(\d+)", text) for name in ("VmRSS", "RssAnon")}
    return {name: int(match[1]) * 1.024e-3 if match else 0.0 for name, match in found.items()}


def drive(verb: str, items: int, folder: Path) -> dict[str, Any]:
    """Run the verb over so many items on a cluster that changes meanwhile."""
    from ray.cluster_utils import Cluster

    make_items(verb, items, folder)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    command = [sys.executable, "-m", "tapetum.app.shell.main", *options_of(verb, folder), "--engine", "ray"]
    began, environment = time.perf_counter(), {**os.environ, "RAY_ADDRESS": cluster.address}
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    lines, done = [""], [0]

    def read() -> None:
        for line in driver.stderr or ():
            lines.append(line)
            if match := re.search(rf"\b{VERBS[verb]}: (\d+) of", line):
                done.append(int(match[1]))

    reader = Thread(target=read, daemon=True)
    reader.start()
    row: dict[str, Any] = {"verb": verb, "items": items, "joined_after": 0, "lost_after": 0}
    curve, largest, first = [], {"VmRSS": 0.0, "RssAnon": 0.0}, 0.0
    while driver.poll() is None:
        now = memory(driver.pid)
        largest = {name: max(value, now[name]) for name, value in largest.items()}
        if len(done) > len(curve) + 1:
            first = first or time.perf_counter()
            curve.append([done[-1], round(now["VmRSS"], 1)])
        if done[-1] >= items // 3 and not row["joined_after"]:
            row["joined_after"] = done[-1]
            cluster.add_node(num_cpus=1)
        if done[-1] >= 2 * items // 3 and not row["lost_after"]:
            row["lost_after"] = done[-1]
            cluster.remove_node(second, allow_graceful=False)
        time.sleep(0.1)
    reader.join()
    cluster.shutdown()
    if driver.returncode:
        raise SystemExit("".join(lines[-20:]))
    row |= {"seconds": round(time.perf_counter() - began, 1), "peak_mb": round(largest["VmRSS"], 1)}
    row |= {"peak_anonymous_mb": round(largest["RssAnon"], 1), "curve": (curve := curve[:: max(len(curve) // 12, 1)])}
    if len(curve) > 2:  # from the second line of progress to the last
        row["bytes_an_item"] = round(1e6 * (curve[-1][1] - curve[1][1]) / (curve[-1][0] - curve[1][0]))
    return {**row, **compare(verb, items, folder)}


def compare(verb: str, items: int, folder: Path) -> dict[str, Any]:
    """Whether all results are there, and how far those of a sample are from a run without Ray."""
    numbers = np.linspace(0, items - 1, SAMPLE).astype(int)
    names, out, alone = [f"{n:06}" for n in numbers], folder / "out", folder / "alone"
    if verb == "eval":
        videos = json.loads((folder / "annotations.json").read_text())
        (folder / "few.json").write_text(json.dumps({f"video_{n}": videos[f"video_{n}"] for n in numbers}))
        tapetum.evaluate_perception_test(task=("point",), annotations=folder / "few.json", model=("static",), out=alone)
        made, few = (json.loads((place / "point.json").read_text()) for place in (out, alone))
        return {"results": len(made), "equal": sum(made[name] == value for name, value in few.items()), "compared": len(few)}
    if verb == "track":
        films = tuple(str(folder / "items" / f"{name}.mp4") for name in names)
        tapetum.track_many(films, model="static", grid=1, no_overlay=True, out=alone)
        made = sum("trouble" not in each for each in json.loads((out / "videos.json").read_text()))
        pairs = [[np.load(place / f"{name}.mp4" / "tracks.npz") for place in (out, alone)] for name in names]
        equal = sum(all(np.array_equal(one[key], two[key]) for key in two.files) for one, two in pairs)
        return {"results": made, "equal": equal, "compared": len(pairs)}
    images = tuple(str(folder / "items" / f"{name}.png") for name in names)
    if verb == "embed":
        made = np.load(f"{out}.npz")
        few = tapetum.embed(images, model="resnet-nano", device="cpu", batch_size=1).vectors
        assert [Path(path).name for path in made["path"]] == [f"{n:06}.png" for n in range(items)]
        return {"results": len(made["path"]), "largest_difference": float(abs(made["embedding"][numbers] - few).max())}
    tapetum.index(images, model="resnet-nano", device="cpu", out=alone)
    with VectorIndex.open(out) as one, VectorIndex.open(alone) as two:
        gaps = [abs(one.vectors(one.rows_of(image)) - two.vectors(two.rows_of(image))).max() for image in images]
        return {"results": len(one.fingerprints()), "largest_difference": float(max(gaps))}


class Peak:
    """The largest growth of this process's memory since `begin`, sampled every 20 ms."""

    def __init__(self) -> None:
        self.base = self.largest = 0
        Thread(target=self._sample, daemon=True).start()

    def begin(self) -> None:
        self.base = self.largest = resident_bytes(os.getpid())

    def _sample(self) -> None:
        while True:
            self.largest = max(self.largest, resident_bytes(os.getpid()))
            time.sleep(0.02)

    def row(self) -> dict[str, Any]:
        return {"grown_mb": round((self.largest - self.base) / 1e6, 1), "base_mb": round(self.base / 1e6)}


def square(item: int, _tool: Any) -> tuple[int, str]:
    """Square a number; says where."""
    import ray

    return item * item, ray.get_runtime_context().get_node_id()


def drive_engine(items: int) -> dict[str, Any]:
    """Square so many numbers on a cluster that changes meanwhile."""
    import ray
    from ray.cluster_utils import Cluster

    from tapetum.core.jobs import run_jobs

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    peak, given, nodes, began = Peak(), bytearray(items), dict[str, int](), time.perf_counter()
    for count, (number, (value, node)) in enumerate(run_jobs(square, range(items), engine="ray"), 1):
        assert value == number**2
        given[number] += 1
        nodes[node] = nodes.get(node, 0) + 1
        if count == 10:
            peak.begin()
        if count == items // 3:
            cluster.add_node(num_cpus=1)
        if count == 2 * items // 3:
            cluster.remove_node(second, allow_graceful=False)
    seconds = time.perf_counter() - began
    row = {"items": items, **peak.row(), "seconds": round(seconds, 1), "each_once": set(given) == {1}}
    row["results_by_node"] = sorted(nodes.values(), reverse=True)
    ray.shutdown()
    cluster.shutdown()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--verbs", nargs="*", default=list(VERBS), choices=VERBS)
    parser.add_argument("--engine", type=int, nargs="*", default=[], help="items of rows of the engine alone")
    parser.add_argument("--json", type=Path, help="rows are put into it, in place of those of the same verb and number")
    args = parser.parse_args()
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 # else workers wait for whatever else runs on this machine
    for verb, items in [("engine", items) for items in args.engine] + [(v, items) for items in args.items for v in args.verbs]:
        with tempfile.TemporaryDirectory() as folder:
            row = drive_engine(items) if verb == "engine" else drive(verb, items, Path(folder))
        print(json.dumps(row), flush=True)
        if args.json:
            content = json.loads(args.json.read_text()) if args.json.exists() else {"engine": [], "verbs": []}
            part = "engine" if verb == "engine" else "verbs"
            kept = [each for each in content[part] if (each.get("verb", verb), each["items"]) != (verb, items)]
            content |= {"machine": machine(), part: [*kept, row]}
            args.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
