"""Counts how large the project is, beside the caps of tests/house/limits.toml.

    python tests/house/counts.py            # prints each count beside its cap
    python tests/house/counts.py --page     # writes the table of docs/evidence/house.md

A closure is all files that importing a file runs at the top of modules, with itself and the `__init__` of its packages; an
`__init__` of up to five lines is not counted.
"""

import argparse
import ast
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tapetum"
LIMITS = Path(__file__).with_name("limits.toml")
PAGE = ROOT / "docs" / "evidence" / "house.md"
WINGS = ("desk",)
STARTS = {
    "files before SimCLR": "systems/pretraining/methods/simclr.py",
    "files before Odin's task": "systems/odin/task.py",
    "files before PaliGemma's model": "systems/paligemma/model.py",
    "files before LongViViT's encoder": "systems/longvideo/encoder.py",
    "files before fit": "train/loop.py",
}
_RETIRED = "picture pictures eye told said wanted found held taken heed teller keeper seen asked telling bring anew"
RETIRED = frozenset(_RETIRED.split())
"""Words that no identifier has: the glossary has others for them."""
_SMALL_INIT = 5


@cache
def sources() -> Mapping[Path, tuple[str, ast.Module]]:
    """Read every file of the package: its text and its tree."""
    texts = {path: path.read_text() for path in sorted(SOURCE.rglob("*.py"))}
    return {path: (text, ast.parse(text)) for path, text in texts.items()}


def count_lines(*rooms: str) -> int:
    """Count the lines of rooms, of all without one."""
    return sum(
        text.count("\n") for path, (text, _) in sources().items() if not rooms or path.relative_to(SOURCE).parts[0] in rooms
    )


def imported(path: Path) -> Iterator[Path]:
    """Find the files that importing a file runs: those that it imports at its top, and the packages that it lies in."""
    for folder in path.parents:
        if folder == SOURCE.parent:
            break
        yield folder / "__init__.py"
    for node in sources()[path][1].body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tapetum"):
            for alias in node.names:
                yield from _file_of(f"{node.module}.{alias.name}") or _file_of(str(node.module))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from _file_of(alias.name)


def _file_of(module: str) -> list[Path]:
    place = SOURCE.parent.joinpath(*module.split("."))
    return [path for path in (place.with_suffix(".py"), place / "__init__.py") if path in sources()][:1]


def closure(start: str) -> set[Path]:
    """Find all files that importing a file runs, without small `__init__`."""
    reached, left = set[Path](), [SOURCE / start]
    while left:
        if (path := left.pop()) in sources() and path not in reached:
            reached.add(path)
            left += imported(path)
    return {path for path in reached if path.name != "__init__.py" or sources()[path][0].count("\n") > _SMALL_INIT}


def upward_imports() -> list[str]:
    """List the imports of a wing by what stands below both, at the top or inside functions."""
    return [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path, (_, tree) in sources().items()
        if path.relative_to(SOURCE).parts[0] not in (*WINGS, "app") and path.parent != SOURCE
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[:2] in [["tapetum", wing] for wing in WINGS]
    ]


def namesakes() -> dict[str, list[str]]:
    """Find the public classes of one name in several files."""
    files = defaultdict(list)
    for path, (_, tree) in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                files[node.name].append(str(path.relative_to(SOURCE)))
    return {name: there for name, there in files.items() if len(set(there)) > 1}


def retired_words() -> Counter[str]:
    """Count the retired words in identifiers."""
    words = Counter[str]()
    for _, tree in sources().values():
        for node in ast.walk(tree):
            name = None
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = node.name
            elif isinstance(node, ast.arg):
                name = node.arg
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                name = node.id
            words.update(set(re.findall("[a-z]+", re.sub("([A-Z])", r"_\1", name or "").lower())) & RETIRED)
    return words


def read_texts(*folders: str) -> list[str]:
    """Read the Python files below folders of the project."""
    return [path.read_text() for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def count_test_functions(texts: list[str]) -> int:
    """Count the functions whose names begin with test."""
    nodes = (node for text in texts for node in ast.walk(ast.parse(text)))
    return sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test") for node in nodes)


def counts() -> dict[str, int]:
    """Count everything that has a cap."""
    lines, tests = count_lines(), read_texts("tests")
    return {
        "lines of src": lines,
        "lines outside the desk": lines - count_lines(*WINGS),
        "lines of app": count_lines("app"),
        "lines of src, packages and integrations": lines
        + sum(text.count("\n") for text in read_texts("packages", "integrations")),
        "lines of tests": sum(text.count("\n") for text in tests),
        "test functions": count_test_functions(tests),
        "files of src": len(sources()),
        "lines of the longest file": max(text.count("\n") for text, _ in sources().values()),
        **{name: len(closure(start)) for name, start in STARTS.items()},
        "imports of the desk from below": len(upward_imports()),
        "public classes with namesakes": len(namesakes()),
        "retired words in identifiers": retired_words().total(),
        "scripts in benchmarks": len([*(ROOT / "benchmarks").glob("*.py")]),
        "bytes of bundled weights": sum(path.stat().st_size for path in SOURCE.rglob("*.safetensors")),
    }


def read_limits() -> dict[str, int]:
    """Read the caps."""
    return tomllib.loads(LIMITS.read_text())["limits"]


def write_page() -> None:
    """Write the counts and their caps into the page of evidence."""
    rows = [f"| {name} | {count:,} | {read_limits()[name]:,} |" for name, count in counts().items()]
    table = "\n".join(["| what | now | cap |", "|---|---|---|", *rows])
    text = PAGE.read_text()
    first, last = "<!-- counts -->\n\n", "\n<!-- end of counts -->"
    begin, end = text.index(first) + len(first), text.index(last)
    PAGE.write_text(text[:begin] + table + "\n" + text[end:])


def main() -> None:
    """Print the counts, or write them down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="write the table of the page")
    chosen = parser.parse_args()
    if chosen.page:
        write_page()
    for name, count in counts().items():
        print(f"{name:40} {count:>12,} {read_limits()[name]:>12,}")


if __name__ == "__main__":
    main()
