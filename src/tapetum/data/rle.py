"""Masks as runs, in the compressed text of COCO (Lin et al., arXiv 1405.0312): column by column, the first run is of zeros.

    mask      runs down the columns      text
    0 1
    1 1       1 zero, 3 ones         ─►  "13"      each run, from the fourth on less the last run but one, in groups of
                                                   5 bits, lowest first; 32 is added where more follow, and 48 to all

pycocotools reads what is written here and the other way round; it is not needed.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool

from tapetum.core.errors import BadInput


def encode_mask(mask: Bool[np.ndarray, "h w"]) -> dict[str, Any]:
    """Return a mask as COCO's `{"size": [h, w], "counts": text}`.

    >>> encode_mask(np.array([[False, True], [True, True]]))
    {'size': [2, 2], 'counts': '13'}
    """
    flat = np.asarray(mask, bool).ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    starts = [0, *edges.tolist(), flat.size]
    runs = [b - a for a, b in pairwise(starts)]
    if flat.size and flat[0]:
        runs.insert(0, 0)
    return {"size": [int(n) for n in mask.shape], "counts": "".join(_written(runs))}


def decode_mask(encoded: Mapping[str, Any]) -> Bool[np.ndarray, "h w"]:
    """Return the mask of what `encode_mask` or pycocotools wrote, or of uncompressed runs (a list).

    Raises BadInput for a text that is none, and for runs that do not fill the size.
    """
    try:
        h, w = (int(n) for n in encoded["size"])
        counts = encoded["counts"]
        runs = counts if isinstance(counts, list) else _read(counts.decode() if isinstance(counts, bytes) else counts)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise BadInput(f"a mask is no run-length text of COCO ({type(error).__name__}: {error}); write it again") from None
    if sum(runs) != h * w or min(runs, default=0) < 0:
        raise BadInput(f"the runs of a mask cover {sum(runs)} pixels; a mask of {h}x{w} has {h * w}: write it again")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape((h, w), order="F")


def _written(runs: list[int]) -> list[str]:
    text: list[str] = []
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            group, value = value & 31, value >> 5
            more = value != (-1 if group & 16 else 0)
            text.append(chr(48 + group + 32 * more))
    return text


def _read(text: str) -> list[int]:
    runs: list[int] = []
    value, shift = 0, 0
    for letter in text:
        group = ord(letter) - 48
        if not 0 <= group < 64:
            raise ValueError(f"{letter!r} is no letter of such a text")
        value |= (group & 31) << shift
        shift += 5
        if not group & 32:
            if group & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value, shift = 0, 0
    if shift:
        raise ValueError("it ends in the middle of a number")
    return runs
