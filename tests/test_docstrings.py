"""The examples in docstrings are true. Only files that have some are imported for it."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

from support.docs_pages import ROOT

SOURCE = ROOT / "src"
FILES = [path for path in sorted(SOURCE.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_examples_are_true(path: Path) -> None:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    module = import_module(".".join(parts).removesuffix(".__init__"))
    failed, run = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert run > 0, "doctest finds none of the examples"
    assert failed == 0  # doctest has printed which, and why
