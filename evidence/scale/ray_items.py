"""Memory of the driver of many small items on Ray, while a node comes and one is lost; and of the verbs that use such work.

    python evidence/scale/ray_items.py [--items 1000 10000 100000] [--verbs 1000 4000] [--json evidence/scale/ray_items.json]

Each row is a driver of its own. Of the engine: `run_jobs` over so many numbers on a cluster of two nodes of one processor each
on this machine (`ray.cluster_utils`); after a third of the results a third node joins, after two thirds the second is killed.
The item is squaring a number, so the rows say nothing about speed. Of verbs: `embed` and `index` (resnet-nano, each another
image of 16 x 16 pixels) and `track` (static, 2 frames) in one process, where what the driver keeps of an item is the same and
batches are filled across items. Counted is resident memory above that at the tenth result, its largest.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.account.machine import machine
from tapetum.core.devices import resident_bytes


class Peak:
    """The largest growth of this process's memory since `begin`, sampled every 20 ms."""

    def __init__(self) -> None:
        self.base = self.largest = 0
        threading.Thread(target=self._sample, daemon=True).start()

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


def drive(items: int) -> dict[str, Any]:
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


def call_verb(name: str, items: int) -> dict[str, Any]:
    """Call a verb with so many items."""
    from PIL import Image

    import tapetum
    from tapetum.core import jobs

    peak, rng = Peak(), np.random.default_rng(0)
    own = jobs.run_jobs

    def counting(*arguments: Any, **others: Any) -> Any:
        for count, result in enumerate(own(*arguments, **others), 1):
            if count == 10:
                peak.begin()
            yield result

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "items"
        place.mkdir()
        for number in range(items):
            frame = rng.integers(0, 255, (16, 16, 3), np.uint8)
            if name == "track":
                np.save(place / f"{number:06}.npy", np.stack([frame, frame]))
            else:
                Image.fromarray(frame).save(place / f"{number:06}.png")
        sys.modules["tapetum.core.jobs"].run_jobs = counting  # pyright: ignore[reportAttributeAccessIssue]
        began = time.perf_counter()
        if name == "embed":
            made = tapetum.embed((str(place),), model="resnet-nano", out=f"{folder}/t.npz")
            assert len(made.vectors) == items
        elif name == "index":
            tapetum.index((str(place),), model="resnet-nano", out=f"{folder}/index")
        else:
            many = tapetum.track_many(tuple(map(str, sorted(place.iterdir()))), model="static", grid=2, out=f"{folder}/tracks")
            assert len(many.done) == items
        return {"verb": name, "items": items, **peak.row(), "seconds": round(time.perf_counter() - began, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="*", default=[1000, 10_000, 100_000])
    parser.add_argument("--verbs", type=int, nargs="*", default=[1000, 4000], help="items of each verb")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        name, items = args.row[0], int(args.row[1])
        print(json.dumps(drive(items) if name == "ray" else call_verb(name, items)))
        return
    result: dict[str, Any] = {"machine": machine(), "engine": [], "verbs": []}
    rows = [("ray", items) for items in args.items]
    rows += [(name, items) for name in ("embed", "index", "track") for items in args.verbs]
    for name, items in rows:
        command = [sys.executable, __file__, "--row", name, str(items)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        result["engine" if name == "ray" else "verbs"].append(row)
        print(json.dumps(row), flush=True)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
