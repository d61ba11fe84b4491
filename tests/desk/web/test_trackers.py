"""Trackers that the page offers by name, and why some cannot be used."""

from pathlib import Path

from starlette.testclient import TestClient

from support.web_page import edit, error_of, first_item, ok, read_tracks, serving, track


def test_trackers_are_listed_and_chosen_and_tracks_are_those_of_the_chosen_one(folder: Path) -> None:
    with serving(folder) as page:
        listed = ok(page.get("/api/trackers"))
        by_name = {each["name"]: each for each in listed["trackers"]}
        assert (listed["chosen"], listed["trackers"][0]["name"]) == ("static", "static")
        assert by_name["tapir-nano"] == {"name": "tapir-nano", "about": "bundled, Apache-2.0", "missing": None}
        assert "2.5 GB" in by_name["tapnextpp-512"]["about"]
        assert "tapetum weights fetch tapnextpp-512" in by_name["tapnextpp-512"]["missing"]
        item = first_item(page)
        edit(page, item, "add_point", frame=0, x=5, y=5)
        track(page, item)
        chosen = ok(page.post("/api/trackers", json={"name": "causal-tapir-nano"}))["chosen"]
        assert chosen == ok(page.get("/api/state"))["models"]["track"] == "causal-tapir-nano"
        assert ok(page.get(f"{item}/project"))["tracked_revision"] is None
        assert not read_tracks(page, item)[1].any() or read_tracks(page, item)[1][0, 0, 0] != 5  # NaN
    with serving(folder) as page:
        assert ok(page.get("/api/trackers"))["chosen"] == "causal-tapir-nano"
        ok(page.post("/api/trackers", json={"name": "static"}))
        assert ok(page.get(f"{item}/project"))["tracked_revision"] == 1
        ok(page.post("/api/trackers", json={"name": "tapir-nano"}))
    with serving(folder, model="causal-tapir-nano") as page:
        assert ok(page.get("/api/trackers"))["chosen"] == "causal-tapir-nano"  # what is given counts


def test_what_is_no_tracker_is_refused(page: TestClient) -> None:
    for name in ("tapir", "resnet-nano", "../x.safetensors", "/etc/passwd", "own.py:Tracker", 3, None):
        error_of(page.post("/api/trackers", json={"name": name}), 400)
    assert ok(page.get("/api/trackers"))["chosen"] == "static"
