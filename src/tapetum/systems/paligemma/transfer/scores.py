"""Scores of answers to a transfer task, each with how far it may be off.

Sources: those of `tapetum.metrics`, which does the scoring, and the evaluators of PaliGemma's public code. All numbers are 0..1
(CIDEr 0..10; error rates may pass 1). Of several splits each is scored by itself; the first row is then the mean over splits,
which is what POPE reports.

Intervals of 95%: Wilson's where an answer is right or wrong and no image is asked about twice; else samples drawn anew, whole
images at a time. CIDEr's take the weights of words as given. Average precision, F1 of spotting and error rates have none.

Differs from the reference: answers of MMVP are compared in lower case. Places are in `transfer_place_scores`.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.metrics import answers
from tapetum.metrics.answer_sets import mmvp_scores, pope_scores
from tapetum.metrics.captions import caption_scores
from tapetum.metrics.statistics import bootstrap_interval, wilson_interval
from tapetum.metrics.teds import teds
from tapetum.metrics.text import error_rate
from tapetum.systems.paligemma.locations import Unpack
from tapetum.systems.paligemma.transfer.box_scores import detection_rows, referred_rows, spotting_rows
from tapetum.systems.paligemma.transfer.data import Example, Id
from tapetum.systems.paligemma.transfer.form import Metric, Transfer
from tapetum.systems.paligemma.transfer.rows import Answered, Row, row_of


def score(
    task: Transfer,
    examples: Sequence[Example],
    said: Mapping[Id, str],
    *,
    chances: Mapping[Id, Sequence[float]] | None = None,
    unpack: Unpack | None = None,
) -> list[Row]:
    """Score what was said to all of some examples; the first row is the number that papers report.

    `chances` as in `Answered`; `unpack` makes masks of codes (`MaskCodec.unpack`), for RefCOCO. Raises BadInput for examples
    without an answer, hidden truth, and a task that another model scores.
    """
    scorer = _SCORERS.get(task.metric)
    if scorer is None:
        raise BadInput(f"{task.title} is not scored here. {task.remark} Its answers can be kept with --save")
    lost = [example.id for example in examples if example.id not in said]
    if lost or not examples:
        raise BadInput(f"{len(lost)} of {len(examples)} examples have no answer, such as {lost[:1]}; answer all of them")
    splits: dict[str, list[Example]] = {}
    for example in examples:
        if not (example.references or example.referred or example.things):
            raise BadInput(f"the right answers of {example.id[0]} are hidden on a server; score {'+'.join(task.scored)} here")
        splits.setdefault(example.id[0], []).append(example)
    whole = Answered(examples=examples, said=said, chances=chances or {}, unpack=unpack)
    found = {split: scorer(task, whole.of(part)) for split, part in splits.items()}
    if len(found) == 1:
        return next(iter(found.values()))
    heads = [rows[0] for rows in found.values()]
    mean = Row(
        name=f"{heads[0].name}, mean of {len(heads)} splits",
        value=float(np.mean([r.value for r in heads])),
        count=len(examples),
    )
    return [mean] + [
        Row(name=f"{split}: {row.name}", value=row.value, low=row.low, high=row.high, count=row.count)
        for split, rows in found.items()
        for row in rows
    ]


def _mean_of_kinds(values: Sequence[float], examples: Sequence[Example]) -> Row:
    scores, kinds = np.array(values, float), np.array([example.kind for example in examples])

    def mean(numbers: np.ndarray) -> float:
        some = numbers.astype(int)
        return float(np.mean([scores[some][kinds[some] == kind].mean() for kind in sorted(set(kinds[some]))]))

    every = np.arange(len(scores), dtype=float)
    low, high = bootstrap_interval(every, groups=[e.source for e in examples], statistic=mean, draws=500)
    return Row(name="accuracy, mean of kinds", value=mean(every), low=low, high=high, count=len(scores))


def _single(judge: Callable[[str, Example], float], name: str = "accuracy") -> Callable[[Transfer, Answered], list[Row]]:
    """A score of one answer at a time, also by kind."""

    def scored(task: Transfer, told: Answered) -> list[Row]:
        values = [float(judge(told.said[example.id], example)) for example in told.examples]
        rows = [row_of(name, values, told.examples)]
        kinds = sorted({example.kind for example in told.examples})
        if task.mean_of_kinds and len(kinds) > 1:
            rows.insert(0, _mean_of_kinds(values, told.examples))
        return rows + (_by(kinds, [e.kind for e in told.examples], values, told.examples) if len(kinds) > 1 else [])

    return scored


def _by(
    names: Sequence[str], labels: Sequence[str], values: Sequence[float], examples: Sequence[Example], word: str = ""
) -> list[Row]:
    rows = []
    for name in names:
        at = [k for k, label in enumerate(labels) if label == name]
        rows.append(row_of(f"{word}{name or 'of no kind'}", [values[k] for k in at], [examples[k] for k in at]))
    return rows


def _simple(task: Transfer, told: Answered) -> list[Row]:
    some = _single(lambda said, e: answers.simple_vqa_accuracy(said, e.references))(task, told)
    any_of = _single(lambda said, e: answers.any_match(said, e.references), "any of the answers")(task, told)
    return [some[0], any_of[0], *some[1:]]


def _letter(task: Transfer, told: Answered) -> list[Row]:
    def right(said: str, example: Example) -> float:
        return float(answers.option_letter(said) == answers.option_letter(example.references[0]))

    lost = [float(answers.option_letter(told.said[e.id]) is None) for e in told.examples]
    rows = _single(right)(task, told)
    return [rows[0], row_of("without a letter", lost, told.examples), *rows[1:]]


def _count(task: Transfer, told: Answered) -> list[Row]:
    def right(said: str, example: Example) -> float:
        return float(answers.count_of(said) == answers.count_of(example.references[0]))

    true = [answers.count_of(e.references[0]) for e in told.examples]
    values = [right(told.said[e.id], e) for e in told.examples]
    names = sorted(set(true), key=lambda t: (not t.isdigit(), int(t) if t.isdigit() else 0, t))
    return [*_single(right)(task, told), *_by(names, true, values, told.examples, "count ")]


def _yes_no(task: Transfer, told: Answered) -> list[Row]:
    said = {e.id: told.said[e.id] for e in told.examples}
    found = pope_scores(said, {e.id: e.references[0] for e in told.examples})
    right = [float(told.said[e.id].lower() == e.references[0].lower()) for e in told.examples]
    more = ("f1", "precision", "recall", "yes", "valid")
    rows = [Row(name=name, value=getattr(found, name), count=found.count) for name in more]
    return [row_of("accuracy", right, told.examples), *rows]


def _pairs(task: Transfer, told: Answered) -> list[Row]:
    said = {e.id: told.said[e.id].lower() for e in told.examples}
    truth = {e.id: e.references[0].lower() for e in told.examples}
    found = mmvp_scores(said, truth, {e.id: e.kind for e in told.examples})
    low, high = wilson_interval(round(found.mean * found.count), found.count)
    single = [float(said[key] == truth[key]) for key in truth]
    pairs = Row(name="accuracy of pairs", value=found.mean, low=low, high=high, count=found.count)
    return [pairs, row_of("accuracy of questions", single, told.examples)]


def _cider(task: Transfer, told: Answered) -> list[Row]:
    kinds = sorted({e.kind for e in told.examples}, key=lambda kind: (kind != "en", kind))
    if len(kinds) == 1:
        return _captions(told, "")
    parts = {kind: _captions(told.of([e for e in told.examples if e.kind == kind]), f"{kind} ") for kind in kinds}
    heads = [rows[0] for kind, rows in parts.items() if kind != "en"]
    others = Row(
        name=f"CIDEr, mean of {len(heads)} languages but en",
        value=float(np.mean([r.value for r in heads])),
        count=len(told.examples),
    )
    first = [parts["en"][0], others] if "en" in parts else [others]
    return first + [row for rows in parts.values() for row in rows if row not in first]


def _captions(told: Answered, word: str) -> list[Row]:
    found = caption_scores({e.id: told.said[e.id] for e in told.examples}, {e.id: e.references for e in told.examples})
    each = [float(found.cider_each[e.id]) for e in told.examples]
    rouge = [float(found.rouge_each[e.id]) for e in told.examples]
    return [
        row_of(f"{word}CIDEr", each, told.examples),
        Row(name=f"{word}BLEU-4", value=found.bleu[3], count=len(each)),
        row_of(f"{word}ROUGE-L", rouge, told.examples),
    ]


def _tables(task: Transfer, told: Answered) -> list[Row]:
    rows = []
    for name, structure in (("TEDS", False), ("TEDS of structure", True)):
        values = [teds(told.said[e.id], e.references[0], structure=structure) for e in told.examples]
        rows.append(row_of(name, values, told.examples))
    return rows


def _music(task: Transfer, told: Answered) -> list[Row]:
    said: dict[Hashable, str] = {e.id: told.said[e.id] for e in told.examples}
    truth: dict[Hashable, str] = {e.id: e.references[0] for e in told.examples}
    units: Any = {"CER": "character", "SER": "symbol", "LER": "line"}
    return [Row(name=name, value=error_rate(said, truth, unit), count=len(truth)) for name, unit in units.items()]


_SCORERS: Mapping[Metric, Callable[[Transfer, Answered], list[Row]]] = {
    "cider": _cider,
    "vqa": _single(lambda said, e: answers.vqa_accuracy(said, e.references)),
    "vqa-simple": _simple,
    "exact": _single(lambda said, e: answers.exact_match(said, e.references[0])),
    "exact-lower": _single(lambda said, e: answers.exact_match(said, e.references[0], lower=True)),
    "anls": _single(lambda said, e: answers.anls(said, e.references), "ANLS"),
    "relaxed": _single(lambda said, e: answers.relaxed_match(said, e.references[0])),
    "rsvqa": _single(lambda said, e: answers.any_match(said, e.references, lower=True)),
    "letter": _letter,
    "count": _count,
    "yes-no": _yes_no,
    "pairs": _pairs,
    "referred": referred_rows,
    "detection": detection_rows,
    "spotting": spotting_rows,
    "tables": _tables,
    "music": _music,
}
