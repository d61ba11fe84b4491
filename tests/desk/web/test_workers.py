"""Workers: jobs in a row in one process, which ends when it is idle, large, dead, or without its server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tapetum.desk.web import workers
from tapetum.desk.web.jobs import Jobs

SERVER = """
import sys, time
from pathlib import Path
from tapetum.desk.web.workers import Workers
made = Workers(Path(sys.argv[1]))
made.warm("track", model="no such model", device=None)
print(made._all[0].process.pid, flush=True)
time.sleep(600)
"""


def finish(jobs: Jobs, job: dict[str, Any]) -> dict[str, Any]:
    while jobs.get(job["id"])["state"] in ("waiting", "running"):
        time.sleep(0.02)
        jobs.poll()
    return jobs.get(job["id"], result=True)


def until(check: Callable[[], Any]) -> None:
    while not check():
        time.sleep(0.02)


def gone(process: int) -> bool:
    return not Path(f"/proc/{process}").exists() or ") Z " in Path(f"/proc/{process}/stat").read_text()


def test_jobs_of_a_kind_share_a_process_until_it_dies(slow: Path) -> None:
    (slow.parents[1] / "go").touch()
    jobs = Jobs(slow)
    one, two = (finish(jobs, jobs.submit("sleep", "a", number=number))["result"] for number in (1, 2))
    assert (two["number"], two["process"]) == (2, one["process"])
    [worker] = jobs._workers._all
    os.kill(one["process"], signal.SIGKILL)
    worker.process.wait()
    after = finish(jobs, jobs.submit("sleep", "a", number=3))
    assert after["state"] == "done"
    assert after["result"]["process"] != one["process"]
    jobs.close()
    assert gone(after["result"]["process"])


def test_a_failed_job_leaves_its_worker_and_a_cancelled_one_gets_a_new_one(slow: Path) -> None:
    jobs, go = Jobs(slow), slow.parents[1] / "go"
    go.touch()
    assert finish(jobs, jobs.submit("sleep", "a", fails=True))["state"] == "failed"
    before = finish(jobs, jobs.submit("sleep", "a"))["result"]["process"]
    assert len(jobs._workers._all) == 1
    go.unlink()
    job = jobs.submit("sleep", "a")
    until(lambda: jobs.poll() or jobs.get(job["id"])["state"] == "running")
    jobs.cancel(job["id"])
    assert finish(jobs, job)["state"] == "cancelled"
    go.touch()
    assert finish(jobs, jobs.submit("sleep", "a"))["result"]["process"] != before
    jobs.close()


@pytest.mark.parametrize("reason", ["idle", "large", "code", "off"])
def test_a_worker_ends(slow: Path, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    (slow.parents[1] / "go").touch()
    jobs = Jobs(slow, keep_s=0 if reason == "off" else 600)
    done = finish(jobs, jobs.submit("sleep", "a", model="own.py:Tracker" if reason == "code" else "x"))
    if reason == "idle":
        monkeypatch.setattr(jobs._workers, "_keep_s", 0.01)
    if reason == "large":
        monkeypatch.setattr(workers, "_SHARE", 1e-9)
    until(lambda: jobs.poll() or gone(done["result"]["process"]))


def test_what_the_next_job_needs_is_loaded_once(slow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(workers.JobWorker, "send", lambda worker, content: sent.append(content))
    made = workers.Workers(slow)
    for model in ("a", "a", "b"):
        made.warm("track", model=model)
    assert [each["load"] for each in sent] == [{"model": "a"}, {"model": "b"}]
    assert len(made._all) == 1
    made._all[0].job = "at work"
    made.warm("track", model="c")
    made.close()
    none = workers.Workers(slow, keep_s=0)
    none.warm("track", model="a")
    assert (len(sent), none._all) == (2, [])
    made._all[0].kill(signal.SIGKILL)


def test_a_worker_ends_with_a_server_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        worker = int(server.stdout.readline())
        assert not gone(worker)
        server.kill()
    until(lambda: gone(worker))
