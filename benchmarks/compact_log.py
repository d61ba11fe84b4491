"""Makes the log of a training run small enough to keep: one table of a few hundred rows.

    python benchmarks/compact_log.py RUN.jsonl OUT.csv [--rows 200] [--digits 5]

RUN.jsonl is the log that `tapetum.train.fit` writes, a line of JSON a step. Rows of the table are means over neighbouring
lines and stand at the last step of them. A line with scores (`eval`) always ends a row, so every score is kept as it was
measured, and there may be a few more rows than asked for. Columns: step, loss, lr, grad_norm, skipped (the sum so far), each
metric, each score as eval/NAME, and time in seconds of that session. Cells are empty where a line did not have the value.
"""

import argparse
import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LAST = "step", "skipped", "time"  # counters: a row has that of its last line, not a mean


def flat(line: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of one line of a log under the names of the table."""
    plain = {name: line[name] for name in ("step", "loss", "lr", "grad_norm", "skipped") if line.get(name) is not None}
    scores = {f"eval/{name}": value for name, value in (line.get("eval") or {}).items()}
    return plain | line.get("metrics", {}) | scores | ({"time": line["time"]} if "time" in line else {})


def rows(lines: Sequence[dict[str, Any]], most: int) -> list[dict[str, float]]:
    """Return about `most` rows: means over neighbouring lines, where each line with scores ends a row."""
    per_row, table, waiting = math.ceil(len(lines) / most), [], []
    for number, line in enumerate(lines):
        waiting.append(flat(line))
        if len(waiting) == per_row or line.get("eval") or number == len(lines) - 1:
            table.append(_mean(waiting))
            waiting = []
    return table


def _mean(lines: list[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for line in lines for name in line)
    values = {name: [line[name] for line in lines if name in line] for name in names}
    return {name: v[-1] if name in LAST else sum(v) / len(v) for name, v in values.items()}


def text(value: float | None, digits: int) -> str:
    """Return a number with so many significant digits, whole numbers as they are."""
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.{digits}g}"


def compact(log: Path, out: Path, most: int = 200, digits: int = 5) -> int:
    """Write the table of the log `log` to `out` and return its number of rows."""
    table = rows([json.loads(line) for line in log.read_text().splitlines()], most)
    names = list(dict.fromkeys(name for row in table for name in row if name != "time"))
    names.sort(key=lambda name: name.startswith("eval/"))
    if any("time" in row for row in table):
        names.append("time")
    with out.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([text(row.get(name), digits if name != "time" else 4) for name in names] for row in table)
    return len(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--digits", type=int, default=5)
    options = parser.parse_args()
    count = compact(options.log, options.out, options.rows, options.digits)
    print(f"{options.out}: {count} rows, {options.out.stat().st_size:,} of {options.log.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
