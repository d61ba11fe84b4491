"""Texts of pictures: as they are given, or made of the names of classes; and texts as bytes.

Source: "Where Should I Spend My FLOPs?" (arXiv 2209.15589) runs CLIP on data that has only labels with captions made of them.

Differs from CLIP (2103.00020): a token is a byte of UTF-8, so that no vocabulary has to be kept.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

BEGIN, END = 256, 257
"""Tokens after those of the bytes."""
VOCABULARY = 258


def of_classes(template: str, names: Sequence[str]) -> str:
    """Make the caption of a picture that shows things of these names.

    >>> of_classes("This is a photo of {}", ["cat", "red_panda"])
    'This is a photo of cat and red panda'
    """
    return template.format(" and ".join(name.replace("_", " ") for name in names))


def tokens(texts: Sequence[str], length: int) -> Int64[Tensor, "b length"]:
    """Write texts as begin, bytes, end and zeros; what is too long is cut.

    >>> tokens(["ab"], 6).tolist()
    [[256, 97, 98, 257, 0, 0]]
    """
    out = torch.zeros(len(texts), length, dtype=torch.int64)
    for row, text in zip(out, texts, strict=True):
        numbers = [BEGIN, *text.encode()[: length - 2], END]
        row[: len(numbers)] = torch.tensor(numbers)
    return out


def numbers(texts: Sequence[str]) -> Int64[Tensor, " b"]:
    """Give equal texts equal numbers, the same in every process.

    >>> bool(numbers(["a", "b", "a"])[0] == numbers(["a"])[0])
    True
    """
    from hashlib import blake2b

    return torch.tensor([int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True) for text in texts])
