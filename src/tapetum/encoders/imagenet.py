"""The 1,000 classes of ImageNet (ILSVRC 2012), in the order of the outputs of networks trained on it. Imports no torch.

`imagenet_classes.txt` has a line per class: its WordNet number, by which classes are sorted, and its first name, made
unambiguous if two classes share one ("crane (bird)" and "crane (machine)").
"""

from functools import cache
from pathlib import Path


@cache
def class_names() -> tuple[str, ...]:
    """List the name of each class.

    >>> class_names()[0], class_names()[999]
    ('tench', 'toilet tissue')
    """
    return tuple(name for _, name in _lines())


@cache
def synsets() -> tuple[str, ...]:
    """List the WordNet number of each class, which is the name of its folder in ImageNet.

    >>> synsets()[0]
    'n01440764'
    """
    return tuple(number for number, _ in _lines())


@cache
def prompt_names() -> tuple[str, ...]:
    """List the class names used for published zero-shot results (CLIP, arXiv 2103.00020).

    >>> prompt_names()[134], class_names()[134]
    ('crane bird', 'crane (bird)')
    """
    lines = Path(__file__).with_name("imagenet_prompt_names.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if not line.startswith("#"))


@cache
def _lines() -> tuple[tuple[str, str], ...]:
    text = Path(__file__).with_name("imagenet_classes.txt").read_text(encoding="utf-8")
    return tuple((number, name) for number, _, name in (line.partition(" ") for line in text.splitlines()))
