"""`tapetum study`: a resumable sweep of pre-training methods over budgets of FLOPs, and its report."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tapetum.app.commands import Group
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.addresses import is_address
from tapetum.core.fields import check_options


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Pre-train by many methods, sizes, budgets and kinds of data, and transfer each; the same command goes on after a stop.

    The FLOPs left are said before it begins. A killed study loses at most what lies between two checkpoints of one point.
    """

    plan: Annotated[str, tyro.conf.arg(metavar="NAME|FILE.toml")] = "small"
    """What is compared: tiny (minutes, to see that it works), small (an afternoon of one core), paper (accelerators), or a file
    written like them."""
    out: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """Folder of the study; the same command goes on in it."""
    images: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """Labelled images to learn from, as tapetum pretrain --data takes them, or their address; by default shapes that are made
    up. Addresses in a plan are taken too."""
    pixels: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """Images with a class for every pixel, to which all networks are transferred, or their address; by default shapes too."""
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
    """Count the FLOPs of the points that are left, and do nothing."""


@dataclass(frozen=True, kw_only=True)
class StudyDone(Result):
    """Result of `run`."""

    out: Path
    table: Path | None
    """A line of JSON for each point that is done; None where nothing was done but to say what it costs."""
    done: int
    """Points that are done, in this call and before, of those `planned`."""
    planned: int
    stopped: bool
    """A signal ended it; the same call goes on."""

    def as_json(self) -> dict[str, Any]:
        table = None if self.table is None else str(self.table)
        return {"out": str(self.out), "table": table, "done": self.done, "wanted": self.planned, "stopped": self.stopped}

    @property
    def goes_on_from(self) -> Path | None:
        return self.out if self.stopped else None

    def as_text(self) -> str:
        lines = [f"{self.done} of {self.planned} points"]
        lines[0] += f"; the same command goes on in {self.out}" if self.stopped else ""
        if self.table is not None:
            lines += [f"table   {self.table}", f"report  tapetum study report {self.out}"]
        return "\n".join(lines)


@verb(RunOptions, apart=("images", "pixels"), data=("plan",))
def run(options: RunOptions, listener: Listener) -> StudyDone:
    """Run the unfinished points of a study. The listener receives the FLOPs left, and each point.

    Raises BadInput for an invalid plan or invalid data, and a folder of another study.
    """
    check_options(options, most="[1, inf)", threads="[1, inf)", workers="[1, inf)")
    import torch

    from tapetum.data.remote_folder import local_data
    from tapetum.systems.pretraining.study.plan import data_contents, load_plan
    from tapetum.systems.pretraining.study.sweep import TABLE, predict_study, run_study

    torch.set_num_threads(options.threads)
    given = options.images, options.pixels
    images, pixels = (each if each is None or is_address(each) else Path(each).absolute() for each in given)
    source, out = load_plan(options.plan, images and str(images), pixels and str(pixels), options.layout), Path(options.out)
    with ExitStack() as copies:
        plan = source.read()
        parts: Any = plan.images, plan.pixels, *plan.sources.values()
        if any(is_address(part.data) for part in parts):
            listener.status("copying data to this machine")
            images, pixels, *others = (copies.enter_context(local_data(part, ("data",))) for part in parts)
            plan = replace(plan, images=images, pixels=pixels, sources=dict(zip(plan.sources, others, strict=True)))
            listener.status("")
        costs = predict_study(replace(source, contents=data_contents(plan)), out, listener.note, plan)
        planned, done = len(costs.points), len(costs.points) - len(costs.left)
        if options.dry:
            return StudyDone(out=out, table=None, done=done, planned=planned, stopped=False)
        rows = run_study(costs, engine=options.engine, workers=options.workers, most=options.most, say=listener.note)
    table = out / TABLE
    return StudyDone(out=out, table=table, done=len(rows.rows), planned=planned, stopped=rows.stopped)


@dataclass(frozen=True)
class ReportOptions:
    """Write the Pareto front and crossings of a study as JSON, finished or not, and print its table."""

    out: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="DIR")]
    """Folder of a study, finished or not."""


@dataclass(frozen=True, kw_only=True)
class Reported(Result):
    """A report."""

    results: Path
    """Front and crossings as JSON."""
    points: int
    """Points that are done, of those `planned`."""
    planned: int
    table: str
    """All settings that are done, a line each."""

    def as_json(self) -> dict[str, Any]:
        return {"results": str(self.results), "points": self.points, "wanted": self.planned}

    def as_text(self) -> str:
        return f"{self.table}\npoints   {self.points} of {self.planned}\nresults  {self.results}"


@verb(ReportOptions)
def report(options: ReportOptions, listener: Listener) -> Reported:
    """Report a study's finished points. Raises BadInput if the folder is not a study, or nothing is finished."""
    from tapetum.systems.pretraining.study.results import RESULTS, read_results, results_table, write_results

    path = Path(options.out) / RESULTS
    results = read_results(Path(options.out))
    write_results(results, path)
    planned = len(results.plan.points())
    return Reported(results=path, points=len(results.rows), planned=planned, table=results_table(results))


COMMANDS = Group(
    """Find where FLOPs of pre-training are best spent: methods, sizes, budgets and data under one meter.""",
    {"run": run, "report": report},
)
