"""Words for the objects of synthetic scenes, shared by captions, questions and their readers."""

ADJECTIVES = {"wood": "wooden"}
"""Of materials; the others are their own."""
_PLURALS = {"box": "boxes", "dice": "dice"}


def plural(noun: str) -> str:
    """Form the plural of a noun.

    >>> plural("cup"), plural("box")
    ('cups', 'boxes')
    """
    return _PLURALS.get(noun, noun + "s")


def spoken(relation: str) -> str:
    """Write a relation as it follows "is".

    >>> spoken("left of"), spoken("under")
    ('to the left of', 'under')
    """
    return f"to the {relation}" if relation in ("left of", "right of") else relation
