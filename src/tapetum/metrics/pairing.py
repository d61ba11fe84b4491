"""Pairing of predictions with targets, by id: nothing is dropped silently, nothing counts twice."""

from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.types.checks import unmasked

Key = TypeVar("Key", bound=Hashable)
Prediction = TypeVar("Prediction")
Target = TypeVar("Target")


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
    if unknown := [key for key in predictions if key not in targets]:
        known, given = (type(next(iter(keys))).__name__ for keys in (targets, unknown))
        advice = "leave them out" if known == given else f"the truth's ids are {known}, not {given}"
        raise BadInput(f"{len(unknown)} ids of the predictions are not in the truth, such as {unknown[0]!r}; {advice}")
    absent = [key for key in targets if key not in predictions]
    if absent and missing is None:
        raise BadInput(f"{len(absent)} of {len(targets)} ids have no prediction, such as {absent[0]!r}; predict all of them")
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
