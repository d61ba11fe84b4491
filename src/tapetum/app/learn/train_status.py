"""`tapetum train status`: progress of runs, whether they are alive, and their cost so far."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    from tapetum.train.run_status import RunStatus


@dataclass(frozen=True)
class StatusOptions:
    """Say how far runs are: step, loss and its trend, speed, time left, last checkpoint, whether they live, cost so far.

    Nothing is changed; also for runs on several processes and machines, from any machine that sees the folder.
    """

    runs: Annotated[tyro.conf.Positional[tuple[File, ...]], tyro.conf.arg(metavar="RUN")]
    """Folders of runs, or folders with runs in them, such as those of a sweep or the phases of one."""


@dataclass(frozen=True, kw_only=True)
class RunStates(Result):
    """States of runs, in the order of their names."""

    runs: "tuple[RunStatus, ...]"

    def as_json(self) -> dict[str, Any]:
        rows = [{**asdict(run), "run": str(run.run), "alive": run.alive, "share": run.share} for run in self.runs]
        return {"runs": rows}

    def as_text(self) -> str:
        if len(self.runs) == 1:
            return "\n".join(f"{name:11} {text}" for name, text in _lines(self.runs[0]))
        return _table(self.runs)


@verb(StatusOptions)
def status(options: StatusOptions, listener: Listener) -> RunStates:
    """Read the states of runs. Raises BadInput for a folder that neither is a run nor contains any."""
    from tapetum.train.run_status import find_runs, read_status

    if not options.runs:
        raise BadInput("there is no RUN; give folders of runs, such as tapetum train makes")
    known: dict[Path, None] = {}
    for folder in map(Path, options.runs):
        if not folder.is_dir():
            raise BadInput(f"there is no folder {folder}; give the folder of a run, such as tapetum train makes")
        runs = find_runs(folder)
        if not runs:
            raise BadInput(f"{folder} has no log.jsonl, nor has a folder in it; give the folder of a run, --out of its command")
        known |= dict.fromkeys(runs)
    return RunStates(runs=tuple(map(read_status, known)))


def _lines(run: "RunStatus") -> Iterator[tuple[str, str]]:
    yield "run", str(run.run)
    lives = {"training": "its process lives", "finished": "all steps are done", "stopped": "the same command goes on"}
    ago = "" if run.logged_s_ago is None else f"; last line {_time(run.logged_s_ago)} ago"
    yield "state", f"{run.state}, {lives[run.state]}{ago}"
    yield "step", f"{run.step:,}" + (f" of {run.steps:,}, {run.share:.1%}" if run.steps else "")
    if run.loss is not None:
        yield "loss", f"{run.loss:.4g}" + (f", {run.trend} ({run.loss_before:.4g} before)" if run.trend else "")
    if run.samples_per_s is not None:
        yield "speed", f"{run.samples_per_s:.4g} samples/s"
    if run.seconds_left is not None and run.state != "finished":
        yield "left", _time(run.seconds_left)
    if run.checkpoint is not None:
        yield "checkpoint", f"step {run.checkpoint:,}, {_time(run.checkpoint_s_ago or 0)} ago"
    if run.scores:
        yield "scores", ", ".join(f"{name} {value:.4g}" for name, value in run.scores.items()) + f" at step {run.scored_at:,}"
    if (run.processes or 1) > 1:
        machines = "one machine" if (run.machines or 1) == 1 else f"{run.machines} machines"
        yield "processes", f"{run.processes} on {machines}, {run.parallel}"
    if run.wall_seconds is not None and run.cpu_seconds is not None:
        flops = "" if run.flops is None else f", {run.flops:.3g} FLOP"
        yield "cost", f"{run.wall_seconds / 3600:.3g} h wall, {run.cpu_seconds / 3600:.3g} h CPU{flops}"
    if run.energy_kwh is not None and run.co2_kg is not None:
        caveat = "" if run.energy_measured else ", estimated, not measured"
        yield "energy", f"{run.energy_kwh.text('kWh')}, {run.co2_kg.text('kg')} CO2{caveat}"


def _table(runs: "Sequence[RunStatus]") -> str:
    rows = [["run", "state", "step", "done", "loss", "", "samples/s", "left", "checkpoint", "kWh"]]
    for run in runs:
        rows.append(
            [
                str(run.run),
                run.state,
                f"{run.step:,}",
                "" if run.share is None else f"{run.share:.0%}",
                "" if run.loss is None else f"{run.loss:.4g}",
                run.trend or "",
                "" if run.samples_per_s is None else f"{run.samples_per_s:.4g}",
                "" if run.seconds_left is None or run.state == "finished" else _time(run.seconds_left),
                "" if run.checkpoint is None else f"{run.checkpoint:,}",
                "" if run.energy_kwh is None else f"{run.energy_kwh.value:.3g}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = (0, 1, 5)
    return "\n".join(
        "  ".join(f"{c:<{w}}" if k in left else f"{c:>{w}}" for k, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    )


def _time(seconds: float) -> str:
    """Format a duration.

    >>> _time(42), _time(3671), _time(100_000)
    ('42 s', '1:01:11', '27:46:40')
    """
    whole = round(seconds)
    return f"{whole} s" if whole < 100 else f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
