r"""The detection transfer of PaliGemma 2 (arXiv 2412.03555, 4.2; as in Pix2Seq, arXiv 2109.10852): lists filled up with noise.

A model that is taught lists of boxes learns when to end, and ends too soon for COCO's average precision, which asks for many
boxes with a score. So every list is filled up to a fixed number with boxes of noise whose class is `noise`:

    detect all classes \n   <loc>x4 cat ; <loc>x4 dog ; <loc>x4 noise ; <loc>x4 noise ... EOS
                            in random order             no loss on the places of noise, loss on its name

To infer, `noise` and the end are forbidden: the model goes on with boxes of the classes it finds likeliest, and a box's score
is how likely it finds the class. The reference reports likelihoods from before what is forbidden is left out, as does this.

Differs: the class of noise is a word of the tokenizer's and not a token of its own.
"""

import numpy as np

from tapetum.errors import BadInput
from tapetum.paligemma.data import Pair
from tapetum.paligemma.locations import suffix
from tapetum.paligemma.prompts import DETECT_ALL
from tapetum.types import Boxes

NOISE = "noise"


def noise_boxes(true: np.ndarray, count: int, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Draw boxes x1, y1, x2, y2 (count, 4): half of them true ones that are moved and stretched, half anywhere."""
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


def detection_pair(boxes: Boxes, width: int, height: int, count: int, rng: np.random.Generator) -> Pair:
    """Make the text of a picture: its boxes in random order, then noise up to `count` boxes.

    Raises BadInput where a true class is called noise.
    """
    if NOISE in boxes.labels:
        raise BadInput(f"a class is called {NOISE!r}, which stands for boxes that are none; call it otherwise")
    order = rng.permutation(len(boxes))[:count]
    false = noise_boxes(boxes.xyxy, count - len(order), width, height, rng)
    every = Boxes(
        xyxy=np.concatenate((boxes.xyxy[order], false)).reshape(-1, 4),
        labels=[str(boxes.labels[i]) for i in order.tolist()] + [NOISE] * len(false),
    )
    return Pair(prefix=DETECT_ALL, suffix=suffix(every, width, height), unlearned=(NOISE,), long=True)
