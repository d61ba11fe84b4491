"""Checks that the types share: arrays of the right shape with finite numbers."""

from typing import Any

import numpy as np

from tapetum.core.errors import BadInput


def unmasked(value: Any, name: str) -> Any:
    """Unwrap a numpy masked array in which nothing is masked; anything else is returned unchanged.

    Raises BadInput, naming `name`, if something is masked: numpy itself silently returns the values under a mask.

    >>> unmasked(np.ma.MaskedArray([1, 2], mask=[False, True]), "xy")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: xy is a masked array with 1 of 2 values masked; fill it (array.filled(0)) or leave these out
    """
    if not isinstance(value, np.ma.MaskedArray):
        return value
    if count := int(np.ma.count_masked(value)):
        many = f"{count} of {value.size} values"
        raise BadInput(f"{name} is a masked array with {many} masked; fill it (array.filled(0)) or leave these out")
    return value.data


def finite(
    owner: str, name: str, value: Any, shape: tuple[int | None, ...], dtype: type = np.float32, axes: str = ""
) -> np.ndarray:
    """Convert `value` to an array of `dtype` and `shape`, where None is any size; `axes` names the sizes in messages.

    Raises BadInput, naming the field `name` of the type `owner`, for another shape or a number that is not finite.

    >>> finite("Boxes", "scores", [0.5], (None,)).dtype.name
    'float32'
    """
    try:
        array = np.asarray(unmasked(value, f"{name} of {owner}"), dtype=dtype)
    except (ValueError, TypeError) as error:
        raise BadInput(f"{name} of {owner} is not an array of numbers: {error}") from error
    if array.ndim != len(shape) or any(want not in (None, size) for size, want in zip(array.shape, shape, strict=True)):
        expected = axes or str(tuple("any" if size is None else size for size in shape))
        raise BadInput(f"{name} of {owner} has shape {array.shape}; it must be {expected}")
    if not np.isfinite(array).all():
        raise BadInput(f"{name} of {owner} holds NaN or infinity; every number must be finite")
    return array


def truths(owner: str, name: str, value: Any) -> np.ndarray:
    """Convert `value` to bool; integers 0 and 1 are also accepted. Raises BadInput for anything else."""
    array = np.asarray(unmasked(value, f"{name} of {owner}"))
    if array.dtype != np.bool_ and not (array.dtype.kind in "iu" and np.isin(array, (0, 1)).all()):
        raise BadInput(f"{name} of {owner} has dtype {array.dtype}; it must be bool (or 0 and 1)")
    return array.astype(np.bool_, copy=False)
