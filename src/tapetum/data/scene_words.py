"""Words about the things of made scenes, which captions, questions and their readers share."""

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
    """Write a relation as it stands behind "is".

    >>> spoken("left of"), spoken("under")
    ('to the left of', 'under')
    """
    return f"to the {relation}" if relation in ("left of", "right of") else relation
