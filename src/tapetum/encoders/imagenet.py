"""The 1,000 classes of ImageNet (ILSVRC 2012), in the order of the outputs of networks trained on it. Imports no torch.

`imagenet_classes.txt` has a line per class: its WordNet number, by which classes are sorted, and its first name, made
unambiguous if two classes share one ("crane (bird)" and "crane (machine)").

`imagenet_groups.txt` has a line for each common noun that covers several classes, or one under another name: for living things,
WordNet groups, whose classes are mostly consecutive; for all others, everyday usage.

`imagenet_kinds.txt` has a line for each kind of thing (animal, vehicle, food, ...); a class belongs to at most one kind.
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
def group_classes() -> dict[str, tuple[int, ...]]:
    """List common nouns with the indices of the classes that they cover.

    >>> group_classes()["cat"]
    (281, 282, 283, 284, 285)
    """
    return _spans("imagenet_groups.txt")


@cache
def class_kinds() -> tuple[str, ...]:
    """List the kind of thing that each class is: animal, vehicle, food, ...; "object" if it is none of those.

    >>> class_kinds()[207], class_kinds()[817], class_kinds()[398]
    ('animal', 'vehicle', 'object')
    """
    kinds = dict.fromkeys(range(len(class_names())), "object")
    for kind, numbers in _spans("imagenet_kinds.txt").items():
        kinds |= dict.fromkeys(numbers, kind)
    return tuple(kinds.values())


@cache
def _spans(file: str) -> dict[str, tuple[int, ...]]:
    """The class indices of each line: a word, then indices and ranges of them."""
    classes: dict[str, tuple[int, ...]] = {}
    for line in Path(__file__).with_name(file).read_text(encoding="utf-8").splitlines():
        word, *spans = line.split()
        ends = [(int(span.split("-")[0]), int(span.split("-")[-1])) for span in spans]
        classes[word] = tuple(number for first, last in ends for number in range(first, last + 1))
    return classes


@cache
def _lines() -> tuple[tuple[str, str], ...]:
    text = Path(__file__).with_name("imagenet_classes.txt").read_text(encoding="utf-8")
    return tuple((number, name) for number, _, name in (line.partition(" ") for line in text.splitlines()))
