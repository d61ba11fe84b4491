"""A benchmark as a class that lists items and scores a model on each: built in (`tapetum.bench.BENCHMARKS`), or user-defined
(docs/guides/bring-your-own.md).

Items are scored one after the other. With a folder, each score is saved at once, so the same call resumes a stopped evaluation;
a row is recomputed if the class, the weights or the item have changed. The cost is in the folder's ledger.
"""

import math
import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.account.flops import count_flops
from tapetum.account.ledger import Gpu, Ledger
from tapetum.bench import BENCHMARKS
from tapetum.core.errors import BadInput
from tapetum.core.files import write_json
from tapetum.core.finished import Rows
from tapetum.core.identity import fingerprint
from tapetum.core.jobs import run_jobs
from tapetum.core.plugins import record_of_class, reference_label, resolve_subclass, split_reference
from tapetum.metrics.statistics import bootstrap_interval

ROWS, SCORES, LEDGER = "rows.jsonl", "scores.json", "ledger.json"


class Benchmark(ABC):
    """A benchmark; subclass it to define your own."""

    headline: str = ""
    """The score that papers report, whose interval is computed; "" is the first."""

    limit: int | None = None
    """Of `evaluate`, for a class with an item that is a whole set."""

    def __init__(self, name: str = ""):
        """`name` in `tapetum.bench.BENCHMARKS`: a class may serve several."""
        self.name = name

    @abstractmethod
    def items(self, data: Path) -> Mapping[str, Any]:
        """List what is scored, each item under a unique name: files, JSON values, arrays, dataclasses or tuples of these."""

    @abstractmethod
    def score(self, model: Any, item: Any) -> Mapping[str, float]:
        """Compute the scores of an item; omit scores that it lacks."""

    def load(self, model: str, device: str | None) -> Any:
        """Load the model: by default as `tapetum.load` does; `tapetum.bench.baselines.load_tracker` loads trackers."""
        from tapetum.hub.loading import load

        return load(model, device)

    def summary(self, rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """Compute the overall scores: by default means over the items that have them."""
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: statistics.fmean(row[name] for row in rows if name in row) for name in names}


@dataclass(frozen=True)
class BenchmarkScores:
    """What a benchmark of the user's own gives."""

    benchmark: str
    model: str
    scores: Mapping[str, float]
    rows: Mapping[str, Mapping[str, float]]


def evaluate(
    reference: str,
    data: Path,
    model: str,
    *,
    out: Path | None = None,
    device: str | None = None,
    limit: int | None = None,
    note: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BenchmarkScores:
    """Score a model on the benchmark named by a reference (`tapetum.core.plugins`).

    `reference` is FILE.py:CLASS, package.module:CLASS, an entry point, or a name in `tapetum.bench.BENCHMARKS`; `data`, `model`
    and `device` are what its class reads and loads. `out` is the folder of rows, scores and ledger, from which a stopped call
    resumes; only the first `limit` items are scored. `note` receives a line with the number of rows of other weights, code or
    items, which are recomputed; `progress` the items that are done and all.

    Raises BadInput for a class that is no benchmark or incomplete, that lists nothing, and for scores that are not numbers.
    """
    benchmark, label = make_benchmark(reference), reference_label(reference)
    reference, benchmark.limit = BENCHMARKS.get(reference, reference), limit
    items = dict(list(dict(benchmark.items(data)).items())[:limit])
    if not items:
        raise BadInput(f"{label} lists nothing to be scored in {data}; give other data")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    settings = {**record_of_class(reference, "benchmark"), "model": model_identity(model)}
    with Rows(out and out / ROWS, settings, note) as rows:
        stamps = {name: rows.stamp(item=item) for name, item in items.items()}
        done = {name: row for name in items if (row := rows.get(name, stamps[name])) is not None}
        missing = [name for name in items if name not in done]
        ledger = Ledger(out / LEDGER, settings, gpus=_gpus(device)) if out is not None and missing else None
        try:
            for number, (scores, flops) in run_jobs(
                lambda name, loaded: count_score(benchmark, loaded, items[name], f"{label}: {name}"),
                missing,
                lambda: benchmark.load(model, device),
                finished=len(done),
                progress=progress,
            ):
                done[missing[number]] = scores
                rows.add(missing[number], stamps[missing[number]], scores)
                if ledger is not None:
                    ledger.flops_per_step = {"items/forward": flops}
                    ledger.add(steps=1, samples=1)
        finally:
            if ledger is not None:
                ledger.write()
    result = BenchmarkScores(
        benchmark=label,
        model=reference_label(model),
        scores=_numbers(benchmark.summary([done[name] for name in items]), label),
        rows={name: done[name] for name in items},
    )
    if out is not None:
        about = {"benchmark": result.benchmark, "model": result.model, "items": len(items), "scores": result.scores}
        write_json(out / SCORES, about)
    return result


def make_benchmark(reference: str) -> Benchmark:
    """Make the benchmark of a name in `BENCHMARKS`, or of the user's own. Raises BadInput as `resolve_subclass`."""
    kind = resolve_subclass(BENCHMARKS.get(reference, reference), "benchmark", Benchmark)
    return kind(reference) if reference in BENCHMARKS else kind()


def count_score(benchmark: Benchmark, model: Any, item: Any, what: str) -> tuple[dict[str, float], int]:
    """Compute the scores of an item, and the FLOPs used. Raises BadInput if they are not numbers."""
    import torch

    scores: list[dict[str, float]] = []
    with torch.no_grad():
        counted = count_flops(lambda: scores.append(_numbers(benchmark.score(model, item), what)))
    return scores[0], counted.total


def model_identity(model: str) -> list[str]:
    """Identify weights, and user code, by their names without folders and fingerprints of their files."""
    reference, file = split_reference(model, "encoder")
    code = reference.rpartition(":")[0]
    files = [Path(text) for text in (file, code, model) if text and Path(text).exists()]
    return [Path(file).name, reference_label(reference) if code else Path(model).name, *map(fingerprint, files)]


def _numbers(scores: Any, what: str) -> dict[str, float]:
    if not isinstance(scores, Mapping) or not scores:
        raise BadInput(f"{what}: the scores are a {type(scores).__name__}; give a dict of numbers by name")
    values = {str(name): value.item() if hasattr(value, "item") else value for name, value in scores.items()}
    for name, value in values.items():
        if not isinstance(value, Real) or not math.isfinite(value):
            raise BadInput(f"{what}: {name} is {str(value)[:40]!r}; give a finite number, or leave out what cannot be counted")
    return {name: float(value) for name, value in values.items()}


def _gpus(device: str | None) -> list[Gpu]:
    if not str(device).startswith("cuda"):
        return []
    import torch

    about = torch.cuda.get_device_properties(torch.device(str(device)))
    return [Gpu(str(about.uuid), about.name)]


def headline_interval(benchmark: Benchmark, rows: list[Mapping[str, float]], headline: str) -> tuple[float, float] | None:
    """Compute the interval of a score at 95 % confidence by the bootstrap over items; None for a single item."""
    if len(rows) < 2:
        return None

    def redo(numbers: np.ndarray) -> float:
        return float(benchmark.summary([rows[int(k)] for k in numbers]).get(headline, math.nan))

    low, high = bootstrap_interval(np.arange(len(rows)), statistic=redo, draws=400)
    return None if math.isnan(low + high) else (low, high)
