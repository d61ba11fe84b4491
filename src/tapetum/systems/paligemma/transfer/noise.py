r"""The detection transfer of PaliGemma 2 (arXiv 2412.03555, 4.2; as in Pix2Seq, arXiv 2109.10852): lists filled up with noise.

A model trained on lists of boxes learns when to stop, and stops too early for COCO's average precision, which rewards many
scored boxes. So every list is filled up to a fixed number with noise boxes whose class is `noise`:

    detect all classes \n   <loc>x4 cat ; <loc>x4 dog ; <loc>x4 noise ; <loc>x4 noise ... EOS
                            in random order             no loss on the places of noise, loss on its name

At inference, `noise` and the end are forbidden: the model continues with boxes of the most likely classes, and a box's score is
the probability of its class. Like the reference, this reports likelihoods from before forbidden tokens are removed.

Differs: the noise class is an ordinary word, not a token of its own. It is forbidden by its first piece, which no class may
begin with.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.systems.paligemma.data import TextPair
from tapetum.systems.paligemma.locations import suffix
from tapetum.systems.paligemma.prompts import DETECT_ALL
from tapetum.systems.paligemma.tokens import EOS, Tokens
from tapetum.types import Boxes

NOISE = "noise"


def noise_boxes(true: np.ndarray, count: int, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Draw boxes x1, y1, x2, y2 (count, 4): half of them shifted and stretched true boxes, half random."""
    corners = np.sort(rng.uniform(size=(count, 2, 2)), 1) * [width, height]
    made = corners.reshape(count, 4)
    if len(true):
        near = np.asarray(true, float)[rng.integers(len(true), size=count)]
        sides = np.tile(near[:, 2:] - near[:, :2], 2)
        moved = near + np.tile(rng.uniform(-0.5, 0.5, (count, 2)), 2) * sides + rng.uniform(-0.3, 0.3, (count, 4)) * sides
        made = np.where(rng.random((count, 1)) < 0.5, moved, made)
    made = made.clip(0, [width, height, width, height])
    low, high = np.minimum(made[:, :2], made[:, 2:]), np.maximum(made[:, :2], made[:, 2:])
    return np.concatenate((low, np.maximum(high, low + 1e-3 * width)), 1)


def detection_pair(boxes: Boxes, width: int, height: int, count: int, rng: np.random.Generator) -> TextPair:
    """Make the text of an image: its boxes in random order, then noise up to `count` boxes.

    Raises BadInput if a true class is called noise.
    """
    if NOISE in boxes.labels:
        raise BadInput(f"a class is called {NOISE!r}, which stands for boxes that are none; call it otherwise")
    order = rng.permutation(len(boxes))[:count]
    false = noise_boxes(boxes.xyxy, count - len(order), width, height, rng)
    every = Boxes(
        xyxy=np.concatenate((boxes.xyxy[order], false)).reshape(-1, 4),
        labels=[str(boxes.labels[i]) for i in order.tolist()] + [NOISE] * len(false),
    )
    return TextPair(prefix=DETECT_ALL, suffix=suffix(every, width, height), unlearned=(NOISE,), long=True)


def forbidden_ids(tokens: Tokens, labels: Iterable[str]) -> tuple[int, ...]:
    """List the ids that are forbidden when detecting boxes of these classes: the beginning of noise, and the end.

    Raises BadInput for a class that begins like noise.
    """
    first = tokens.encode(f" {NOISE}")[0]
    alike = next((label for label in labels if tokens.encode(f" {label}")[0] == first), None)
    if alike is not None:
        raise BadInput(
            f"with this tokenizer the class {alike!r} begins with {tokens.piece(first)!r}, as {NOISE!r} does, and one cannot"
            " be forbidden without the other; ask without --noise-boxes"
        )
    return first, EOS


def label_chances(tokens: Tokens, ids: Sequence[int], log_probabilities: Sequence[float]) -> list[float]:
    """Compute the probability of its box's label, up to the `;`, for each location or mask token in an answer."""
    chances: list[float] = []
    waiting, label, named = 0, 0.0, False
    for number, value in zip(ids, log_probabilities, strict=False):
        placed = tokens.is_location(number) or tokens.is_segment(number)
        if (placed and named) or ";" in tokens.piece(number):
            chances += [math.exp(min(0.0, label))] * waiting
            waiting, label, named = 0, 0.0, False
        if placed:
            waiting += 1
        elif waiting:
            label, named = label + value, True
    return chances + [math.exp(min(0.0, label))] * waiting


def first_boxes(tokens: Tokens, ids: Sequence[int], count: int) -> int:
    """Count the tokens of an answer up to the end of its first `count` boxes, the last one's label included."""
    places = 0
    for at, number in enumerate(ids):
        places += tokens.is_location(number)
        if places > 4 * count:
            return at
    return len(ids)
