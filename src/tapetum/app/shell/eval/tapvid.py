"""`tapetum eval tapvid`: the score of a point tracker on TAP-Vid."""

from dataclasses import dataclass
from typing import Any

from tapetum.app.evaluate_tapvid import TapVidOptions, evaluate_tapvid
from tapetum.app.shell.output import print_json, terminal


@dataclass(frozen=True, kw_only=True)
class TapVid(TapVidOptions):
    """Score a point tracker, or its predictions, on TAP-Vid (DAVIS, RGB-Stacking, Kinetics, RoboTAP).

    Numbers are shares from 0 to 1: average_jaccard, average_pts_within_thresh and occlusion_accuracy.
    """

    json: bool = False
    """Print the result as JSON, with a row for each video."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            scores = evaluate_tapvid.run(self, listener)
        if self.json:
            print_json(scores.as_json())
        else:
            print(_table(scores.table, scores.model))


def _table(result: dict[str, Any], model: str | None) -> str:
    names = "average_jaccard", "average_pts_within_thresh", "occlusion_accuracy"
    width = max(len("mean"), *(len(row["name"]) for row in result["per_video"]))
    lines = [f"{'video':{width}}      AJ   <avg     OA"]
    lines += [
        f"{row['name']:{width}}  " + " ".join(f"{row[name]:6.3f}" for name in names)
        for row in [*result["per_video"], {"name": "mean", **result}]
    ]
    summary = f"{result['videos']} videos, {result['queries']} queries, mode {result['mode']}"
    how = "predictions of a file" if model is None else f"tracked in {result['seconds']:.1f} s"
    return "\n".join([*lines, "", f"{summary}, {how}"])
