"""Each room of the package has its folder of tests, and each file with logic a test file (`support.layout` has the rule)."""

import ast

import pytest

from support.durations import read_durations
from support.layout import SOURCE, TESTS, files_with_logic, guards, mirrored, read_lines, room_of

RUN = "run: python tests/support/layout.py"


@pytest.mark.slow
def test_each_room_has_its_folder_of_tests() -> None:
    rooms = {room_of(path) for path in files_with_logic() if len(path.parts) > 1}
    assert [room for room in sorted(rooms) if not list((TESTS / room).rglob("test_*.py"))] == []


@pytest.mark.slow
def test_each_file_with_logic_has_its_test_file_or_a_named_one() -> None:
    without = []
    for path in files_with_logic():
        if len(path.parts) > 1 and not (TESTS / mirrored(path)).is_file():
            named = read_lines(room_of(path)).get(path, [])
            if not any(guards(test, path) for test in named):
                without.append(str(path))
    assert not without, f"no test is named for {without}; write one or {RUN}"


@pytest.mark.slow
def test_lines_name_what_is_there() -> None:
    wrong = []
    for file in TESTS.rglob("README.md"):
        for path, named in read_lines(file.parent.relative_to(TESTS)).items():
            wrong += [str(test) for test in named if not guards(test, path)]
            wrong += [] if (SOURCE / path).is_file() else [str(path)]
    assert not wrong, f"README.md of tests names {wrong}; {RUN}"


@pytest.mark.slow
def test_tests_of_a_recorded_duration_are_there() -> None:
    names: dict[str, set[str]] = {}
    gone = []
    for name in read_durations():
        module, _, test = name.partition("::")
        file = TESTS.parent.joinpath(*module.split(".")).with_suffix(".py")
        if module not in names:
            nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if file.is_file() else ()
            names[module] = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        gone += [name] * (test not in names[module])
    assert not gone, f"tests/durations.txt names {gone}; run: python tests/support/durations.py"
