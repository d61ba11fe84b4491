"""How long a query takes in an index of made vectors, and what memory: python benchmarks/index_speed.py [--vectors 1000000]

Unit vectors of 512 channels in 1,000 clusters (--clusters 0: in none) are written as an index has them; then queries are made,
one at a time, in a process of its own, and the 10 nearest are compared with those of a plain product in float32. Memory is what
the process holds more than before it opened the index; the mapped file, which the system may drop at any time, is counted by
itself. `cpu_ms` is CPU time of the process, which other work on the machine changes less than the clock's time; `load` is the
machine's load average when the measurement ends.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

QUERIES = 20


def write(folder: Path, count: int, channels: int, clusters: int) -> None:
    """Write an index with a file for each 100,000 vectors."""
    from tapetum.desk.search.vector_index import IndexedPiece, VectorIndex

    rng = np.random.default_rng(0)
    centres = rng.standard_normal((clusters, channels), np.float32) if clusters else np.zeros((1, channels), np.float32)
    with VectorIndex.create(folder, "made", channels) as index:
        for first in range(0, count, 100_000):
            many = min(100_000, count - first)
            vectors = centres[rng.integers(0, len(centres), many)] + rng.standard_normal((many, channels), np.float32)
            index.put(f"{first}", "f", [IndexedPiece(path=f"{first}", start_s=k, stop_s=k + 1) for k in range(many)], vectors)


def held() -> dict[str, int]:
    """Memory of this process by kind, in bytes."""
    lines, kinds = Path("/proc/self/status").read_text().splitlines(), ("RssAnon", "RssFile", "VmHWM")
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(kinds)}


def measure(folder: Path, threads: int) -> dict[str, object]:
    """Search one query after the other, and compare with float32."""
    import torch

    from tapetum.desk.search.vector_index import VectorIndex

    torch.set_num_threads(threads)
    torch.mv(torch.zeros(8, 8).half(), torch.zeros(8).half())
    before = held()
    with VectorIndex.open(folder) as index:
        begun = time.perf_counter()
        index.nearest(np.ones((1, index.channels)), 10)
        first = time.perf_counter() - begun
        queries = index.vectors(np.random.default_rng(1).integers(0, len(index), QUERIES))
        queries += 0.5 * np.random.default_rng(2).standard_normal(queries.shape).astype(np.float32) / queries.shape[1] ** 0.5
        index.nearest(queries[:1], 10)
        took, cpu, found = [], [], []
        for query in queries:
            begun, begun_cpu = time.perf_counter(), time.process_time()
            found.append(index.nearest(query[None], 10).rows[0])
            took.append(time.perf_counter() - begun)
            cpu.append(time.process_time() - begun_cpu)
        after = held()
        unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        best = np.full((QUERIES, 0), 0, np.float32)
        for begin in range(0, len(index), 50_000):
            rows = np.arange(begin, min(begin + 50_000, len(index)))
            best = np.concatenate([best, unit @ index.vectors(rows).T], 1)
        exact = np.argsort(-best, 1, kind="stable")[:, :10]
        same = float(np.mean([np.isin(one, other).mean() for one, other in zip(found, exact, strict=True)]))
        size = len(index) * index.channels * 2
    return {
        "threads": threads,
        "first_ms": round(1000 * first, 1),
        "ms_median": round(1000 * float(np.median(took)), 1),
        "ms_least": round(1000 * min(took), 1),
        "cpu_ms_median": round(1000 * float(np.median(cpu)), 1),
        "load": round(os.getloadavg()[0], 1),
        "recall_at_10": same,
        "vectors_mb": size >> 20,
        "own_memory_mb": (after["RssAnon"] - before["RssAnon"]) >> 20,
        "mapped_mb": (after["RssFile"] - before["RssFile"]) >> 20,
    }


def main() -> None:
    """Make the index, measure in fresh processes, print a line of JSON for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        print(json.dumps(measure(Path(chosen.measure), chosen.threads[0])), flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        write(Path(folder) / "index", chosen.vectors, chosen.channels, chosen.clusters)
        print(json.dumps({"vectors": chosen.vectors, "written_s": round(time.perf_counter() - begun, 1)}), flush=True)
        for threads in chosen.threads:
            line = [sys.executable, __file__, "--measure", str(Path(folder) / "index"), "--threads", str(threads)]
            subprocess.run(line, check=True)


if __name__ == "__main__":
    main()
