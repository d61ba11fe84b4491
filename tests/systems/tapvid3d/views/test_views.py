"""Views of 3D tracks: what is embedded is what was given, and points are drawn where they belong."""

import base64
import importlib.util
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support import browser
from support.browser import browsing
from tapetum.core.errors import BadInput, MissingExtra
from tapetum.systems.tapvid3d.views import still, write_html, write_rerun, write_still
from tapetum.systems.tapvid3d.views.page import LEVELS
from tapetum.tracks.facets import SceneConfig, make_clip
from tapetum.types import Tracks3D
from tapetum.video import draw_tracks

RERUN = importlib.util.find_spec("rerun") is not None


@pytest.fixture(scope="module")
def filmed() -> tuple[Tracks3D, np.ndarray]:
    """True tracks of a moving camera, and the video."""
    clip = make_clip(3, replace(SceneConfig(), size=(64, 96), frames=12, zoom_share=0.0), points=48)
    poses = clip.world_to_camera.astype(np.float64)
    poses[:, 3] = 0, 0, 0, 1
    tracks = Tracks3D(
        xyz=clip.truth.xyz,
        xy=clip.truth.xy,
        visible=clip.truth.visible,
        confidence=clip.truth.visible,
        queries=clip.queries,
        intrinsics=clip.intrinsics[0],
        metric=True,
        extrinsics_w2c=poses,
    )
    return tracks, clip.video


def points(xyz: Any, visible: bool = True, frames: int = 1, metric: bool = True) -> Tracks3D:
    """Points that stay at their places xyz (n, 3), in an image of 640x480."""
    xyz = np.asarray(xyz, np.float32).reshape(-1, 3)
    n = len(xyz)
    return Tracks3D(
        xyz=np.repeat(xyz[:, None], frames, axis=1),
        xy=np.full((n, frames, 2), 100),
        visible=np.full((n, frames), visible),
        confidence=np.ones((n, frames)),
        queries=np.zeros((n, 3)),
        intrinsics=(500, 500, 320, 240),
        metric=metric,
    )


class Elements(HTMLParser):
    """The page's elements with their attributes, and the text of the element "data"."""

    def __init__(self, page: str):
        super().__init__()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.data = ""
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.extend((tag, name, value) for name, value in attrs)
        self._inside = ("id", "data") in attrs

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        self.data += data if self._inside else ""


def embedded(path: Path) -> dict[str, Any]:
    """The data of a page, unpacked by the description in html.py alone."""
    data = json.loads(Elements(path.read_text("utf-8")).data)
    n, t = data["points"], data["frames"]
    places = np.frombuffer(base64.b64decode(data["places"]), "<u2").reshape(t, n, 3).transpose(1, 0, 2)
    data["world"] = np.array(data["offset"])[:, None] + np.array(data["step"])[:, None, None] * places
    bits = np.unpackbits(np.frombuffer(base64.b64decode(data["visible"]), np.uint8), bitorder="little")
    data["visible"] = bits[: n * t].reshape(t, n).T.astype(bool)
    data["colours"] = np.frombuffer(base64.b64decode(data["colours"]), np.uint8).reshape(n, 3)
    data["images"] = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,")))))
        for uri in data["images"]
    ]
    return data


def test_page_holds_the_tracks(filmed: tuple[Tracks3D, np.ndarray], tmp_path: Path) -> None:
    tracks, video = filmed
    data = embedded(write_html(tracks, tmp_path / "a.html", iter(video), frame_rate=12))
    extent = np.ptp(tracks.world, axis=1).max(axis=1)
    assert (np.abs(data["world"] - tracks.world).max(axis=(1, 2)) <= 0.5001 * extent / LEVELS + 1e-12).all()
    assert np.array_equal(data["visible"], tracks.visible)
    poses = np.array(data["poses"]).reshape(-1, 4, 4)
    assert np.allclose(poses @ tracks.extrinsics_w2c, np.eye(4), atol=1e-12)
    assert np.array_equal(np.reshape(data["first"], (4, 4)), tracks.extrinsics_w2c[0])
    assert (data["rate"], data["unit"], data["size"], data["ids"]) == (12, "m", [64, 96], list(range(48)))
    assert data["intrinsics"] == tracks.intrinsics.tolist()


def test_one_that_flies_off_does_not_coarsen_the_others(tmp_path: Path) -> None:
    tracks = points([[0, 0, 2], [1, 1, 3]], frames=3)
    xyz = tracks.xyz.copy()
    xyz[0, 1], xyz[1, 2] = (0.001, 0, 2), (1e9, 0, 3)
    found = embedded(write_html(replace(tracks, xyz=xyz), tmp_path / "a.html"))["world"]
    assert np.abs(found[0] - xyz[0]).max() < 1e-7


def test_page_has_small_images_of_the_video(filmed: tuple[Tracks3D, np.ndarray], tmp_path: Path) -> None:
    tracks, video = filmed
    data = embedded(write_html(tracks, tmp_path / "a.html", video))
    assert len(data["images"]) == 12
    assert data["every"] == 1
    for image, frame in zip(data["images"], video, strict=True):
        assert image.shape == (128, 192, 3)
        assert np.abs(image[::2, ::2].astype(float) - frame).mean() < 8
    long = points([[0, 0, 2]], frames=250)
    blank = (np.zeros((480, 640, 3), np.uint8) for _ in range(250))
    data = embedded(write_html(long, tmp_path / "b.html", blank, most_frames=None))
    assert (data["frames"], data["every"], len(data["images"])) == (250, 3, 84)


def test_page_has_the_colours_of_the_overlay(filmed: tuple[Tracks3D, np.ndarray], tmp_path: Path) -> None:
    tracks, video = filmed
    colours = embedded(write_html(tracks, tmp_path / "a.html", video))["colours"]
    black = np.zeros_like(video)
    own = list(draw_tracks(black, tracks.xy, tracks.visible))
    assert np.array_equal(own, list(draw_tracks(black, tracks.xy, tracks.visible, colours=colours)))


def test_page_needs_nothing_from_elsewhere(filmed: tuple[Tracks3D, np.ndarray], tmp_path: Path) -> None:
    path = write_html(*filmed[:1], tmp_path / "a.html", filmed[1])
    page = path.read_text("utf-8")
    code = page.replace(Elements(page).data, "")
    assert not re.search(r"""https?:|["'`(]//|\bimport\b|fetch\(|XMLHttp|WebSocket|url\(""", code)
    assert not [found for found in Elements(page).attributes if found[1] in ("src", "href")]
    assert "/*data*/" not in page
    assert "/*script*/" not in page


def test_limits(tmp_path: Path) -> None:
    many = points(np.random.default_rng(0).normal((0, 0, 4), 1, (400, 3)), frames=120)
    data = embedded(write_html(many, tmp_path / "a.html"))
    assert (data["points"], data["frames"], len(set(data["ids"]))) == (300, 100, 300)
    assert np.allclose(data["world"], many.xyz[data["ids"], :100], atol=1e-6)
    assert data["ids"] != list(range(300))
    data = embedded(write_html(many, tmp_path / "b.html", most_points=None, most_frames=None))
    assert (data["points"], data["frames"]) == (400, 120)


@pytest.mark.skipif(not browser.HERE, reason="needs chromium and chromedriver, which are not on this machine")
def test_page_runs(filmed: tuple[Tracks3D, np.ndarray], tmp_path: Path) -> None:
    page = write_html(filmed[0], tmp_path / "a.html", filmed[1])
    with browsing(tmp_path) as shown:
        shown.open(page, "#7")
        shown.wait("return document.body.dataset.drawn === '7'")
        assert shown.run("return document.getElementById('status').textContent") == ""
        assert not shown.errors()


def by_hand(xyz: Any, low: Any, high: Any, size: tuple[int, int]) -> tuple[float, float]:
    """x, y in a still of a point: turned by 28 degrees about the vertical, then 22 about the horizontal, in parallel."""
    low, high = np.array(low, float), np.array(high, float)
    side = 1.04 * (high - low).max()
    yaw, pitch = np.radians([28, 22])

    def turned(x: float, y: float, z: float) -> tuple[float, float]:
        across, away = x * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - x * np.sin(yaw)
        return across, y * np.cos(pitch) - away * np.sin(pitch)

    # A cube's silhouette: its half extents add up.
    wide = side * (np.cos(yaw) + np.sin(yaw))
    tall = side * (np.cos(pitch) + np.sin(pitch) * (np.cos(yaw) + np.sin(yaw)))
    scale = min(0.78 * size[1] / wide, 0.80 * size[0] / tall)
    across, down = turned(*(np.array(xyz) - (low + high) / 2))
    return 0.48 * size[1] + scale * across, 0.5 * size[0] + scale * down


@pytest.mark.parametrize("size", [(720, 960), (480, 400)])
def test_still_has_points_where_they_belong(size: tuple[int, int]) -> None:
    corner, other = [-1.0, -1.0, 1.0], [1.0, 1.0, 3.0]
    xyz = [corner, other] * 60 + [[0.5, -0.4, 2.6]]  # so that the 2 % that are cut are not the corners
    image = still(points(xyz), size=size).astype(int)
    assert image.shape == (*size, 3)
    strong = np.ptp(image, axis=2) > 60  # only points are coloured
    for place in xyz[-3:]:
        x, y = by_hand(place, (-1, -1, 0), (1, 1, 3), size)
        assert strong[int(y), int(x)], place
    rows, columns = np.nonzero(strong)
    where = np.array([by_hand(place, (-1, -1, 0), (1, 1, 3), size) for place in xyz[-3:]])
    assert (np.hypot(columns[:, None] + 0.5 - where[:, 0], rows[:, None] + 0.5 - where[:, 1]).min(axis=1) < 9).all()


def test_still_draws_hidden_points_hollow() -> None:
    seen, hidden = (still(points([[0, 0, 2]] * 3, visible)).astype(int) for visible in (True, False))
    x, y = (int(value) for value in by_hand((0, 0, 2), (0, 0, 0), (0, 0, 2), (720, 960)))
    assert np.ptp(seen[y, x]) > 60
    assert np.ptp(hidden[y, x]) < 20
    assert (np.ptp(hidden[y - 8 : y + 9, x - 8 : x + 9], axis=2) > 20).any()


def test_still_shows_paths_and_frames(filmed: tuple[Tracks3D, np.ndarray], tmp_path: Path) -> None:
    tracks, _ = filmed
    assert np.array_equal(still(tracks), still(tracks, 11))
    assert not np.array_equal(still(tracks, 0), still(tracks, 11))
    assert not np.array_equal(still(tracks), still(replace(tracks, metric=False)))
    moving = points([[0, 0, 2]], frames=5)
    xyz = moving.xyz.copy()
    xyz[0, :, 0] = np.arange(5) * 0.2
    moving = replace(moving, xyz=xyz)
    coloured = [(np.ptp(still(moving, frame).astype(int), axis=2) > 40).sum() for frame in (0, 4)]
    assert coloured[1] > coloured[0] + 100
    path = write_still(tracks, tmp_path / "a.png", 3)
    assert np.array_equal(np.asarray(Image.open(path)), still(tracks, 3))
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_stills_of_a_point_that_flies_off_and_of_no_extent() -> None:
    far = points([[0, 0, 2]] * 200 + [[1e6, 0, 2]])
    assert (np.ptp(still(far).astype(int), axis=2) > 60).any()
    assert still(points([[0, 0, 0]])).shape == (720, 960, 3)


@pytest.mark.skipif(not RERUN, reason="needs rerun-sdk")
def test_recording_reads_back(filmed: tuple[Tracks3D, np.ndarray], tmp_path: Path) -> None:
    reader = pytest.importorskip("rerun.chunk")
    tracks, video = filmed
    path = write_rerun(tracks, tmp_path / "a.rrd", iter(video), frame_rate=10)
    found: dict[str, dict[str, list[Any]]] = {}
    for chunk in reader.RrdReader(path).stream():
        for name, column in chunk.to_record_batch().drop_columns(["log_time"] * (not chunk.is_static)).to_pydict().items():
            found.setdefault(chunk.entity_path, {}).setdefault(name, []).extend(column)
    points = found["/world/points"]
    order = np.argsort(points["frame"])
    assert sorted(points["frame"]) == list(range(12))
    positions = np.array([points["Points3D:positions"][k] for k in order])
    assert np.allclose(positions.transpose(1, 0, 2), tracks.world, atol=1e-5)
    assert points["Points3D:labels"][0] == [str(k) for k in range(48)]
    radii = np.array([points["Points3D:radii"][k] for k in order]).T
    assert np.array_equal(radii > radii.mean(), tracks.visible)
    (pinhole,) = found["/world/camera/image"]["Pinhole:image_from_camera"][0]
    fx, fy, cx, cy = tracks.intrinsics
    assert np.allclose(np.reshape(pinhole, (3, 3)).T, [[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    images = [bytes(blob[0]) for blob in found["/world/camera/image"]["EncodedImage:blob"] if blob]
    assert len(images) == 12
    assert all(Image.open(io.BytesIO(data)).size == (96, 64) for data in images)
    camera = found["/world/camera"]
    order = np.argsort(camera["frame"])
    centres = np.array([camera["Transform3D:translation"][k][0] for k in order])
    assert np.allclose(centres, np.linalg.inv(tracks.extrinsics_w2c)[:, :3, 3], atol=1e-5)
    strips = [len(strip or ()) for strip in found["/world/trails"]["LineStrips3D:strips"]]
    assert max(strips) > 48
    assert "/world/way" in found


@pytest.mark.skipif(RERUN, reason="rerun-sdk is there")
def test_recording_names_its_extra(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match=r"rerun-sdk.*tapetum\[view\]"):
        write_rerun(points([[0, 0, 2]]), tmp_path / "a.rrd")
    assert not list(tmp_path.iterdir())


WRITERS = [write_html, write_still] + [write_rerun] * RERUN


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(("n", "t"), [(0, 5), (2, 0)])
def test_nothing_to_show(write: Any, n: int, t: int, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"nothing to show: the 3D tracks have {n} points in {t} frames"):
        write(points(np.ones((n, 3)), frames=t), tmp_path / "a")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", WRITERS)
def test_places_that_cannot_be_written(write: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot write .*choose an?(other)? place"):
        write(points([[0, 0, 2]]), tmp_path / "missing" / "a.x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadInput, match=r"cannot write .*choose an?(other)? place"):
        write(points([[0, 0, 2]]), tmp_path / "folder")
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("write", [write_html] + [write_rerun] * RERUN)
def test_wrong_videos_and_rates(write: Any, tmp_path: Path) -> None:
    tracks = points([[0, 0, 2]], frames=3)
    image = np.zeros((48, 64, 3), np.uint8)
    for video, words in (
        ([image] * 2, "3 frames but the video has 2"),
        ([], "3 frames but the video has 0"),
        ([image, image.astype(float)], "frame 1 of the video is float64"),
        ([image, image[1:]], r"frame 1 of the video has shape \(47, 64, 3\)"),
    ):
        with pytest.raises(BadInput, match=words):
            write(tracks, tmp_path / "a", video)
    for frame_rate in (0, -1, float("nan"), float("inf")):
        with pytest.raises(BadInput, match="give a rate above 0"):
            write(tracks, tmp_path / "a", None, frame_rate)
    with pytest.raises(BadInput, match="at most 0 points cannot be shown"):
        write(tracks, tmp_path / "a", most_points=0)
    assert not list(tmp_path.iterdir())


def test_wrong_frames_and_sizes_of_stills(tmp_path: Path) -> None:
    for frame in (-1, 1):
        with pytest.raises(BadInput, match=f"there is no frame {frame}: the 3D tracks have 1"):
            write_still(points([[0, 0, 2]]), tmp_path / "a.png", frame)
    with pytest.raises(BadInput, match="too small for its labels"):
        still(points([[0, 0, 2]]), size=(100, 900))
    assert not list(tmp_path.iterdir())


def test_views_need_no_torch() -> None:
    code = "import sys, tapetum.systems.tapvid3d.views; print('torch' in sys.modules, 'rerun' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["False", "False"]
