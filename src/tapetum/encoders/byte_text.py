"""Text as UTF-8 bytes, for text towers without a vocabulary: begin, bytes, end, zeros."""

from collections.abc import Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from tapetum.core.errors import check_several
from tapetum.core.reading import check_length

BEGIN, END = 256, 257
"""Tokens after those of the bytes."""
VOCABULARY = 258


def tokens(texts: Sequence[str], length: int) -> Int64[Tensor, "b length"]:
    """Encode texts as begin, bytes, end and zeros; longer texts are truncated. Raises BadInput for unreasonably long texts.

    >>> tokens(["ab"], 6).tolist()
    [[256, 97, 98, 257, 0, 0]]
    """
    check_several(texts, "texts")
    out = torch.zeros(len(texts), length, dtype=torch.int64)
    for row, text in zip(out, texts, strict=True):
        check_length(text, "a text for the model")
        numbers = [BEGIN, *text.encode(errors="replace")[: length - 2], END]
        row[: len(numbers)] = torch.tensor(numbers)
    return out


def numbers(texts: Sequence[str]) -> Int64[Tensor, " b"]:
    """Hash texts to numbers: equal texts get equal numbers, the same in every process.

    >>> bool(numbers(["a", "b", "a"])[0] == numbers(["a"])[0])
    True
    """
    from hashlib import blake2b

    check_several(texts, "texts")
    digests = [blake2b(text.encode(errors="replace"), digest_size=8).digest() for text in texts]
    return torch.tensor([int.from_bytes(digest, "big", signed=True) for digest in digests], dtype=torch.int64)
