"""The engine of many items: here, in processes, on Ray; killed and resumed; items that fail.

Work on a Ray cluster of two nodes, of which one is killed; items that kill whoever works on them.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from core import job_script, ray_script
from core.job_script import die, fail, invert, three
from tapetum.core.errors import BadInput, TapetumError
from tapetum.core.finished import read_finished
from tapetum.core.identity import Outdated
from tapetum.core.jobs import _cluster, run_jobs


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_every_item_once_and_failures_stop_no_other(workers: int) -> None:
    told: list[tuple[int, int]] = []
    results = run_jobs(
        invert, [1, 0, 2], three, workers=workers, failure=fail, finished=4, progress=lambda *done: told.append(done)
    )
    assert sorted(results) == [(0, 3.0), (1, -1.0), (2, 1.5)]
    assert told == [(4, 7), (5, 7), (6, 7), (7, 7)]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_first_failure_ends_the_work_without_a_function_for_it(workers: int) -> None:
    with pytest.raises(ZeroDivisionError):
        list(run_jobs(invert, [0, 1, 2], three, workers=workers))


def test_no_item_needs_no_tool() -> None:
    def refuse() -> None:
        raise BadInput("no weights")

    assert list(run_jobs(invert, [], refuse)) == []
    with pytest.raises(BadInput, match="no weights"):
        list(run_jobs(invert, [1], refuse, failure=fail))  # what all items need is no item's failure


@pytest.mark.slow
def test_a_worker_that_is_killed_is_said() -> None:
    with pytest.raises(TapetumError, match=r"a worker was killed.*with fewer --workers"):
        list(run_jobs(die, [1, 2], workers=2))


@pytest.mark.slow
def test_killed_and_resumed_every_item_is_there_once(tmp_path: Path) -> None:
    count = 30
    command = [sys.executable, job_script.__file__, str(tmp_path), str(count)]
    process = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + 600
    while len(list(tmp_path.glob("[0-9]*.json"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = {int(file.stem) for file in tmp_path.glob("[0-9]*.json")}
    assert 5 <= len(done) < count
    resumed = job_script.run(tmp_path, count, workers=1)
    assert sorted([*done, *resumed]) == list(range(count))  # what was done is not done again
    for number in range(count):
        content = read_finished(tmp_path / f"{number}.json", {"tool": 2}, Outdated(print))
        assert content is not None
        assert content["result"] == 2 * number
        if number in done:
            assert (tmp_path / f"{number}.began").read_text() == "began\n"


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_ray_does_the_same_and_raises_the_same() -> None:
    def halve(item: int, tool: int) -> float:
        if item < 0:
            raise BadInput(f"{item} is negative")
        return item / tool

    results = run_jobs(halve, [4, -1, 6], lambda: 2, engine="ray", failure=lambda item, error: str(error))
    assert sorted(results) == [(0, 2.0), (1, "-1 is negative"), (2, 3.0)]
    with pytest.raises(BadInput, match="-1 is negative"):
        list(run_jobs(halve, [-1], lambda: 2, engine="ray"))


def test_a_ray_that_does_not_start_is_one_line() -> None:
    """What `ray.init` raises where its agent or raylet is killed as it starts, and what is left of it then is shut down."""
    ended = []

    def init(**_: object) -> None:
        raise Exception("The current node timed out during startup.\nlogs")

    ray = SimpleNamespace(is_initialized=lambda: False, init=init, shutdown=lambda: ended.append(True))
    with pytest.raises(BadInput, match=r"^Ray does not start: The current node timed out during startup\.;"), _cluster(ray):
        pass
    assert ended


@pytest.mark.slow
def test_a_node_that_is_killed_costs_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    command = [sys.executable, ray_script.__file__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads((tmp_path / "results.json").read_text())
    assert sorted(results) == [[number, number**2] for number in range(ray_script.COUNT)]
    begun = {number: (tmp_path / f"item-{number}").read_text().split() for number in range(ray_script.COUNT)}
    nodes = Counter(node for each in begun.values() for node in each)
    assert len(nodes) == 2  # both worked
    again = [number for number, each in begun.items() if len(each) > 1]
    assert len(again) <= 2  # what two actors had
    tools = len(list(tmp_path.glob("tool-*")))
    assert 2 <= tools <= 5  # an actor makes its tool once, not for each item


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_an_item_that_kills_its_workers_ends_the_work_with_its_name() -> None:
    with pytest.raises(TapetumError, match=r"the workers on bad were lost 3 times .*; run the same command again"):
        list(run_jobs(die, ["bad"], engine="ray"))
