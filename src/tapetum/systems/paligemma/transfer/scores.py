"""Scores of answers to a transfer task, with confidence intervals.

Sources: those of `tapetum.metrics`, which does the scoring, and the evaluators of PaliGemma's public code. All numbers are 0..1
(CIDEr 0..10; error rates may pass 1). Several splits are scored separately; the first row is then the mean over splits, as POPE
reports it.

Intervals of 95%: Wilson's if answers are right or wrong and no image is asked about twice; else a bootstrap over whole images.
For CIDEr, word weights are kept fixed. Average precision, F1 of spotting and error rates have none. Differs from the reference:
answers of MMVP are compared in lower case.

RefCOCO, as in the reference: the first four locations and sixteen codes of an answer count; fewer, an unknown number, or a box
without a pixel give overlap 0 and count as invalid.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.metrics import answers
from tapetum.metrics.answers import mmvp_scores, pope_scores
from tapetum.metrics.boxes import TrueBoxes, detection_scores, paired_box_iou
from tapetum.metrics.captions import caption_scores
from tapetum.metrics.masks import mask_iou
from tapetum.metrics.statistics import bootstrap_interval, wilson_interval
from tapetum.metrics.teds import teds
from tapetum.metrics.text import error_rate, spotting_f1
from tapetum.systems.paligemma.locations import CODES, MASK_TOKENS, PLACES, Unpack, box_pixels, parse, paste
from tapetum.systems.paligemma.transfer.data import Id, TransferExample
from tapetum.systems.paligemma.transfer.form import Metric, Transfer
from tapetum.types import Boxes

THRESHOLDS = (0.5, 0.75)
"""Overlaps from which a box of RefCOCO is right."""
_TOKEN = re.compile(r"<(loc|seg)(\d+)>")


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    name: str
    value: float
    low: float | None = None
    high: float | None = None
    """Ends of its interval, where there is one."""
    count: int
    """Of what it is the mean or share."""


@dataclass(frozen=True, kw_only=True)
class TaskAnswers:
    """Examples of one split, and the answers to them."""

    task: Transfer
    examples: Sequence[TransferExample]
    texts: Mapping[Id, str]
    chances: Mapping[Id, Sequence[float]] = field(default_factory=dict)
    """Probabilities of all tokens of locations and masks in an answer, one after the other; boxes are scored by them."""
    unpack: Unpack | None = None
    """Makes masks of codes."""

    @property
    def references(self) -> dict[Any, str]:
        """Look up the first right answer to each example."""
        return {example.id: example.references[0] for example in self.examples}

    @property
    def answers(self) -> dict[Any, str]:
        """Look up the answers to these examples alone."""
        return {example.id: self.texts[example.id] for example in self.examples}

    def judged(self, judge: Callable[[str, TransferExample], float]) -> list[float]:
        return [float(judge(self.texts[example.id], example)) for example in self.examples]

    def row(self, name: str, values: Sequence[float]) -> ScoreRow:
        """Compute a mean over the examples with its interval."""
        sources = [example.source for example in self.examples]
        if set(values) <= {0.0, 1.0} and len(set(sources)) == len(sources):
            low, high = wilson_interval(int(sum(values)), len(values))
        else:
            low, high = bootstrap_interval(np.array(values, float), groups=sources)
        return ScoreRow(name=name, value=float(np.mean(values)), low=low, high=high, count=len(values))

    def grouped(self, values: Sequence[float], labels: Sequence[str], names: Sequence[str], word: str = "") -> list[ScoreRow]:
        """Compute a row for the examples of each label."""
        rows = []
        for name in names:
            at = [k for k, label in enumerate(labels) if label == name]
            part = replace(self, examples=[self.examples[k] for k in at])
            rows.append(part.row(f"{word}{name or 'of no kind'}", [values[k] for k in at]))
        return rows


def score(
    task: Transfer,
    examples: Sequence[TransferExample],
    texts: Mapping[Id, str],
    *,
    chances: Mapping[Id, Sequence[float]] | None = None,
    unpack: Unpack | None = None,
) -> list[ScoreRow]:
    """Score the answers to all of some examples; the first row is the number that papers report.

    `chances` as in `TaskAnswers`; `unpack` makes masks of codes (`MaskCodec.unpack`), for RefCOCO. Raises BadInput for examples
    without an answer, hidden ground truth, and a task that another model scores.
    """
    scorer = _SCORERS.get(task.metric)
    if scorer is None:
        raise BadInput(f"{task.title} is not scored here. {task.remark} Its answers can be kept with --save")
    lost = [example.id for example in examples if example.id not in texts]
    if lost or not examples:
        raise BadInput(f"{len(lost)} of {len(examples)} examples have no answer, such as {lost[:1]}; answer all of them")
    splits: dict[str, list[TransferExample]] = {}
    for example in examples:
        if not (example.references or example.referred or example.things):
            raise BadInput(f"the right answers of {example.id[0]} are hidden on a server; score {'+'.join(task.scored)} here")
        splits.setdefault(example.id[0], []).append(example)
    rows_by_split = {
        split: scorer(TaskAnswers(task=task, examples=part, texts=texts, chances=chances or {}, unpack=unpack))
        for split, part in splits.items()
    }
    if len(rows_by_split) == 1:
        return next(iter(rows_by_split.values()))
    heads = [rows[0] for rows in rows_by_split.values()]
    name = f"{heads[0].name}, mean of {len(heads)} splits"
    mean = ScoreRow(name=name, value=float(np.mean([row.value for row in heads])), count=len(examples))
    return [mean] + [replace(row, name=f"{split}: {row.name}") for split, rows in rows_by_split.items() for row in rows]


def _single(judge: Callable[[str, TransferExample], float], given: TaskAnswers, name: str = "accuracy") -> list[ScoreRow]:
    """Score one answer at a time, also by kind."""
    values, labels = given.judged(judge), [example.kind for example in given.examples]
    rows, kinds = [given.row(name, values)], sorted(set(labels))
    if len(kinds) == 1:
        return rows
    if given.task.mean_of_kinds:
        scores, kind_of = np.array(values, float), np.array(labels)

        def mean(numbers: np.ndarray) -> float:
            some = numbers.astype(int)
            return float(np.mean([scores[some][kind_of[some] == kind].mean() for kind in sorted(set(kind_of[some]))]))

        every = np.arange(len(scores), dtype=float)
        low, high = bootstrap_interval(every, groups=[e.source for e in given.examples], statistic=mean, draws=500)
        rows = [ScoreRow(name="accuracy, mean of kinds", value=mean(every), low=low, high=high, count=len(scores)), *rows]
    return rows + given.grouped(values, labels, kinds)


def _simple(given: TaskAnswers) -> list[ScoreRow]:
    some = _single(lambda text, e: answers.simple_vqa_accuracy(text, e.references), given)
    any_of = _single(lambda text, e: answers.any_match(text, e.references), given, "any of the answers")
    return [some[0], any_of[0], *some[1:]]


def _letter(given: TaskAnswers) -> list[ScoreRow]:
    rows = _single(lambda text, e: answers.option_letter(text) == answers.option_letter(e.references[0]), given)
    lost = given.judged(lambda text, e: answers.option_letter(text) is None)
    return [rows[0], given.row("without a letter", lost), *rows[1:]]


def _count(given: TaskAnswers) -> list[ScoreRow]:
    def right(text: str, example: TransferExample) -> bool:
        return answers.count_of(text) == answers.count_of(example.references[0])

    true = [answers.count_of(reference) for reference in given.references.values()]
    names = sorted(set(true), key=lambda t: (not t.isdigit(), int(t) if t.isdigit() else 0, t))
    return [*_single(right, given), *given.grouped(given.judged(right), true, names, "count ")]


def _yes_no(given: TaskAnswers) -> list[ScoreRow]:
    scores = pope_scores(given.answers, given.references)
    right = given.judged(lambda text, e: text.lower() == e.references[0].lower())
    more = ("f1", "precision", "recall", "yes", "valid")
    return [given.row("accuracy", right)] + [
        ScoreRow(name=name, value=getattr(scores, name), count=scores.count) for name in more
    ]


def _pairs(given: TaskAnswers) -> list[ScoreRow]:
    texts, truth = ({key: text.lower() for key, text in part.items()} for part in (given.answers, given.references))
    both = mmvp_scores(texts, truth, {e.id: e.kind for e in given.examples})
    right, count = sum(both.values()), len(both)
    low, high = wilson_interval(right, count)
    pairs = ScoreRow(name="accuracy of pairs", value=right / count, low=low, high=high, count=count)
    return [pairs, given.row("accuracy of questions", [float(texts[key] == truth[key]) for key in truth])]


def _cider(given: TaskAnswers) -> list[ScoreRow]:
    kinds = sorted({e.kind for e in given.examples}, key=lambda kind: (kind != "en", kind))
    if len(kinds) == 1:
        return _captions(given, "")
    by_kind = {kind: [e for e in given.examples if e.kind == kind] for kind in kinds}
    parts = {kind: _captions(replace(given, examples=some), f"{kind} ") for kind, some in by_kind.items()}
    heads = [rows[0].value for kind, rows in parts.items() if kind != "en"]
    name = f"CIDEr, mean of {len(heads)} languages but en"
    others = ScoreRow(name=name, value=float(np.mean(heads)), count=len(given.examples))
    first = [parts["en"][0], others] if "en" in parts else [others]
    return first + [row for rows in parts.values() for row in rows if row not in first]


def _captions(given: TaskAnswers, word: str) -> list[ScoreRow]:
    scores = caption_scores(given.answers, {e.id: e.references for e in given.examples})
    return [
        given.row(f"{word}CIDEr", [float(scores.cider_each[e.id]) for e in given.examples]),
        ScoreRow(name=f"{word}BLEU-4", value=scores.bleu[3], count=len(given.examples)),
        given.row(f"{word}ROUGE-L", [float(scores.rouge_each[e.id]) for e in given.examples]),
    ]


def _tables(given: TaskAnswers) -> list[ScoreRow]:
    return [
        given.row(name, given.judged(lambda text, e, structure=structure: teds(text, e.references[0], structure=structure)))
        for name, structure in (("TEDS", False), ("TEDS of structure", True))
    ]


def _music(given: TaskAnswers) -> list[ScoreRow]:
    units: Any = {"CER": "character", "SER": "symbol", "LER": "line"}
    rates = {name: error_rate(given.answers, given.references, unit) for name, unit in units.items()}
    return [ScoreRow(name=name, value=value, count=len(given.examples)) for name, value in rates.items()]


def _referred(given: TaskAnswers) -> list[ScoreRow]:
    if given.unpack is None:
        raise BadInput(f"{given.task.title} is scored by masks, which need a codec; name it with --masks")
    overlaps, boxes, invalid = [], [], []
    for example in given.examples:
        assert example.referred is not None
        height, width = example.referred.size
        read = first_mask(given.texts[example.id], width, height, given.unpack)
        mask, box = read or (np.zeros((height, width), bool), np.zeros((1, 4)))
        invalid.append(float(read is None))
        overlaps.append(float(mask_iou(mask, example.referred.mask())))
        boxes.append(0.0 if read is None else float(paired_box_iou(box, np.array([example.referred.xyxy]))[0]))
    rows = [given.row("mask IoU", overlaps), given.row("box IoU", boxes)]
    rows += [given.row(f"box accuracy at {at}", [float(b >= at) for b in boxes]) for at in THRESHOLDS]
    return [*rows, given.row("invalid", invalid)]


def first_mask(text: str, width: int, height: int, unpack: Unpack) -> tuple[np.ndarray, np.ndarray] | None:
    """Read the first box and mask of an answer like the reference's evaluator: the mask (h, w), the box (1, 4) in pixels.

    None if there are fewer than 4 locations and 16 codes, an unknown number, or no pixel.
    """
    tokens = [(kind, int(digits)) for kind, digits in _TOKEN.findall(text)][: 4 + MASK_TOKENS]
    kinds = [kind for kind, _ in tokens]
    places, codes = [n for _, n in tokens[:4]], [n for _, n in tokens[4:]]
    if kinds != ["loc"] * 4 + ["seg"] * MASK_TOKENS or max(places) >= PLACES or max(codes) >= CODES:
        return None
    y1, x1, y2, x2 = places
    if y2 <= y1 or x2 <= x1:
        return None
    box = box_pixels(np.array([places]), width, height)
    if int(box[0, 3]) <= int(box[0, 1]) or int(box[0, 2]) <= int(box[0, 0]):
        return None
    return paste(unpack(np.array([codes]))[0], places, (height, width)), box


def _boxes(given: TaskAnswers) -> tuple[dict[Any, TrueBoxes], dict[Any, Boxes], int]:
    """Look up the true boxes and those of answers, and count malformed groups of tokens."""
    truths, boxes, malformed = {}, {}, 0
    for example in given.examples:
        assert example.things is not None
        things, (height, width) = example.things.things, example.things.size
        truths[example.id] = TrueBoxes(
            xyxy=np.array([t.xyxy for t in things], float).reshape(-1, 4),
            labels=[t.label for t in things],
            crowd=[t.crowd for t in things],
            area=[t.area for t in things],
        )
        parsed = parse(given.texts[example.id], width, height, chances=given.chances.get(example.id))
        boxes[example.id] = parsed.boxes
        malformed += parsed.malformed
    return truths, boxes, malformed


def _detection(given: TaskAnswers) -> list[ScoreRow]:
    truths, boxes, malformed = _boxes(given)
    scores = detection_scores(boxes, truths)
    values = [("AP", scores.ap), ("AP50", scores.ap50), ("AP75", scores.ap75)]
    values += [(f"AP {size}", getattr(scores, f"ap_{size}")) for size in ("small", "medium", "large")]
    values += [(f"recall, {most} boxes", value) for most, value in scores.recall.items()]
    values += [(f"AP {label}", value) for label, value in scores.ap_by_label.items()]
    values.append(("malformed boxes an image", malformed / len(truths)))
    return [ScoreRow(name=name, value=value, count=len(truths)) for name, value in values]


def _spotting(given: TaskAnswers) -> list[ScoreRow]:
    truths, boxes, _ = _boxes(given)
    scores = spotting_f1(boxes, {key: Boxes(xyxy=true.xyxy, labels=true.labels) for key, true in truths.items()})
    counts = {"F1": scores.n_predictions + scores.n_targets, "precision": scores.n_predictions, "recall": scores.n_targets}
    return [ScoreRow(name=name, value=getattr(scores, name.lower()), count=count) for name, count in counts.items()]


_SCORERS: Mapping[Metric, Callable[[TaskAnswers], list[ScoreRow]]] = {
    "cider": _cider,
    "vqa": partial(_single, lambda text, e: answers.vqa_accuracy(text, e.references)),
    "vqa-simple": _simple,
    "exact": partial(_single, lambda text, e: answers.exact_match(text, e.references[0])),
    "exact-lower": partial(_single, lambda text, e: answers.exact_match(text, e.references[0], lower=True)),
    "anls": partial(_single, lambda text, e: answers.anls(text, e.references), name="ANLS"),
    "relaxed": partial(_single, lambda text, e: answers.relaxed_match(text, e.references[0])),
    "rsvqa": partial(_single, lambda text, e: answers.any_match(text, e.references, lower=True)),
    "letter": _letter,
    "count": _count,
    "yes-no": _yes_no,
    "pairs": _pairs,
    "referred": _referred,
    "detection": _detection,
    "spotting": _spotting,
    "tables": _tables,
    "music": _music,
}
