"""A folder with a small video, a client of its page, and jobs that wait."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from support.web_page import first_item, folder_with, serving
from tapetum.desk.web import job_files, workers

SLOW = """
import os, sys, time
from tapetum.desk.web import job_process
class Work:
    @staticmethod
    def work(job, folder, listener):
        listener.progress("sleeping", 1, 3)
        listener.note("a remark")
        while not (folder / "go").exists():
            time.sleep(0.02)
        if job["settings"].get("fails"):
            raise ValueError("two\\nlines")
        return {"result": {**job["settings"], "process": os.getpid()}}
job_process.import_module = lambda name: Work
job_process.KINDS["sleep"] = "sleep"
job_process.check_same = lambda folder, item: None
from pathlib import Path
job_process.serve(Path(sys.argv[-1]))
"""


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Jobs of the kind sleep, which wait for the file `go`; it comes at the end, so that no process is left."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/slow.py "$@"\n')
    script.chmod(0o755)
    (tmp_path / "slow.py").write_text(SLOW)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setitem(job_files.KINDS, "sleep", "sleep")
    monkeypatch.setattr(workers, "KEPT_KINDS", ("track", "sleep"))
    monkeypatch.setattr(job_files, "ID", re.compile(".+"))
    place = tmp_path / "served" / ".tapetum-web" / "jobs"
    place.mkdir(parents=True)
    yield place
    (place.parents[1] / "go").touch()


@pytest.fixture
def folder(tmp_path: Path, clip: Path) -> Path:
    return folder_with(clip, tmp_path / "videos")


@pytest.fixture
def page(folder: Path) -> Iterator[TestClient]:
    with serving(folder) as client:
        yield client


@pytest.fixture
def item(page: TestClient) -> str:
    return first_item(page)
