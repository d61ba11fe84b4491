"""How quickly the command line answers, in one or more checkouts.

    python benchmarks/house.py [TREE ...] [--runs 10]

Every run is a whole process; with several trees they take turns. Without a tree: the one that this script lies in. How large
the package is, and what importing a file brings in, is counted by `tests/house/counts.py`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

WORDS = (("--help",), ("track", "--help"), ("weights", "list"))


def seconds(tree: Path, words: tuple[str, ...]) -> float:
    """Time `tapetum WORDS` of a checkout."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "tapetum.app.shell.main", *words],
        env={**os.environ, "PYTHONPATH": str(tree / "src")},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="*", type=Path, default=[Path(__file__).parents[1]])
    parser.add_argument("--runs", type=int, default=10)
    given = parser.parse_args()
    print(f"{'seconds of ' + str(given.runs) + ' runs':24} {'least':>6} {'median':>7}   tree")
    for words in WORDS:
        times: dict[Path, list[float]] = {tree: [] for tree in given.trees}
        for run in range(given.runs + 1):
            for tree in given.trees:
                taken = seconds(tree, words)
                times[tree] += [taken] if run else []  # the first warms the disk
        for tree, values in times.items():
            print(f"{'tapetum ' + ' '.join(words):24} {min(values):6.3f} {statistics.median(values):7.3f}   {tree.name}")


if __name__ == "__main__":
    main()
