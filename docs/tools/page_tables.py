"""Tables of the docs that are written from the code: the parts of the papers.

python docs/tools/page_tables.py            # writes them anew, between <!-- table NAME --> and <!-- end of table -->
python docs/tools/page_tables.py --check    # exits with 1 where a page has another

"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from paper_parts import CHECKS, PARTS, Part

DOCS = Path(__file__).parents[1]


def write_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def parts() -> str:
    """Write the table of the papers' parts, and what the ways of checking are."""
    header = "paper", "part", "where", "checked", "test", "command"
    rows = [_part_row(paper if number == 0 else "", part) for paper, each in PARTS.items() for number, part in enumerate(each)]
    ways = "".join(f"- {name}: {meaning}\n" for name, meaning in CHECKS.items())
    return f"{ways}\n{write_table(header, rows)}"


def _part_row(paper: str, part: Part) -> Sequence[str]:
    module, _, name = part.where.partition(":")
    command = part.command if part.command.startswith("(") else f"`tapetum {part.command}`"
    return paper, part.name, f"`{module}` `{name}`", ", ".join(part.checks), f"`{part.test}`", command


TABLES: Mapping[str, tuple[str, Callable[[], str]]] = {"parts": ("systems/index.md", parts)}
"""Name of a table, the page that it is on, and what writes it."""


def render(text: str, name: str, table: str) -> str:
    """Put a table between its marks in the text of a page. Raises ValueError where the page has no such marks."""
    marks = re.compile(rf"(<!-- table {re.escape(name)} -->\n).*?(<!-- end of table -->)", re.DOTALL)
    if not marks.search(text):
        raise ValueError(f"there is no <!-- table {name} --> with <!-- end of table --> behind it")
    return marks.sub(lambda match: f"{match[1]}\n{table}\n{match[2]}", text)


def pages(tables: Mapping[str, tuple[str, Callable[[], str]]] = TABLES) -> dict[Path, str]:
    """Render every page that has a table."""
    rendered: dict[Path, str] = {}
    for name, (place, table) in tables.items():
        page = DOCS / place
        rendered[page] = render(rendered.get(page, page.read_text()), name, table())
    return rendered


def main(about: str | None = __doc__, tables: Mapping[str, tuple[str, Callable[[], str]]] = TABLES) -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check, stale = parser.parse_args().check, 0
    for page, text in pages(tables).items():
        if page.read_text() == text:
            continue
        stale += 1
        print(f"{page.relative_to(DOCS.parent)} {'has an old table' if check else 'is written'}")
        if not check:
            page.write_text(text)
    return int(bool(check and stale))


if __name__ == "__main__":
    sys.exit(main())
