"""Edits of points, undo and redo, two clients at once, and the database with its migrations."""

import json
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from support.web_page import edit, error_of, first_item, ok, serving, track
from tapetum.core.errors import BadInput
from tapetum.desk.web import database
from tapetum.desk.web.database import FILE, MIGRATIONS, Database
from tapetum.desk.web.edits import EditedPoint, apply
from tapetum.desk.web.hidden import HIDDEN


def replay(edits: list[dict[str, Any]]) -> dict[str, EditedPoint]:
    points: dict[str, EditedPoint] = {}
    for each in edits:
        apply(points, each)
    return points


def points_of(content: Any) -> list[Any]:
    return [[each["name"], each["color"], each["queries"]] for each in content["points"]]


def query(frame: int, x: float, y: float, hidden: bool = False) -> dict[str, Any]:
    return {"frame": frame, "x": x, "y": y, "hidden": hidden}


def test_points_are_added_moved_hidden_renamed_and_deleted(page: TestClient, item: str) -> None:
    made = edit(page, item, "add_point", frame=1, x=10.5, y=20, name="nose", color="#FF8800")
    assert points_of(made) == [["nose", "#ff8800", [query(1, 10.5, 20)]]]
    point = made["points"][0]["id"]
    moved = edit(page, item, "move_point", point=point, frame=4, x=30, y=21)
    assert moved["points"][0]["queries"] == [query(1, 10.5, 20), query(4, 30, 21)]
    moved = edit(page, item, "move_point", point=point, frame=1, x=11, y=19)
    assert moved["points"][0]["queries"] == [query(1, 11, 19), query(4, 30, 21)]
    hidden = edit(page, item, "hide_point", point=point, frame=3)
    assert hidden["points"][0]["queries"][2] == query(3, 30, 21, True)
    seen = edit(page, item, "move_point", point=point, frame=3, x=25, y=20)
    assert seen["points"][0]["queries"][2] == query(3, 25, 20)
    named = edit(page, item, "edit_point", point=point, name="tail")
    assert (named["points"][0]["name"], named["points"][0]["color"]) == ("tail", "#ff8800")
    assert edit(page, item, "delete_point", point=point)["points"] == []


def test_a_grid_has_the_centres_of_its_cells(page: TestClient, item: str) -> None:
    made = edit(page, item, "add_grid", frame=0, rows=2, columns=2)
    assert [each["queries"] for each in made["points"]] == [[query(0, x, y)] for y in (12, 36) for x in (16, 48)]
    boxed = edit(page, item, "add_grid", frame=2, rows=1, columns=2, box=[40, 10, 20, 90])
    assert [each["queries"] for each in boxed["points"][4:]] == [[query(2, x, 29)] for x in (25, 35)]
    assert len({each["color"] for each in boxed["points"]}) == 6


def test_undo_and_redo_go_through_all_edits(page: TestClient, item: str) -> None:
    states = [ok(page.get(f"{item}/project"))["points"]]
    states.append(edit(page, item, "add_grid", frame=0, rows=2, columns=3)["points"])
    states.append(edit(page, item, "move_point", point=states[1][2]["id"], frame=3, x=1, y=2)["points"])
    states.append(edit(page, item, "clear")["points"])
    states.append(edit(page, item, "add_point", frame=0, x=1, y=1)["points"])
    for count in range(3, -1, -1):
        answer = ok(page.post(f"{item}/undo"))
        assert (answer["points"], answer["undo"], answer["redo"]) == (states[count], count, 4 - count)
    assert "nothing to undo" in error_of(page.post(f"{item}/undo"), 409)
    for count in range(1, 5):
        assert ok(page.post(f"{item}/redo"))["points"] == states[count]
    assert "nothing to redo" in error_of(page.post(f"{item}/redo"), 409)
    assert ok(page.get(f"{item}/project"))["revision"] == 12


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"type": ["clear"]},
        {"type": "add_point"},
        {"type": "add_point", "frame": 6, "x": 1, "y": 1},
        {"type": "add_point", "frame": 1.5, "x": 1, "y": 1},
        {"type": "add_point", "frame": True, "x": 1, "y": 1},
        {"type": "add_point", "frame": 0, "x": 64.5, "y": 1},
        {"type": "add_point", "frame": 0, "x": 10**400, "y": 1},
        {"type": "add_point", "frame": 0, "x": 1, "y": 1, "name": "a\nb"},
        {"type": "add_point", "frame": 0, "x": 1, "y": 1, "name": "x" * 201},
        {"type": "add_point", "frame": 0, "x": 1, "y": 1, "color": "#12345g"},
        {"type": "add_grid", "frame": 0, "rows": 0, "columns": 3},
        {"type": "add_grid", "frame": 0, "rows": 65, "columns": 64},
        {"type": "add_grid", "frame": 0, "rows": 2, "columns": 2, "box": [1, 2, 3, "4"]},
    ],
)
def test_what_is_no_edit_is_refused_and_changes_nothing(page: TestClient, item: str, content: dict[str, Any]) -> None:
    error_of(page.post(f"{item}/edits", json=content), 400)
    assert ok(page.get(f"{item}/project"))["revision"] == 0


@pytest.mark.parametrize(
    "text", ['{"type":"add_point","frame":0,"x":NaN,"y":1}', '{"type":"add_point","frame":0,"x":1e999,"y":1}']
)
def test_numbers_that_are_not_finite_are_refused(page: TestClient, item: str, text: str) -> None:
    assert "finite" in error_of(page.post(f"{item}/edits", content=text), 400)


@pytest.mark.parametrize("kind", ["move_point", "hide_point", "show_point", "delete_point", "edit_point"])
@pytest.mark.parametrize("point", ["gone", "", None, 7, ["a"]])
def test_a_point_that_is_gone_is_said(page: TestClient, item: str, kind: str, point: Any) -> None:
    error_of(page.post(f"{item}/edits", json={"type": kind, "point": point, "frame": 0, "x": 1, "y": 1}), 404)


def test_the_only_place_where_a_point_is_seen_is_not_hidden(page: TestClient, item: str) -> None:
    point = edit(page, item, "add_point", frame=2, x=1, y=1)["points"][0]["id"]
    error_of(page.post(f"{item}/edits", json={"type": "hide_point", "point": point, "frame": 2}), 400)
    edit(page, item, "hide_point", point=point, frame=1)
    error_of(page.post(f"{item}/edits", json={"type": "hide_point", "point": point, "frame": 2}), 400)


def test_there_are_at_most_4096_points(page: TestClient, item: str) -> None:
    assert len(edit(page, item, "add_grid", frame=0, rows=64, columns=64)["points"]) == 4096
    assert "4096" in error_of(page.post(f"{item}/edits", json={"type": "add_point", "frame": 0, "x": 1, "y": 1}), 400)
    assert "4096" in error_of(page.post(f"{item}/edits", json={"type": "add_grid", "frame": 0, "rows": 1, "columns": 1}), 400)


def test_two_clients_lose_none_of_their_edits(page: TestClient, item: str) -> None:
    def work(name: str) -> None:
        for number in range(15):
            edit(page, item, "add_point", frame=0, x=number, y=1, name=f"{name}{number}")

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    content = ok(page.get(f"{item}/project"))
    names = [each["name"] for each in content["points"]]
    for name in "ab":
        assert [each for each in names if each[0] == name] == [f"{name}{number}" for number in range(15)]
    assert (content["revision"], content["undo"]) == (30, 30)


def test_an_edit_of_an_old_revision_is_refused_if_it_says_so(page: TestClient, item: str) -> None:
    place = {"type": "add_point", "frame": 0, "x": 1, "y": 1}
    ok(page.post(f"{item}/edits", json={**place, "revision": 0}))
    error_of(page.post(f"{item}/edits", json={**place, "revision": 0}), 409)
    assert ok(page.get(f"{item}/project"))["revision"] == 1


def test_a_new_server_has_all_of_it(folder: Path) -> None:
    with serving(folder) as client:
        item = first_item(client)
        edit(client, item, "add_grid", frame=0, rows=2, columns=2)
        edit(client, item, "clear")
        before = ok(client.post(f"{item}/undo"))
    with serving(folder) as client:
        assert ok(client.get(f"{item}/project")) == before


def test_a_folder_is_served_once_at_a_time(folder: Path) -> None:
    with serving(folder), pytest.raises(BadInput, match="served already"), serving(folder):
        pass


def added(point: str, frame: int = 0) -> dict[str, Any]:
    place = {"frame": frame, "x": 1.0, "y": 2.0}
    return {"type": "add", "points": [{"id": point, "name": "", "color": "#000000", **place}]}


def marked(point: str, frame: int, hidden: bool) -> dict[str, Any]:
    return {"type": "mark", "point": point, "frame": frame, "x": 3.0, "y": 4.0, "hidden": hidden}


def shown(point: str, frame: int) -> dict[str, Any]:
    return {"type": "show", "point": point, "frame": frame}


IDS = st.sampled_from("pqrs")
EDITS = st.lists(
    st.one_of(
        st.builds(added, IDS),
        st.builds(marked, IDS, st.integers(0, 3), st.booleans()),
        st.builds(shown, IDS, st.integers(0, 3)),
        st.builds(lambda point: {"type": "delete", "point": point}, IDS),
        st.builds(lambda point, name: {"type": "edit", "point": point, "name": name}, IDS, st.text()),
        st.just({"type": "clear"}),
    )
)


@pytest.mark.slow
@given(EDITS)
def test_edits_give_the_same_points_each_time(edits: list[dict[str, Any]]) -> None:
    assert replay(json.loads(json.dumps(edits))) == replay(edits)


def test_hidden_frames_reach_to_the_next_mark() -> None:
    point = replay([added("p", 2), marked("p", 5, True), marked("p", 0, True), marked("p", 7, False)])["p"]
    assert point.hidden_frames(10) == [(0, 2), (5, 7)]
    assert point.clicks == [(2, 1.0, 2.0), (7, 3.0, 4.0)]


def test_hidden_frames_end_where_the_point_is_back() -> None:
    hidden = [added("p", 0), marked("p", 3, True), marked("p", 8, True)]
    back = replay([*hidden, shown("p", 5), shown("p", 8)])["p"]
    assert back.hidden_frames(10) == [(3, 5)]
    assert back.clicks == [(0, 1.0, 2.0)]
    again = replay([*hidden, shown("p", 5), marked("p", 5, True)])["p"]
    assert again.hidden_frames(10) == [(3, 5), (5, 8), (8, 10)]


@pytest.mark.parametrize("version", [1, 4])
def test_an_old_database_is_brought_up_to_date(folder: Path, version: int) -> None:
    """That of version 4 is of tapetum 0.1.0, which had masks and their clicks."""
    with serving(folder) as client:
        item = first_item(client)
        before = edit(client, item, "add_grid", frame=0, rows=2, columns=2)
    place, number = folder / HIDDEN, item.rsplit("/", 1)[1]
    with closing(sqlite3.connect(place / FILE)) as new:
        names = {"items": "id, path, size, time, content, kind, frames, fps, width, height", "edits": "*", "projects": "*"}
        kept = {name: new.execute(f"SELECT {columns} FROM {name}").fetchall() for name, columns in names.items()}
    shutil.rmtree(place)
    place.mkdir()
    with closing(sqlite3.connect(place / FILE)) as old, old:
        for statement in (*sum(MIGRATIONS[:version], ()), f"PRAGMA user_version = {version}"):
            old.execute(statement)
        for name, rows in kept.items():
            columns = "" if names[name] == "*" else f"({names[name]})"
            old.executemany(f"INSERT INTO {name} {columns} VALUES ({','.join('?' * len(rows[0]))})", rows)
        if version == 4:
            for k, click in enumerate(
                ({"type": "prompt", "frame": 0, "x": 1, "y": 2, "inside": True}, {"type": "clear_prompts"})
            ):
                old.execute("INSERT INTO edits VALUES (?, ?, ?, 0)", (number, 1 + k, json.dumps(click)))
            old.execute("UPDATE projects SET position = 3, revision = 3")
            old.execute("INSERT INTO masks VALUES (?, 'x', '[]')", (number,))
    with serving(folder) as client:
        now = ok(client.get(f"{item}/project"))
        assert now["points"] == before["points"]
        assert now["revision"] == (1 if version == 1 else 3)
        assert client.get(f"{item}/tracks.bin").status_code == 200
        while now["undo"]:
            now = ok(client.post(f"{item}/undo"))
        assert now["points"] == []


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE more (id TEXT)", "CREATE TABLE items (id TEXT)")))
    with pytest.raises(BadInput, match="items already exists"):
        Database(tmp_path / FILE)
    with closing(sqlite3.connect(tmp_path / FILE)) as left:
        assert left.execute("PRAGMA user_version").fetchone() == (0,)
        assert left.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_a_newer_database_is_refused_and_a_damaged_one_too(folder: Path) -> None:
    with serving(folder):
        pass
    file = folder / HIDDEN / FILE
    with closing(sqlite3.connect(file)) as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(BadInput, match="schema 99"), serving(folder):
        pass
    file.write_bytes(b"no database" * 100)
    with pytest.raises(BadInput, match="cannot be used"), serving(folder):
        pass


def test_points_of_grids_have_names_of_their_own(page: TestClient, item: str) -> None:
    edit(page, item, "add_point", frame=0, x=1, y=1, name="point 7")
    made = edit(page, item, "add_grid", frame=0, rows=1, columns=2)["points"]
    assert [each["name"] for each in made] == ["point 7", "point 8", "point 9"]
    edit(page, item, "delete_point", point=made[1]["id"])
    named = edit(page, item, "add_grid", frame=0, rows=1, columns=1, name="red ball", box=[2, 4, 6, 8])["points"]
    assert [each["name"] for each in named] == ["point 7", "point 9", "red ball"]
    assert (named[-1]["queries"][0]["x"], named[-1]["queries"][0]["y"]) == (4, 6)
    again = edit(page, item, "add_grid", frame=0, rows=1, columns=1, name="red ball")["points"]
    assert again[-1]["name"] == "red ball 1"
    track(page, item)
    table = page.get(f"{item}/export?format=csv").text
    assert all(name in table for name in ("point 7", "point 9", "red ball", "red ball 1"))
    error_of(page.post(f"{item}/edits", json={"type": "add_grid", "frame": 0, "rows": 1, "columns": 1, "name": 5}), 400)
