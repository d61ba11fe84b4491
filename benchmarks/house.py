"""How quickly the command line answers, and how long the longest file and function are, of one or more checkouts.

    python benchmarks/house.py [TREE ...] [--runs 10]

Every run is a whole process; with several trees they take turns. Without a tree: the one that this script lies in.
"""

import argparse
import ast
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


def longest(tree: Path) -> tuple[tuple[int, str], tuple[int, str], int]:
    """Find the longest file and function of the package, in lines, and count its files."""
    files, functions = [], []
    root = tree / "src" / "tapetum"
    for path in sorted(root.rglob("*.py")):
        text, name = path.read_text(), str(path.relative_to(root))
        files.append((text.count("\n"), name))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.append(((node.end_lineno or node.lineno) - node.lineno + 1, f"{name}: {node.name}"))
    return max(files), max(functions), len(files)


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
    for tree in given.trees:
        file, function, count = longest(tree)
        print(f"{tree.name}: {count} files; longest file {file[1]} ({file[0]}), function {function[1]} ({function[0]} lines)")


if __name__ == "__main__":
    main()
