"""`tapetum eval paligemma`: the score of a vision-language model."""

from dataclasses import dataclass
from typing import Any

from tapetum.app.evaluate_paligemma import PaliGemmaEvalOptions, evaluate_paligemma
from tapetum.app.shell.output import print_json, terminal


@dataclass(frozen=True, kw_only=True)
class PaliGemmaEval(PaliGemmaEvalOptions):
    """Score a PaliGemma on images of scenes: questions, boxes and masks, beside chance and a blind model. Or on a task of its
    papers (--task): VQAv2, DocVQA, POPE, RefCOCO, COCO detection and others.

    Numbers are shares from 0 to 1. written: answers that are right letter for letter; chosen: the likeliest option is right.
    Those of a task have intervals of 95%; CIDEr is 0 to 10, a hundredth of what papers print.
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
            print(_told(scores.table))


def _told(table: dict[str, Any]) -> str:
    if "task" in table:
        return _task(table)
    if "questions" not in table:
        return "\n".join(f"{name}  {value:.4f}" for name, value in table.items())
    blind = [name for name in table if name.startswith("questions_")]
    lines = [
        f"{'questions':12} {'asked':>6} {'chance':>7} {'written':>8} {'chosen':>8}" + "".join(f"{n[10:]:>10}" for n in blind)
    ]
    for name, row in table["questions"].items():
        others = "".join(f"{table[b][name]['chosen']:10.3f}" for b in blind)
        lines.append(f"{name:12} {row['questions']:6} {row['chance']:7.3f} {row['written']:8.3f} {row['chosen']:8.3f}{others}")
    found = table["detection"]
    lines += ["", f"boxes  AP50 {found['ap50']:.3f}  AP {found['ap']:.3f}  ({found['boxes']} in {found['images']} images)"]
    if "segmentation" in table:
        lines.append(f"masks  mIoU {table['segmentation']['miou']:.3f}  ({table['segmentation']['things']} things)")
    if "detection_shuffled" in table:
        lines.append(f"blind  AP50 {table['detection_shuffled']['ap50']:.3f}")
    if "segmentation_shuffled" in table:
        lines[-1] += f"  mIoU {table['segmentation_shuffled']['miou']:.3f}"
    return "\n".join(lines)


def _task(table: dict[str, Any]) -> str:
    width = max((len(row["name"]) for row in table["scores"]), default=0)
    lines = []
    for row in table["scores"]:
        value = float("nan") if row["value"] is None else row["value"]
        interval = " " * 17 if row["low"] is None else f"  {row['low']:6.3f} to {row['high']:5.3f}"
        lines.append(f"{row['name']:{width}}  {value:6.3f}{interval}  {row['count']:7,}")
    lines += [""] if lines else []
    lines += [f"published: {name} {numbers}" for name, numbers in table["published"].items()]
    return "\n".join([*lines, f"{table['examples']:,} examples of {table['task']}, answers of a {table['answers']}"])
