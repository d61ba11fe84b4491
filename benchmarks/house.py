"""How quickly the command line answers, how long files and functions are, what must be read: of one or more checkouts.

    python benchmarks/house.py [TREE ...] [--runs 10]
    python benchmarks/house.py --page                  # writes the table of what must be read into docs/evidence/house.md

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

sys.path.append(str(Path(__file__).parents[1] / "docs" / "tools"))

from page_tables import render, write_table

PAGE = Path(__file__).parents[1] / "docs" / "evidence" / "house.md"
READ = {
    "SimCLR": "systems/pretraining/methods/simclr.py",
    "Odin's task": "systems/odin/task.py",
    "PaliGemma's model": "systems/paligemma/model.py",
    "LongViViT's encoder": "systems/longvideo/encoder.py",
    "`fit`": "train/loop.py",
}
"""Files that somebody reads who wants to know how a paper is done here."""
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


def imported(root: Path, file: Path) -> set[Path]:
    """Find the files of the package that a file imports at its top."""
    found = set[Path]()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            names = [[f"{node.module}.{alias.name}", str(node.module)] for alias in node.names]
        else:
            names = [[alias.name] for alias in node.names] if isinstance(node, ast.Import) else []
        for choices in names:
            paths = [root.joinpath(*name.split(".")[1:]) for name in choices if name.split(".")[0] == "tapetum"]
            there = [p for path in paths for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()]
            found |= set(there[:1])
    return found


def closure(tree: Path, start: str) -> set[Path]:
    """Find all files that a file reaches by imports at the top of modules, itself among them."""
    root = tree / "src" / "tapetum"
    reached, left = set[Path](), [root / start]
    while left:
        file = left.pop()
        if file not in reached:
            reached.add(file)
            left += imported(root, file)
    return reached


def write_page() -> None:
    """Write how many files must be read, and of which commit, into the page."""
    tree = Path(__file__).parents[1]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=tree, capture_output=True, text=True, check=True)
    rows = [(f"files before {name}", f"`{start}`", str(len(closure(tree, start)))) for name, start in READ.items()]
    table = write_table(("what", "from", f"commit {commit.stdout.strip()}"), rows)
    PAGE.write_text(render(PAGE.read_text(), "files to read", table))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="*", type=Path, default=[Path(__file__).parents[1]])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--page", action="store_true", help="write the page, and measure nothing")
    given = parser.parse_args()
    if given.page:
        write_page()
        return
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
        print(", ".join(f"{len(closure(tree, start))} files before {name}" for name, start in READ.items()))
        print(f"{tree.name}: {count} files; longest file {file[1]} ({file[0]}), function {function[1]} ({function[0]} lines)")


if __name__ == "__main__":
    main()
