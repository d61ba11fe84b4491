"""Process many items with the actors of a Ray cluster: each makes the tool once, and has a few items in flight.

    items  1 2 3 4 5 6 7 ...        driver                actor A  tool  [1] 3        in flight: [the one that is worked on],
                            gives 2 to each actor that    actor B  tool  [2] 4        and the next, so that it need not wait
                            is ready, then one a result   actor C  being made

An actor that is lost, with its process or its machine, is replaced. Its items are assigned again: the one that it was
working on until it has been lost `TRIES` times, since it is then most likely the cause; those behind it as often as needed.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tapetum.core.errors import TapetumError

IN_FLIGHT = 2
"""Items that an actor has at a time."""
TRIES = 3
"""Actors that one item may cost."""
_STARTS = 20
"""Actors that may be lost, one after the other, before any of them is ready."""


class Worker:
    """The actor: a process that runs a task, whose tool it keeps, on one item after the other."""

    def __init__(self, task: Callable[[Any], Any]):
        self._task = task

    def ready(self) -> None:
        """Answer once the process has started."""

    def work(self, item: Any) -> Any:  # Ray names its processes after it
        """Run the task on an item."""
        return self._task(item)


@dataclass(eq=False)
class _Actor:
    handle: Any
    ready: bool = False
    lost: bool = False
    numbers: deque[int] = field(default_factory=deque)
    """Of the items that it has, in the order in which it does them."""


class ActorPool:
    """Actors of the cluster that `ray` is connected to, for one task on some items."""

    def __init__(self, ray: Any, task: Callable[[Any], Any], items: Sequence[Any], *, workers: int = 1, gpus: float = 0):
        """`workers`: actors at most, if it is more than 1; `gpus`: graphics cards per actor, which also takes one processor."""
        self._ray, self._items, self._workers = ray, items, workers
        self._task = ray.put(task)
        self._class = ray.remote(num_cpus=1, num_gpus=gpus)(Worker)
        self._gpus = gpus
        self._pending = deque(range(len(items)))
        self._actors: list[_Actor] = []
        self._waiting: dict[Any, tuple[_Actor, int | None]] = {}
        self._losses: Counter[int] = Counter()
        self._lost_starts = 0

    def results(self) -> Iterator[tuple[int, Any]]:
        """Yield number and result of each item, once, in the order in which they finish.

        Raises what the task raised, as wrapped by Ray, and TapetumError if one item costs too many actors.
        """
        try:
            for _ in range(self._size()):
                self._start()
            for _ in self._items:
                yield self._next()
        finally:
            for actor in self._actors:
                self._kill(actor)

    def _size(self) -> int:
        resources = self._ray.cluster_resources()
        size = resources.get("CPU", 1)
        if self._gpus:
            size = min(size, resources.get("GPU", 0) / self._gpus)
        if self._workers > 1:
            size = min(size, self._workers)
        return min(len(self._items), max(int(size), 1))

    def _start(self) -> None:
        actor = _Actor(self._class.remote(self._task))
        self._actors.append(actor)
        self._waiting[actor.handle.ready.remote()] = actor, None

    def _next(self) -> tuple[int, Any]:
        """Wait for the next finished item."""
        from ray.exceptions import RayError, RayTaskError  # pyright: ignore[reportMissingImports]

        while True:
            self._give_out()
            [done], _ = self._ray.wait(list(self._waiting), num_returns=1)
            actor, number = self._waiting.pop(done)
            try:
                result = self._ray.get(done)
            except RayTaskError:
                raise
            except RayError as error:
                self._lose(actor, error)
                if number is not None:
                    self._pending.appendleft(number)
                continue
            if number is None:
                actor.ready, self._lost_starts = True, 0
                continue
            actor.numbers.remove(number)
            return number, result

    def _give_out(self) -> None:
        """Give each actor an item, and a next one where there are enough for all."""
        for most in range(1, IN_FLIGHT + 1):
            for actor in self._actors:
                enough = self._pending and (most == 1 or len(self._pending) >= len(self._actors))
                if actor.ready and enough and len(actor.numbers) < most:
                    number = self._pending.popleft()
                    actor.numbers.append(number)
                    self._waiting[actor.handle.work.remote(self._items[number])] = actor, number

    def _lose(self, actor: _Actor, error: Exception) -> None:
        """Replace an actor; what else it has comes back as errors, or was done before."""
        if actor.lost:
            return
        actor.lost = True
        self._actors.remove(actor)
        self._kill(actor)  # it may only have been out of reach
        self._lost_starts += not actor.ready
        if actor.numbers:
            number = actor.numbers[0]
            self._losses[number] += 1
            if self._losses[number] == TRIES:
                raise TapetumError(
                    f"the workers on {self._items[number]} were lost {TRIES} times ({type(error).__name__}), most often killed "
                    "by the system for want of memory; run the same command again to go on"
                ) from error
        if self._lost_starts == _STARTS:
            raise TapetumError(f"{_STARTS} workers of Ray were lost as they began ({error}); look at its cluster") from error
        self._start()

    def _kill(self, actor: _Actor) -> None:
        with suppress(Exception):  # it is gone
            self._ray.kill(actor.handle, no_restart=True)
