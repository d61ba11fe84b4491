"""The table of a run's curve: means over lines, scores as they were, counters of the last line."""

import csv
import json
from pathlib import Path

from support.scripts import script

compact = script("benchmarks/compact_log.py").compact


def table(tmp_path: Path, lines: list[dict], **options: int) -> list[dict[str, str]]:
    """Write a log of these lines and read the table made of it."""
    log, out = tmp_path / "log.jsonl", tmp_path / "curve.csv"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    compact(log, out, **options)
    with out.open() as file:
        return list(csv.DictReader(file))


def test_rows_are_means_and_every_score_is_kept(tmp_path: Path) -> None:
    lines = [{"step": s, "loss": float(s), "skipped": s // 2, "metrics": {"a": s / 2}, "time": 10.0 * s} for s in range(1, 9)]
    lines[2]["eval"] = {"jaccard": 0.123456789}
    rows = table(tmp_path, lines, most=4, digits=4)
    assert [row["step"] for row in rows] == ["2", "3", "5", "7", "8"]  # pairs, but the score of step 3 ends a row
    assert [row["loss"] for row in rows] == ["1.5", "3", "4.5", "6.5", "8"]
    assert [row["a"] for row in rows] == ["0.75", "1.5", "2.25", "3.25", "4"]
    assert [row["skipped"] for row in rows] == ["1", "1", "2", "3", "4"]
    assert [row["time"] for row in rows] == ["20", "30", "50", "70", "80"]
    assert [row["eval/jaccard"] for row in rows] == ["", "0.1235", "", "", ""]


def test_a_metric_that_some_lines_lack_is_the_mean_of_the_others(tmp_path: Path) -> None:
    rows = table(tmp_path, [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 2.0, "metrics": {"a": 5.0}}], most=1)
    assert rows == [{"step": "2", "loss": "1.5", "a": "5"}]
