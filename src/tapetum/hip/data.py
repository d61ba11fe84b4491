"""Examples for HiP: any modalities as arrays in memory or columns of shards, altered when they are shown.

An element of an example is a row of channels; nothing tells the network where it is. Every showing is a pure function of
(seed, index), as the training loop asks.

Source: HiP (arXiv 2202.10890) takes raw pixels and samples; the shifts and mirrors here are the usual ones of small pictures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from tapetum.errors import BadInput
from tapetum.hip.config import Modality
from tapetum.train.data import Shuffle
from tapetum.train.shards import Column

TARGET = "target"
"""Name of the class, or of the classes of all elements, in an example."""


@dataclass(frozen=True, eq=False)
class Field:
    """One modality of all examples."""

    values: np.ndarray | Column
    """(N, *shape, channels), any kind of number; in memory, or read from shards when it is shown."""
    mean: float | np.ndarray = 0.0
    std: float | np.ndarray = 1.0
    """Subtracted and divided by, each a number or one a channel."""
    shift: int = 0
    """Places by which an example is moved at most along each axis, zeros following."""
    mirror: bool = False
    """The last axis is turned round in half of the showings."""
    order: np.ndarray | None = None
    """A fixed order of the elements, in which they are shown; None: row-major."""

    @property
    def modality(self) -> Modality:
        """What a network must know."""
        return Modality(self.values.shape[1:-1], self.values.shape[-1])

    def show(self, k: int, rng: np.random.Generator | None) -> np.ndarray:
        """Example k as float32 (n, c); as it is without a generator."""
        value = self.values[k]
        if rng is not None:
            value = moved(value, rng, self.shift, self.mirror)
        rows = (value.astype(np.float32) - self.mean) / self.std
        rows = rows.reshape(-1, rows.shape[-1])
        return (rows if self.order is None else rows[self.order]).astype(np.float32)


def moved(value: np.ndarray, rng: np.random.Generator, shift: int, mirror: bool) -> np.ndarray:
    """(*shape, c), moved by up to `shift` places along each axis with zeros following, and maybe mirrored."""
    if mirror and rng.random() < 0.5:
        value = np.flip(value, value.ndim - 2)
    if shift:
        axes = value.ndim - 1
        padded = np.pad(value, [(shift, shift)] * axes + [(0, 0)])
        starts = rng.integers(0, 2 * shift + 1, axes)
        value = padded[tuple(slice(s, s + n) for s, n in zip(starts, value.shape, strict=False))]
    return value


class Examples(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Endless showings in a shuffled order: `examples[index]` has a tensor (n, c) of each modality, and the target."""

    def __init__(self, fields: Mapping[str, Field], targets: np.ndarray | Column | None = None, *, seed: int = 0):
        """`targets`: (N,) classes, or what else there is to be told of each example.

        Raises BadInput for fields of different numbers of examples, or none.
        """
        counts = {name: len(field.values) for name, field in fields.items()} | (
            {} if targets is None else {TARGET: len(targets)}
        )
        if len(set(counts.values())) != 1 or not min(counts.values(), default=0):
            raise BadInput(f"numbers of examples differ or are 0: {counts}; they must be one number")
        self.fields, self.targets, self.seed = dict(fields), targets, seed

    def __len__(self) -> int:
        return len(next(iter(self.fields.values())).values)

    @cached_property
    def order(self) -> Shuffle:
        """Which example is shown when."""
        return Shuffle(len(self), self.seed)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, 3, index))
        return self._example(self.order(index), rng)

    def plain(self, start: int, stop: int) -> dict[str, Tensor]:
        """Examples from `start` to `stop` as they are, in one batch."""
        rows = [self._example(k, None) for k in range(start, min(stop, len(self)))]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _example(self, k: int, rng: np.random.Generator | None) -> dict[str, Tensor]:
        example = {name: torch.from_numpy(field.show(k, rng)) for name, field in self.fields.items()}
        if self.targets is not None:
            example[TARGET] = torch.as_tensor(self.targets[k])
        return example

    def modalities(self) -> dict[str, Modality]:
        """For the network."""
        return {name: field.modality for name, field in self.fields.items()}
