"""`tapetum.app.study`: a sweep of pre-training methods over budgets of FLOPs, which goes on after a stop, and its report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tapetum.app.commands import Command, Group, with_json
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Pre-train by many methods, sizes, budgets and kinds of data, and transfer each; the same command goes on after a stop.

    What it costs is said before it begins. A killed study loses at most what lies between two checkpoints of one point.
    """

    plan: Annotated[str, tyro.conf.arg(metavar="NAME|FILE.toml")] = "small"
    """What is compared: tiny (minutes, to see that it works), small (an afternoon of one core), paper (accelerators), or a file
    written like them."""
    out: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """Folder of the study; the same command goes on in it."""
    images: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """Labelled images to learn from, as tapetum pretrain --data takes them; by default shapes that are made up."""
    pixels: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """Images with a class for every pixel, to which all networks are transferred; by default shapes too."""
    layout: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """How the files of --pixels lie: parquet, ade20k, camvid, cityscapes or voc; by default as the plan has it."""
    engine: Literal["local", "ray"] = "local"
    """What works on the points: processes of this machine, or Ray on a cluster or this machine (needs tapetum[cluster])."""
    workers: int = 1
    """Points that are worked on at a time on this machine, each by a process of its own."""
    most: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Do so many points at most; the same command goes on."""
    threads: int = 1
    """Threads of torch for a point."""
    dry: bool = False
    """Say what it will cost, and do nothing."""


@dataclass(frozen=True, kw_only=True)
class StudyDone(Result):
    """Result of `run`."""

    out: Path
    """Folder of the study."""
    table: Path | None
    """A line of JSON for each point that is done; None where nothing was done but to say what it costs."""
    done: int
    """Points that are done, in this call and before."""
    planned: int
    """Points of the plan."""
    stopped: bool
    """A signal ended it; the same call goes on."""

    def as_json(self) -> dict[str, Any]:
        """Summarise."""
        table = None if self.table is None else str(self.table)
        return {"out": str(self.out), "table": table, "done": self.done, "wanted": self.planned, "stopped": self.stopped}

    @property
    def goes_on_from(self) -> Path | None:
        """Get the folder of the study, where a signal stopped it."""
        return self.out if self.stopped else None

    def as_text(self) -> str:
        """Count the points, and say where the table is."""
        lines = [f"{self.done} of {self.planned} points"]
        lines[0] += f"; the same command goes on in {self.out}" if self.stopped else ""
        if self.table is not None:
            lines += [f"table   {self.table}", f"report  tapetum study report {self.out}"]
        return "\n".join(lines)


@verb(RunOptions, apart=("images", "pixels"))
def run(options: RunOptions, listener: Listener) -> StudyDone:
    """Run the points of a study that are not done. The listener receives what it will cost, and each point.

    Raises BadInput for a plan or data that don't do, and a folder of another study.
    """
    for name in ("most", "threads", "workers"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise BadInput(f"--{name} {value}: wanted 1 or more")
    import torch

    from tapetum.systems.pretraining.study.plan import load_plan
    from tapetum.systems.pretraining.study.sweep import TABLE, predict_study, run_study

    torch.set_num_threads(options.threads)
    images, pixels = (None if place is None else str(Path(place).absolute()) for place in (options.images, options.pixels))
    plan, out = load_plan(options.plan, images, pixels, options.layout), Path(options.out)
    costs = predict_study(plan, out, listener.note)
    planned, done = len(costs.points), len(costs.points) - len(costs.left)
    if options.dry:
        return StudyDone(out=out, table=None, done=done, planned=planned, stopped=False)
    rows = run_study(costs, engine=options.engine, workers=options.workers, most=options.most, say=listener.note)
    table = out / TABLE
    return StudyDone(out=out, table=table, done=rows.done, planned=planned, stopped=rows.stopped)


@dataclass(frozen=True)
class ReportOptions:
    """Write the report of a study, finished or not: charts, Pareto front, crossings and claims in one HTML file."""

    out: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="DIR")]
    """Folder of a study, finished or not."""


@dataclass(frozen=True, kw_only=True)
class Reported(Result):
    """A report."""

    report: Path
    """One HTML file with all in it."""
    results: Path
    """Claims, fronts and crossings as JSON."""
    points: int
    """Points that are done."""
    planned: int
    """Points of the plan."""
    claims: dict[str, str]
    """Verdicts by the names of the claims: held, falsified, undecided."""

    def as_json(self) -> dict[str, Any]:
        """Summarise."""
        paths = {"report": str(self.report), "results": str(self.results)}
        return {**paths, "points": self.points, "wanted": self.planned, "claims": self.claims}

    def as_text(self) -> str:
        """Count the points, and list the claims."""
        claims = ", ".join(f"{name} {verdict}" for name, verdict in self.claims.items())
        return f"points  {self.points} of {self.planned}\nclaims  {claims}\nreport  {self.report}"


@verb(ReportOptions)
def report(options: ReportOptions, listener: Listener) -> Reported:
    """Write the report of what is done of a study. Raises BadInput for a folder of none, and where nothing is done yet."""
    from tapetum.systems.pretraining.study.page import REPORT, write_report
    from tapetum.systems.pretraining.study.results import RESULTS, studied, write_results

    out = Path(options.out)
    results = studied(out)
    write_results(results, out / RESULTS)
    write_report(results, out / REPORT)
    return Reported(
        report=out / REPORT,
        results=out / RESULTS,
        points=len(results.rows),
        planned=results.planned,
        claims={claim.name: claim.verdict for claim in results.claims},
    )


def _run(given: Any, listener: Listener) -> StudyDone:
    from tapetum.core.allocator import keep_freed_memory

    keep_freed_memory()
    return run.run(given, listener)


COMMANDS = Group(
    """Find where FLOPs of pre-training are best spent: methods, sizes, budgets and data under one meter.""",
    {"run": Command(with_json(RunOptions), _run), "report": report},
)
