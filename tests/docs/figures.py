"""Figures of the pages and the raw files they were rounded from: lists those that name none, and recomputes the rest.

    python tests/docs/figures.py    # those that name none, or another number, and how many there are in all

A figure is a decimal number, or a number with a unit of time, memory or %. A paragraph, an item of a list or a table says where
its figures are from in comments of itself, of which there may be several:

    <!-- from tapvid3d/results.json: trackers/*/scalings/median; scenes -->
    <!-- from tests/layers/test_cpu.py -->

The first names a file below evidence/ (JSON, lines of JSON, or CSV, whose columns are keys) and keys, whose parts are joined by
/ and may have `*`; a key stands for all that is below it. A figure holds if one of these numbers, or the mean or the median of
those that one key stands for, rounds to it, in the figure's unit or as a hundredth. A figure with a sign has the number's; so
has one without in a table or an interval, which is positive; elsewhere words say it ("0.1 less"). In a table the numbers go on,
in the order of the comments, along each row and down each column: name the keys by rows or by columns. The second names a test.

No figures: what stands in code, in rendered tables (`page_tables.py`, `benchmarks/claims.py`), headings and versions; what a
block quotes from a paper, by its arXiv number; and settings, which follow one of the words in `SETTING`.
"""

import csv
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from statistics import fmean, median
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDERS = "docs/models", "docs/evidence", "docs/systems"
MOST_NUMBERS = 400
"""That the keys of one comment may stand for: with more, some number would round to any figure."""
SCALES: Mapping[str, Sequence[float]] = {
    "": (1, 100),
    "%": (1, 100),
    "µs": (1, 1e6, 1e3),
    "ms": (1, 1e3, 1e-3),
    "s": (1, 1e-3),
    "minutes": (1, 1 / 60),
    "hours": (1, 1 / 3600),
    "KB": (1, 1e-3, 2**-10),
    "MB": (1, 1e-6, 1e-3),
    "GB": (1, 1e-9, 1e-3, 1e-6),
    "MiB": (1, 2**-20, 2**-10),
    "GiB": (1, 2**-30, 2**-20, 2**-10),
}
"""Factors from a raw number to a figure, by the figure's unit."""
_UNITS = {"seconds": "s", "second": "s", "minute": "minutes", "hour": "hours", "core-hours": "hours", "KiB": "KB"}
_UNIT = r"%|µs|ms|s|seconds?|CPU seconds|CPU minutes|minutes?|core-hours|hours?|KB|KiB|MB|MiB|GB|GiB"
_NUMBER = re.compile(
    rf"(?<![\w.,/:~^x-])(?P<sign>[-−+]?)(?P<number>\d[\d,]*\.\d+(?:e-?\d+)?|\d[\d,]*(?=\s(?:{_UNIT})(?!\w)))(?![.,/]?\d)"
    rf"(?:\s?(?P<unit>{_UNIT})(?!\w))?"
)
_SPAN = re.compile(r"[(\[][-−+]?\d[\d.,e-]*(?: %)?(?: to |, )[-−+]?\d[\d.,e-]*(?: %)?[)\]]")
"""An interval, whose ends have signs of their own."""
VERSION = re.compile(
    r"95 %|(?:torch|torchvision|TensorFlow|PyAV|WordNet|Python|"
    r"numpy|scipy|MuJoCo|mujoco|OpenCV|transformers|timm|lightly|pycolmap|glibc|CUDA|FFmpeg|"
    r"Node|Ray|jax|flax|version|versions|onnxruntime|BY|BY-SA|BY-NC|BY-NC-ND|section|table|figure|§) \d[\d.]*|Apache-2\.0"
)
"""What has a number in its name, and the level of intervals."""
SETTING = re.compile(
    r"(?:learning rate|rate|rates|decay|momentum|weight|weights|weighted|temperature|dropout|threshold|limit|limits|factor|"
    r"probability|at least|at most|above|below|less than|more than|over|under|up to|within|every|first|goal was|goal|bound|"
    r"delta|power|eps|epsilon|fraction|default|defaults to|ratio|scale|crop of|lr|beta|betas)"
    r"(?: (?:of|is|to|was|from|the))* [-−]?$"
    r"|goals were (?:[\d.]+ \([^)]*\),? (?:and )?)*$"
)
"""Words directly before a setting or a bound."""
_TABLE = re.compile(r"<!-- table .*?<!-- end of table -->", re.DOTALL)
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_SOURCE = re.compile(r"<!-- from (?P<file>[^:\s]+)(?:: (?P<keys>.*?))? -->", re.DOTALL)
_ARXIV = re.compile(r"\b\d{4}\.\d{4,5}\b")


@dataclass(frozen=True)
class Figure:
    page: str
    line: int
    number: str
    unit: str
    block: str
    """Text around it: a paragraph, an item, a table."""
    sign: str = ""
    """+ or -; nothing where words say it."""
    column: int | None = None
    """Of a table."""

    def rounds(self, value: float) -> bool:
        """Check whether a raw number rounds to this figure, with its sign."""
        digits = self.number.replace(",", "")
        places = len(digits.partition("e")[0].partition(".")[2])
        value = {"+": value, "-": -value, "": abs(value)}[self.sign]
        if "e" in digits:
            return any(f"{value * by:.{places}e}" == f"{float(digits):.{places}e}" for by in SCALES[self.unit])
        return any(abs(value * by - float(digits)) <= 0.5 * 10**-places * (1 + 1e-6) for by in SCALES[self.unit])


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))]


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """Yield paragraphs, items of lists and tables, with the numbers of their first lines; without code and rendered tables."""
    for part in (_FENCE, _TABLE):
        text = part.sub(lambda match: "\n" * match[0].count("\n"), text)
    held, begin = list[str](), 1
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if not line.strip() or re.match(r"\s*(?:[-*]|\d+\.) |#", line):
            if held:
                yield begin, "\n".join(held)
            held, begin = [], number
        if line.strip() and not line.startswith("#"):
            begin = begin if held else number
            held.append(line)


def figures(page: Path, text: str | None = None) -> list[Figure]:
    result, cited = list[Figure](), False
    for begin, block in blocks(page.read_text(encoding="utf-8") if text is None else text):
        table = block.startswith("|")
        cited = (table and cited) or bool(_ARXIV.search(block))  # a table belongs to the paragraph before it
        if cited:
            continue
        clean = re.sub(
            r"`[^`]*`|\]\([^)]*\)|<!--.*?-->|https?://\S+", lambda match: " " * len(match[0]), block, flags=re.DOTALL
        )
        clean = VERSION.sub(lambda match: " " * len(match[0]), clean)
        spans = [match.span() for match in _SPAN.finditer(clean)]
        for match in _NUMBER.finditer(clean):
            before = re.sub(r"\s+", " ", clean[: match.start()])
            if SETTING.search(before):
                continue
            unit = (match["unit"] or "").removeprefix("CPU ")
            line = begin + clean[: match.start()].count("\n")
            sign = match["sign"].replace("−", "-")
            if not sign and (table or any(low < match.start() < high for low, high in spans)):
                sign = "+"
            column = clean[clean.rfind("\n", 0, match.start()) + 1 : match.start()].count("|") if table else None
            result.append(Figure(page.name, line, match["number"], _UNITS.get(unit, unit), block, sign, column))
    return result


@cache
def numbers_of(file: Path) -> Mapping[str, float]:
    if file.suffix == ".csv":
        with file.open(encoding="utf-8", newline="") as rows:
            content: Any = list(csv.DictReader(rows))
    elif file.suffix == ".jsonl":
        content = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    else:
        content = json.loads(file.read_text(encoding="utf-8"))
    return dict(_leaves(content, ""))


def _leaves(content: Any, key: str) -> Iterator[tuple[str, float]]:
    if isinstance(content, Mapping):
        items = content.items()
    elif isinstance(content, Sequence) and not isinstance(content, str):
        items = enumerate(content)
    else:
        try:
            if not isinstance(content, bool) and content is not None:
                yield key, float(content)
        except (TypeError, ValueError):
            return
        return
    for name, value in items:
        yield from _leaves(value, f"{key}/{name}" if key else str(name))


def choose(numbers: Mapping[str, float], key: str) -> list[float]:
    return [value for name, value in numbers.items() if fnmatchcase(name, key) or fnmatchcase(name, f"{key}/*")]


def places(figure: Figure) -> list[float]:
    """Find where the comments of a figure's block have it, in their order; what a test has is anywhere.

    Raises AssertionError for a key without a number.
    """
    found, begin = list[float](), 0
    for source in _SOURCE.finditer(figure.block):
        where = f"{figure.page}: {source[0]}"
        if source["keys"] is None:
            if figure.number in (ROOT / source["file"]).read_text(encoding="utf-8"):
                found.append(math.inf)
            continue
        keys = (" ".join(key.split()) for key in source["keys"].split(";"))
        groups = [choose(numbers_of(ROOT / "evidence" / source["file"]), key) for key in keys]
        assert all(groups), f"{where} names a key that is not there"
        assert sum(map(len, groups)) <= MOST_NUMBERS, f"{where} stands for more than {MOST_NUMBERS} numbers; name narrower keys"
        for group in groups:
            found += [begin + k for k, value in enumerate(group) if figure.rounds(value)]
            begin += len(group)
            if len(group) > 1 and any(figure.rounds(value) for value in (fmean(group), median(group))):
                found.append(begin)
            begin += 1
    return found


def missing(some: Sequence[Figure]) -> list[Figure]:
    """Find the figures that their comments do not have, or, in a table, not behind what is to the left and above."""
    lost, last = list[Figure](), dict[tuple[str, int, int], float]()
    for number, each in enumerate(some):
        found = sorted(places(each))
        if found and each.column is not None:
            nth = sum((other.line, other.column) == (each.line, each.column) for other in some[:number])
            row, column = (each.block, -1, each.line), (each.block, each.column, nth)
            behind = max(last.get(row, -1), last.get(column, -1))
            found = [place for place in found if place > behind or place == math.inf]
            if found and found[0] < math.inf:
                last[row] = last[column] = found[0]
        if not found:
            lost.append(each)
    return lost


def without_source() -> dict[str, list[Figure]]:
    """Find, by page, the figures that name no raw file and no test that they are equal to."""
    found = {str(page.relative_to(ROOT)): missing(figures(page)) for page in pages()}
    return {name: each for name, each in found.items() if each}


def main() -> int:
    """Print the figures without a source, and how many there are in all."""
    found = without_source()
    for name, some in found.items():
        for each in some:
            print(f"{name}:{each.line}: {each.number} {each.unit}")
    print(f"{sum(map(len, found.values()))} of {sum(len(figures(each)) for each in pages())} figures have no source")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
