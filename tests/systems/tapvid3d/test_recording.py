"""The recording for rerun holds what was given."""

import importlib.util
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tapetum.core.errors import BadInput, MissingExtra
from tapetum.systems.tapvid3d.recording import write_rerun
from tapetum.tracks.facets import SceneConfig, make_clip
from tapetum.types import Tracks3D

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


@pytest.mark.skipif(not RERUN, reason="needs rerun-sdk")
def test_what_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "missing" / "a.rrd", tmp_path / "folder"):
        with pytest.raises(BadInput, match=r"cannot write .*choose an?(other)? place"):
            write_rerun(points([[0, 0, 2]]), path)
    for n, t in ((0, 5), (2, 0)):
        with pytest.raises(BadInput, match=f"nothing to show: the 3D tracks have {n} points in {t} frames"):
            write_rerun(points(np.ones((n, 3)), frames=t), tmp_path / "a.rrd")
    tracks = points([[0, 0, 2]], frames=3)
    image = np.zeros((48, 64, 3), np.uint8)
    for video, words in (
        ([image] * 2, "3 frames but the video has 2"),
        ([], "3 frames but the video has 0"),
        ([image, image.astype(float)], "frame 1 of the video is float64"),
        ([image, image[1:]], r"frame 1 of the video is uint8 \(47, 64, 3\)"),
    ):
        with pytest.raises(BadInput, match=words):
            write_rerun(tracks, tmp_path / "a.rrd", video)
    for frame_rate in (0, -1, float("nan"), float("inf")):
        with pytest.raises(BadInput, match="is not possible; give a number"):
            write_rerun(tracks, tmp_path / "a.rrd", None, frame_rate)
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]
