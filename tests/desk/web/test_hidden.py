"""A folder that somebody else has prepared: what lies in its `.tapetum-web` runs nothing, and leads nowhere."""

import fcntl
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.files import make_image
from support.web_page import edit, error_of, finished, first_item, ok, serving
from tapetum.core.errors import BadInput
from tapetum.desk.web import hidden, job_files, jobs
from tapetum.desk.web.database import FILE
from tapetum.desk.web.job_files import holder, read_jobs

ID = "0123456789abcdef"
EVIL = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\nclass Net:\n    pass\n"


def plant(folder: Path, name: str = ID, **job: Any) -> Path:
    """Put a job into a folder that no server was asked for."""
    place = folder / ".tapetum-web" / "jobs" / name
    place.mkdir(parents=True)
    content = {"id": name, "kind": "look", "item": ID, "created": 0, "settings": {"model": "evil.py:Net"}, **job}
    (place / "job.json").write_text(json.dumps(content))
    return place


@pytest.mark.parametrize(
    "job",
    [
        {"kind": "track", "item": ID, "settings": {"model": "evil.py:Net", "device": None, "clicks": [[[0, 1, 1]]]}},
        {"kind": "look", "item": ID, "settings": {"verb": "classify", "labels": ["x"], "loads": "evil.py:Net", "frame": 0}},
    ],
)
def test_a_planted_job_is_listed_and_never_begun(folder: Path, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "evil.py").write_text(EVIL)
    monkeypatch.chdir(folder)
    place = plant(folder, **job)
    with serving(folder) as client:
        app = client.app.state.page
        for _ in range(3):
            app.jobs.poll()
        assert ok(client.get(f"/api/jobs/{ID}"))["state"] == "interrupted"
        assert ok(client.delete(f"/api/jobs/{ID}"))["state"] == "interrupted"
        assert not app.jobs.busy()
        assert not app.jobs._begun
    assert sorted(path.name for path in place.iterdir()) == ["job.json"]
    assert not (folder / "ran").exists()


def test_a_planted_job_that_says_that_it_waits_is_not_begun_when_its_lock_is_let_go(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = plant(folder)
    (place / "progress.json").write_text(json.dumps({"state": "waiting", "done": 0, "total": 0, "message": ""}))
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with serving(folder) as client:
            found = client.app.state.page.jobs
            assert holder(place) == 0
            found.poll()
            fcntl.flock(lock, fcntl.LOCK_UN)
            holders = iter([0, None])  # it is let go between two looks
            monkeypatch.setattr(job_files, "holder", lambda _: next(holders, None))
            for _ in range(3):
                found.poll()
            assert found.get(ID)["state"] == "failed"
            assert not found._begun


@pytest.mark.slow
def test_a_job_runs_nothing_that_lies_where_the_server_was_started(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python puts the current folder first among those that it imports from."""
    (folder / "tyro.py").write_text(EVIL)
    monkeypatch.chdir(folder)
    with serving(folder) as client:
        item = first_item(client)
        edit(client, item, "add_point", frame=0, x=1, y=1)
        assert finished(client, ok(client.post(f"{item}/jobs", json={"kind": "track"})))["state"] == "done"
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("content", ["[]", "{}", "1", "{", '"x"', '{"kind":[]}', "[" * 5000, ""])
def test_what_is_no_job_is_left_alone(folder: Path, content: str) -> None:
    place = plant(folder)
    (place / "job.json").write_text(content)
    with serving(folder) as client:
        error_of(client.get(f"/api/jobs/{ID}"), 404)
    assert (place / "job.json").read_text() == content


@pytest.mark.parametrize(
    "job",
    [
        *({"created": "0"}, {"created": float("nan")}, {"item": "../x"}, {"item": None}, {"item": []}),
        *({"kind": "rm"}, {"kind": "runs"}, {"kind": []}, {"settings": None}),
    ],
)
def test_a_job_with_a_field_that_is_none_is_left_alone(folder: Path, job: dict[str, Any]) -> None:
    plant(folder, **job)
    assert read_jobs(folder / ".tapetum-web" / "jobs") == []


@pytest.mark.parametrize("kind", ["track", "export"])
def test_a_job_that_names_another_folder_as_its_own_removes_nothing(tmp_path: Path, folder: Path, kind: str) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("x")
    for name in ("0", ID, "fedcba9876543210"):
        plant(folder, name, id=str(mine), kind=kind)
    plant(folder, "1", kind=kind)  # no id of a job
    for _ in range(2):
        with serving(folder) as client:
            assert client.app.state.page.jobs._jobs == {}
    assert (mine / "notes.txt").read_text() == "x"


@pytest.mark.parametrize(
    "name", ["{outside}", "../../../../../secret.txt", "..", ".", "", "link.txt", "pipe", "folder", "a\0b"]
)
def test_the_file_of_a_job_is_a_plain_one_in_its_folder(tmp_path: Path, folder: Path, name: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    place = plant(folder, kind="export", item=ID)
    (place / "file" / "folder").mkdir(parents=True)
    (place / "file" / "link.txt").symlink_to(secret)
    os.mkfifo(place / "file" / "pipe")
    (place / "progress.json").write_text(json.dumps({"state": "done", "done": 1, "total": 1, "message": ""}))
    (place / "result.json").write_text(json.dumps({"result": {"file": name.format(outside=secret)}}))
    with serving(folder) as client:
        assert ok(client.get(f"/api/jobs/{ID}"))["state"] == "done"
        error_of(client.get(f"/api/jobs/{ID}/file"), 404)
    assert secret.read_text() == "secret"


@pytest.mark.parametrize("content", ["[]", "1", '{"result": [], "id": "x", "state": "running", "model": 5}'])
def test_a_result_is_what_the_page_knows_or_nothing(folder: Path, content: str) -> None:
    place = plant(folder)
    (place / "progress.json").write_text(json.dumps({"state": "done", "done": 1, "total": 1, "message": ""}))
    (place / "result.json").write_text(content)
    with serving(folder) as client:
        job = ok(client.get(f"/api/jobs/{ID}"))
        assert (job["id"], job["state"]) == (ID, "done")
        assert "result" not in job
        error_of(client.get(f"/api/jobs/{ID}/file"), 404)


@pytest.mark.parametrize(
    "progress", ["[]", '{"state": []}', '{"state": "done"}', '{"state": "gone", "done": 0, "total": 0, "message": ""}']
)
def test_progress_that_is_none_does_not_count(folder: Path, progress: str) -> None:
    (plant(folder) / "progress.json").write_text(progress)
    with serving(folder) as client:
        assert ok(client.get(f"/api/jobs/{ID}"))["state"] == "interrupted"


def link(place: Path, outside: Path) -> None:
    place.symlink_to(outside)


def pipe(place: Path, _: Path) -> None:
    os.mkfifo(place)


NAMES = ("exports", "uploads", "jobs", "server.lock", FILE, f"{FILE}-wal", f"{FILE}-journal")


@pytest.mark.parametrize("make", [link, pipe])
@pytest.mark.parametrize("name", NAMES)
def test_links_and_pipes_are_refused_in_one_line(
    tmp_path: Path, folder: Path, name: str, make: Callable[[Path, Path], None]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = outside if "." not in name else outside / "file"
    (outside / "file").write_text("mine")
    (folder / ".tapetum-web").mkdir()
    make(folder / ".tapetum-web" / name, target)
    with pytest.raises(BadInput, match="move it away") as refused, serving(folder):
        pass
    assert "\n" not in str(refused.value)
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "mine"


def test_the_hidden_folder_itself_is_no_link(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "outside").mkdir()
    (folder / ".tapetum-web").symlink_to(tmp_path / "outside")
    with pytest.raises(BadInput, match="is a link"), serving(folder):
        pass
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("name", ["jobs", "exports"])
def test_a_file_in_the_place_of_a_folder_is_one_line(folder: Path, name: str) -> None:
    (folder / ".tapetum-web").mkdir()
    (folder / ".tapetum-web" / name).write_text("x")
    with pytest.raises(BadInput, match="is a file"), serving(folder):
        pass


@pytest.mark.parametrize("step", [ID, f"{ID}/job.json", f"{ID}/progress.json", f"{ID}/lock"])
def test_links_in_a_job_are_not_followed(tmp_path: Path, folder: Path, step: str) -> None:
    place = plant(folder)
    (place / "progress.json").write_text(json.dumps({"state": "done", "done": 1, "total": 1, "message": "planted"}))
    (place / "lock").touch()
    path = place.parent / step
    path.rename(tmp_path / "there")
    path.symlink_to(tmp_path / "there")
    with serving(folder) as client:
        state = client.get(f"/api/jobs/{ID}").json().get("state")
    assert state == {"lock": "done", "progress.json": "interrupted"}.get(path.name)


@pytest.mark.parametrize("name", ["", "vectors.f16", "index.sqlite"])
def test_an_index_that_is_a_link_is_not_searched(tmp_path: Path, folder: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").touch()
    place = folder / ".tapetum-index"
    if name:
        place.mkdir()
        (place / name).symlink_to(outside / "mine")
    else:
        place.symlink_to(outside)
    with serving(folder) as client:
        assert "is a link" in error_of(client.get("/api/search?text=x"), 400)


SCHEMAS = {
    "a view": "DROP TABLE items; CREATE VIEW items AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) "
    "SELECT id, id AS path FROM n",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON items BEGIN DELETE FROM edits; END",
    "another table": "CREATE TABLE more (x)",
}
ROWS = {
    "an id": "UPDATE items SET id = '../../x'",
    "a number": "UPDATE items SET frames = 'many'",
    "very many frames": "UPDATE items SET frames = 1000000000000",
    "an infinite rate": "UPDATE items SET fps = 9e999",
    "no width": "UPDATE items SET width = 0",
    "no height": "UPDATE items SET height = 0",
    "the last revision": "INSERT INTO projects VALUES ('x', 9223372036854775807, 0, NULL)",
    "times": "UPDATE items SET times = x'00'",
    "a short track": "INSERT INTO tracks VALUES ('x', 'y', 5, x'00', NULL, 0)",
    "a long way back": "INSERT INTO tracks VALUES ('x', 'y', 1, zeroblob(16), zeroblob(8), 0)",
}


@pytest.mark.parametrize("statement", [*SCHEMAS.values(), *ROWS.values()], ids=[*SCHEMAS, *ROWS])
def test_a_database_that_no_server_wrote_is_refused(folder: Path, statement: str) -> None:
    with serving(folder) as client:
        first_item(client)
    with closing(sqlite3.connect(folder / ".tapetum-web" / FILE)) as planted:
        planted.executescript(statement)
    with pytest.raises(BadInput, match="are not those "), serving(folder):
        pass


@pytest.mark.parametrize("path", ["../outside.png", "{outside}", "clip.mp4/../../outside.png", ".hidden.png", "sub/.x/a.png"])
def test_the_path_of_an_item_is_looked_at_at_every_use(tmp_path: Path, folder: Path, path: str) -> None:
    outside = tmp_path / "outside.png"
    for place in (outside, folder / ".hidden.png", folder / "sub" / ".x" / "a.png"):
        make_image(place, (1, 2, 3))
    with serving(folder) as client:
        item = first_item(client)
        client.app.state.page.database.rows(
            "UPDATE items SET path = ?, kind = 'image', size = ?, time = ?",
            *(path.format(outside=outside), outside.stat().st_size, outside.stat().st_mtime_ns),
        )
        for rest in ("frames/0.jpg", "project", "tracks.bin"):
            error_of(client.get(f"{item}/{rest}"), 404)


ADDED = {"id": "0" * 12, "name": "a", "color": "#000000", "frame": 0, "x": 1, "y": 1}
WRONG = (
    *({"id": "a\nb"}, {"id": []}, {"x": "1"}, {"x": 10**400}, {"y": float("nan")}, {"frame": "0"}, {"frame": -1}),
    *({"color": "red"}, {"name": 5}),
)


@pytest.mark.parametrize(
    "edit_",
    [
        *("{", "[]", "1", '{"type": "add"}', '{"type": "add", "points": [{"id": "x"}]}', "[" * 5000),
        *(json.dumps({"type": "add", "points": [{**ADDED, **each}]}) for each in WRONG),
    ],
)
def test_points_that_no_server_saved_are_refused(folder: Path, edit_: str) -> None:
    with serving(folder) as client:
        item = first_item(client)
        edit(client, item, "add_point", frame=0, x=1, y=1)
        client.app.state.page.database.rows("UPDATE edits SET edit = ?", edit_)
    with serving(folder) as client:
        for rest in ("project", "tracks.bin", "check", "export"):
            assert "move .tapetum-web away" in error_of(client.get(f"{item}/{rest}"), 409)
        error_of(client.post(f"{item}/jobs", json={"kind": "track"}), 409)
        assert client.get(f"{item}/frames/0.jpg").status_code == 200


def test_so_many_jobs_wait_and_no_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MOST_WAITING", 2)
    with serving(folder) as client:
        item, page = first_item(client), client.app.state.page
        page.jobs.at_once = 0
        for _ in range(2):
            made = ok(client.post(f"{item}/look", json={"verb": "caption"}))
        assert "2 jobs wait" in error_of(client.post(f"{item}/look", json={"verb": "caption"}), 429)
        ok(client.delete(f"/api/jobs/{made['id']}"))
        ok(client.post(f"{item}/look", json={"verb": "caption"}))
        for number in list(page.jobs._jobs):
            page.jobs.cancel(number)


def test_plain_files_alone_are_opened(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a").write_text("abc")
    (tmp_path / "in" / "way").symlink_to(tmp_path / "in" / "deep")
    assert hidden.read_plain(tmp_path, "in", "deep", "a", most=3) == b"abc"
    for names, most in ((("in", "deep", "a"), 2), (("in", "way", "a"), 9), (("in", "deep"), 9), (("in", "no"), 9)):
        with pytest.raises(OSError):  # noqa: PT011  # of several kinds
            hidden.read_plain(tmp_path, *names, most=most)
