"""Predictions beside what they are scored against, by id: nothing is left out in silence, nothing counts twice."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.types.checks import unmasked

Key = TypeVar("Key", bound=Hashable)
Said = TypeVar("Said")
Truth = TypeVar("Truth")

_NAMED = 3
"""Ids that a message names."""


def paired(
    predictions: Mapping[Key, Said], truths: Mapping[Key, Truth], *, missing: Said | None = None
) -> list[tuple[Key, Said, Truth]]:
    """Return (id, prediction, truth) in the order of the truths.

    `missing` is what counts as said where nothing was; None refuses. Raises BadInput where there is no truth at all, for an id
    without a prediction, and for a prediction of an id that the truth has not.

    >>> paired({"a": "yes"}, {"a": "no"})
    [('a', 'yes', 'no')]
    """
    if not truths:
        raise BadInput("there is nothing to score against; give the truth of one id or more")
    unknown = [key for key in predictions if key not in truths]
    if unknown:
        raise BadInput(f"{_some(unknown)} of the predictions {_are(unknown)} not in the truth{_kinds(unknown[0], truths)}")
    absent = [key for key in truths if key not in predictions]
    if absent and missing is None:
        raise BadInput(f"{_some(absent)} of the truth {_has(absent)} no prediction; predict all {len(truths)} ids")
    return [(key, predictions.get(key, missing), truth) for key, truth in truths.items()]  # type: ignore[misc]


def text(value: Any, key: Any) -> str:
    """Return an answer that is a text. Raises BadInput for anything else, NaN and None among them."""
    if not isinstance(value, str):
        raise BadInput(f"the answer of {key!r} is {value!r}; give a text, an empty one where nothing was said")
    return value


def finite_array(value: Any, name: str, ndim: int) -> np.ndarray:
    """Return float64 numbers. Raises BadInput for another number of axes and for NaN or infinity."""
    try:
        array = np.asarray(unmasked(value, name), np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{name} is no array of numbers ({error}); give one of {ndim} axes") from None
    if array.ndim != ndim:
        raise BadInput(f"{name} has shape {array.shape}; give {ndim} axes")
    if not np.isfinite(array).all():
        raise BadInput(f"{name} holds NaN or infinity; every number must be finite")
    return array


def _some(keys: list[Any]) -> str:
    named = ", ".join(repr(key) for key in keys[:_NAMED])
    return f"{len(keys)} ids ({named}{', ...' if len(keys) > _NAMED else ''})" if len(keys) > 1 else f"the id {named}"


def _are(keys: list[Any]) -> str:
    return "are" if len(keys) > 1 else "is"


def _has(keys: list[Any]) -> str:
    return "have" if len(keys) > 1 else "has"


def _kinds(unknown: Any, truths: Iterable[Any]) -> str:
    known = next(iter(truths))
    if type(unknown) is not type(known) and str(unknown) in map(str, truths):
        return f", whose ids are {type(known).__name__}, not {type(unknown).__name__}; give ids of that type"
    return "; leave them out, or score against the split they are of"
