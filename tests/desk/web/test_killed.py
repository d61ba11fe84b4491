"""A server, or a job, that is killed at any moment loses nothing; requests as bytes; the command itself."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from support.networks import TAPIR_NANO, save_tapir
from support.scripts import script
from support.web_page import OVER, edit, error_of, finished, first_item, ok, read_tracks, server_process
from tapetum.desk.web.job_files import holder

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tapir(tmp_path_factory.mktemp("weights") / "nano.safetensors", TAPIR_NANO)


@pytest.mark.slow
def test_a_server_killed_among_edits_has_all_that_it_answered(folder: Path) -> None:
    """It is killed after some edits each time, by a thread that does not wait for them to be over."""
    item, known = "", []
    for round_ in range(3):
        with server_process(folder, "--model", "static") as server:
            item = first_item(server.client)
            before = [each["name"] for each in ok(server.client.get(f"{item}/project"))["points"]]
            assert before[: len(known)] == known
            assert len(before) <= len(known) + 1  # the one that was not answered may be there, whole
            known = before
            killer = threading.Timer(0.15 * (round_ + 1), os.kill, (server.process.pid, signal.SIGKILL))
            killer.start()
            for number in range(10_000):
                name = f"{round_}-{number}"
                try:
                    edit(server.client, item, "add_point", frame=0, x=1 + number % 60, y=2, name=name)
                except httpx.HTTPError:
                    break
                known.append(name)
            killer.join()
    assert len(known) > 3
    with server_process(folder, "--model", "static") as server:
        whole = ok(server.client.get(f"{item}/project"))
        for _ in range(whole["undo"]):
            ok(server.client.post(f"{item}/undo"))
        for _ in range(whole["undo"]):
            again = ok(server.client.post(f"{item}/redo"))
        assert again["points"] == whole["points"]
        assert [each["name"] for each in whole["points"]][: len(known)] == known


@pytest.mark.slow
def test_a_job_goes_on_when_its_server_is_killed(folder: Path, nano: Path) -> None:
    with server_process(folder, "--model", str(nano)) as server:
        item = first_item(server.client)
        edit(server.client, item, "add_grid", frame=0, rows=2, columns=2)
        job = ok(server.client.post(f"{item}/jobs", json={"kind": "track"}))
        place = folder / ".tapetum-web" / "jobs" / job["id"]
        while holder(place) is None:
            time.sleep(0.01)
    assert holder(place) is not None
    with server_process(folder, "--model", str(nano)) as server:
        found = ok(server.client.get(f"{item}/project"))["job"]
        assert found["id"] == job["id"]
        assert finished(server.client, found)["state"] == "done"
        assert ok(server.client.get(f"{item}/project"))["tracked_revision"] == 1
        assert not np.isnan(read_tracks(server.client, item)[1]).any()


@pytest.mark.slow
def test_a_job_that_is_killed_keeps_what_it_had(folder: Path, nano: Path) -> None:
    """A job of two blocks, killed with its server when the first is there."""
    with server_process(folder, "--model", str(nano)) as server:
        item = first_item(server.client)
        edit(server.client, item, "add_grid", frame=0, rows=10, columns=13)
        job = ok(server.client.post(f"{item}/jobs", json={"kind": "track"}))
        there = np.zeros(1, bool)
        while not there.any() and ok(server.client.get(f"/api/jobs/{job['id']}"))["state"] not in OVER:
            ids, whole = read_tracks(server.client, item)
            there = np.isfinite(whole).all(axis=(1, 2))
        assert there.any()
        process = holder(folder / ".tapetum-web" / "jobs" / job["id"])
        if process:
            os.kill(process, signal.SIGKILL)
            while holder(folder / ".tapetum-web" / "jobs" / job["id"]):  # until the system has taken it away
                time.sleep(0.01)
    with server_process(folder, "--model", str(nano)) as server:
        assert ok(server.client.get(f"/api/jobs/{job['id']}"))["state"] == ("interrupted" if process else "done")
        again = finished(server.client, ok(server.client.post(f"{item}/jobs", json={"kind": "track"})))
        assert again["state"] == "done"
        assert again["result"]["computed"] <= 130 - there.sum()
        same_ids, now = read_tracks(server.client, item)
        assert same_ids == ids
        np.testing.assert_array_equal(now[there], whole[there])
        assert np.isfinite(now).all()


def ask_raw(port: int, text: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=600) as connection:
        connection.sendall(text)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.slow
def test_requests_as_bytes(folder: Path) -> None:
    """What clients would tidy up: dots in addresses, two hosts, none, a body that never comes to its length."""
    with server_process(folder, "--model", "static") as server:
        token = f"X-Tapetum-Token: {server.token}\r\nConnection: close\r\n\r\n".encode()
        host = f"Host: 127.0.0.1:{server.port}\r\n".encode()
        for path in (
            *("/../../../etc/passwd", "/./../clip.mp4", "//clip.mp4", "//etc/passwd", "/api/../clip.mp4", "/..", "/.", "/~"),
            *("/api/items/../../clip.mp4", "/%2e%2e/clip.mp4", "/..%2fclip.mp4", "/static/../page.py", "/api/items//project"),
            *("/api/items/%00/project", "/\\..\\clip.mp4", "/index.html/../app.js", "/api/jobs/../jobs", "/clip.mp4%00.jpg"),
        ):
            answer = ask_raw(server.port, b"GET " + path.encode() + b" HTTP/1.1\r\n" + host + token)
            assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400")), (path, answer[:100])
            assert b"root:" not in answer
        assert ask_raw(server.port, b"GET /api/state HTTP/1.1\r\n" + host + token).startswith(b"HTTP/1.1 200")
        assert ask_raw(server.port, b"GET /api/state HTTP/1.1\r\n" + token).startswith(b"HTTP/1.1 40")
        foreign = b"Host: evil.example\r\n"
        assert ask_raw(server.port, b"GET /api/state HTTP/1.1\r\n" + foreign + token).startswith(b"HTTP/1.1 403")
        assert ask_raw(server.port, b"GET http://evil.example/api/state HTTP/1.1\r\n" + foreign + token).startswith(
            b"HTTP/1.1 403"
        )
        assert b"200" not in ask_raw(server.port, b"GET /api/state HTTP/1.1\r\n" + foreign + host + token)[:20]


@pytest.mark.slow
def test_ctrl_c_ends_the_server_with_pages_open(folder: Path) -> None:
    with server_process(folder, "--model", "static") as server:
        with server.client.stream("GET", "/api/events") as events:
            lines = events.iter_lines()
            assert next(lines) == ": here"
            os.kill(server.process.pid, signal.SIGINT)
            server.process.wait(timeout=600)
        assert server.process.returncode == 130
        assert server.process.stdout is not None
        assert server.process.stdout.read() == "tapetum: interrupted\n"


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_server_ends_while_frames_are_awaited(tmp_path: Path, how: signal.Signals) -> None:
    """Each frame asked for is the last before a key frame, so that all of them together would take long."""
    long = script("evidence/web-browser/browser.py")
    long.make_film(tmp_path / "film.mp4", 40 * long.PIECE, (480, 270))
    with server_process(tmp_path, "--model", "static") as server, ThreadPoolExecutor(39) as clients:
        item = first_item(server.client)
        paths = [f"{item}/frames/{long.PIECE * number - 1}.jpg" for number in range(2, 41)]
        answers = [clients.submit(server.client.get, path) for path in paths]
        wait(answers, return_when=FIRST_COMPLETED)
        os.kill(server.process.pid, how)
        server.process.wait(timeout=600)
        refused = [answer.result() for answer in answers if answer.result().status_code != 200]
        assert len(refused) > 20
        assert {error_of(answer, 409) for answer in refused} == {"the server is ending"}
        assert server.process.stdout is not None
        assert server.process.stdout.read() == "tapetum: interrupted\n"
        assert server.process.returncode == 128 + how


@pytest.mark.slow
def test_a_port_that_is_taken_is_said_in_one_line(run: Run, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, out, error = run("serve", tmp_path, "--port", taken.getsockname()[1])
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert "give another --port" in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("no/such/folder",), "there is no folder"),
        ((".", "--port", 70000), "--port is 70000"),
        ((".", "--words", "tapir-nano"), "tapir-nano is for tapetum"),
    ],
)
def test_what_cannot_be_served(run: Run, words: tuple[Any, ...], message: str) -> None:
    code, out, error = run("serve", *words)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert message in error


@pytest.mark.slow
def test_the_server_imports_no_torch(folder: Path) -> None:
    code = (
        "import sys; from tapetum.desk.web.server import make_app; make_app(sys.argv[1], 'x');"
        "sys.exit([name for name in ('torch', 'transformers') if name in sys.modules] or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
