"""Words that the glossary replaces stay out of the identifiers of the package."""

import ast
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from support.layout import SOURCE

RETIRED = {
    *("picture", "pictures", "eye", "told", "said", "wanted", "found", "held"),
    *("taken", "heed", "teller", "keeper", "seen", "asked", "telling", "bring"),
}
ALLOWED: dict[str, str] = {
    "seen_share": "a key of the files that `tapetum scenes images` writes",
    "held_out": "the field's own term",
}
"""Identifiers that may have such a word, at most ten, and why."""


def identifiers(tree: ast.Module) -> Iterator[str]:
    """Yield the names of functions, classes, arguments, variables and fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr


def retired_in(name: str) -> set[str]:
    """List the retired words of an identifier, in either way of writing it."""
    return RETIRED & {*re.sub(r"([A-Z])", r"_\1", name).lower().split("_")}


@pytest.mark.slow
def test_identifiers_have_no_retired_word() -> None:
    names = Counter[str]()
    for file in SOURCE.rglob("*.py"):
        names.update(n for n in identifiers(ast.parse(file.read_text())) if n not in ALLOWED and retired_in(n))
    assert not names, f"{names.total()} identifiers have retired words: {names.most_common(20)}; see docs/glossary.md"


def test_both_ways_of_writing_are_read() -> None:
    assert retired_in("what_wasFound") == retired_in("whatWasFound") == {"found"}
