"""Verdicts on the pages are those that the evidence gives, and the word of a page is no other than the word of its table."""

import re

import pytest

from support.scripts import script


@pytest.fixture
def claims():
    return script("benchmarks/claims.py")


@pytest.mark.parametrize("drawn", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_pages_have_the_verdicts_of_the_evidence(claims, drawn: bool) -> None:
    """Tables of real marks draw clips anew, which takes a second."""
    tables = {name: table for name, table in claims.TABLES.items() if ("marks" in name) == drawn}
    assert len(tables) == (4 if drawn else 61)
    stale = [page.name for page, text in claims.page_tables.pages(tables).items() if page.read_text() != text]
    assert not stale, f"{stale}: run python benchmarks/claims.py"


def test_raw_files_have_no_verdicts(claims) -> None:
    """A verdict is computed anew from the numbers, so that no file keeps an older one."""
    files = [*claims.EVIDENCE.rglob("*.json")]
    said = re.compile(r': "(held|falsified|undecided)"')
    assert len(files) > 100
    assert not [file.name for file in files if said.search(file.read_text(encoding="utf-8"))]


def test_groups_and_not_runs_are_what_adapters_are_judged_by(claims) -> None:
    """Two seeds of one task count as one value, their mean."""
    tables = claims.adapter_tables

    def runs(task: str, seed: int, frozen: float, adapters: float):
        for regime, success in (("frozen", frozen), ("adapters", adapters), ("full", frozen)):
            row = {"trunk": "t", "task": task, "camera": "left", "seed": seed, "regime": regime}
            yield {**row, "tried": {"success": success, "n": 10}, "error": 1.0, "shifted": None}

    rows = [*runs("a", 0, 0.1, 0.3), *runs("a", 1, 0.1, 0.5), *runs("b", 0, 0.5, 0.6)]
    (part,) = tables.parts_of(rows)["t", "adapters succeed more often than frozen"]
    assert part.values == pytest.approx([30.0, 10.0])
    assert part.verdict == "undecided"
