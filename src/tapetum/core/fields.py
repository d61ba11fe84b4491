"""Bounds of a config's fields, declared in one line each and checked by one function.

    def __post_init__(self) -> None:
        check_fields(self, steps="[1, inf)", momentum="[0, 1)", lr="(0, inf)")

Fields of type `Literal` are checked without being named. Relations between fields are each config's own.
"""

import math
import types
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

from tapetum.core.errors import BadInput


def check_fields(config: Any, **intervals: str) -> None:
    """Raise BadInput where a field lies outside of its interval, or is none of the words that its `Literal` has.

    Args:
        config: an instance of a dataclass. None passes where the field may be None; of a sequence each value is checked.
        intervals: by name of the field, in mathematics' notation: "[0, 1)" holds 0 and not 1, "[1, inf)" has no upper end.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Schedule:
    ...     kind: Literal["cosine", "linear"] = "cosine"
    ...     warmup: float | None = None
    ...     def __post_init__(self):
    ...         check_fields(self, warmup="[0, 1)")
    >>> Schedule(warmup=1.0)
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: warmup is 1.0; it must be at least 0 and below 1, or None
    >>> Schedule(kind="step")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: kind is 'step'; it must be cosine or linear
    """
    declared = type(config).__dataclass_fields__
    for name, field in declared.items():
        value = getattr(config, name)
        words = _words(field.type)
        if words and value not in words:
            raise BadInput(f"{name} is {value!r}; it must be {_listed(words)}")
    for name, interval in intervals.items():
        value = getattr(config, name)
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
        optional = type(None) in get_args(declared[name].type)
        if value is None and optional:
            continue
        if not all(_inside(each, interval) for each in values):
            raise BadInput(f"{name} is {value}; it must be {_described(interval)}{', or None' if optional else ''}")


def _words(annotation: Any) -> tuple[Any, ...]:
    """List what a `Literal`, or a union of some with None, may be; nothing for other types."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [(None,) if part is type(None) else _words(part) for part in get_args(annotation)]
        return tuple(word for part in parts for word in part) if all(parts) else ()
    return ()


def _listed(words: Sequence[Any]) -> str:
    *first, last = [str(word) for word in words]
    return f"{', '.join(first)} or {last}" if first else last


@cache
def _ends(interval: str) -> tuple[float, float]:
    low, high = interval[1:-1].split(",")
    return float(low), float(high)


def _inside(value: Any, interval: str) -> bool:
    low, high = _ends(interval)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return False
    above = value >= low if interval[0] == "[" else value > low
    return above and (value <= high if interval[-1] == "]" else value < high)


def _described(interval: str) -> str:
    """Put an interval into words.

    >>> _described("[1, inf)"), _described("(0, 1]"), _described("[1, 8]")
    ('1 or more', 'above 0 and at most 1', '1 to 8')
    """
    low, high = (f"{int(end):,}" if math.isfinite(end) and end == int(end) else f"{end:g}" for end in _ends(interval))
    if math.isinf(_ends(interval)[1]):
        return f"{low} or more" if interval[0] == "[" else f"above {low}"
    if math.isinf(_ends(interval)[0]):
        return f"at most {high}" if interval[-1] == "]" else f"below {high}"
    if interval[0] == "[" and interval[-1] == "]":
        return f"{low} to {high}"
    return f"{'at least' if interval[0] == '[' else 'above'} {low} and {'at most' if interval[-1] == ']' else 'below'} {high}"
