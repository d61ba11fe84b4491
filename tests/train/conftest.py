"""Jobs in one or more processes, for tests of what processes compute together."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class Jobs:
    """The process of pairs.py, which has imported torch and forks others."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        script = Path(__file__).with_name("pairs.py")
        self._process = subprocess.Popen(
            [sys.executable, script], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, job: str, out: Path, processes: int = 2, deadly: str = "-", **arguments: Any) -> list[int]:
        """Do a job in so many processes in the folder `out`; returns their exit codes."""
        request = {"job": job, "processes": processes, "deadly": deadly, "arguments": {"out": str(out), **arguments}}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="session")
def jobs() -> Iterator[Jobs]:
    jobs = Jobs()
    yield jobs
    jobs.close()
