"""Scores of answers that are boxes: RefCOCO, detection, spotting. See `transfer.scores`.

RefCOCO, as the reference: the first four places and sixteen codes of an answer count, whatever follows; fewer, an unknown
number, a box without a pixel: overlap 0, counted as invalid.
"""

import re

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.metrics.boxes import paired_box_iou
from tapetum.metrics.detection import TrueBoxes, detection_scores
from tapetum.metrics.masks import mask_iou
from tapetum.metrics.text import spotting_f1
from tapetum.systems.paligemma.locations import CODES, MASK_TOKENS, PLACES, Unpack, box_pixels, parse, paste
from tapetum.systems.paligemma.transfer.data import TransferExample
from tapetum.systems.paligemma.transfer.form import Transfer
from tapetum.systems.paligemma.transfer.rows import ScoreRow, TaskAnswers, row_of
from tapetum.types import Boxes

THRESHOLDS = (0.5, 0.75)
"""Overlaps from which a box of RefCOCO is right."""
_TOKEN = re.compile(r"<(loc|seg)(\d+)>")


def referred_rows(task: Transfer, predicted: TaskAnswers) -> list[ScoreRow]:
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
    """Read the first box and mask of an answer as the reference's evaluator: the mask (h, w), the box (1, 4) in pixels.

    None where there are fewer than 4 places and 16 codes, an unknown number, or no pixel.
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


def detection_rows(task: Transfer, predicted: TaskAnswers) -> list[ScoreRow]:
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


def spotting_rows(task: Transfer, predicted: TaskAnswers) -> list[ScoreRow]:
    truths, boxes = {}, {}
    for example in predicted.examples:
        things = example.things.things if example.things is not None else ()
        truths[example.id] = Boxes(xyxy=np.array([t.xyxy for t in things]).reshape(-1, 4), labels=[t.label for t in things])
        boxes[example.id] = _boxes(example, predicted)[0]
    scores = spotting_f1(boxes, truths)
    counts = {"F1": scores.n_predictions + scores.n_targets, "precision": scores.n_predictions, "recall": scores.n_targets}
    return [ScoreRow(name=name, value=getattr(scores, name.lower()), count=count) for name, count in counts.items()]
