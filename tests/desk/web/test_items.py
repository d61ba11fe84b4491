"""The list of a folder: read in batches while it is shown, sent by pages, and changed by events."""

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.files import make_image
from support.web_page import edit, error_of, ok, read_state, serving
from tapetum.desk.web import items as module
from tapetum.desk.web import page as page_module
from tapetum.desk.web.database import FILE, Database
from tapetum.desk.web.folder_files import read_file
from tapetum.desk.web.hidden import HIDDEN
from tapetum.desk.web.items import Items

NAMES = [f"{number}.png" for number in range(8)]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        make_image(tmp_path / "images" / name, (number, 0, 0), (20, 12))
    (tmp_path / "images" / HIDDEN).mkdir()
    return tmp_path / "images"


@pytest.fixture
def changes() -> list[tuple[list[str], list[str]]]:
    return []


@pytest.fixture
def items(images: Path, changes: list[Any]) -> Iterator[Items]:
    """The list of that folder, looked at once, and what changes in it."""
    database = Database(images / HIDDEN / FILE)
    made = Items(database, images, lambda changed, gone: changes.append((changed, gone)) if changed or gone else None)
    made.look(None)
    changes.clear()
    yield made
    made.close()
    database.close()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(module, "read_file", lambda path: names.append(path.name) or read_file(path))
    return names


def names_of(items: Items) -> dict[str, str]:
    return {each["name"]: each["id"] for each in items.page()["items"]}


def test_pages_follow_each_other_and_a_text_is_looked_for_in_all(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    make_image(images / "Beach" / "Dog 1.png", (1, 2, 3))
    with serving(images) as client:
        first = read_state(client)
        assert (first["count"], first["unread"], [each["name"] for each in first["items"]]) == (9, 0, NAMES[:3])
        pages, after = [], None
        while not pages or after is not None:
            page = ok(client.get("/api/items", params={"after": after} if after else {}))
            pages.append([each["name"] for each in page["items"]])
            after = page["next"]
            if len(pages) == 1:
                assert {name: page[name] for name in ("items", "next", "count", "unread")}.items() <= first.items()
                (images / NAMES[2]).unlink()  # that after which the next page begins
                client.app.state.page.items.look(None)
        assert pages == [NAMES[:3], NAMES[3:6], [*NAMES[6:], "Beach/Dog 1.png"]]
        [dog] = ok(client.get("/api/items?text=dOG"))["items"]
        assert dog["name"] == "Beach/Dog 1.png"
        assert ok(client.get(f"/api/items/{dog['id']}")) == dog
        assert ok(client.get("/api/items?text=cat")) == {"items": [], "next": None, "count": 8, "unread": 0}
        error_of(client.get("/api/items?after=0123456789abcdef"), 404)
        error_of(client.get("/api/items/0123456789abcdef"), 404)
        error_of(client.get(f"/api/items?text={'x' * 1001}"), 400)


def test_a_folder_is_listed_while_it_is_read(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, sent = threading.Event(), list[Any]()

    def waiting(path: Path) -> Any:
        assert path.name != "4.png" or go_on.wait(60)
        return read_file(path)

    monkeypatch.setattr(module, "read_file", waiting)
    monkeypatch.setattr(module, "_BATCH_S", 0.0)
    monkeypatch.setattr(page_module.Events, "heard", True)
    with serving(images) as client:
        page = client.app.state.page
        monkeypatch.setattr(page.events, "send", lambda **message: sent.append(message))
        while (state := ok(client.get("/api/state")))["count"] < 4:
            pass
        assert ([each["name"] for each in state["items"]], state["unread"]) == (NAMES[:4], 4)
        number = state["items"][0]["id"]
        assert client.get(f"/api/items/{number}/frames/0.jpg").status_code == 200
        sent.clear()
        go_on.set()
        page.items.look(None)
        messages = [each["items"] for each in sent]
        assert [item["name"] for each in messages for item in each["changed"]] == NAMES[4:]
        assert messages[-1] | {"changed": []} == {"changed": [], "gone": [], "count": 8, "unread": 0}
        assert read_state(client)["items"] == [*state["items"], *(item for each in messages for item in each["changed"])]


def test_what_is_known_is_not_read_again_and_many_are_written_at_once(
    items: Items, images: Path, read: list[str], changes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    items.look(None)
    assert (read, changes) == ([], [])
    again = Items(items._database, images)
    again.look(None)
    assert read == []
    assert again.page() == items.page()
    written = list[str]()
    rows = Database.rows
    monkeypatch.setattr(Database, "rows", lambda self, text, *values: written.append(text) or rows(self, text, *values))
    for number in range(20):
        make_image(images / "new" / f"{number}.png", (number, 9, 9))
    items.look(None)
    assert len(read) == 20
    assert written.count("COMMIT") < 5
    assert items.page()["count"] == 28


def test_what_moves_keeps_its_id_and_what_goes_is_gone(items: Items, images: Path, changes: list[Any]) -> None:
    before = names_of(items)
    (images / "0.png").rename(images / "9.png")
    (images / "1.png").unlink()
    os.utime(images / "2.png", (1, 1))
    shutil.move(images / "3.png", images / "4.png")
    for _ in range(2):
        items.look(None)
    after = names_of(items)
    assert after == {name: before[name] for name in ("2.png", "5.png", "6.png", "7.png")} | {
        "4.png": before["3.png"], "9.png": before["0.png"],
    }  # fmt: skip
    renamed = {number for changed, _ in changes for number in changed}
    gone = {number for _, numbers in changes for number in numbers}
    assert (renamed, gone) == ({before["3.png"], before["0.png"]}, {before["1.png"], before["4.png"]})


def test_a_file_that_is_replaced_by_another_keeps_the_edits_of_that(images: Path) -> None:
    with serving(images) as client:
        number = next(each["id"] for each in read_state(client)["items"] if each["name"] == "3.png")
        edit(client, f"/api/items/{number}", "add_point", frame=0, x=1, y=1)
        shutil.move(images / "3.png", images / "4.png")
        read_state(client)
    with serving(images) as client:
        assert [each["name"] for each in read_state(client)["items"] if each["id"] == number] == ["4.png"]


def test_what_cannot_be_read_leaves_one_row_behind(items: Items, images: Path) -> None:
    for size in (1, 2, 3):
        (images / "bad.png").write_bytes(b"x" * size)
        items.look(None)
    assert len(items._database.rows("SELECT 1 FROM items WHERE kind = 'unreadable'")) == 1
    assert items.page()["count"] == 8


def test_a_full_disk_while_files_are_read_is_one_line(images: Path) -> None:
    with serving(images) as client:
        client.app.state.page.database.rows("PRAGMA max_page_count = 1")
        for number in range(500):
            make_image(images / "new" / f"{number}.png", (number % 200, number // 200, 9), (2, 2))
        while (answer := client.get("/api/state")).status_code == 200:
            assert answer.json()["unread"]
        assert "full" in error_of(answer, 400)
        client.app.state.page.database.rows("PRAGMA max_page_count = 1000000")
        assert read_state(client)["count"] == 508
