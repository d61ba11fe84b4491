"""Work whose middle step runs on parts of several items together, such as the pass of images through a network.

    item -- read --> parts -- compute, up to `size` parts of any items together --> outputs -- finish --> result of the item

`tapetum.core.jobs.run_jobs` accepts it in place of a function: in this process it fills batches across items; on Ray, and
across processes, every item is processed separately, and batches hold only its own parts. Parts are read one after the other
and freed once computed, so that an item may be larger than memory.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from math import inf
from typing import Any

from tapetum.core.plugins import naming_own_code

_THREADS = 2
"""Of one process, for reading; the libraries that decode use no interpreter meanwhile."""


def _any(part: Any) -> None:  # functions with names, for work is pickled
    """The key of all parts."""


def _weightless(part: Any) -> float:
    return 0.0


@dataclass(frozen=True, kw_only=True)
class BatchedWork:
    """Work on items by batches of their parts.

    >>> double = BatchedWork(
    ...     read=lambda item, tool: item,
    ...     compute=lambda parts, tool: [tool * part for part in parts],
    ...     finish=lambda item, outputs, tool: sum(outputs),
    ...     size=2,
    ... )
    >>> list(double.run([[1, 2, 3], [], [4]], 2)), double([5, 6], 2)
    ([(1, 0), (0, 12), (2, 8)], 22)
    """

    read: Callable[[Any, Any], Iterable[Any]]
    """Makes the parts of (item, tool): none, one or more."""
    compute: Callable[[list[Any], Any], Sequence[Any]]
    """Computes of (parts, tool) an output for each part."""
    finish: Callable[[Any, list[Any], Any], Any]
    """Makes of (item, outputs of its parts, tool) the result of the item."""
    size: int
    """The most parts that are computed together."""
    key: Callable[[Any], Hashable] = _any
    """Which parts can be computed together: those of an equal key."""
    weight: Callable[[Any], float] = _weightless
    """How much of the memory a part needs, in the units of `heaviest`."""
    heaviest: float = inf
    """Parts are computed once they weigh so much together, however few they are."""
    ahead: int = 0
    """Items of which threads read the first parts, `size` at most, while earlier ones are computed."""

    def __call__(self, item: Any, tool: Any) -> Any:
        [(_, result)] = self.run([item], tool)
        return result

    def run(
        self, items: Sequence[Any], tool: Any, failure: Callable[[Any, Exception], Any] | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Yield number and result of each item, as soon as all its parts are computed; `failure` as in `run_jobs`.

        If a batch fails, its items are repeated one by one, so that one of them does not cost the others their results.
        """
        opened: list[_Item] = []
        batch: list[tuple[_Item, Any]] = []
        for item, part in self._parts(items, opened, tool, failure is not None):
            if part is _END:
                batch[:] = [(owner, each) for owner, each in batch if owner.error is None]
            else:
                if batch and self.key(part) != self.key(batch[0][1]):
                    self._compute(batch, tool, failure is not None)
                if not item.alone:
                    batch.append((item, part))
                if len(batch) == self.size or sum(self.weight(each) for _, each in batch) >= self.heaviest:
                    self._compute(batch, tool, failure is not None)
            yield from self._finished(opened, batch, tool, failure)
        self._compute(batch, tool, failure is not None)
        yield from self._finished(opened, batch, tool, failure)

    def _parts(self, items: Sequence[Any], opened: "list[_Item]", tool: Any, forgive: bool) -> "Iterator[tuple[_Item, Any]]":
        """The parts of all items, with _END after those of each item."""
        for number, (content, parts) in enumerate(self._reading(items, tool)):
            opened.append(item := _Item(number, content))
            try:
                for part in parts():
                    yield item, part
                    if item.alone:  # its parts are read again
                        break
            except Exception as error:
                if not forgive:
                    raise
                item.error = error
            item.whole = True
            yield item, _END

    def _reading(self, items: Sequence[Any], tool: Any) -> "Iterator[tuple[Any, Callable[[], Iterable[Any]]]]":
        """The items, each with a function that returns its parts."""
        if not self.ahead or len(items) < 2:
            yield from ((content, partial(self.read, content, tool)) for content in items)
            return
        pool, waiting = ThreadPoolExecutor(_THREADS), deque[tuple[Any, Future[Iterable[Any]]]]()
        try:
            for content in items:
                waiting.append((content, pool.submit(copy_context().run, self._begin, content, tool)))
                if len(waiting) > self.ahead:
                    content, begun = waiting.popleft()
                    yield content, begun.result
            yield from ((content, begun.result) for content, begun in waiting)
        finally:
            pool.shutdown(cancel_futures=True)

    def _begin(self, content: Any, tool: Any) -> Iterable[Any]:
        parts = iter(self.read(content, tool))
        return chain(list(islice(parts, self.size)), parts)

    def _compute(self, batch: "list[tuple[_Item, Any]]", tool: Any, forgive: bool) -> None:
        try:
            outputs = self.compute([part for _, part in batch], tool) if batch else []
        except Exception:
            if not forgive:
                raise
            for item, _ in batch:
                item.alone = True
        else:
            for (item, _), output in zip(batch, outputs, strict=True):
                item.outputs.append(output)
        batch.clear()

    def _finished(
        self,
        opened: "list[_Item]",
        batch: "list[tuple[_Item, Any]]",
        tool: Any,
        failure: Callable[[Any, Exception], Any] | None,
    ) -> Iterator[tuple[int, Any]]:
        for item in [each for each in opened if each.whole and all(owner is not each for owner, _ in batch)]:
            opened.remove(item)
            try:
                if item.error is not None:
                    raise item.error
                with naming_own_code():
                    result = self(item.content, tool) if item.alone else self.finish(item.content, item.outputs, tool)
            except Exception as error:
                if failure is None:
                    raise
                result = failure(item.content, error)
            yield item.number, result


_END = object()
"""Stands after the last part of an item."""


@dataclass(eq=False)
class _Item:
    number: int
    content: Any
    outputs: list[Any] = field(default_factory=list)
    whole: bool = False
    alone: bool = False
    """A batch with a part of it failed."""
    error: Exception | None = None
