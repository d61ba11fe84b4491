"""Texts of images: as they are given, or made of the names of classes; and texts as bytes.

Source: "Where Should I Spend My FLOPs?" (arXiv 2209.15589) runs CLIP on data that has only labels with captions made of them.

Differs from CLIP (2103.00020): a token is a byte of UTF-8, so that no vocabulary has to be kept.
"""

from collections.abc import Sequence

from tapetum.encoders.byte_text import BEGIN, END, VOCABULARY, numbers, tokens

__all__ = ["BEGIN", "END", "VOCABULARY", "numbers", "of_classes", "tokens"]


def of_classes(template: str, names: Sequence[str]) -> str:
    """Make the caption of an image that shows things of these names.

    >>> of_classes("This is a photo of {}", ["cat", "red_panda"])
    'This is a photo of cat and red panda'
    """
    return template.format(" and ".join(name.replace("_", " ") for name in names))
