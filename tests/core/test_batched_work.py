"""Batches over items: filled across items and by key, read no further ahead than a batch, and failures that stop no other."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tapetum.core.batched_work import BatchedWork
from tapetum.core.errors import BadInput
from tapetum.core.jobs import run_jobs


class Log:
    """Work that triples numbers and writes down its batches; 0 cannot be computed, a negative number cannot be read."""

    def __init__(self, size: int, by_sign: bool = False) -> None:
        self.batches: list[list[float]] = []
        self.read_so_far = 0
        key = (lambda part: isinstance(part, float)) if by_sign else (lambda part: None)
        self.work = BatchedWork(read=self._read, compute=self._compute, finish=self._finish, size=size, key=key)

    def _read(self, item: list[float], tool: int) -> Iterator[float]:
        for part in item:
            if part < 0:
                raise BadInput(f"{part} is negative")
            self.read_so_far += 1
            yield part

    def _compute(self, parts: list[float], tool: int) -> list[float]:
        self.batches.append(parts)
        if 0 in parts:
            raise ZeroDivisionError("0")
        return [tool * part for part in parts]

    def _finish(self, item: list[float], outputs: list[float], tool: int) -> tuple[float, ...]:
        return tuple(outputs)


def run(log: Log, items: list[list[float]], **options: Any) -> list[tuple[int, Any]]:
    return list(run_jobs(log.work, items, lambda: 3, **options))


def test_batches_are_filled_across_items_and_results_come_when_all_parts_are_computed() -> None:
    log = Log(size=3)
    assert run(log, [[1], [2, 4, 5, 6], [], [7]]) == [(0, (3,)), (2, ()), (1, (6, 12, 15, 18)), (3, (21,))]
    assert log.batches == [[1, 2, 4], [5, 6, 7]]


def test_parts_of_another_key_begin_a_batch() -> None:
    log = Log(size=3, by_sign=True)
    assert [number for number, _ in run(log, [[1], [2.0], [3.0], [4, 5]])] == [0, 1, 2, 3]
    assert log.batches == [[1], [2.0, 3.0], [4, 5]]


def test_parts_that_weigh_much_are_computed_before_the_batch_is_full() -> None:
    log = Log(size=3)
    object.__setattr__(log.work, "weight", float)
    object.__setattr__(log.work, "heaviest", 9)
    run(log, [[1], [2], [3], [8, 1], [9]])
    assert log.batches == [[1, 2, 3], [8, 1], [9]]


def test_an_item_is_read_no_further_than_the_batch() -> None:
    log = Log(size=2)
    read: list[int] = []
    compute = log.work.compute
    object.__setattr__(log.work, "compute", lambda parts, tool: (read.append(log.read_so_far), compute(parts, tool))[1])
    run(log, [[1, 2, 3, 4, 5]])
    assert read == [2, 4, 5]


def test_a_failure_costs_no_other_item_its_result() -> None:
    log = Log(size=3)
    items: list[list[float]] = [[1], [2, 0], [3, -1], [4], [5]]
    done: list[tuple[int, int]] = []
    results = run(log, items, failure=lambda item, error: type(error).__name__, progress=lambda *now: done.append(now))
    assert dict(results) == {0: (3,), 1: "ZeroDivisionError", 2: "BadInput", 3: (12,), 4: (15,)}
    assert len(results) == len(items)
    assert done == [(number, 5) for number in range(6)]
    assert [4, 5] in log.batches  # the part that was read of the third item is in no batch


@pytest.mark.parametrize(("items", "error"), [([[1], [0]], ZeroDivisionError), ([[1], [-1]], BadInput)])
def test_the_first_failure_ends_the_work_without_a_function_for_it(items: list[list[float]], error: type) -> None:
    with pytest.raises(error):
        run(Log(size=2), items)


def test_items_read_ahead_give_the_same_results_in_order() -> None:
    for items in ([[1.0, 2.0], [3.0]] * 20, [[1.0], [-1.0], [2.0, 0.0], [], [3.0]] * 5):
        plain, ahead = Log(2), Log(2)
        ahead.work = replace(ahead.work, ahead=3)
        options = {"failure": lambda item, error: str(error)}
        assert run(ahead, items, **options) == run(plain, items, **options)
        assert ahead.batches == plain.batches


def test_no_more_is_read_ahead_than_allowed() -> None:
    log = Log(2)
    work, most = replace(log.work, ahead=3), 0
    for number, _ in work.run([[float(k), 1.0, 1.0, 1.0] for k in range(1, 21)], 3):
        most = max(most, log.read_so_far - 4 * (number + 1))
    assert 0 < most <= (3 + 1) * 2  # of each item that waits, as many parts as a batch has
