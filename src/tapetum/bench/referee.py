"""One model on every benchmark of `tapetum.bench.BENCHMARKS` whose files are there, each in a folder of its name.

ROOT/davis, ROOT/tapvid-davis, ROOT/egoschema ...       data, in its official layout
OUT/davis/rows.jsonl, scores.json, ledger.json ...      of each benchmark, so that a stopped run goes on
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tapetum.account.ledger import read
from tapetum.bench import BENCHMARKS
from tapetum.bench.own import LEDGER, Benchmark, evaluate, make_benchmark
from tapetum.core.errors import BadInput
from tapetum.metrics.statistics import bootstrap_interval


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a model reaches on one benchmark, or why it was left out."""

    benchmark: str
    score: str = ""
    """Name of the headline."""
    value: float | None = None
    interval: tuple[float, float] | None = None
    """At 95 % confidence, by the bootstrap over items; None for a single item."""
    items: int = 0
    wall_seconds: float | None = None
    """Of all sessions of this benchmark in the folder."""
    energy_kwh: float | None = None
    left_out: str = ""
    """Why there is no score: the model, or the files."""


def evaluate_everything(
    model: str,
    root: Path,
    out: Path,
    *,
    device: str | None = None,
    limit: int | None = None,
    note: Callable[[str], None] = lambda text: None,
    progress: Callable[[str], Callable[[int, int], None]] = lambda name: lambda done, total: None,
) -> Iterator[Standing]:
    """Score a model on each benchmark that has a folder below `root`; yields as they are done, finished ones from `out`.

    `progress` gives, for the name of a benchmark, what is called with done and all items. Raises BadInput if there is no such
    folder; benchmarks that refuse the model or their files are yielded with the reason.
    """
    names = [name for name in BENCHMARKS if (root / name).is_dir()]
    if not names:
        raise BadInput(f"{root} has no folder of a benchmark; put data into one of {', '.join(BENCHMARKS)}")
    for name in names:
        benchmark = make_benchmark(name)
        try:
            result = evaluate(
                name, root / name, model, out=out / name, device=device, limit=limit, note=note, progress=progress(name)
            )
        except BadInput as error:
            yield Standing(benchmark=name, left_out=str(error))
            continue
        headline = benchmark.headline or next(iter(result.scores))
        ledger = out / name / LEDGER
        spent = read(ledger)["total"] if ledger.is_file() else {}
        yield Standing(
            benchmark=name,
            score=headline,
            value=result.scores.get(headline),
            interval=_interval(benchmark, list(result.rows.values()), headline),
            items=len(result.rows),
            wall_seconds=spent.get("wall_seconds"),
            energy_kwh=spent.get("energy_kwh"),
        )


def _interval(benchmark: Benchmark, rows: list[Mapping[str, float]], headline: str) -> tuple[float, float] | None:
    if len(rows) < 2:
        return None

    def redo(numbers: np.ndarray) -> float:
        return float(benchmark.summary([rows[int(k)] for k in numbers]).get(headline, math.nan))

    low, high = bootstrap_interval(np.arange(len(rows)), statistic=redo, draws=400)
    return None if math.isnan(low + high) else (low, high)
