"""Who gets an answer: hosts, origins and tokens; headers; addresses that lead nowhere; bodies that are too large."""

import shutil
import socket
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from support.web_page import ADDRESS, TOKEN, error_of, folder_with, serving
from tapetum.desk.web.security import HEADERS, kept_token, served_hosts
from tapetum.desk.web.server import make_app

STEPS = ("..", "%2e%2e", "%2E%2E", ".%2e", "%2e.", "....", "%252e%252e", "..%00", "%c0%ae%c0%ae", "..;")
ENDS = ("/etc/passwd", "%2fetc%2fpasswd", "\\etc\\passwd", "/.tapetum-web/projects.sqlite", "/clip.mp4", "%5cetc%5cpasswd")


@pytest.mark.parametrize("path", ["/", "/app.js", "/api/state", "/api/events", "/api/items/x/project", "/nothing"])
@pytest.mark.parametrize("token", [None, "", "secre", "secret2", "SECRET", "é"])
def test_without_the_token_there_is_nothing(page: TestClient, path: str, token: str | None) -> None:
    headers = {} if token is None else {"X-Tapetum-Token": token.encode()}
    plain = TestClient(page.app, ADDRESS)
    assert "token" in error_of(plain.get(path, headers=headers), 403)


def test_the_printed_address_sets_a_cookie_that_is_enough(page: TestClient) -> None:
    browser = TestClient(page.app, ADDRESS, follow_redirects=False)
    answer = browser.get(f"/?token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert browser.get("/api/state").status_code == 200
    assert TestClient(page.app, ADDRESS).get("/?token=wrong").status_code == 403
    assert TestClient(page.app, ADDRESS).get(f"/api/state?token={TOKEN}").status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example:8765", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8765.evil.example", "localhost", ""]
)
def test_a_host_that_is_not_served_is_refused(page: TestClient, host: str) -> None:
    error_of(page.get("/api/state", headers={"Host": host}), 403)
    error_of(page.get(f"/?token={TOKEN}", headers={"Host": host}), 403)


def test_names_of_this_machine_are_served(page: TestClient) -> None:
    assert page.get("/api/state", headers={"Host": "localhost:8765"}).status_code == 200
    assert "[::1]:9" in served_hosts("::1", 9)
    assert f"{socket.gethostname().lower()}:9" in served_hosts("0.0.0.0", 9)


def test_served_everywhere_addresses_are_known_and_foreign_names_are_not(tmp_path: Path, clip: Path) -> None:
    with serving(folder_with(clip, tmp_path / "f"), host="0.0.0.0") as client:
        assert client.get("/api/state", headers={"Host": "192.168.1.7:8765"}).status_code == 200
        for host in ("192.168.1.7:80", "evil.example:8765", "192.168.1.7"):
            error_of(client.get("/api/state", headers={"Host": host}), 403)


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://127.0.0.1:8765", "http://127.0.0.1:9", "http://localhost:8765", "file://"],
)
def test_another_origin_is_refused(page: TestClient, origin: str) -> None:
    error_of(page.post("/api/items/x/undo", headers={"Origin": origin}), 403)


def test_the_own_origin_passes(page: TestClient) -> None:
    error_of(page.post("/api/items/x/undo", headers={"Origin": ADDRESS}), 404)


def test_headers_are_on_every_answer(page: TestClient, item: str) -> None:
    plain = TestClient(page.app, ADDRESS)
    answers = [page.get("/"), page.get("/api/state"), page.get("/no"), plain.get("/"), page.get(f"{item}/frames/0.jpg")]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 403, 200]
    for answer in answers:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "script-src 'self'" in HEADERS["Content-Security-Policy"]
    assert "unsafe" not in HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("step", STEPS)
def test_traversal_leads_nowhere(page: TestClient, step: str, end: str) -> None:
    for path in (f"/{step}{end}", f"/api/items/{step}{end}", f"/api/items/{step}/{step}{end}", f"/api/jobs/{step}{end}"):
        answer = page.get(path)
        assert answer.status_code == 404, path
        assert set(answer.json()) == {"error"}


def test_of_the_built_page_three_files_are_served(page: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapetum.desk.web.page.STATIC", folder)
    for name, kind in (("index.html", "text/html"), ("app.js", "javascript"), ("app.css", "text/css")):
        (folder / name).write_text(name)
        answer = page.get(f"/{name}")
        assert (answer.status_code, answer.text) == (200, name)
        assert kind in answer.headers["content-type"]
    assert page.get("/").text == "index.html"
    error_of(page.get("/clip.mp4"), 404)


@pytest.mark.parametrize("body", [b"{", b"[]", b"1", b"\xff", b'"x"', b"[" * 100_000, b"null"])
def test_a_body_that_is_no_object_is_refused(page: TestClient, item: str, body: bytes) -> None:
    error_of(page.post(f"{item}/edits", content=body), 400)


def test_a_body_that_is_too_large_is_refused(page: TestClient, item: str) -> None:
    large = b'{"type": "clear", "x": "' + b"x" * (1 << 20) + b'"}'
    assert "1,048,576" in error_of(page.post(f"{item}/edits", content=large), 413)
    parts = (large[k : k + 1000] for k in range(0, len(large), 1000))
    error_of(page.post(f"{item}/edits", content=parts), 413)  # of no stated length
    assert page.get(f"{item}/project").json()["revision"] == 0


def test_web_sockets_are_refused(page: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect) as refused, page.websocket_connect("/api/events"):
        pass
    assert refused.value.code == 1008


def test_an_error_that_nobody_foresaw_is_one_line_without_a_path(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = make_app(folder, TOKEN)
    app.state.page.trackers.describe = lambda: 1 / 0
    client = TestClient(app, ADDRESS, headers={"X-Tapetum-Token": TOKEN}, raise_server_exceptions=False)
    with client:
        assert "ZeroDivisionError" in error_of(client.get("/api/trackers"), 500)
    assert "division by zero" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["none", "readable", "copied", "written", "linked", "forged"])
def test_a_token_is_used_again_only_where_a_server_of_this_user_wrote_it(tmp_path: Path, change: str) -> None:
    place, other = tmp_path / "place", tmp_path / "other"
    place.mkdir()
    token = kept_token(place)
    assert (place / "token").stat().st_mode & 0o777 == 0o600
    if change == "readable":
        (place / "token").chmod(0o644)
    if change == "copied":
        shutil.copytree(place, other)
        place = other
    if change == "written":
        (place / "token").write_text(token)
    if change == "linked":
        (place / "token").rename(other)
        (place / "token").symlink_to(other)
    if change == "forged":  # as an archive makes it: the same bytes, owner and mode, but another file
        (place / "token").unlink()
        (place / "token").touch(0o600)
        (place / "token").write_text(token)
    again = kept_token(place)
    assert (again == token) == (change == "none")
    assert kept_token(place) == again or change == "linked"
    assert not other.is_file() or other.read_text() == token
