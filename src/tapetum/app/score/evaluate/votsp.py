"""`tapetum.evaluate_votsp`: evaluates a point tracker on VOTSp, here or under the VOT toolkit."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from tapetum.app.commands import Device
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput
from tapetum.tracks.points import check_support


@dataclass(frozen=True, kw_only=True)
class VotspOptions:
    """Score a point tracker on VOTSp, the point tracking challenge of VOT, or be the tracker that the VOT toolkit runs.

    For the toolkit, trackers.ini has: protocol = folder, command = tapetum eval votsp --folder .
    """

    data: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """Workspace or data set of the toolkit, whose sequences are tracked and scored."""
    folder: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder that the toolkit made for a tracker, with frames_color.txt and query_ID.txt; output_ID.txt are written into it."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|FILE")] = "tapir-nano"
    """Name of weights (see: tapetum weights list), a file of weights, FILE.py:CLASS of your own, or static (no motion)."""
    support: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Points that are tracked around each and not scored, a grid; TAPNext++ was published with 64."""
    device: Device = "auto"

    def check(self) -> None:
        check_support(self.support)
        if (self.data is None) == (self.folder is None):
            raise BadInput(
                "give --data with sequences to be scored, or --folder with a task of the VOT toolkit: one of the two"
            )


@dataclass(frozen=True, kw_only=True)
class VotspScores(Result):
    """Scores on VOTSp from 0 to 1, or the tracks that were written for the toolkit."""

    model: str
    table: dict[str, Any] | None = None
    """`d_avg`, `d_1` ... `d_16` (0..1), `frames` that count, `seconds` of tracking, and `sequences`, a row for each."""
    outputs: tuple[Path, ...] = ()
    """Files that were written for the toolkit."""

    def as_json(self) -> dict[str, Any]:
        return {
            "benchmark": "votsp",
            "model": self.model,
            **(self.table or {}),
            "outputs": [str(path) for path in self.outputs],
        }

    def as_text(self) -> str:
        if self.table is None:
            return f"tracked {len(self.outputs)} points with {self.model} into {self.outputs[0].parent}"
        names = [name for name in self.table if name.startswith("d_")]
        rows = [*self.table["sequences"], {"name": "all frames", **self.table}]
        width = max(len(row["name"]) for row in rows)
        lines = [f"{'sequence':{width}}  " + " ".join(f"{name:>6}" for name in names)]
        lines += [f"{row['name']:{width}}  " + " ".join(f"{row[name]:6.3f}" for name in names) for row in rows]
        points = sum(row["points"] for row in self.table["sequences"])
        summary = f"{points} points in {len(rows) - 1} sequences, {self.table['frames']} frames count"
        return "\n".join([*lines, "", f"{summary}; tracked in {self.table['seconds']:.1f} s"])


@verb(VotspOptions, data=("data",))
def evaluate_votsp(options: VotspOptions, listener: Listener) -> VotspScores:
    """Score a point tracker on VOTSp, or track the points of a folder made by the VOT toolkit.

    Raises BadInput for missing or damaged files, and an unknown tracker.
    """
    options.check()
    from tapetum.bench.baselines import load_tracker
    from tapetum.bench.votsp import Votsp, track_task
    from tapetum.core.plugins import reference_label
    from tapetum.tracks.votsp import read_task, write_outputs

    model = reference_label(options.model)
    if options.folder is not None:
        task = read_task(options.folder)
        tracker = load_tracker(options.model, options.device)
        listener.status("tracking")
        xy = track_task(tracker, task, options.support)
        return VotspScores(model=model, outputs=tuple(write_outputs(options.folder, task, xy)))
    tracker, benchmark, rows = load_tracker(options.model, options.device), Votsp("votsp", options.support), []
    for done, (name, place) in enumerate(benchmark.items(Path(str(options.data))).items(), 1):
        rows.append({"name": name, **benchmark.score(tracker, place)})
        listener.progress("sequences", done, None)
    table = dict(benchmark.summary(rows))
    listed = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
    return VotspScores(model=model, table={**table, "sequences": listed})
