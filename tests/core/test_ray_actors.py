"""Work on a Ray cluster of two nodes, of which one is killed; items that kill whoever works on them."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from core import ray_script
from core.job_script import die
from tapetum.core.errors import TapetumError
from tapetum.core.jobs import run_jobs


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
    assert len(again) <= 4  # at most what two actors had
    tools = len(list(tmp_path.glob("tool-*")))
    assert 2 <= tools <= 5  # an actor makes its tool once, not for each item


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_an_item_that_kills_its_workers_ends_the_work_with_its_name() -> None:
    with pytest.raises(TapetumError, match=r"the workers on bad were lost 3 times .*; run the same command again"):
        list(run_jobs(die, ["bad"], engine="ray"))
