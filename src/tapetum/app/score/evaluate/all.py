"""`tapetum.evaluate_all`: evaluates a model on every benchmark whose files are there."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.devices import choose_device
from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    from tapetum.bench.referee import Standing


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
    device: str = "auto"
    """Where to compute: auto takes an accelerator if there is one, else cpu; or cpu, cuda, cuda:1, xpu, mps."""

    def check(self) -> None:
        """Raise `BadInput` for options that cannot work, before any work starts."""
        if self.limit is not None and self.limit < 1:
            raise BadInput(f"--limit is {self.limit}; give 1 or more")
        if not Path(self.data).is_dir():
            raise BadInput(f"there is no folder {self.data}; give the one that has a folder for each benchmark")


@dataclass(frozen=True)
class AllScores(Result):
    """What a model reaches on each benchmark."""

    model: str
    standings: "tuple[Standing, ...]"

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
    """Score a model on every benchmark of this project whose files are there (`tapetum.bench.referee`).

    Benchmarks that refuse the model or their files are listed with the reason. Raises BadInput if no folder is a benchmark's.
    """
    options.check()
    from tapetum.bench.referee import evaluate_everything

    standings = evaluate_everything(
        options.model,
        Path(options.data),
        Path(options.out),
        device=choose_device(options.device),
        limit=options.limit,
        note=listener.note,
        progress=listener.counting,
    )
    return AllScores(model=options.model, standings=tuple(standings))
