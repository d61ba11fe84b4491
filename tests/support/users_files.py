"""What a command must leave as it is."""

from collections.abc import Callable
from pathlib import Path

Run = Callable[..., tuple[int, str, str]]


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(run: Run, folder: Path, *words: object) -> str:
    """Run a command that must not touch anything in `folder`; give its one line."""
    before = content(folder)
    code, out, error = run(*words)
    assert (code, out, error.count("\n")) == (2, "", 1), error
    assert content(folder) == before
    return error
