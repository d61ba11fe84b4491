"""`tapetum eval`: a tracker's score on a benchmark, each of which has options of its own."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from tapetum.cli.evaluate3d import TapVid3D
from tapetum.cli.output import note, print_json, progress


@dataclass(frozen=True, kw_only=True)
class TapVid:
    """Score a point tracker on TAP-Vid (DAVIS, RGB-Stacking, Kinetics, RoboTAP).

    Numbers are shares from 0 to 1: average_jaccard, average_pts_within_thresh and occlusion_accuracy.
    """

    data: Annotated[str, tyro.conf.arg(metavar="FILE.pkl")]
    """Pickle of the benchmark, a folder of pickles, or a quoted pattern such as 'kinetics/*.pkl'."""
    mode: Literal["first", "strided"] = "first"
    """Query each point where it is first visible, or on every fifth frame."""
    model: str = "tapir-nano"
    """Name of weights (see: tapetum weights list), a file of weights, or static (no motion at all)."""
    size: int = 256
    """Width and height at which to track; scores are always taken at 256."""
    device: Annotated[str | None, tyro.conf.arg(metavar="DEVICE")] = None
    """Where to compute, such as cpu or cuda; by default cpu."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the result as JSON, with a row for each video."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        from tapetum.bench.baselines import load_tracker
        from tapetum.bench.tapvid import as_json, evaluate

        tracker = load_tracker(self.model, self.device)
        with progress() as bars:
            task = bars.add_task(self.data, total=None)

            def show(name: str, scores: dict[str, float]) -> None:
                bars.update(task, advance=1, description=f"{name} {scores['average_jaccard']:.3f}")

            result = evaluate(tracker, self.data, self.mode, size=self.size, progress=show)
        if any(result["dropped"].values()):
            counts = ", ".join(f"{name} {count}" for name, count in result["dropped"].items() if count)
            note(f"videos in which nothing could be counted, left out of the mean: {counts}")
        if self.json:
            print_json({"benchmark": "tapvid", "model": self.model, **as_json(result)})
        else:
            print(_table(result))


Benchmark = (
    Annotated[TapVid, tyro.conf.subcommand("tapvid", prefix_name=False)]
    | Annotated[TapVid3D, tyro.conf.subcommand("tapvid3d", prefix_name=False)]
)


@dataclass(frozen=True, kw_only=True)
class Eval:
    """Score a tracker, or predictions, on a benchmark: TAP-Vid, or TAPVid-3D in metres."""

    benchmark: Benchmark

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        self.benchmark.run()


def _table(result: dict[str, Any]) -> str:
    names = "average_jaccard", "average_pts_within_thresh", "occlusion_accuracy"
    width = max(len("mean"), *(len(row["name"]) for row in result["per_video"]))
    lines = [f"{'video':{width}}      AJ   <avg     OA"]
    lines += [
        f"{row['name']:{width}}  " + " ".join(f"{row[name]:6.3f}" for name in names)
        for row in [*result["per_video"], {"name": "mean", **result}]
    ]
    summary = f"{result['videos']} videos, {result['queries']} queries, mode {result['mode']}"
    return "\n".join([*lines, "", f"{summary}, tracked in {result['seconds']:.1f} s"])
