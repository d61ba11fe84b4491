"""Pairing of predictions with targets, by id: nothing is dropped silently, nothing counts twice."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.types.checks import unmasked

Key = TypeVar("Key", bound=Hashable)
Prediction = TypeVar("Prediction")
Target = TypeVar("Target")

_NAMED = 3
"""Ids that a message names."""


def paired(
    predictions: Mapping[Key, Prediction], targets: Mapping[Key, Target], *, missing: Prediction | None = None
) -> list[tuple[Key, Prediction, Target]]:
    """Pair predictions with targets by id: (id, prediction, target) in the order of the targets.

    `missing` is the prediction for an id without one; None refuses. Raises BadInput if there are no targets at all, for an id
    without a prediction, and for a prediction whose id is not in the targets.

    >>> paired({"a": "yes"}, {"a": "no"})
    [('a', 'yes', 'no')]
    """
    if not targets:
        raise BadInput("there is nothing to score against; give the truth of one id or more")
    unknown = [key for key in predictions if key not in targets]
    if unknown:
        raise BadInput(f"{_some(unknown)} of the predictions {_are(unknown)} not in the truth{_kinds(unknown[0], targets)}")
    absent = [key for key in targets if key not in predictions]
    if absent and missing is None:
        raise BadInput(f"{_some(absent)} of the truth {_has(absent)} no prediction; predict all {len(targets)} ids")
    return [(key, predictions.get(key, missing), target) for key, target in targets.items()]  # type: ignore[misc]


def text(value: Any, key: Any) -> str:
    """Check that an answer is a text. Raises BadInput for anything else, including NaN and None."""
    if not isinstance(value, str):
        raise BadInput(f"the answer of {key!r} is {value!r}; give a text, an empty one where there is no answer")
    return value


def finite_array(value: Any, name: str, ndim: int) -> np.ndarray:
    """Convert numbers to float64. Raises BadInput for another number of axes and for NaN or infinity."""
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


def _kinds(unknown: Any, targets: Iterable[Any]) -> str:
    known = next(iter(targets))
    if type(unknown) is not type(known) and str(unknown) in map(str, targets):
        return f", whose ids are {type(known).__name__}, not {type(unknown).__name__}; give ids of that type"
    return "; leave them out, or score against the split they are of"
