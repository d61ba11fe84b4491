"""Figures of the pages name the raw file or the test that they are from."""

import json
from pathlib import Path

import pytest

from support.scripts import script

figures = script("tests/docs/figures.py")
TABLE, KEYS = "| s | t |\n|---|---|\n", "\n<!-- from x.json: a; b -->"


def test_every_figure_has_a_source() -> None:
    found = {
        name: [f"{each.number} {each.unit}, line {each.line}" for each in some]
        for name, some in figures.without_source().items()
    }
    assert not found, f"{found}: name the file of each, see tests/docs/figures.py, or take the figure out"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "evidence").mkdir()
    scores = {"a": {"seed 1": 0.5344, "seed 2": 0.4}, "b": {"seed 1": -0.21, "seed 2": 0.4}, "seconds": 12.31, "bytes": 3 << 30}
    scores["less"] = -0.084
    (tmp_path / "evidence" / "x.json").write_text(json.dumps(scores))
    (tmp_path / "test_y.py").write_text("assert error < 0.125")
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    figures.numbers_of.cache_clear()
    return tmp_path


def sourced(text: str) -> list[tuple[str, bool]]:
    found = figures.figures(Path("p.md"), text)
    lost = figures.missing(found)
    return [(each.number, each not in lost) for each in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It has 0.534 and 53.4 %.\n<!-- from x.json: a/seed 1 -->", [("0.534", True), ("53.4", True)]),
        ("It has 0.533.\n<!-- from x.json: a -->", [("0.533", False)]),
        ("The mean is 0.467.\n<!-- from x.json: a/* -->", [("0.467", True)]),
        ("| a | 0.40 |\n<!-- from x.json: a/seed 2 -->\n\nIt has 0.40.", [("0.40", True), ("0.40", False)]),
        (f"{TABLE}| 0.53 | 0.40 |\n| -0.21 | 0.40 |{KEYS}", [("0.53", True), ("0.40", True), ("0.21", True), ("0.40", True)]),
        (f"{TABLE}| 0.53 | 0.40 |\n| 0.21 | 0.40 |{KEYS}", [("0.53", True), ("0.40", True), ("0.21", False), ("0.40", True)]),
        (f"{TABLE}| 0.40 | 0.53 |\n| 0.40 | -0.21 |{KEYS}", [("0.40", True), ("0.53", False), ("0.40", True), ("0.21", False)]),
        (f"{TABLE}| 0.53 | 0.40 |\n| 0.53 | 0.40 |{KEYS}", [("0.53", True), ("0.40", True), ("0.53", False), ("0.40", True)]),
        ("In 12 s and 3 GiB.\n<!-- from x.json: seconds; bytes -->", [("12", True), ("3", True)]),
        ("It is -0.08, −0.08 or 0.08 less, not +0.08.\n<!-- from x.json: less -->", [*[("0.08", True)] * 3, ("0.08", False)]),
        ("| 0.08 | -0.08 |\n<!-- from x.json: less -->", [("0.08", False), ("0.08", True)]),
        ("Not (0.08 to 0.40).\n<!-- from x.json: less; a/seed 2 -->", [("0.08", False), ("0.40", True)]),
        ("It has -0.40.\n<!-- from x.json: a/seed 2 -->", [("0.40", False)]),
        ("Errors of 0.125 and 0.25.\n<!-- from test_y.py -->", [("0.125", True), ("0.25", False)]),
        ("Theirs is 0.7 (arXiv 2401.00001).\n\n| a |\n|---|\n| 0.6 |\n\nOurs is 0.6.", [("0.6", False)]),
        ("A learning rate of 0.1, torch 2.13, `0.5`.\n\n```\n0.7\n```\n\n<!-- table x -->\n0.8\n<!-- end of table -->\n", []),
    ],
)
def test_a_figure_is_recomputed_from_what_it_names(text: str, expected: list[tuple[str, bool]], root: Path) -> None:
    assert sourced(text) == expected


def test_a_source_that_is_not_there_is_an_error(root: Path) -> None:
    with pytest.raises(AssertionError, match="names a key that is not there"):
        sourced("It has 0.5.\n<!-- from x.json: c -->")
