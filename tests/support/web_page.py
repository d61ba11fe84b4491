"""The local page, served in this process or in one of its own, and clients that know its token."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from starlette.testclient import TestClient

from tapetum.desk.web.server import make_app

TOKEN = "secret"
ADDRESS = "http://127.0.0.1:8765"
OVER = ("done", "failed", "cancelled")


@contextmanager
def serving(folder: Path, model: str = "static", **options: Any) -> Iterator[TestClient]:
    """Serve a folder in this process; by default with a tracker that needs no torch."""
    app = make_app(folder, TOKEN, model=model, **options)
    with TestClient(app, ADDRESS, headers={"X-Tapetum-Token": TOKEN}, follow_redirects=False) as client:
        yield client


def folder_with(clip: Path, folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(clip, folder / "clip.mp4")
    return folder


def read_state(client: httpx.Client) -> Any:
    while (state := ok(client.get("/api/state")))["unread"]:
        pass
    return state


def first_item(client: httpx.Client) -> str:
    return f"/api/items/{read_state(client)['items'][0]['id']}"


def ok(answer: httpx.Response) -> Any:
    """Check that a request was answered, and read what."""
    assert answer.status_code == 200, answer.text
    return answer.json()


def error_of(answer: httpx.Response, status: int) -> str:
    """Check that a request got an error of this status, in one line; gives the line."""
    assert answer.status_code == status, answer.text
    line = answer.json()["error"]
    assert line
    assert "\n" not in line
    return line


def edit(client: httpx.Client, item: str, kind: str, **content: Any) -> Any:
    return ok(client.post(f"{item}/edits", json={"type": kind, **content}))


def finished(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    while job["state"] not in OVER:
        time.sleep(0.05)
        job = ok(client.get(f"/api/jobs/{job['id']}"))
    return job


def track(client: httpx.Client, item: str, **content: Any) -> dict[str, Any]:
    job = finished(client, ok(client.post(f"{item}/jobs", json={"kind": "track", **content})))
    assert job["state"] == "done", job
    return job


def read_tracks(client: httpx.Client, item: str) -> tuple[list[str], np.ndarray]:
    """Read tracks.bin: ids, and float32 (points, frames, 4)."""
    answer = client.get(f"{item}/tracks.bin")
    assert answer.status_code == 200
    ids = [each for each in answer.headers["X-Points"].split(",") if each]
    return ids, np.frombuffer(answer.content, "<f4").reshape(len(ids), -1, 4)


class Process:
    def __init__(self, folder: Path, *options: str):
        command = [sys.executable, "-m", "tapetum.app.shell.main", "serve", str(folder), "--port", "0", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        found = re.fullmatch(r"(http://127\.0\.0\.1:(\d+))/\?token=(\S+)\n", self.line)
        assert found, self.line + self.process.stdout.read()
        self.address, self.port, self.token = found[1], int(found[2]), found[3]
        self.client = httpx.Client(base_url=self.address, headers={"X-Tapetum-Token": self.token}, timeout=600)

    def kill(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()


@contextmanager
def server_process(folder: Path, *options: str) -> Iterator[Process]:
    """Start a server, and kill it at the end of the block."""
    server = Process(folder, *options)
    try:
        yield server
    finally:
        server.kill()
