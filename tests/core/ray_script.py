"""What `test_ray_actors.py` runs in a process of its own: work on a local cluster of two nodes, one of which is killed."""

import json
import os
import sys
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from tapetum.core.jobs import run_jobs

COUNT = 24


def main(folder: Path) -> None:
    """Square numbers on two nodes; the second is killed once some are done. What was yielded goes into results.json."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    other = cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)

    def make_tool() -> int:
        (folder / f"tool-{os.getpid()}").touch()
        return 2

    def work(item: int, tool: int) -> int:
        with (folder / f"item-{item}").open("a") as file:
            file.write(f"{ray.get_runtime_context().get_node_id()}\n")
        while len(list(folder.glob("tool-*"))) < 3:  # all three actors work, however slow the machine is
            time.sleep(0.05)
        time.sleep(0.15)
        return item**tool

    results: list[tuple[int, int]] = []
    for result in run_jobs(work, range(COUNT), make_tool, engine="ray"):
        results.append(result)
        if len(results) == 5:
            cluster.remove_node(other, allow_graceful=False)
    (folder / "results.json").write_text(json.dumps(results))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
