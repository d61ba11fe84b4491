"""3D tracks on the page: lifted as the command line lifts them, sent in the axes of the first camera."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from support.web_page import edit, error_of, finished, first_item, ok, serving, track
from tapetum.desk.web.space import Space
from tapetum.desk.web.space_job import in_first_camera
from tapetum.types import Tracks, Tracks3D

DEPTH = np.full((6, 48, 64), 2.0, np.float32)


def lifted(client: httpx.Client, item: str, **content: Any) -> dict[str, Any]:
    return finished(client, ok(client.post(f"{item}/jobs", json={"kind": "space", **content})))


def read_space(client: httpx.Client, item: str) -> tuple[np.ndarray, np.ndarray]:
    answer = client.get(f"{item}/tracks3d.bin")
    assert answer.status_code == 200, answer.text
    frames = ok(client.get(f"{item}/space"))["space"]["frames"]
    numbers, count = np.frombuffer(answer.content, "<f4"), len(answer.headers["X-Points"].split(","))
    places, poses = np.split(numbers, [count * frames * 4])
    return places.reshape(count, frames, 4), poses.reshape(frames, 3, 4)


def test_depth_maps_beside_the_video_put_points_into_metres(page: TestClient, item: str, folder: Path) -> None:
    np.savez(folder / "clip-depth.npz", depth=DEPTH)
    assert ok(page.get(f"{item}/space")) == {"space": None, "depth_file": "clip-depth.npz", "job": None}
    error_of(page.get(f"{item}/tracks3d.bin"), 404)
    error_of(page.post(f"{item}/jobs", json={"kind": "space"}), 409)
    [point] = edit(page, item, "add_point", frame=0, x=42.0, y=20.0)["points"]
    assert "1 of 1 points are not tracked" in lifted(page, item, depth="file")["message"]
    track(page, item)
    job = lifted(page, item, depth="file")
    assert job["state"] == "done", job
    about = ok(page.get(f"{item}/space"))["space"]
    assert (about["depth"], about["metric"], about["moving"], about["frames"]) == ("clip-depth.npz", True, False, 6)
    fx, fy, cx, cy = about["intrinsics"]
    assert "53 degrees" in " ".join(about["notes"])
    places, poses = read_space(page, item)
    expected = (42.0 - cx) / fx * 2, (20.0 - cy) / fy * 2, 2, 1  # the pinhole's equations
    np.testing.assert_allclose(places, np.tile(expected, (1, 6, 1)), rtol=1e-6)
    np.testing.assert_array_equal(poses, np.tile(np.eye(4)[:3], (6, 1, 1)))
    (folder / "out.npz").write_bytes(page.get(f"{item}/export?format=npz3d").content)
    saved = Tracks3D.load(folder / "out.npz")
    np.testing.assert_allclose(saved.xyz, places[..., :3], rtol=1e-6)
    assert (saved.metric, saved.names, saved.extrinsics_w2c) == (True, ("point 1",), None)
    assert page.get(f"{item}/export?format=csv3d").text.count("\n") == 7
    edit(page, item, "add_point", frame=1, x=5.0, y=5.0)
    assert "not tracked" in error_of(page.get(f"{item}/export?format=npz3d"), 409)
    np.testing.assert_array_equal(np.isnan(read_space(page, item)[0]).all(axis=(1, 2)), [False, True])
    edit(page, item, "move_point", point=point["id"], frame=3, x=1.0, y=1.0)
    assert np.isnan(read_space(page, item)[0]).all()  # its track is another now
    ok(page.post(f"{item}/undo"))
    assert np.isfinite(read_space(page, item)[0][0]).all()


def test_a_hidden_mark_hides_the_point_in_space_too(page: TestClient, item: str, folder: Path) -> None:
    np.savez(folder / "clip-depth.npz", depth=DEPTH)
    [point] = edit(page, item, "add_point", frame=0, x=42.0, y=20.0)["points"]
    track(page, item)
    assert lifted(page, item, depth="file")["state"] == "done"
    edit(page, item, "hide_point", point=point["id"], frame=4)
    np.testing.assert_array_equal(read_space(page, item)[0][0, :, 3], [1, 1, 1, 1, 0, 0])


@pytest.mark.slow
def test_requests_that_cannot_be(page: TestClient, item: str, folder: Path, tmp_path: Path) -> None:
    edit(page, item, "add_point", frame=0, x=42.0, y=20.0)
    assert "clip-depth.npz" in error_of(page.post(f"{item}/jobs", json={"kind": "space", "depth": "file"}), 409)
    error_of(page.post(f"{item}/jobs", json={"kind": "space", "depth": "/etc/passwd"}), 400)
    np.savez(tmp_path / "outside.npz", depth=DEPTH)
    (folder / "clip-depth.npz").symlink_to(tmp_path / "outside.npz")
    assert ok(page.get(f"{item}/space"))["depth_file"] is None
    (folder / "clip-depth.npz").unlink()
    np.savez(folder / "clip-depth.npz", depth=DEPTH[:3])
    track(page, item)
    failed = lifted(page, item, depth="file")
    assert failed["state"] == "failed"
    assert str(folder) not in failed["message"]
    assert not page.app.state.page.jobs.busy()


def test_positions_are_those_in_the_first_camera() -> None:
    """A point that stands still in the world, before a camera that moves 1 to the right and turns to the left by 90 degrees."""
    still = np.array([1.0, 2.0, 5.0])
    turned = np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])
    w2c = np.tile(np.eye(4), (3, 1, 1))
    w2c[1, 0, 3] = -1
    w2c[2, :3, :3] = turned
    xyz = np.stack([still, still - (1, 0, 0), turned @ still])[None]
    space = Tracks3D(
        xyz=xyz,
        xy=np.zeros((1, 3, 2)),
        visible=[[True, False, True]],
        confidence=np.ones((1, 3)),
        queries=[[0, 0, 0]],
        intrinsics=(100, 100, 32, 24),
        metric=False,
        extrinsics_w2c=w2c,
    )
    places, poses = in_first_camera(space)
    about = {"intrinsics": space.intrinsics, "metric": True, "moving": True}
    flat = Tracks(xy=space.xy, visible=space.visible, confidence=space.confidence, queries=space.queries)
    back = Space(about, ["a"], places, poses).tracks(cast(Any, SimpleNamespace(signatures=["a"])), flat)
    np.testing.assert_allclose(back.xyz, space.xyz, atol=1e-5)  # and from there to the camera of each frame again
    np.testing.assert_allclose(back.world, np.asarray(places[..., :3], float), atol=1e-5)
    np.testing.assert_allclose(places[0], [[1, 2, 5, 1], [1, 2, 5, 0], [1, 2, 5, 1]], atol=1e-6)
    np.testing.assert_allclose(poses[1], [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]], atol=1e-12)


def test_another_server_finds_what_was_computed(folder: Path) -> None:
    np.savez(folder / "clip-depth.npz", depth=DEPTH)
    with serving(folder) as client:
        item = first_item(client)
        edit(client, item, "add_point", frame=0, x=42.0, y=20.0)
        track(client, item)
        lifted(client, item, depth="file")
        before = read_space(client, item)
    with serving(folder) as client:
        for old, new in zip(before, read_space(client, item), strict=True):
            np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", ["config.json", "link.npy", "more"])
def test_a_folder_of_depth_has_maps_alone(page: TestClient, item: str, folder: Path, tmp_path: Path, name: str) -> None:
    """It may hold a network, which is no file of numbers, or lead out."""
    depth = folder / "clip-depth"
    depth.mkdir()
    np.save(depth / "0.npy", DEPTH[0])
    assert ok(page.get(f"{item}/space"))["depth_file"] == "clip-depth"
    np.save(tmp_path / "outside.npy", DEPTH[0])
    if name == "link.npy":
        (depth / name).symlink_to(tmp_path / "outside.npy")
    else:
        (depth / name).write_text("{}")
    assert ok(page.get(f"{item}/space"))["depth_file"] is None
