"""Jobs: their order and number, cancelling, dying, and what a new server finds of them; live updates."""

import asyncio
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from support.web_page import OVER, edit, error_of, first_item, ok, serving, track
from tapetum.desk.web import job_files, job_process
from tapetum.desk.web.answers import Events
from tapetum.desk.web.job_files import Progress, holder, holding
from tapetum.desk.web.jobs import Jobs


def until(jobs: Jobs, check: Callable[[], Any]) -> None:
    while not check():
        time.sleep(0.02)
        jobs.poll()


def state(jobs: Jobs, *numbers: dict[str, Any]) -> list[str]:
    return [jobs.get(each["id"])["state"] for each in numbers]


@pytest.mark.slow
def test_so_many_run_at_a_time_and_the_others_wait(slow: Path) -> None:
    told: list[dict[str, Any]] = []
    jobs = Jobs(slow, at_once=2, changed=told.append)
    made = [jobs.submit("sleep", "a", number=number) for number in range(3)]
    until(jobs, lambda: state(jobs, *made[:2]) == ["running", "running"])
    assert state(jobs, made[2]) == ["waiting"]
    assert jobs.busy()
    until(jobs, lambda: jobs.get(made[0]["id"])["done"] == 1)
    shown = jobs.get(made[0]["id"])
    assert (shown["total"], shown["message"]) == (3, "a remark")
    assert shown["seconds_left"] >= 0
    (slow.parents[1] / "go").touch()
    until(jobs, lambda: not jobs.busy())
    assert state(jobs, *made) == ["done"] * 3
    assert jobs.get(made[1]["id"], result=True)["result"]["number"] == 1
    assert jobs.get(made[0]["id"])["message"] == "a remark"
    assert jobs.latest("sleep", "a") == jobs.get(made[2]["id"])
    for each in made:
        states = [job["state"] for job in told if job["id"] == each["id"]]
        passed = ["waiting", "running", "done"] if "running" in states else ["waiting", "done"]  # the last one may be too quick
        assert list(dict.fromkeys(states)) == passed


@pytest.mark.slow
def test_a_job_is_cancelled_whether_it_waits_or_runs(slow: Path) -> None:
    jobs = Jobs(slow, at_once=1)
    first, second = jobs.submit("sleep", "a"), jobs.submit("sleep", "a")
    until(jobs, lambda: state(jobs, first) == ["running"])
    assert jobs.cancel(second["id"])["state"] == "cancelled"
    jobs.cancel(first["id"])
    until(jobs, lambda: state(jobs, first) == ["cancelled"])
    assert jobs.cancel(first["id"])["state"] == "cancelled"
    assert holder(slow / first["id"]) is None
    third = jobs.submit("sleep", "a")
    until(jobs, lambda: state(jobs, third) == ["running"])
    jobs.cancel(third["id"])
    until(jobs, lambda: not jobs.busy())


def test_a_new_server_removes_what_is_old_and_over(slow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Jobs(slow, at_once=1)
    over = [jobs.submit("sleep", "a"), jobs.submit("sleep", "a"), jobs.submit("sleep", "b")]
    for each in over:
        jobs.cancel(each["id"])
    until(jobs, lambda: not jobs.busy())
    assert {path.name for path in slow.iterdir()} == {each["id"] for each in over}
    assert len(list(slow.iterdir())) == 3  # they are not old
    monkeypatch.setattr("tapetum.desk.web.jobs._OLD_S", 0.0)
    last = jobs.submit("sleep", "a")
    until(jobs, lambda: state(jobs, last) == ["running"])
    new = Jobs(slow)
    assert {path.name for path in slow.iterdir()} == {over[2]["id"], last["id"]}
    new.cancel(last["id"])
    until(new, lambda: not new.busy())


def test_a_job_that_is_killed_has_failed(slow: Path) -> None:
    jobs = Jobs(slow)
    job = jobs.submit("sleep", "a")
    until(jobs, lambda: state(jobs, job) == ["running"])
    os.kill(holder(slow / job["id"]) or 0, signal.SIGKILL)
    until(jobs, lambda: state(jobs, job) == ["failed"])
    assert "kept" in jobs.get(job["id"])["message"]


def test_an_error_that_nobody_foresaw_is_one_line(slow: Path) -> None:
    (slow.parents[1] / "go").touch()
    jobs = Jobs(slow)
    job = jobs.submit("sleep", "a", fails=True)
    until(jobs, lambda: state(jobs, job) == ["failed"])
    assert "unforeseen ValueError: two lines" in jobs.get(job["id"])["message"]
    assert "Traceback" in (slow / job["id"] / "log.txt").read_text()


def test_a_new_server_finds_jobs_that_run_and_are_over_and_begins_none(slow: Path) -> None:
    old = Jobs(slow, at_once=1)
    first, second = old.submit("sleep", "a", number=1), old.submit("sleep", "a", number=2)
    until(old, lambda: state(old, first) == ["running"])
    new = Jobs(slow, at_once=1)
    new.poll()
    assert state(new, first, second) == ["running", "interrupted"]
    assert "start it again" in new.get(second["id"])["message"]
    (slow.parents[1] / "go").touch()
    until(new, lambda: not new.busy())
    assert new.get(first["id"], result=True)["result"]["number"] == 1
    assert state(Jobs(slow), first, second) == ["done", "interrupted"]
    assert not new._begun


@pytest.mark.slow
def test_a_job_whose_process_is_gone_when_the_server_comes_back_is_interrupted(slow: Path) -> None:
    old = Jobs(slow)
    job = old.submit("sleep", "a")
    until(old, lambda: state(old, job) == ["running"])
    os.kill(holder(slow / job["id"]) or 0, signal.SIGKILL)
    old._begun[job["id"]].process.wait()
    new = Jobs(slow)
    new.poll()
    assert state(new, job) == ["interrupted"]


def test_a_job_is_done_by_one_process(slow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_files, "_TRIES", 2)
    place = slow / "x"
    place.mkdir()
    with holding(place) as held:
        assert held
        assert holder(place) == os.getpid()
        job_process.main(place, {"id": "x", "kind": "no such kind"})
        assert not (place / "progress.json").exists()
    assert holder(place) is None
    assert holder(slow / "nothing") is None


@pytest.mark.slow
def test_a_job_whose_folder_is_gone_stops_no_other(slow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = Jobs(slow, at_once=1)
    made = [jobs.submit("sleep", "a", number=number) for number in range(4)]
    until(jobs, lambda: state(jobs, made[0]) == ["running"])
    shutil.rmtree(slow / made[1]["id"])
    (slow / made[2]["id"] / "job.json").write_text("[]")  # a job hears what to do from its server
    (slow.parents[1] / "go").touch()
    until(jobs, lambda: not jobs.busy())
    assert state(jobs, *made) == ["done", "failed", "done", "done"]
    assert jobs.get(made[2]["id"], result=True)["result"]["number"] == 2
    assert "cannot go on" in jobs.get(made[1]["id"])["message"]
    assert capsys.readouterr().err.count("\n") == 1


def test_a_full_disk_takes_no_job(page: TestClient, item: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert "disk is full" in error_of(page.post(f"{item}/look", json={"verb": "caption"}), 400)
    assert list(page.app.state.page.jobs.folder.iterdir()) == []
    assert not page.app.state.page.jobs.busy()


def test_the_loop_that_looks_at_jobs_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(folder) as client:
        jobs, looks = client.app.state.page.jobs, []
        jobs.poll = lambda: looks.append(1) or 1 / 0
        while len(looks) < 3:
            time.sleep(0.02)
    assert "cannot look at jobs: ZeroDivisionError" in capsys.readouterr().err


def test_progress_is_written_whole_and_not_too_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []
    monkeypatch.setattr(job_files, "write", lambda path, content: written.append(dict(content)))
    progress = Progress(tmp_path)
    for number in range(1000):
        progress.say(number, 1000)
    assert len(written) < 500
    progress.say(message="now")
    assert written[-1]["message"] == "now"
    progress.end("done")
    assert (written[-1]["state"], written[-1]["done"]) == ("done", 1000)
    progress._begin -= 10.0
    progress.say(500, 1000)
    progress.say(message="half")
    assert written[-1]["seconds_left"] == pytest.approx(10, abs=1)


def test_a_second_job_of_a_video_is_refused_while_one_runs(page: TestClient, item: str) -> None:
    edit(page, item, "add_point", frame=0, x=1, y=1)
    job = ok(page.post(f"{item}/jobs", json={"kind": "track"}))
    answer = page.post(f"{item}/jobs", json={"kind": "track"})
    assert "wait for that" in error_of(answer, 409)
    assert answer.json()["job"]["id"] == job["id"]
    ok(page.delete(f"/api/jobs/{job['id']}"))
    while (shown := ok(page.get(f"/api/jobs/{job['id']}")))["state"] not in OVER:
        time.sleep(0.02)
    assert shown["state"] == "cancelled"
    assert ok(page.get(f"{item}/project"))["job"] == {name: shown[name] for name in shown}
    track(page, item)


def test_what_changes_is_sent_to_every_page() -> None:
    async def work() -> list[list[str]]:
        events = Events()
        streams = [events.stream(), events.stream()]
        heard = [[await anext(each)] for each in streams]
        events.send(project={"item": "x", "revision": 1})
        await asyncio.to_thread(lambda: events.send(job={"id": "y", "seconds_left": float("nan")}))
        for lines, each in zip(heard, streams, strict=True):
            lines += [await anext(each), await anext(each)]
        events.close()
        for each in streams:
            with pytest.raises(StopAsyncIteration):
                await anext(each)
        assert not events._listeners
        events.send(project={})
        return heard

    for lines in asyncio.run(work()):
        assert [json.loads(line.removeprefix("data: ")) for line in lines[1:]] == [
            {"project": {"item": "x", "revision": 1}},
            {"job": {"id": "y", "seconds_left": None}},
        ]
        assert all(line.endswith("\n\n") for line in lines)


def test_a_page_that_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapetum.desk.web.answers._WAITING", 3)

    async def work() -> int:
        events, count = Events(), 0
        stream = events.stream()
        await anext(stream)
        for number in range(10):
            events.send(job={"id": number})
        await asyncio.sleep(0)
        async for _ in stream:
            count += 1
        return count

    assert asyncio.run(work()) == 2


def test_edits_and_jobs_are_told(folder: Path) -> None:
    with serving(folder) as client:
        item, told = first_item(client), []
        client.app.state.page.events.send = lambda **message: told.append(message)
        edit(client, item, "add_point", frame=0, x=1, y=1)
        ok(client.post(f"{item}/undo"))
        ok(client.post(f"{item}/redo"))
        job = track(client, item)
    revisions = [each["project"]["revision"] for each in told if "project" in each]
    assert revisions == [1, 2, 3]
    assert [each["job"]["state"] for each in told if "job" in each][-1] == "done"
    assert {each["job"]["id"] for each in told if "job" in each} == {job["id"]}
