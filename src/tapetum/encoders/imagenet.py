"""The 1,000 classes of ImageNet (ILSVRC 2012), in the order of the outputs of networks trained on it. Imports no torch.

`imagenet_classes.txt` has a line a class: the number of its WordNet noun, by which classes are sorted, and its first name, made
plainer where two classes share one ("crane (bird)" and "crane (machine)").

`imagenet_groups.txt` has a line for each common noun that means several of them, or one under another name: for living things
groups of WordNet, whose classes mostly follow each other, for all others what people call so.
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
    """List the name of each class that published zero-shot numbers are measured with (CLIP, arXiv 2103.00020).

    >>> prompt_names()[134], class_names()[134]
    ('crane bird', 'crane (bird)')
    """
    lines = Path(__file__).with_name("imagenet_prompt_names.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if not line.startswith("#"))


@cache
def class_groups() -> dict[str, tuple[str, ...]]:
    """List common nouns with the names of the classes that they mean.

    >>> class_groups()["cat"]
    ('tabby', 'tiger cat', 'Persian cat', 'Siamese cat', 'Egyptian cat')
    """
    groups = {}
    for line in Path(__file__).with_name("imagenet_groups.txt").read_text(encoding="utf-8").splitlines():
        noun, *spans = line.split()
        ends = [(int(span.split("-")[0]), int(span.split("-")[-1])) for span in spans]
        groups[noun] = tuple(class_names()[number] for first, last in ends for number in range(first, last + 1))
    return groups


@cache
def _lines() -> tuple[tuple[str, str], ...]:
    text = Path(__file__).with_name("imagenet_classes.txt").read_text(encoding="utf-8")
    return tuple((number, name) for number, _, name in (line.partition(" ") for line in text.splitlines()))
