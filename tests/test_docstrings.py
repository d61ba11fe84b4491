"""The examples in docstrings are true, a room at a time. Only files that have some are imported for it."""

import doctest
from importlib import import_module

import pytest

from support.docs_pages import ROOT

SOURCE = ROOT / "src" / "tapetum"


@pytest.mark.parametrize("room", [path.name for path in sorted(SOURCE.iterdir()) if path.name != "__pycache__"])
def test_examples_are_true(room: str) -> None:
    for path in [SOURCE / room] if room.endswith(".py") else sorted((SOURCE / room).rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            parts = path.relative_to(SOURCE.parent).with_suffix("").parts
            failed, run = doctest.testmod(
                import_module(".".join(parts).removesuffix(".__init__")), optionflags=doctest.ELLIPSIS
            )
            assert run > 0, f"doctest finds none of the examples of {path}"
            assert failed == 0, path  # doctest has printed which, and why
