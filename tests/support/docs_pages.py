"""The pages of the docs: their fenced blocks, and the commands in these."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"


@dataclass(frozen=True)
class Block:
    """One fenced block of a page: the words after the fence, the text, and its first line's number."""

    words: tuple[str, ...]
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    start = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = number
        else:
            words = tuple(lines[start][3:].split()) or ("",)
            yield Block(words, "\n".join(lines[start + 1 : number]), start + 2)
            start = None
    assert start is None, f"{page} has a fence that is not closed"


def commands(block: Block) -> Iterator[list[str]]:
    """Yield the arguments of each call of tapetum in a console block, without pipes, redirections, comments and variables."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            for part in line[2:].split(" | "):
                words = shlex.split(part.partition(" > ")[0], comments=True)
                for name in ("tapetum", "tapetum.app.shell.main"):
                    if name in words:
                        yield words[words.index(name) + 1 :]
                        break


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))
