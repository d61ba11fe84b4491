"""Tracks of a scene whose truth is known: a plate that moves, turns and grows before a wall; the camera moves and turns."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.tracks.training.kubric import read_sequence, write_sequence
from tapetum.tracks.training.movi_tracks import SceneGeometry, compute_tracks, geometry_of, read_tracked_scenes, sample_queries
from tracks.training.test_movi import encode_example, png, write_records

FRAMES, HEIGHT, WIDTH, FOCAL = 5, 48, 64, 35 / 32
WALL, PLATE = -12.0, -6.0
"""Planes z of the background, and of the plate's front."""


def turn(angle: float, axis: int) -> np.ndarray:
    """A rotation about y (1) or z (2), written out."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]] if axis == 1 else [[c, -s, 0], [s, c, 0], [0, 0, 1]])


CAMERAS = [(np.array([0.2 * t, 0.1 * t, 0.0]), turn(0.05 * t, 1)) for t in range(FRAMES)]
PLATES = [(np.array([-1.5 + 0.7 * t, 0.1 * t, PLATE]), turn(0.2 * t, 2) * (1 + 0.1 * t)) for t in range(FRAMES)]
"""Centre of the plate's front in each frame, and what is done to its own coordinates, a square of -1..1."""


def first_hit(t: int, x: float, y: float) -> tuple[int, float, np.ndarray]:
    """What a raster place shows: the object, its distance, and its own coordinates (of the wall those of the world)."""
    camera, rotation = CAMERAS[t]
    ray = rotation @ np.array([(x / WIDTH - 0.5) / FOCAL, -(y / HEIGHT - 0.5) / FOCAL * HEIGHT / WIDTH, -1.0])
    at = camera + ray * (PLATE - camera[2]) / ray[2]
    centre, change = PLATES[t]
    own = np.linalg.solve(change, at - centre)
    if (np.abs(own[:2]) <= 1).all():
        return 1, float(np.linalg.norm(at - camera)), own
    at = camera + ray * (WALL - camera[2]) / ray[2]
    return 0, float(np.linalg.norm(at - camera)), at


def place_of(t: int, owner: int, own: np.ndarray) -> np.ndarray:
    """Where a point of the wall or the plate is in a frame."""
    centre, change = PLATES[t]
    camera, rotation = CAMERAS[t]
    local = rotation.T @ ((centre + change @ own if owner else own) - camera)
    return np.array([0.5 + FOCAL * local[0] / -local[2], 0.5 - FOCAL * WIDTH / HEIGHT * local[1] / -local[2]]) * (WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def geometry() -> SceneGeometry:
    hits = [[[first_hit(t, j + 0.5, i + 0.5) for j in range(WIDTH)] for i in range(HEIGHT)] for t in range(FRAMES)]
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-0.2, 0)], float)
    half = [0.025 * t for t in range(FRAMES)]
    return SceneGeometry(
        depth=np.array([[[hit[1] for hit in row] for row in image] for image in hits]),
        masks=np.array([[[hit[0] for hit in row] for row in image] for image in hits], np.uint8),
        boxes=np.array([[centre + corners @ change.T for centre, change in PLATES]]),
        positions=np.array([camera for camera, _ in CAMERAS]),
        quaternions=np.array([[np.cos(h), 0, np.sin(h), 0] for h in half]),
        focal=FOCAL,
    )


def test_points_are_where_they_are_and_hidden_where_they_are_hidden(geometry: SceneGeometry) -> None:
    grid = np.meshgrid([0, 2, 4], np.arange(1, HEIGHT, 6), np.arange(1, WIDTH, 6), indexing="ij")
    queries = np.stack(grid, -1).reshape(-1, 3)
    places, visible = compute_tracks(geometry, queries)
    checked = hidden = 0
    for k, (frame, row, column) in enumerate(queries):
        owner, _, own = first_hit(frame, column + 0.5, row + 0.5)
        for t in range(FRAMES):
            x, y = place_of(t, owner, own)
            np.testing.assert_allclose(places[k, t], (x, y), atol=1e-6)
            around = {first_hit(t, x + dx, y + dy)[0] for dx in (-1.5, 0, 1.5) for dy in (-1.5, 0, 1.5)}
            inside = 0 <= x < WIDTH and 0 <= y < HEIGHT
            if len(around) == 1 or not inside:  # an edge is within two pixels
                assert visible[k, t] == (inside and around == {owner}), (k, t)
                checked, hidden = checked + 1, hidden + (inside and not visible[k, t])
        assert visible[k, frame]
    assert checked > 800
    assert hidden > 20  # points of the wall behind the plate


def test_a_point_is_hidden_by_its_own_object_and_by_another_at_its_depth(geometry: SceneGeometry) -> None:
    query = np.array([[0, 24, 40]])  # of the wall, where the camera of frame 1 sees it too
    places, visible = compute_tracks(geometry, query)
    assert geometry.masks[0, 24, 40] == 0
    assert visible[0, 1]
    column, row = np.floor(places[0, 1] - 0.5).astype(int)
    around = slice(row, row + 2), slice(column, column + 2)
    nearer, other = geometry.depth.copy(), geometry.masks.copy()
    nearer[1][around] *= 0.98
    other[1][around] = 1
    assert not compute_tracks(replace(geometry, depth=nearer), query)[1][0, 1]
    assert not compute_tracks(replace(geometry, masks=other), query)[1][0, 1]
    nearer[1, row + 1, column + 1] /= 0.98  # the farthest of the four counts
    other[1, row + 1, column + 1] = 0  # and any of them that is its own
    assert compute_tracks(replace(geometry, depth=nearer, masks=other), query)[1][0, 1]


def test_small_objects_have_more_queries_than_their_area() -> None:
    masks = np.zeros((24, 64, 64), np.uint8)
    masks[:, :16, :24] = 1
    masks[:4, 60:, 60:] = 2  # one pixel of the grid, of which a tenth is none
    queries = sample_queries(masks, 100, np.random.default_rng(1))
    assert len({*map(tuple, queries.tolist())}) == len(queries)
    assert len({tuple(query % 4) for query in queries}) == 1
    owners = masks[tuple(queries.T)]
    assert np.bincount(owners).tolist() == [86, 14]  # a tenth of the 6 x 4 x 6 pixels of the grid, and all the rest


def test_records_become_clips_for_training(geometry: SceneGeometry, tmp_path: Path) -> None:
    least, most = float(geometry.depth.min()), float(geometry.depth.max())
    levels = ((geometry.depth - least) / (most - least) * 65535).round().astype(np.uint16)

    def stored(image: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "png")
        return file.getvalue()

    features = {
        "video": [png(10 + k, HEIGHT, WIDTH, 3) for k in range(FRAMES)],
        "segmentations": [stored(mask) for mask in geometry.masks],
        "depth": [stored(level) for level in levels],
        "instances/asset_id": [b"plate"],
        "instances/bboxes_3d": geometry.boxes.ravel().tolist(),
        "camera/positions": geometry.positions.ravel().tolist(),
        "camera/quaternions": geometry.quaternions.ravel().tolist(),
        "camera/focal_length": [35.0],
        "camera/sensor_width": [32.0],
        "metadata/depth_range": [least, most],
    }
    [clip] = read_tracked_scenes(write_records(tmp_path / "a", [encode_example(features)]), 50)
    queries = sample_queries(geometry.masks, 50, np.random.default_rng((0, 0)))
    places, visible = compute_tracks(geometry, queries)
    np.testing.assert_allclose(clip.xy, places, atol=0.01)  # depth is stored in 16 bits
    assert (clip.visible == visible).mean() > 0.98
    write_sequence(tmp_path / "0000", clip)
    np.testing.assert_array_equal(read_sequence(tmp_path / "0000").xy, clip.xy)
    for lacking in ("depth", "camera/positions"):
        with pytest.raises(BadInput, match=f"has no {lacking}"):
            geometry_of({name: value for name, value in features.items() if name != lacking}, geometry.masks, "a/0")
