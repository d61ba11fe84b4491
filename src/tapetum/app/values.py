"""Type checks of options passed from Python, before any work is done."""

import numbers
import os
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from tapetum.core.errors import BadInput


@cache
def several_fields(options: Callable[..., Any]) -> frozenset[str]:
    """Name the fields of an options dataclass that take any number of values; a single text or path counts as one value."""
    return frozenset(field.name for field in fields(cast(Any, options)) if _is_several(field.type))


def _is_several(hint: Any) -> bool:
    """Whether a type is `tuple[X, ...]`, annotated or not."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return get_origin(hint) is tuple and get_args(hint)[1:] == (...,)


def check_values(options: Any) -> None:
    """Raise BadInput if a value in an options dataclass has none of its field's types, or is an empty path.

    Paths pass as text, any integer type as int, and a single value as a tuple of one. Fields of other types (`Any`, functions,
    configs) and objects that are not dataclasses are not checked. `Path` reads an empty name as ".", which is never intended.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Few:
    ...     count: int
    >>> check_values(Few("three"))
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: count is the str 'three'; give a whole number
    """
    for field in fields(options) if is_dataclass(options) else ():
        name, hint, value = field.name, field.type, getattr(options, field.name)
        if isinstance(value, str) and "\0" in value:
            raise BadInput(f"{name} has a character in it that no text and no path has (0); leave it out")
        if not _fits(value, hint):
            shown = f" {value!r}" if isinstance(value, str | int | float) else ""
            raise BadInput(
                f"{name} is {'None' if value is None else f'the {type(value).__name__}{shown[:80]}'}; give {_described(hint)}"
            )
        several = value if isinstance(value, tuple | list) else (value,)
        if _names_place(hint) and field.default != "" and any(isinstance(one, str) and not one for one in several):
            raise BadInput(f"{name} is an empty name; give that of a file or folder ('.' is the current one)")


_TEXT, _WHOLE, _NUMBER = (str, os.PathLike), numbers.Integral, numbers.Real
_SIMPLE: dict[Any, tuple[Any, str]] = {
    str: (_TEXT, "a text or a path"),
    Path: (_TEXT, "a path"),
    int: (_WHOLE, "a whole number"),
    float: (_NUMBER, "a number"),
    bool: ((bool, _WHOLE), "True or False"),
    type(None): (type(None), "None"),
}


def _fits(value: Any, hint: Any) -> bool:
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Annotated:
        return _fits(value, parts[0])
    if isinstance(hint, type) and hint in _SIMPLE:
        return isinstance(value, _SIMPLE[hint][0])
    if kind is Literal:
        return isinstance(value, str | int | float | bool | None) and value in parts
    if kind in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if kind is tuple and len(parts) == 2 and parts[1] is Ellipsis:
        return all(_fits(each, parts[0]) for each in value) if isinstance(value, list | tuple) else _fits(value, parts[0])
    return True


def _described(hint: Any) -> str:
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Annotated:
        return _described(parts[0])
    if isinstance(hint, type) and hint in _SIMPLE:
        return _SIMPLE[hint][1]
    if kind is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if kind in (Union, UnionType):
        return " or ".join(dict.fromkeys(_described(part) for part in parts if part is not Path or str not in parts))
    return f"several: each {_described(parts[0])}" if kind is tuple else "another value"


def _names_place(hint: Any) -> bool:
    """Whether values of a type may be paths rather than only text."""
    kind = getattr(hint, "__origin__", hint)
    return not {str, type(None)}.issuperset(get_args(kind) or (kind,))
