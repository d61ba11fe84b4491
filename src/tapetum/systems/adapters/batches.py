"""Batches in which every example has its own adapter: split by adapter, with the results merged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tapetum.core.errors import BadInput


def by_group(names: Sequence[str | None], run: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call `run(name, *args, **kwargs)` for the examples of each name, and return the results in the order of the examples.

    In `args` and `kwargs`, tensors with one row per example are split; the first of them must have as many rows as there are
    names. The first axis of every tensor in a result is the example. Raises BadInput for a wrong number of names, or for
    results that cannot be merged.
    """
    first = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor) and value.ndim), None)
    count = 0 if first is None else first.shape[0]
    if not names or count != len(names):
        raise BadInput(f"{len(names)} adapters are named for a batch of {count}; name one for each example, or one for all")
    groups = {name: [i for i, own in enumerate(names) if own == name] for name in dict.fromkeys(names)}
    if len(groups) == 1:
        return run(names[0], *args, **kwargs)

    def part(value: Any, rows: Tensor) -> Any:
        return value[rows.to(value.device)] if isinstance(value, Tensor) and value.ndim and value.shape[0] == count else value

    pieces, order = [], [i for rows in groups.values() for i in rows]
    for name, numbers in groups.items():
        rows = torch.tensor(numbers)
        pieces.append(run(name, *(part(v, rows) for v in args), **{k: part(v, rows) for k, v in kwargs.items()}))
    sizes = [len(rows) for rows in groups.values()]
    return _joined(pieces, sizes, torch.tensor(order).argsort())


def _joined(pieces: Sequence[Any], sizes: Sequence[int], order: Tensor) -> Any:
    first = pieces[0]
    if isinstance(first, Tensor):
        if any(
            not p.ndim or p.shape[0] != size or p.shape[1:] != first.shape[1:] for p, size in zip(pieces, sizes, strict=True)
        ):
            raise BadInput(
                f"the network gives tensors {[tuple(p.shape) for p in pieces]} for {list(sizes)} examples, which cannot be put "
                "together; name one adapter for the whole batch"
            )
        return torch.cat(list(pieces))[order.to(first.device)]
    if isinstance(first, Mapping):
        return {key: _joined([piece[key] for piece in pieces], sizes, order) for key in first}
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(_joined(values, sizes, order) for values in zip(*pieces, strict=True)))
    if isinstance(first, list | tuple):
        return type(first)(_joined(values, sizes, order) for values in zip(*pieces, strict=True))
    if is_dataclass(first) and not isinstance(first, type):
        whole = {f.name: _joined([getattr(p, f.name) for p in pieces], sizes, order) for f in fields(first) if f.init}
        return replace(first, **whole)
    return first
