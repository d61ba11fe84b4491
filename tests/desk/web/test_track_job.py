"""Points tracked, put right and exported on the page: the same as the command line makes."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from support.networks import TAPIR_NANO, save_tapir
from support.web_page import edit, error_of, finished, first_item, folder_with, ok, read_tracks, serving, track
from tapetum.app.verb import Listener
from tapetum.desk.web import job_files, job_process, track_job
from tapetum.desk.web.answers import Refused
from tapetum.desk.web.exports import DRAWN, FORMATS
from tapetum.desk.web.tracks import TrackStore, signature
from tapetum.hub import loading
from tapetum.hub.registry import assets
from tapetum.types import Tracks
from tapetum.video import open_video, write_video

Run = Callable[..., tuple[int, str, str]]
PLACES = [("nose", 0, 16.0, 22.0), ("tail", 2, 30.0, 40.0), ("ear", 5, 50.0, 30.0)]


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tapir(tmp_path_factory.mktemp("weights") / "nano.safetensors", TAPIR_NANO)


def add_places(client: TestClient, item: str) -> list[str]:
    for name, frame, x, y in PLACES:
        made = edit(client, item, "add_point", frame=frame, x=x, y=y, name=name)
    return [each["id"] for each in made["points"]]


def exported(client: TestClient, item: str, kind: str, folder: Path) -> Path:
    answer = client.get(f"{item}/export?format={kind}")
    if kind in DRAWN:
        assert "begin one of the kind export" in error_of(answer, 400)
        job = finished(client, ok(client.post(f"{item}/jobs", json={"kind": "export", "format": kind})))
        assert job["state"] == "done", job
        answer = client.get(f"/api/jobs/{job['id']}/file")
        assert "sent already" in error_of(client.get(f"/api/jobs/{job['id']}/file"), 404)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].startswith("attachment;")
    path = folder / f"exported-{kind}{Path(FORMATS[kind][0]).suffix or FORMATS[kind][0]}"
    path.write_bytes(answer.content)
    return path


@pytest.mark.slow
def test_tracks_corrections_and_exports_are_those_of_the_command_line(run: Run, clip: Path, nano: Path, tmp_path: Path) -> None:
    folder, first, second = folder_with(clip, tmp_path / "videos"), tmp_path / "first", tmp_path / "second"
    table = tmp_path / "points.csv"
    table.write_text("name,t,x,y\n" + "".join(f"{name},{t},{x},{y}\n" for name, t, x, y in PLACES))
    assert run("track", clip, "--model", nano, "--points", table, "--out", first, "--no-overlay")[0] == 0
    fix = ["--tracks", first / "tracks.npz", "--correct", "tail,5,33.5,41"]
    assert run("track", clip, "--model", nano, *fix, "--out", second, "--no-overlay")[0] == 0
    with serving(folder, model=str(nano)) as client:
        item = first_item(client)
        ids = add_places(client, item)
        assert ok(client.get(f"{item}/project"))["tracked_revision"] is None
        assert np.isnan(read_tracks(client, item)[1]).all()
        assert track(client, item)["result"] == {"points": 3, "computed": 3, "frames": 6}
        for kind in ("csv", "npz"):
            assert exported(client, item, kind, tmp_path).read_bytes() == (first / f"tracks.{kind}").read_bytes()
        moved = edit(client, item, "move_point", point=ids[1], frame=5, x=33.5, y=41)
        assert (moved["tracked_revision"], moved["revision"]) == (3, 4)
        assert "1 of 3 points" in error_of(client.get(f"{item}/export?format=csv"), 409)
        assert track(client, item)["result"]["computed"] == 1
        assert ok(client.get(f"{item}/project"))["tracked_revision"] == 4
        for kind in ("csv", "npz"):
            assert exported(client, item, kind, tmp_path).read_bytes() == (second / f"tracks.{kind}").read_bytes()
        source = second / "tracks.npz"
        for kind, layout, name in (
            ("json", None, "a.json"),
            ("deeplabcut", "dlc", "a-dlc.csv"),
            ("napari", "napari", "a-napari.csv"),
            ("coco", "coco", "a-coco.json"),
            ("tapvid", "tapvid", "a.pkl"),
        ):
            to = () if layout is None else ("--to", layout)
            video = ("--video", folder / "clip.mp4") if kind in ("coco", "tapvid") else ()
            assert run("convert", source, tmp_path / name, *to, *video)[0] == 0
            assert exported(client, item, kind, tmp_path).read_bytes() == (tmp_path / name).read_bytes()
        for kind in ("parquet", "sleap"):
            exported(client, item, kind, tmp_path)
        assert Tracks.load(tmp_path / "exported-parquet.parquet").names == ("nose", "tail", "ear")
        assert run("show", source, folder / "clip.mp4", "--out", tmp_path / "drawn.gif")[0] == 0
        assert exported(client, item, "gif", tmp_path).read_bytes() == (tmp_path / "drawn.gif").read_bytes()
        assert len(open_video(exported(client, item, "mp4", tmp_path))) == 6
        assert not list((folder / ".tapetum-web" / "exports").iterdir())
        found_ids, whole = read_tracks(client, item)
        saved = Tracks.load(source)
        assert found_ids == ids
        np.testing.assert_array_equal(whole[..., :2], saved.xy)
        np.testing.assert_array_equal(whole[..., 2] > 0, saved.visible)
        np.testing.assert_array_equal(whole[..., 3], saved.confidence)
        ok(client.post(f"{item}/undo"))  # what was tracked before is there still
        assert exported(client, item, "npz", tmp_path).read_bytes() == (first / "tracks.npz").read_bytes()


def test_only_the_points_that_are_named_are_tracked(page: TestClient, item: str) -> None:
    ids = add_places(page, item)
    assert track(page, item, points=[ids[2], ids[0]])["result"]["computed"] == 2
    _, whole = read_tracks(page, item)
    assert np.isnan(whole[1]).all()
    for row, (_, _, x, y) in zip(whole[[0, 2]], (PLACES[0], PLACES[2]), strict=True):
        np.testing.assert_array_equal(row, [[x, y, 1, 1]] * 6)
    assert "1 of 3 points" in error_of(page.get(f"{item}/export?format=npz"), 409)
    assert track(page, item)["result"]["computed"] == 1
    assert track(page, item)["result"]["computed"] == 0


def test_parts_of_tracks_are_saved_while_a_job_goes_on(clip: Path, nano: Path, tmp_path: Path, monkeypatch: Any) -> None:
    saved: list[np.ndarray] = []
    save = TrackStore.save

    def save_and_look(store: TrackStore, item: str, tracks: dict[str, np.ndarray]) -> None:
        save(store, item, tracks)
        saved.append(np.isfinite(read_tracks(page, f"/api/items/{item}")[1][..., 0]).sum())
        assert (ok(page.get(f"/api/items/{item}/project"))["tracked_revision"] == 1) == (saved[-1] == 6)

    monkeypatch.setattr(TrackStore, "save", save_and_look)
    monkeypatch.setattr("tapetum.systems.tap.tracking.windows._STEP", 2)
    monkeypatch.setattr("tapetum.systems.tap.tracking.windows._SHARE", 1e9)
    monkeypatch.setattr("tapetum.systems.tap.tracking.tracker.frames_at_a_time", lambda *_: 1)
    with serving(folder_with(clip, tmp_path / "videos"), model=str(nano)) as page:
        item = first_item(page)
        edit(page, item, "add_point", frame=3, x=16, y=22)
        settings = {"model": str(nano), "device": None, "clicks": [[(3, 16.0, 22.0)]]}
        job = {"item": item.rsplit("/", 1)[1], "settings": settings}
        track_job.work(job, tmp_path / "videos", Listener())
    assert saved == [2, 4, 6]


def test_a_process_that_keeps_models_keeps_the_features_of_the_last_video(
    clip: Path, nano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tapetum.systems.tap.tracking.tracker import TapirTracker

    compute, computed = TapirTracker._features, []
    monkeypatch.setattr(TapirTracker, "_features", lambda *given: computed.append(1) or compute(*given))
    monkeypatch.setattr(loading, "_kept", None)
    with serving(folder_with(clip, tmp_path / "videos"), model=str(nano)) as page:
        number = first_item(page).rsplit("/", 1)[1]

        def work(*click: float) -> None:
            settings = {"model": str(nano), "device": None, "clicks": [[click]]}
            track_job.work({"item": number, "settings": settings}, tmp_path / "videos", Listener())

        loading.keep_loaded()
        work(0, 10, 10)
        assert computed
        computed.clear()
        for path in (assets() / "page-features").iterdir():
            path.unlink()
        work(2, 20, 20)
        assert not computed
        track_job._drop_kept()
        work(3, 30, 30)
        assert computed
        track_job._drop_kept()


def test_points_are_visible_above_a_chance(page: TestClient, item: str, tmp_path: Path) -> None:
    point = edit(page, item, "add_point", frame=1, x=10, y=20)["points"][0]["id"]
    track(page, item)
    database = page.app.state.page.database
    track_ = np.array([[10, 20, 0, sure] for sure in (0.1, 1, 0.4, 0.6, 0.8, 0.9)], "<f4")
    database.rows("UPDATE tracks SET track = ?", track_.tobytes())
    edit(page, item, "hide_point", point=point, frame=5)

    def visible(above: str) -> list[bool]:
        (tmp_path / "out.npz").write_bytes(page.get(f"{item}/export?format=npz{above}").content)
        return Tracks.load(tmp_path / "out.npz").visible[0].tolist()

    assert visible("") == [False] * 6
    assert visible("&visible_above=0.5") == [False, True, False, True, True, False]
    assert visible("&visible_above=0") == [True] * 5 + [False]
    for wrong in ("nan", "2", "x", ""):
        error_of(page.get(f"{item}/export?format=npz&visible_above={wrong}"), 400)


def test_hidden_marks_hide_the_track_until_the_next_one(page: TestClient, item: str, tmp_path: Path) -> None:
    point = edit(page, item, "add_point", frame=0, x=10, y=20)["points"][0]["id"]
    track(page, item)
    edit(page, item, "hide_point", point=point, frame=2)
    _, whole = read_tracks(page, item)
    assert whole[0, :, 2].tolist() == [1, 1, 0, 0, 0, 0]
    assert whole[0, :, 3].tolist() == [1, 1, 0, 0, 0, 0]
    saved = Tracks.load(exported(page, item, "npz", tmp_path))
    assert saved.visible.tolist() == [[True, True, False, False, False, False]]
    edit(page, item, "show_point", point=point, frame=4)
    _, whole = read_tracks(page, item)
    assert whole[0, :, 2].tolist() == [1, 1, 0, 0, 1, 1]
    assert ok(page.get(f"{item}/project"))["tracked_revision"] == 3  # nothing is to be computed
    refused = page.post(f"{item}/edits", json={"type": "show_point", "point": point, "frame": 4})
    assert "nobody has hidden the point on frame 4" in error_of(refused, 400)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({}, 400),
        ({"kind": "index"}, 400),
        ({"kind": "export", "format": ["mp4"]}, 400),
        ({"kind": "track", "points": "abc"}, 400),
        ({"kind": "track", "points": ["gone"]}, 404),
    ],
)
def test_jobs_that_cannot_be(page: TestClient, item: str, content: dict[str, Any], status: int) -> None:
    error_of(page.post(f"{item}/jobs", json={"kind": "track"}), 409)  # no points
    add_places(page, item)
    error_of(page.post(f"{item}/jobs", json=content), status)


def test_exports_that_cannot_be(page: TestClient, item: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no points" in error_of(page.get(f"{item}/export?format=csv"), 409)
    edit(page, item, "add_point", frame=0, x=10, y=20)
    track(page, item)
    for kind in ("", "exe", "../npz", "NPZ"):
        assert "deeplabcut" in error_of(page.get(f"{item}/export?format={kind}"), 400)
    import sys

    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "pip install 'tapetum[tables]'" in error_of(page.get(f"{item}/export?format=sleap"), 400)


def test_a_tracker_that_takes_one_click_has_the_track_of_the_nearest(page: TestClient, item: str) -> None:
    """Clicks on frames 4, 0 and 5 of six; frame 2 is as far from 0 as from 4, where the point was clicked first."""
    edit(page, item, "add_point", frame=0, x=50, y=40)
    point = edit(page, item, "add_point", frame=4, x=10, y=20)["points"][1]["id"]
    track(page, item)
    for frame, x in ((0, 30), (5, 40)):
        edit(page, item, "move_point", point=point, frame=frame, x=x, y=20)
    assert track(page, item)["result"]["computed"] == 1
    _, whole = read_tracks(page, item)
    assert whole[1].tolist() == [[30, 20, 1, 1]] * 2 + [[10, 20, 1, 1]] * 3 + [[40, 20, 1, 1]]
    assert whole[0].tolist() == [[50, 40, 1, 1]] * 6


def test_a_tracker_that_cannot_do_it_fails_in_one_line(page: TestClient, item: str) -> None:
    page.app.state.page.trackers._given = "nothing.safetensors"
    edit(page, item, "add_point", frame=0, x=10, y=20)
    job = finished(page, ok(page.post(f"{item}/jobs", json={"kind": "track"})))
    assert job["state"] == "failed"
    assert "nothing.safetensors" in job["message"]
    assert "\n" not in job["message"]
    assert "result" not in job


def test_an_image_is_not_tracked(page: TestClient, folder: Path) -> None:
    from support.files import make_image

    make_image(folder / "a.png", (1, 2, 3))
    item = first_item(page)
    edit(page, item, "add_point", frame=0, x=1, y=2)
    assert "is an image" in error_of(page.post(f"{item}/jobs", json={"kind": "track"}), 400)


def test_places_to_look_at(page: TestClient, item: str) -> None:
    """A point that jumps, one of which the model is unsure, one that does not come back, and one that is fine."""
    ids = [edit(page, item, "add_point", frame=0, x=10 + k, y=20)["points"][-1]["id"] for k in range(4)]
    app = page.app.state.page
    tracked = app._tracked(type("Request", (), {"path_params": {"item": item.rsplit("/", 1)[1]}})())
    rows = np.zeros((4, 6, 4), np.float32)
    rows[..., :2] = 10, 20
    rows[..., 2:] = 1
    rows[0, 4:, 0] += 30
    rows[1, 3, 3] = 0.55
    app.store.save(tracked.item.id, dict(zip(tracked.signatures, rows, strict=True)))
    backward = np.zeros((4, 6), np.float32)
    backward[2, 1:5] = (20, 16, 12, 0)
    app.store.save_backward(tracked.item.id, dict(zip(tracked.signatures, backward, strict=True)))
    places = ok(page.get(f"{item}/check"))["places"]
    found = [(ids.index(place["point"]), place["frame"], place["reason"]) for place in places]
    assert found == [(0, 4, "jump"), (2, 3, "forward and backward disagree"), (1, 3, "low confidence")]
    assert [place["score"] for place in places] == sorted((place["score"] for place in places), reverse=True)
    edit(page, item, "move_point", point=ids[2], frame=3, x=12, y=20)  # it is another track now
    edit(page, item, "hide_point", point=ids[1], frame=3)  # somebody has looked
    places = ok(page.get(f"{item}/check"))["places"]
    assert [(ids.index(place["point"]), place["frame"]) for place in places] == [(0, 4)]
    rows[2, 2:4, 3] = 0.6, 0.55  # the less sure frame is that of the mark
    app.store.save(tracked.item.id, {signature("static", tracked.item.content, [(0, 12, 20), (3, 12, 20)]): rows[2]})
    places = ok(page.get(f"{item}/check"))["places"]
    assert [(ids.index(place["point"]), place["frame"]) for place in places] == [(0, 4), (2, 2)]


def test_predicted_errors_are_stored_listed_shown_and_exported(page: TestClient, item: str, tmp_path: Path) -> None:
    ids = [edit(page, item, "add_point", frame=0, x=10 + k, y=20)["points"][-1]["id"] for k in range(2)]
    app = page.app.state.page
    tracked = app._tracked(type("Request", (), {"path_params": {"item": item.rsplit("/", 1)[1]}})())
    rows = np.zeros((2, 6, 6), np.float32)
    rows[..., :2], rows[..., 2:4] = (10, 20), 1
    rows[1, 2:5, 4:] = (12, 0.75)
    app.store.save(tracked.item.id, dict(zip(tracked.signatures, rows, strict=True)))
    assert app.store.read(tracked.item.id, tracked.signatures)[tracked.signatures[1]].track.shape == (6, 4)
    check = ok(page.get(f"{item}/check"))
    assert [(place["point"], place["frame"], place["reason"]) for place in check["places"]] == [(ids[1], 3, "likely wrong")]
    assert check["expected_share"] == pytest.approx(2.25 / 12)
    assert check["places"][0]["share"] == pytest.approx(2.25 / 12, abs=1e-4)
    np.testing.assert_allclose(read_tracks(page, item)[1][1, :, 3], [1, 1, 0.25, 0.25, 0.25, 1])
    saved = Tracks.load(exported(page, item, "npz", tmp_path))
    assert saved.error_px is not None
    np.testing.assert_array_equal(saved.error_px[1], rows[1, :, 4])
    (tmp_path / "sure.npz").write_bytes(page.get(f"{item}/export?format=npz&visible_above=0.5").content)
    assert Tracks.load(tmp_path / "sure.npz").visible[1].tolist() == [True, True, False, False, False, True]


@pytest.mark.slow
def test_a_track_that_does_not_come_back_is_listed(nano: Path, tmp_path: Path) -> None:
    """The second half shows something else, so a point of the first half cannot be there."""
    rng, folder = np.random.default_rng(0), tmp_path / "videos"
    folder.mkdir()
    halves = rng.integers(0, 255, (2, 48, 64, 3), dtype=np.uint8)
    write_video(folder / "cut.mp4", np.repeat(halves, 4, axis=0), 10)
    with serving(folder, model=str(nano)) as client:
        item = first_item(client)
        edit(client, item, "add_grid", frame=0, rows=2, columns=2)
        job = track(client, item)
        assert job["done"] == job["total"] == 115
        app = client.app.state.page

        assert len(app.database.rows("SELECT backward FROM tracks")) == 4
        for track_, backward in app.database.rows("SELECT track, backward FROM tracks"):
            apart, seen = np.frombuffer(backward, "<f4"), np.frombuffer(track_, "<f4").reshape(-1, 4)[:, 2]
            assert len(apart) == 8
            last = int(np.flatnonzero(seen)[-1])
            assert np.isfinite(apart[: last + 1]).all() == (last > 0)  # from the click to where it was last seen
            assert np.isnan(apart[last + 1 :]).all()
            assert apart[last] < 1 or last == 0
        assert json.dumps(ok(client.get(f"{item}/check")))


def test_a_file_that_is_replaced_while_it_is_tracked_has_no_tracks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a shorter one, on which the last points are not; what was tracked before stays that of the old one."""
    with serving(folder) as client:
        item = first_item(client)
        number = item.rsplit("/", 1)[1]
        edit(client, item, "add_point", frame=5, x=10, y=20)
        content = (folder / "clip.mp4").read_bytes()

        class Replacing(Listener):
            def status(self, text: str) -> None:
                if text == "loading the model":
                    write_video(folder / "clip.mp4", np.zeros((2, 48, 64, 3), np.uint8), 10)

        settings = {"model": "static", "device": None, "clicks": [[(5, 10.0, 20.0)]]}
        job = {"id": "0" * 16, "kind": "track", "item": number, "settings": settings}
        with pytest.raises(Refused, match="another file"):
            track_job.work(job, folder, Replacing())
        (folder / "clip.mp4").write_bytes(content)
        assert np.isnan(read_tracks(client, item)[1]).all()
        place = folder / ".tapetum-web" / "jobs" / ("0" * 16)
        place.mkdir()
        monkeypatch.setattr(track_job, "work", lambda *_: (folder / "clip.mp4").unlink() or [][1])
        job_process.main(place, job)  # whatever came of another file, this is what is said
        assert "no such item" in job_files.read(place, "progress.json")["message"]


def test_kept_features_are_bounded_and_the_last_used_ones_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track_job, "FEATURES_MIB", 3)
    for age, name in enumerate(("new", "used", "middle", "old")):
        (tmp_path / f"{name}.bin").write_bytes(bytes(1 << 20))
        os.utime(tmp_path / f"{name}.bin", (1e9 - age, 1e9 - age))
    (tmp_path / "used.bin").write_bytes(bytes(3 << 19))  # 1.5 MiB
    track_job.make_room(tmp_path / "used.bin")
    assert {path.name for path in tmp_path.iterdir()} == {"new.bin", "used.bin"}
