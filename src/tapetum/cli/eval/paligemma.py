"""`tapetum eval paligemma`: the score of a PaliGemma on a transfer task."""

from dataclasses import dataclass

from tapetum.cli.output import print_json, terminal
from tapetum.verbs.evaluate_paligemma import PaliGemmaOptions, PaliGemmaScores, evaluate_paligemma


@dataclass(frozen=True, kw_only=True)
class PaliGemmaTasks(PaliGemmaOptions):
    """Score a PaliGemma, or saved answers, on a task of its papers: VQAv2, DocVQA, POPE, RefCOCO, COCO detection and others.

    Numbers are shares from 0 to 1, with intervals of 95%; CIDEr is 0 to 10, a hundredth of what papers print.
    """

    json: bool = False
    """Print the result as JSON."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            scores = evaluate_paligemma.run(self, listener)
        if self.json:
            print_json(scores.as_json())
        else:
            print(_table(scores))


def _table(scores: PaliGemmaScores) -> str:
    width = max((len(row.name) for row in scores.rows), default=0)
    lines = []
    for row in scores.rows:
        interval = f"  {row.low:6.3f} to {row.high:5.3f}" if row.low is not None and row.high is not None else " " * 17
        lines.append(f"{row.name:{width}}  {row.value:6.3f}{interval}  {row.count:7,}")
    lines += [""] if lines else []
    lines += [f"published: {name} {numbers}" for name, numbers in scores.published.items()]
    how = "saved answers" if scores.model is None else scores.model
    return "\n".join([*lines, f"{scores.examples:,} examples of {scores.task}, {how}"])
