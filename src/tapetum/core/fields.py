"""Bounds of a config's fields, declared in one line and checked by one function; bounds of external values.

    def __post_init__(self) -> None:
        check_fields(self, steps="[1, inf)", momentum="[0, 1)", lr="(0, inf)")

Fields of type `Literal` are checked automatically. Relations between fields are left to each config. `check_types`
checks configs that come from files against the types of their fields.

`check_sizes` limits numbers in options, settings files and configs in weights files: without it, a config with 10^9 layers
is built until memory runs out. These bounds are far above anything trained now or soon; values within them may still be
too large for a machine, which `tapetum.core.devices` reports.
"""

import math
import numbers
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from tapetum.core.errors import BadInput


def check_fields(config: Any, dashes: bool = False, /, **intervals: str) -> None:
    """Raise BadInput if a field is outside its interval, or not one of the values of its `Literal`.

    Args:
        config: an instance of a dataclass. None passes if the field may be None; of a sequence, each value is checked.
        dashes: the message names a field as an option of a command.
        intervals: by field name, in mathematical notation: "[0, 1)" contains 0 but not 1, "[1, inf)" has no upper end.

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
        kind = get_args(declared[name].type)[0] if get_origin(declared[name].type) is Annotated else declared[name].type
        optional = type(None) in get_args(kind)
        if value is None and optional:
            continue
        if dashes and isinstance(value, numbers.Real):
            values = (float(value),)  # in Python, an option may be a number of numpy
        if not all(_inside(each, interval) for each in values):
            shown, none = (_option(name), "") if dashes else (name, ", or None" if optional else "")
            raise BadInput(f"{shown} is {value}; it must be {_described(interval)}{none}")


def check_options(options: Any, /, **intervals: str) -> None:
    """Check the options of a command as `check_fields`."""
    check_fields(options, True, **intervals)


def check_types(config: Any) -> None:
    """Raise BadInput if a field's value does not have the type in its dataclass; numbers must be finite.

    Integers are accepted as floats, and lists as tuples. Fields that are dataclasses are not checked inside.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Network:
    ...     width: int
    ...     scale: float | None = None
    ...     def __post_init__(self):
    ...         check_types(self)
    >>> Network(width=1e308)
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: width is 1e+308; it must be a whole number
    >>> Network(width=8, scale=float("nan"))
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: scale is nan; it must be a finite number or None
    """
    for name, field in type(config).__dataclass_fields__.items():
        value = getattr(config, name)
        if not _is_of(value, field.type):
            raise BadInput(f"{name} is {value!r:.60}; it must be {_type_in_words(field.type)}")


def _is_of(value: Any, annotation: Any) -> bool:
    parts = get_args(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return any(_is_of(value, part) for part in parts)
    if get_origin(annotation) is tuple:
        kinds = parts[:1] * len(value) if isinstance(value, list | tuple) and parts[-1:] == (...,) else parts
        return isinstance(value, list | tuple) and len(value) == len(kinds) and all(map(_is_of, value, kinds))
    if annotation is int or annotation is float:
        kind = numbers.Integral if annotation is int else numbers.Real
        number: Any = value
        return isinstance(value, kind) and not isinstance(value, bool) and -1e300 < number < 1e300  # False for NaN
    return annotation not in (bool, str, type(None)) or isinstance(value, annotation)


def _type_in_words(annotation: Any) -> str:
    words = {int: "a whole number", float: "a finite number", bool: "true or false", str: "text", type(None): "None"}
    if annotation in words:
        return words[annotation]
    parts = get_args(annotation)
    if get_origin(annotation) is tuple:
        return f"{'several' if parts[-1:] == (...,) else len(parts)} values, each {_type_in_words(parts[0])}"
    return " or ".join(map(_type_in_words, parts)) or "something else"


def _words(annotation: Any) -> tuple[Any, ...]:
    """List the values of a `Literal`, or of a union of several with None; nothing for other types."""
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


LARGEST = 2**63 - 1
"""What any whole number may be."""
LARGEST_SIZE = 2**24
"""What any number in the config of a network may be, but a seed."""
_LAYERS = "depth depths layers self_layers blocks_per_group extra_convs stem stem_blocks mixer_blocks residuals levels"
_LAYERS += " num_hidden_layers"
_SIDES = "size image_size pixels image resize long_side short_side short_sides local_size crop patch initial_resolution"
_SIDES += " refine_at_least refine_with_gradient tubelet image image_size patch_size"
_WIDTHS = "width mlp_width head_width stem_width group_width final_width adapter_width pyramid_width hidden_width mixer_width"
_WIDTHS += " projection_width code_width channels hidden projection embedding bottleneck middle rank lora_rank stem_channels"
_WIDTHS += " heads self_heads cross_heads key_value_heads groups latents codes registers fourier_bands matching_channels"
_WIDTHS += " hidden_size intermediate_size num_attention_heads num_key_value_heads head_dim projection_dim"
_COUNTS = "frames batch batch_size micro_batch vocabulary classes prototypes clusters points neighbours memories proposals"
_COUNTS += " top grid context radius beams best_of local_views masks max_new_tokens event_frames length trail"
_COUNTS += " window segment_frames vocab_size"
BOUNDS: dict[str, int] = {
    **dict.fromkeys(_LAYERS.split(), 1000),
    **dict.fromkeys(_SIDES.split(), 2**14),
    **dict.fromkeys(_WIDTHS.split(), 2**18),
    **dict.fromkeys(_COUNTS.split(), 2**24),
}
"""What numbers may be, by the name of the field: layers, sides in pixels, widths, and what is counted."""
UNBOUNDED = {"seed", "shuffle"}
"""What is no size, whose bound is `LARGEST`."""


def check_sizes(given: Any, where: str = "", most: int = LARGEST, dashes: bool = False) -> None:
    """Raise BadInput if an integer in a dataclass, mapping or sequence exceeds the bound of its name.

    Args:
        given: the external value.
        where: for the message: " in FILE", or nothing.
        most: bound for names that are not in `BOUNDS`.
        dashes: names are those of options.

    >>> check_sizes({"config": {"depth": 12, "width": 10**9}}, " in a.safetensors")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: width is 1,000,000,000 in a.safetensors; it may be 262,144 at most
    """
    for name, value in _numbers(given, ""):
        bound = LARGEST if name in UNBOUNDED else min(BOUNDS.get(name, most), most)
        if abs(value) > bound:
            shown = f"{value:,}" if abs(value) < 10**30 else "a number of very many digits"
            raise BadInput(f"{_option(name) if dashes else name} is {shown}{where}; it may be {bound:,} at most")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _numbers(given: Any, name: str) -> Iterable[tuple[str, int]]:
    if isinstance(given, int) and not isinstance(given, bool):
        yield name, given
    elif is_dataclass(given) and not isinstance(given, type):
        for field in fields(given):
            yield from _numbers(getattr(given, field.name), field.name)
    elif isinstance(given, Mapping):
        for key, value in given.items():
            yield from _numbers(value, str(key))
    elif isinstance(given, list | tuple):
        for value in given:
            yield from _numbers(value, name)
