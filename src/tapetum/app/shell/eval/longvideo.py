"""`tapetum eval longvideo`: the score of a long-video encoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tapetum.app.evaluate_longvideo import LongVideoEvalOptions, LongVideoScores, evaluate_longvideo
from tapetum.app.shell.output import print_json, terminal


@dataclass(frozen=True, kw_only=True)
class LongVideoEval(LongVideoEvalOptions):
    """Score a long-video encoder: questions with options (EgoSchema, NExT-QA, the Perception Test, episodes), retrieval and
    captions (MSR-VTT, VATEX, YouCook2, ActivityNet), summaries of whole videos, probes (Kinetics, SSv2, Diving48).

    Numbers are shares from 0 to 1, with intervals of 95%; CIDEr is 0 to 10, a hundredth of what papers print. blind: the same
    model on grey frames; visual: by how much it is better with the video.
    """

    json: bool = False
    """Print the result as JSON."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            scores = evaluate_longvideo.run(self, listener)
        if self.json:
            print_json(scores.as_json())
        else:
            print(_told(scores))


def _told(scores: LongVideoScores) -> str:
    how = f" by {scores.by}" if scores.by else ""
    lines = [f"{scores.task} {scores.split}, {scores.measure}{how}"]
    groups = {name: row for name, row in scores.table.items() if isinstance(row, Mapping)}
    width = max(map(len, [*groups, *scores.table]), default=0)
    lines += [
        f"{name:{width}}  {_number(value)}" for name, value in scores.table.items() if not isinstance(value, Mapping | list)
    ]
    for name, row in groups.items():
        cells = [f"{key} {_number(value)}{_interval(row, key)}" for key, value in row.items() if not key.endswith("_interval")]
        lines.append(f"{name:{width}}  {'  '.join(cells)}")
    if scores.missing:
        lines.append(f"{scores.missing} without a video")
    return "\n".join(lines)


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _interval(row: Mapping[str, Any], key: str) -> str:
    ends = row.get(f"{key}_interval")
    return "" if ends is None else f" ({ends[0]:.3f} to {ends[1]:.3f})"
