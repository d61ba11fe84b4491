"""`tapetum.evaluate_own`: evaluates a model on a user-defined benchmark; `evaluate_all` on each whose files are there."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.commands import Command, Device, with_json
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.bench import BENCHMARKS
from tapetum.core.devices import choose_device
from tapetum.core.errors import BadInput, MissingExtra
from tapetum.core.fields import check_options
from tapetum.core.plugins import is_reference, naming_own_code

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
    device: Device = "auto"

    def check(self) -> None:
        if not _names_benchmark(self.benchmark):
            raise BadInput(f"there is no benchmark {self.benchmark!r}; give FILE.py:CLASS of your own")
        check_options(self, limit="[1, inf)")


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


@dataclass(frozen=True, kw_only=True)
class EvaluateAllOptions:
    """Score a model on every benchmark whose files are there; the same command goes on where it was stopped."""

    model: Annotated[str, tyro.conf.arg(metavar="NAME|FILE")]
    """What is scored: a name of weights (see: tapetum weights list), or a file. Benchmarks that do not fit it are left out."""
    data: Annotated[File, tyro.conf.arg(metavar="ROOT")]
    """Folder with a folder for each benchmark, by its name: davis, tapvid-davis, video-mme ..."""
    out: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """Folder of rows, scores and ledgers, a folder for each benchmark."""
    limit: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Score the first so many items of each: videos, sequences."""
    device: Device = "auto"

    def check(self) -> None:
        check_options(self, limit="[1, inf)")
        if not Path(self.data).is_dir():
            raise BadInput(f"there is no folder {self.data}; give the one that has a folder for each benchmark")


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


@dataclass(frozen=True)
class AllScores(Result):
    """What a model reaches on each benchmark."""

    model: str
    standings: tuple[Standing, ...]

    def as_json(self) -> dict[str, Any]:
        return {"model": self.model, "benchmarks": [asdict(each) for each in self.standings]}

    def as_text(self) -> str:
        rows = [("benchmark", "score", "value", "95 %", "items", "seconds", "kWh")]
        for each in self.standings:
            if each.value is not None:
                ends = "" if each.interval is None else f"{each.interval[0]:.3f} to {each.interval[1]:.3f}"
                seconds, energy = ("" if x is None else f"{x:.3g}" for x in (each.wall_seconds, each.energy_kwh))
                rows.append((each.benchmark, each.score, f"{each.value:.3f}", ends, str(each.items), seconds, energy))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, *(f"{each.benchmark} left out: {each.left_out}" for each in self.standings if each.left_out)])

    def failure(self) -> str | None:
        return None if any(each.value is not None for each in self.standings) else "no benchmark could be scored"


@verb(EvaluateAllOptions, data=("data",))
def evaluate_all(options: EvaluateAllOptions, listener: Listener) -> AllScores:
    """Score a model on every benchmark of this project whose files are there, in folders of their names below `data`.

    Benchmarks that refuse the model or their files are listed with the reason. Raises BadInput if no folder is a benchmark's.
    """
    options.check()
    from tapetum.account.ledger import read
    from tapetum.bench.own import LEDGER, evaluate, headline_interval, make_benchmark

    root, device, standings = Path(options.data), choose_device(options.device), []
    names = [name for name in BENCHMARKS if (root / name).is_dir()]
    if not names:
        raise BadInput(f"{root} has no folder of a benchmark; put data into one of {', '.join(BENCHMARKS)}")
    for name in names:
        benchmark, out = make_benchmark(name), Path(options.out) / name
        how: Any = {"device": device, "limit": options.limit, "note": listener.note, "progress": listener.counting(name)}
        try:
            with naming_own_code():
                result = evaluate(name, root / name, options.model, out=out, **how)
        except (BadInput, MissingExtra) as error:
            listener.note(f"{name} is left out: {error}")
            standings.append(Standing(benchmark=name, left_out=str(error)))
            continue
        headline = benchmark.headline or next(iter(result.scores))
        spent = read(out / LEDGER)["total"] if (out / LEDGER).is_file() else {}
        standings.append(
            Standing(
                benchmark=name,
                score=headline,
                value=result.scores.get(headline),
                interval=headline_interval(benchmark, list(result.rows.values()), headline),
                items=len(result.rows),
                wall_seconds=spent.get("wall_seconds"),
                energy_kwh=spent.get("energy_kwh"),
            )
        )
    return AllScores(model=options.model, standings=tuple(standings))
