"""`tapetum study`: where FLOPs of pre-training are best spent."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from tapetum.app.shell.allocator import keep_freed_memory
from tapetum.app.shell.output import print_json, stopped, terminal
from tapetum.app.study import ReportOptions, RunOptions, report, run


@dataclass(frozen=True, kw_only=True)
class Run(RunOptions):
    """Pre-train by many methods, sizes, budgets and kinds of data, and transfer each; the same command goes on after a stop.

    What it costs is said before it begins. A killed study loses at most what lies between two checkpoints of one point.
    """

    json: bool = False
    """Print the result as JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        keep_freed_memory()
        with terminal() as listener:
            done = run.run(self, listener)
        if self.json:
            print_json(done.as_json())
            if done.stopped:
                stopped(done.out, None)
            return
        print(f"{done.done} of {done.wanted} points" + (f"; the same command goes on in {done.out}" if done.stopped else ""))
        if done.table is not None:
            print(f"table   {done.table}\nreport  tapetum study report {done.out}")
        if done.stopped:
            stopped(done.out, None)


@dataclass(frozen=True)
class Report(ReportOptions):
    """Write the report of a study, finished or not: charts, Pareto front, crossings and claims in one HTML file."""

    json: bool = False
    """Print the result as JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            made = report.run(self, listener)
        if self.json:
            print_json(made.as_json())
            return
        print(f"points  {made.points} of {made.wanted}")
        print("claims  " + ", ".join(f"{name} {verdict}" for name, verdict in made.claims.items()))
        print(f"report  {made.report}")


Action = (
    Annotated[Run, tyro.conf.subcommand("run", prefix_name=False)]
    | Annotated[Report, tyro.conf.subcommand("report", prefix_name=False)]
)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Find where FLOPs of pre-training are best spent: methods, sizes, budgets and data under one meter."""

    action: Action

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        self.action.run()
