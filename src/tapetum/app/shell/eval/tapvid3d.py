"""`tapetum eval tapvid3d`: the score of predictions, or of a 3D tracker, in metres."""

from dataclasses import dataclass
from typing import Any

from tapetum.app.evaluate_tapvid3d import TapVid3DOptions, evaluate_tapvid3d
from tapetum.app.shell.output import print_json, terminal

_HEADLINES = "average_jaccard", "average_pts_within_thresh", "occlusion_accuracy"


@dataclass(frozen=True, kw_only=True)
class TapVid3D(TapVid3DOptions):
    """Score predicted 3D tracks, or a 3D tracker, on TAPVid-3D or on clips in its format.

    Numbers are shares from 0 to 1: 3D-AJ, APD and OA, for each source and averaged over sources. A prediction that is missing
    or cannot be read counts as 0.
    """

    json: bool = False
    """Print the result as JSON, with a row for each clip."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            scores = evaluate_tapvid3d.run(self, listener)
        if self.json:
            print_json(scores.as_json())
        else:
            print(_table(scores.table))


def _table(result: dict[str, Any]) -> str:
    lines = []
    for scaling, table in result["scalings"].items():
        sources = table["sources"]
        rows = [*sources.items(), *([("average", table["average"])] if len(sources) > 1 else [])]
        lines += [f"{'scaling ' + scaling:28} 3D-AJ    APD     OA   clips  failed"]
        for source, numbers in rows:
            scores = " ".join(f"{numbers[name]:6.3f}" for name in _HEADLINES)
            counts = f"{numbers['clips']:7} {numbers['failed']:7}" if "clips" in numbers else ""
            lines.append(f"{source:27} {scores} {counts}".rstrip())
        lines.append("")
    split = f"split {result['split']}" if result["split"] else "all that were there"
    return "\n".join([*lines, f"{result['clips']} clips, {split}, worked on for {result['seconds']:.1f} s"])
