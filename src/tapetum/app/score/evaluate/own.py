"""`tapetum.evaluate_own`: evaluates a model on a user-defined benchmark."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.commands import Command, with_json
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.bench import BENCHMARKS
from tapetum.core.devices import choose_device
from tapetum.core.errors import BadInput
from tapetum.core.plugins import is_reference

if TYPE_CHECKING:
    from tapetum.bench.own import BenchmarkScores


@dataclass(frozen=True, kw_only=True)
class OwnBenchmarkOptions:
    """Score a model on your own benchmark."""

    benchmark: tyro.conf.Suppress[str] = ""
    """FILE.py:CLASS, package.module:CLASS, or an entry point."""
    data: Annotated[File, tyro.conf.arg(metavar="DIR|FILE")]
    """What the class reads."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|FILE")]
    """What is scored: a name of weights (see: tapetum weights list), a file, or what else the class loads."""
    out: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of scores, rows and ledger, from which the same command goes on."""
    limit: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Score the first so many items."""
    device: str = "auto"
    """Where to compute: auto takes an accelerator if there is one, else cpu; or cpu, cuda, cuda:1, xpu, mps."""

    def check(self) -> None:
        """Raise `BadInput` for options that cannot work, before any work starts."""
        if not _names_benchmark(self.benchmark):
            raise BadInput(f"there is no benchmark {self.benchmark!r}; give FILE.py:CLASS of your own")
        if self.limit is not None and self.limit < 1:
            raise BadInput(f"--limit is {self.limit}; give 1 or more")


@dataclass(frozen=True)
class OwnScores(Result):
    """Scores on a benchmark of the user's own."""

    result: "BenchmarkScores"

    @property
    def scores(self) -> Mapping[str, float]:
        """Return the overall scores."""
        return self.result.scores

    def as_json(self) -> dict[str, Any]:
        about = {"benchmark": self.result.benchmark, "model": self.result.model, "items": len(self.result.rows)}
        return {**about, "scores": dict(self.scores), "per_item": {name: dict(row) for name, row in self.result.rows.items()}}

    def as_text(self) -> str:
        width = max(map(len, self.scores), default=0)
        lines = [f"{name:{width}}  {value:.4f}" for name, value in self.scores.items()]
        return "\n".join([f"{self.result.benchmark}, {len(self.result.rows)} items, {self.result.model}", *lines])


@verb(OwnBenchmarkOptions, data=("data",))
def evaluate_own(options: OwnBenchmarkOptions, listener: Listener) -> OwnScores:
    """Score a model on a benchmark of your own (`tapetum.bench.own`).

    Raises BadInput for a class that is no benchmark, data without items, non-numeric scores, and what `load` refuses.
    """
    options.check()
    from tapetum.bench.own import evaluate

    if not Path(options.data).exists():
        raise BadInput(f"there is no {options.data}; give the data of the benchmark")
    result = evaluate(
        options.benchmark,
        Path(options.data),
        options.model,
        out=None if options.out is None else Path(options.out),
        device=choose_device(options.device),
        limit=options.limit,
        note=listener.note,
        progress=listener.counting("items"),
    )
    return OwnScores(result)


def _names_benchmark(text: str) -> bool:
    return text in BENCHMARKS or is_reference(text, "benchmark")


def own_command(reference: str) -> Command | None:
    """Build the command of a class by reference, or in `BENCHMARKS`, if the word names one; its code is not run yet."""
    if not _names_benchmark(reference):
        return None

    def work(given: OwnBenchmarkOptions, listener: Listener) -> OwnScores:
        return evaluate_own.run(replace(given, benchmark=reference), listener)

    return Command(with_json(OwnBenchmarkOptions), work)
