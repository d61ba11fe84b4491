"""Scores of answers to a transfer task, with confidence intervals.

Sources: those of `tapetum.metrics`, which does the scoring, and the evaluators of PaliGemma's public code. All numbers are 0..1
(CIDEr 0..10; error rates may pass 1). Several splits are scored separately; the first row is then the mean over splits, as POPE
reports it.

Intervals of 95%: Wilson's if answers are right or wrong and no image is asked about twice; else a bootstrap over whole images.
For CIDEr, word weights are kept fixed. Average precision, F1 of spotting and error rates have none.

Differs from the reference: answers of MMVP are compared in lower case.

RefCOCO, as in the reference: the first four locations and sixteen codes of an answer count, whatever follows; fewer, an unknown
number, or a box without a pixel give overlap 0 and count as invalid.
"""

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
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
    """One number."""

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

    examples: Sequence[TransferExample]
    texts: Mapping[Id, str]
    chances: Mapping[Id, Sequence[float]] = field(default_factory=dict)
    """Probabilities of all tokens of locations and masks in an answer, one after the other; boxes are scored by them."""
    unpack: Unpack | None = None
    """Makes masks of codes."""

    def of(self, part: Sequence[TransferExample]) -> "TaskAnswers":
        """Select some of the examples."""
        return TaskAnswers(examples=part, texts=self.texts, chances=self.chances, unpack=self.unpack)


def row_of(name: str, values: Sequence[float], examples: Sequence[TransferExample]) -> ScoreRow:
    """Compute a mean over examples with its interval."""
    sources = [example.source for example in examples]
    if set(values) <= {0.0, 1.0} and len(set(sources)) == len(sources):
        low, high = wilson_interval(int(sum(values)), len(values))
    else:
        low, high = bootstrap_interval(np.array(values, float), groups=sources)
    return ScoreRow(name=name, value=float(np.mean(values)), low=low, high=high, count=len(values))


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
    whole = TaskAnswers(examples=examples, texts=texts, chances=chances or {}, unpack=unpack)
    rows_by_split = {split: scorer(task, whole.of(part)) for split, part in splits.items()}
    if len(rows_by_split) == 1:
        return next(iter(rows_by_split.values()))
    heads = [rows[0] for rows in rows_by_split.values()]
    mean = ScoreRow(
        name=f"{heads[0].name}, mean of {len(heads)} splits",
        value=float(np.mean([r.value for r in heads])),
        count=len(examples),
    )
    return [mean] + [
        ScoreRow(name=f"{split}: {row.name}", value=row.value, low=row.low, high=row.high, count=row.count)
        for split, rows in rows_by_split.items()
        for row in rows
    ]


def _mean_of_kinds(values: Sequence[float], examples: Sequence[TransferExample]) -> ScoreRow:
    scores, kinds = np.array(values, float), np.array([example.kind for example in examples])

    def mean(numbers: np.ndarray) -> float:
        some = numbers.astype(int)
        return float(np.mean([scores[some][kinds[some] == kind].mean() for kind in sorted(set(kinds[some]))]))

    every = np.arange(len(scores), dtype=float)
    low, high = bootstrap_interval(every, groups=[e.source for e in examples], statistic=mean, draws=500)
    return ScoreRow(name="accuracy, mean of kinds", value=mean(every), low=low, high=high, count=len(scores))


def _single(
    judge: Callable[[str, TransferExample], float], name: str = "accuracy"
) -> Callable[[Transfer, TaskAnswers], list[ScoreRow]]:
    """A score of one answer at a time, also by kind."""

    def scored(task: Transfer, predicted: TaskAnswers) -> list[ScoreRow]:
        values = [float(judge(predicted.texts[example.id], example)) for example in predicted.examples]
        rows = [row_of(name, values, predicted.examples)]
        kinds = sorted({example.kind for example in predicted.examples})
        if task.mean_of_kinds and len(kinds) > 1:
            rows.insert(0, _mean_of_kinds(values, predicted.examples))
        return rows + (_by(kinds, [e.kind for e in predicted.examples], values, predicted.examples) if len(kinds) > 1 else [])

    return scored


def _by(
    names: Sequence[str], labels: Sequence[str], values: Sequence[float], examples: Sequence[TransferExample], word: str = ""
) -> list[ScoreRow]:
    rows = []
    for name in names:
        at = [k for k, label in enumerate(labels) if label == name]
        rows.append(row_of(f"{word}{name or 'of no kind'}", [values[k] for k in at], [examples[k] for k in at]))
    return rows


def _simple(task: Transfer, predicted: TaskAnswers) -> list[ScoreRow]:
    some = _single(lambda text, e: answers.simple_vqa_accuracy(text, e.references))(task, predicted)
    any_of = _single(lambda text, e: answers.any_match(text, e.references), "any of the answers")(task, predicted)
    return [some[0], any_of[0], *some[1:]]


def _letter(task: Transfer, predicted: TaskAnswers) -> list[ScoreRow]:
    def right(text: str, example: TransferExample) -> float:
        return float(answers.option_letter(text) == answers.option_letter(example.references[0]))

    lost = [float(answers.option_letter(predicted.texts[e.id]) is None) for e in predicted.examples]
    rows = _single(right)(task, predicted)
    return [rows[0], row_of("without a letter", lost, predicted.examples), *rows[1:]]


def _count(task: Transfer, predicted: TaskAnswers) -> list[ScoreRow]:
    def right(text: str, example: TransferExample) -> float:
        return float(answers.count_of(text) == answers.count_of(example.references[0]))

    true = [answers.count_of(e.references[0]) for e in predicted.examples]
    values = [right(predicted.texts[e.id], e) for e in predicted.examples]
    names = sorted(set(true), key=lambda t: (not t.isdigit(), int(t) if t.isdigit() else 0, t))
    return [*_single(right)(task, predicted), *_by(names, true, values, predicted.examples, "count ")]


def _yes_no(task: Transfer, predicted: TaskAnswers) -> list[ScoreRow]:
    texts = {e.id: predicted.texts[e.id] for e in predicted.examples}
    scores = pope_scores(texts, {e.id: e.references[0] for e in predicted.examples})
    right = [float(predicted.texts[e.id].lower() == e.references[0].lower()) for e in predicted.examples]
    more = ("f1", "precision", "recall", "yes", "valid")
    rows = [ScoreRow(name=name, value=getattr(scores, name), count=scores.count) for name in more]
    return [row_of("accuracy", right, predicted.examples), *rows]


def _pairs(task: Transfer, predicted: TaskAnswers) -> list[ScoreRow]:
    texts = {e.id: predicted.texts[e.id].lower() for e in predicted.examples}
    truth = {e.id: e.references[0].lower() for e in predicted.examples}
    both = mmvp_scores(texts, truth, {e.id: e.kind for e in predicted.examples})
    right, count = sum(both.values()), len(both)
    low, high = wilson_interval(right, count)
    single = [float(texts[key] == truth[key]) for key in truth]
    pairs = ScoreRow(name="accuracy of pairs", value=right / count, low=low, high=high, count=count)
    return [pairs, row_of("accuracy of questions", single, predicted.examples)]


def _cider(task: Transfer, predicted: TaskAnswers) -> list[ScoreRow]:
    kinds = sorted({e.kind for e in predicted.examples}, key=lambda kind: (kind != "en", kind))
    if len(kinds) == 1:
        return _captions(predicted, "")
    parts = {kind: _captions(predicted.of([e for e in predicted.examples if e.kind == kind]), f"{kind} ") for kind in kinds}
    heads = [rows[0] for kind, rows in parts.items() if kind != "en"]
    others = ScoreRow(
        name=f"CIDEr, mean of {len(heads)} languages but en",
        value=float(np.mean([r.value for r in heads])),
        count=len(predicted.examples),
    )
    first = [parts["en"][0], others] if "en" in parts else [others]
    return first + [row for rows in parts.values() for row in rows if row not in first]


def _captions(predicted: TaskAnswers, word: str) -> list[ScoreRow]:
    scores = caption_scores(
        {e.id: predicted.texts[e.id] for e in predicted.examples}, {e.id: e.references for e in predicted.examples}
    )
    each = [float(scores.cider_each[e.id]) for e in predicted.examples]
    rouge = [float(scores.rouge_each[e.id]) for e in predicted.examples]
    return [
        row_of(f"{word}CIDEr", each, predicted.examples),
        ScoreRow(name=f"{word}BLEU-4", value=scores.bleu[3], count=len(each)),
        row_of(f"{word}ROUGE-L", rouge, predicted.examples),
    ]


def _tables(task: Transfer, predicted: TaskAnswers) -> list[ScoreRow]:
    rows = []
    for name, structure in (("TEDS", False), ("TEDS of structure", True)):
        values = [teds(predicted.texts[e.id], e.references[0], structure=structure) for e in predicted.examples]
        rows.append(row_of(name, values, predicted.examples))
    return rows


def _music(task: Transfer, predicted: TaskAnswers) -> list[ScoreRow]:
    texts: dict[Hashable, str] = {e.id: predicted.texts[e.id] for e in predicted.examples}
    truth: dict[Hashable, str] = {e.id: e.references[0] for e in predicted.examples}
    units: Any = {"CER": "character", "SER": "symbol", "LER": "line"}
    return [ScoreRow(name=name, value=error_rate(texts, truth, unit), count=len(truth)) for name, unit in units.items()]


def _referred(task: Transfer, predicted: TaskAnswers) -> list[ScoreRow]:
    if predicted.unpack is None:
        raise BadInput(f"{task.title} is scored by masks, which need a codec; name it with --masks")
    overlaps, boxes, invalid = [], [], []
    for example in predicted.examples:
        assert example.referred is not None
        height, width = example.referred.size
        read = first_mask(predicted.texts[example.id], width, height, predicted.unpack)
        invalid.append(float(read is None))
        mask, box = read if read is not None else (np.zeros((height, width), bool), np.zeros((1, 4)))
        overlaps.append(float(mask_iou(mask, example.referred.mask())))
        boxes.append(0.0 if read is None else float(paired_box_iou(box, np.array([example.referred.xyxy]))[0]))
    rows = [row_of("mask IoU", overlaps, predicted.examples), row_of("box IoU", boxes, predicted.examples)]
    rows += [row_of(f"box accuracy at {at}", [float(b >= at) for b in boxes], predicted.examples) for at in THRESHOLDS]
    return [*rows, row_of("invalid", invalid, predicted.examples)]


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


def _boxes(example: TransferExample, predicted: TaskAnswers) -> tuple[Boxes, int]:
    """The boxes of an answer, and how many groups of tokens were malformed."""
    assert example.things is not None
    height, width = example.things.size
    parsed = parse(predicted.texts[example.id], width, height, chances=predicted.chances.get(example.id))
    return parsed.boxes, parsed.malformed


def _detection(task: Transfer, predicted: TaskAnswers) -> list[ScoreRow]:
    truths, boxes, malformed = {}, {}, 0
    for example in predicted.examples:
        things = example.things.things if example.things is not None else ()
        truths[example.id] = TrueBoxes(
            xyxy=np.array([t.xyxy for t in things], float).reshape(-1, 4),
            labels=[t.label for t in things],
            crowd=[t.crowd for t in things],
            area=[t.area for t in things],
        )
        boxes[example.id], bad = _boxes(example, predicted)
        malformed += bad
    scores = detection_scores(boxes, truths)
    names = {
        "AP": "ap",
        "AP50": "ap50",
        "AP75": "ap75",
        "AP small": "ap_small",
        "AP medium": "ap_medium",
        "AP large": "ap_large",
    }
    rows = [ScoreRow(name=name, value=getattr(scores, of), count=len(truths)) for name, of in names.items()]
    rows += [ScoreRow(name=f"recall, {most} boxes", value=value, count=len(truths)) for most, value in scores.recall.items()]
    rows += [ScoreRow(name=f"AP {label}", value=value, count=len(truths)) for label, value in scores.ap_by_label.items()]
    return [*rows, ScoreRow(name="malformed boxes an image", value=malformed / len(truths), count=len(truths))]


def _spotting(task: Transfer, predicted: TaskAnswers) -> list[ScoreRow]:
    truths, boxes = {}, {}
    for example in predicted.examples:
        things = example.things.things if example.things is not None else ()
        truths[example.id] = Boxes(xyxy=np.array([t.xyxy for t in things]).reshape(-1, 4), labels=[t.label for t in things])
        boxes[example.id] = _boxes(example, predicted)[0]
    scores = spotting_f1(boxes, truths)
    counts = {"F1": scores.n_predictions + scores.n_targets, "precision": scores.n_predictions, "recall": scores.n_targets}
    return [ScoreRow(name=name, value=getattr(scores, name.lower()), count=count) for name, count in counts.items()]


_SCORERS: Mapping[Metric, Callable[[Transfer, TaskAnswers], list[ScoreRow]]] = {
    "cider": _cider,
    "vqa": _single(lambda texts, e: answers.vqa_accuracy(texts, e.references)),
    "vqa-simple": _simple,
    "exact": _single(lambda texts, e: answers.exact_match(texts, e.references[0])),
    "exact-lower": _single(lambda texts, e: answers.exact_match(texts, e.references[0], lower=True)),
    "anls": _single(lambda texts, e: answers.anls(texts, e.references), "ANLS"),
    "relaxed": _single(lambda texts, e: answers.relaxed_match(texts, e.references[0])),
    "rsvqa": _single(lambda texts, e: answers.any_match(texts, e.references, lower=True)),
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
