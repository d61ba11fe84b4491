"""Several clicks of one point: user input on a point in more than one frame, combined into one track.

Not part of TAPIR. Each click is tracked in both directions, but not independently:

    clicks of a point --+--> coarse features: their mean    --> each click seeks with what all of them look like
                        +--> places: known to all of them   --> matching has nothing to seek in a clicked frame
                        +--> fine features, polished patch: of the click alone, since views differ

    frames   0 . . . a . . . . . . . . b . . . T          between the clicks a and b, a's way on and b's way back are
             [<------ a ------>]                           blended: the nearer the click and the surer the track, the
                      [<----- b ------------->]            more it weighs; farther apart than `AGREE`, the heavier wins

In a second pass the clicks of a point share what all their first passes saw. For the gain see docs/evidence/clicks.md.
"""

from collections.abc import Hashable, Iterable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.systems.tap.types import QueryFeatures

AGREE = 6.0
"""Pixels of an image whose shorter side has 256: two ways that are no farther apart than this saw the same thing."""
POWER = 3
"""Of the confidence in a weight, that of nearness being 1."""


def number_points(ids: Iterable[Hashable], clicks: Float[Tensor, "k 3"]) -> Int[Tensor, " k"]:
    """Number the points that clicks (t, x, y) belong to, in the order of their ids. Raises BadInput unless each click has one
    id, and if a point is clicked twice in one frame."""
    try:
        named = [name.item() if isinstance(name, np.generic) else name for name in ids]
    except TypeError as error:
        raise BadInput(f"ids are {type(ids).__name__}; give one for each query") from error
    if len(named) != len(clicks):
        raise BadInput(f"there are {len(named)} ids for {len(clicks)} queries; give each query the id of its point")
    order = {name: number for number, name in enumerate(dict.fromkeys(named))}
    clicked = set()
    for name, frame in zip(named, clicks[:, 0].round().int().tolist(), strict=True):
        if (name, frame) in clicked:
            raise BadInput(f"point {name!r} is clicked twice in frame {frame}; give one place for each frame")
        clicked.add((name, frame))
    return torch.tensor([order[name] for name in named])


def first_of_each(numbers: Int[Tensor, " k"]) -> Int[Tensor, " n"]:
    """Find the row of each point's first click.

    >>> first_of_each(torch.tensor([0, 1, 0, 2])).tolist()
    [0, 1, 3]
    """
    return torch.from_numpy(np.unique(numbers.numpy(), return_index=True)[1])


def share_features(points: QueryFeatures, numbers: Int[Tensor, " k"]) -> QueryFeatures:
    """Average the coarse features (stride 8) over all clicks of a point; the fine ones remain those of each click."""
    numbers = numbers.to(points.initial.device)
    count = torch.bincount(numbers)[numbers][None, :, None]

    def mean(x: Tensor) -> Tensor:
        return (_sums(x.float(), numbers)[:, numbers] / count).to(x)

    return QueryFeatures(mean(points.initial), tuple((fine, mean(coarse)) for fine, coarse in points.levels))


def share_places(known: Float[Tensor, "b k t 2"], numbers: Int[Tensor, " k"]) -> Float[Tensor, "b k t 2"]:
    """Share the positions (NaN: unknown) of all clicks of a point among its clicks."""
    numbers = numbers.to(known.device)
    return (_sums(known.nan_to_num(), numbers) / _sums((~known.isnan()).to(known), numbers))[:, numbers]  # 0 / 0 is NaN


def _sums(x: Float[Tensor, "b k *s"], numbers: Int[Tensor, " k"]) -> Float[Tensor, "b n *s"]:
    return x.new_zeros(x.shape[0], int(numbers.max()) + 1, *x.shape[2:]).index_add(1, numbers, x)


def blend(
    clicks: Float[np.ndarray, "k 3"],
    numbers: Int[np.ndarray, " k"],
    xy: Float[np.ndarray, "k t 2"],
    confidence: Float[np.ndarray, "k t"],
    shorter: int,
) -> tuple[Float[np.ndarray, "n t 2"], Float[np.ndarray, "n t"], Bool[np.ndarray, "n t"]]:
    """Join the tracks of the clicks of each point: positions, confidences, and which frames were clicked.

    A track passes exactly through its clicks (t, x, y), visible there; those between two frames only guide it. `numbers` is the
    point of each click; `shorter` the length of the video's shorter side in pixels.
    """
    frames, count = xy.shape[1], int(numbers.max()) + 1
    joined, sure = np.empty((count, frames, 2), np.float32), np.empty((count, frames), np.float32)
    clicked = np.zeros((count, frames), np.bool_)
    for number in range(count):
        rows = np.flatnonzero(numbers == number)
        rows = rows[np.argsort(clicks[rows, 0], kind="stable")]
        joined[number], sure[number] = _between(clicks[rows, 0], xy[rows], confidence[rows], AGREE * shorter / 256)
        whole = rows[clicks[rows, 0] == np.round(clicks[rows, 0])]
        at = clicks[whole, 0].astype(int)
        joined[number, at], sure[number, at], clicked[number, at] = clicks[whole, 1:], 1.0, True
    return joined, sure, clicked


def _between(
    times: Float[np.ndarray, " k"], xy: Float[np.ndarray, "k t 2"], confidence: Float[np.ndarray, "k t"], agree: float
) -> tuple[Float[np.ndarray, "t 2"], Float[np.ndarray, " t"]]:
    """One point's track: in each frame the tracks of the clicks before and after, which are the same click at the ends."""
    frame = np.arange(xy.shape[1])
    after = np.searchsorted(times, frame)
    before, after = (after - 1).clip(0), after.clip(max=len(times) - 1)
    span = times[after] - times[before]
    ramp = np.where(span > 0, (frame - times[before]) / np.where(span > 0, span, 1), 0.0)
    (xy_before, xy_after), (sure_before, sure_after) = ((x[before, frame], x[after, frame]) for x in (xy, confidence))
    weight_before, weight_after = (np.maximum(sure, 1e-6) ** POWER for sure in (sure_before, sure_after))
    share = ramp * weight_after / (ramp * weight_after + (1 - ramp) * weight_before)
    same = np.linalg.norm(xy_before - xy_after, axis=-1) <= agree
    share = np.where(same, share, share > 0.5).astype(np.float32)
    surer = np.where(share > 0.5, sure_after, sure_before)
    return xy_before + (xy_after - xy_before) * share[:, None], np.where(same, np.maximum(sure_before, sure_after), surer)


def nearest(
    clicks: Float[np.ndarray, "k 3"], numbers: Int[np.ndarray, " k"], values: Float[np.ndarray, "k t"]
) -> Float[np.ndarray, "n t"]:
    """Take the values of each point's click that is nearest in time; of two as near, the smaller.

    >>> nearest(np.float32([[0, 0, 0], [2, 4, 0]]), np.array([0, 0]), np.array([[0, 1, 2, 3], [4, 5, 0, 1]]))
    array([[0, 1, 0, 1]])
    """
    away = np.abs(np.arange(values.shape[1]) - clicks[:, :1])
    joined = []
    for number in range(int(numbers.max()) + 1):
        rows = np.flatnonzero(numbers == number)
        first = np.lexsort((values[rows], away[rows]), axis=0)[0]
        joined.append(np.take_along_axis(values[rows], first[None], 0)[0])
    return np.stack(joined)
