"""Which test files guard which files of the package: by the mirrored path, or as the folder's README.md names them.

`src/tapetum/A/b.py` is guarded by `tests/A/test_b.py` where that is there. Of each other file with logic, the README.md of its
room (`tests/ROOM/README.md`; each system is a room) has a line, which this module writes as a script. It names test files that
import the file, or else those of the room that come nearest to it by imports. Lines that are right stay as they are, so they
can be written by hand too.

    python tests/support/layout.py
"""

import ast
import os
import re
from collections import deque
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE, TESTS = ROOT / "src" / "tapetum", ROOT / "tests"
_LINE = re.compile(r"^- `(\S+\.py)`: (.+)$")
_MOST = 3
"""Test files that the script names for a file."""
_FAR = 4
"""Imports, one after the other, within which a test still guards a file."""
_HEAD = """# Tests of `{}`

`x/y.py` is tested in `x/test_y.py`; the other files in those named here (written by `python tests/support/layout.py`).

"""


def room_of(path: Path) -> Path:
    """Name the room of a file below src/tapetum or tests: its first folder, of the systems the second too."""
    return Path(*path.parts[: 2 if path.parts[0] == "systems" and len(path.parts) > 2 else 1])


def files_with_logic() -> list[Path]:
    """List the files below src/tapetum that have a function of more than one statement, as relative paths."""
    return [path.relative_to(SOURCE) for path in sorted(SOURCE.rglob("*.py")) if _has_logic(path)]


def mirrored(path: Path) -> Path:
    """Name the test file of a file, relative to tests: of a package's `__init__.py`, test_PACKAGE.py in its folder."""
    stem = path.parent.name if path.name == "__init__.py" else path.stem
    return path.with_name(f"test_{stem}.py")


def read_lines(room: Path) -> dict[Path, list[Path]]:
    """Read the README.md of a room: files of the package, and the test files that are named for each, relative to tests."""
    file = TESTS / room / "README.md"
    lines = map(_LINE.match, file.read_text().splitlines()) if file.is_file() else ()
    return {
        room / line[1]: [Path(os.path.normpath(room / name)) for name in re.findall(r"`([^`]+)`", line[2])]
        for line in lines
        if line
    }


def reached_by(test: Path) -> Mapping[Path, int]:
    """Give the files of the package that a test file imports, by itself or through others, and over how many imports."""
    return _reached(TESTS / test)


def write_readmes() -> None:
    """Write the README.md of every room anew, with the lines that are still right."""
    tests = [path.relative_to(TESTS) for path in sorted(TESTS.rglob("test_*.py"))]
    unguarded = [path for path in files_with_logic() if not (TESTS / mirrored(path)).is_file()]
    for room in sorted({room_of(path) for path in files_with_logic()}):
        before = read_lines(room)
        lines = []
        for path in unguarded:
            if room_of(path) != room:
                continue
            kept = [test for test in before.get(path, ()) if guards(test, path)]
            named = kept or _nearest(path, tests)
            names = ", ".join(f"`{os.path.relpath(test, room)}`" for test in named)
            lines.append(f"- `{path.relative_to(room).as_posix()}`: {names}\n")
        if (TESTS / room).is_dir():
            (TESTS / room / "README.md").write_text(_HEAD.format(f"src/tapetum/{room}") + "".join(lines))


def guards(test: Path, path: Path) -> bool:
    """Tell whether a test file is there and reaches a file: by imports, by its name, or because it types commands."""
    if not (TESTS / test).is_file():
        return False
    if path in reached_by(test) or (path.name in ("published.py", "run.py") and room_of(test) == room_of(path)):
        return True  # entries of the hub and whole runs, which are reached by their names
    if _alike(test, path) or bool(_public_names(SOURCE / path) & _words(TESTS / test)):
        return True
    return path.parts[0] in ("app", "desk") and _types_commands(TESTS / test)


def _has_logic(path: Path) -> bool:
    bodies = (node.body for node in ast.walk(_tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return any(sum(not _is_text(statement) for statement in body) > 1 for body in bodies)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _alike(test: Path, path: Path) -> bool:
    words = {*re.split(r"[_/]", path.with_suffix("").as_posix().replace("__init__", ""))} - {""}
    return room_of(test) == room_of(path) and bool(words & {*test.stem.removeprefix("test_").split("_")} - {"run"})


@cache
def _public_names(file: Path) -> frozenset[str]:
    kinds = ast.FunctionDef | ast.ClassDef
    names = {node.name for node in _tree(file).body if isinstance(node, kinds) and not node.name.startswith("_")}
    return frozenset(names | {file.stem} - {"__init__", "run", "published"})


@cache
def _words(file: Path) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", file.read_text()))


@cache
def _types_commands(file: Path) -> bool:
    text = file.read_text()
    return "tapetum.app.shell.main" in text or re.search(r"\brun\(|\btapetum\.\w+\(", text) is not None


def _nearest(path: Path, tests: Iterable[Path]) -> list[Path]:
    """The test files that come nearest to a file: of its room first, then by name, by imports, by folder."""

    def rank(test: Path) -> tuple[int, int, int, int, str]:
        far = 1 if _alike(test, path) else reached_by(test).get(path, _FAR + 1)
        elsewhere = room_of(test) != room_of(path)
        return (
            2 * elsewhere + far,
            elsewhere,
            not _alike(test, path),
            len(set(path.parent.parts) ^ set(test.parent.parts)),
            test.name,
        )

    able = sorted((test for test in tests if guards(test, path)), key=rank)
    if not able:
        return []
    best = rank(able[0])[0]
    return [test for test in able if rank(test)[0] == best][: _MOST if best <= 1 else 1]


@cache
def _reached(file: Path) -> dict[Path, int]:
    far: dict[Path, int] = {}
    waiting = deque((module, 1) for module in _imports(file))
    while waiting:
        path, steps = waiting.popleft()
        if path in far:
            continue
        far[path] = steps
        if steps < _FAR and path != Path("__init__.py"):  # of the whole package
            waiting.extend((each, steps + 1) for each in _imports(SOURCE / path))
    return far


@cache
def _imports(file: Path) -> frozenset[Path]:
    """Files of the package, relative to it, that a file imports anywhere in it; names of packages count for their homes."""
    found: set[Path] = set()
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tapetum":
            found |= _files("tapetum", node.attr)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found |= _files(alias.name, None)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                found |= _files(node.module, alias.name)
                if node.module == "support" or node.module.startswith("support."):
                    helper = TESTS / (node.module if node.module != "support" else f"support.{alias.name}").replace(".", "/")
                    found |= _imports(helper.with_suffix(".py")) if helper.with_suffix(".py").is_file() else set()
    return frozenset(found - ({file.relative_to(SOURCE)} if file.is_relative_to(SOURCE) else set()))


def _files(module: str, name: str | None) -> set[Path]:
    if module.split(".")[0] != "tapetum":
        return set()
    place = SOURCE.joinpath(*module.split(".")[1:])
    if place.with_suffix(".py").is_file():
        return {place.with_suffix(".py").relative_to(SOURCE)}
    package = place / "__init__.py"
    if name is None or not package.is_file():
        return {package.relative_to(SOURCE)} if package.is_file() else set()
    for inner in (place / f"{name}.py", place / name / "__init__.py"):
        if inner.is_file():
            return {inner.relative_to(SOURCE)}
    home = _homes(package).get(name)
    return {package.relative_to(SOURCE)} | (_files(*home) if home else set())


@cache
def _homes(package: Path) -> dict[str, tuple[str, str]]:
    froms = (node for node in ast.walk(_tree(package)) if isinstance(node, ast.ImportFrom) and node.module)
    return {alias.asname or alias.name: (node.module or "", alias.name) for node in froms for alias in node.names}


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


if __name__ == "__main__":
    write_readmes()
