"""Tracks as poses, read by the programs that they are for."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.tracks.exchange import write_tracks
from tapetum.tracks.poses import keypoints
from tapetum.types import Tracks
from tapetum.video import open_video


def some_tracks(**changes) -> Tracks:
    """Two points through three frames; the second is hidden in the second frame, both are in the third."""
    fields = {
        "xy": [[[10.5, 20.5], [11.5, 20.25], [12, 21]], [[40, 30], [41, 31], [0, 0]]],
        "visible": [[True, True, False], [True, False, False]],
        "confidence": [[0.9, 0.75, 0.25], [0.8, 0.125, 0]],
        "queries": [[0, 10.5, 20.5], [0, 40, 30]],
        "names": ("nose", "tail"),
    }
    return Tracks(**{**fields, **changes})


def test_sleap_reads_what_was_written(tmp_path: Path) -> None:
    sio = pytest.importorskip("sleap_io")
    path = write_tracks(some_tracks(numbers=[2, 3, 7]), tmp_path / "a.h5")
    labels = sio.load_analysis_h5(str(path))
    assert [node.name for node in labels.skeletons[0].nodes] == ["nose", "tail"]
    assert [frame.frame_idx for frame in labels] == [2, 3], "no instance where nothing is seen"
    (first,), (second,) = (frame.instances for frame in labels)
    np.testing.assert_allclose(first.numpy(), [[10, 20], [39.5, 29.5]])  # 0, 0 is the centre of the first pixel there
    np.testing.assert_allclose(second.numpy(), [[11, 19.75], [np.nan, np.nan]])
    np.testing.assert_allclose(first.numpy(scores=True)[:, 2], [0.9, 0.8], rtol=1e-6)
    assert first.track.name == "tapetum"


def test_sleap_writes_the_same_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own writer gives arrays of the same names, shapes and values; images that lie around are not taken for the video."""
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        Image.new("RGB", (8, 8)).save(f"{number}.png")
    sio, h5py = pytest.importorskip("sleap_io"), pytest.importorskip("h5py")
    ours = write_tracks(some_tracks(), tmp_path / "ours.h5", "sleap")
    labels = sio.load_analysis_h5(str(ours))
    sio.save_analysis_h5(labels, str(tmp_path / "theirs.h5"), all_frames=True)
    with h5py.File(ours) as a, h5py.File(tmp_path / "theirs.h5") as b:
        assert set(b) <= set(a) | {"edge_inds", "edge_names"}
        for name in ("tracks", "point_scores", "track_occupancy"):
            assert a[name].attrs["dims"] == b[name].attrs["dims"]
            frames = b[name].shape[0 if name == "track_occupancy" else -1]
            mine = a[name][:frames] if name == "track_occupancy" else a[name][..., :frames]
            if name == "point_scores":  # where it reads no place it keeps no score
                mine = np.where(np.isnan(b[name][:]), np.nan, mine)
            np.testing.assert_allclose(mine, b[name][:], rtol=1e-6, err_msg=name)
        assert [n.decode() for n in a["node_names"][:]] == [n.decode() for n in b["node_names"][:]]


def test_coco_is_read_by_sleap_and_says_what_coco_says(tmp_path: Path) -> None:
    video = open_video(np.zeros((3, 48, 64, 3), np.uint8))
    with pytest.raises(BadInput, match="needs the video"):
        write_tracks(some_tracks(), tmp_path / "a.json", "coco")
    path = write_tracks(some_tracks(times=[0, 0.5, 0.75]), tmp_path / "a.json", "coco", video=video)
    data = json.loads(path.read_text())
    assert [(image["id"], image["file_name"], image["time_s"]) for image in data["images"]] == [
        (0, "000000.png", 0), (1, "000001.png", 0.5), (2, "000002.png", 0.75)
    ]  # fmt: skip
    assert data["categories"][0]["keypoints"] == ["nose", "tail"]
    first, second = data["annotations"]
    assert first["keypoints"] == [10, 20, 2, 39.5, 29.5, 2]
    assert first["bbox"] == [10.5, 20.5, 29.5, 9.5]
    assert (first["score"], second["score"]) == (0.85, 0.75)  # the mean of what is seen
    assert (second["keypoints"], second["num_keypoints"], second["area"]) == ([11, 19.75, 2, 0, 0, 0], 1, 0)
    sio = pytest.importorskip("sleap_io")
    from PIL import Image

    for image in data["images"]:
        Image.new("RGB", (64, 48)).save(tmp_path / image["file_name"])
    labels = sio.load_coco(str(path), dataset_root=str(tmp_path))
    np.testing.assert_allclose(labels[0].instances[0].numpy(), [[10, 20], [39.5, 29.5]])
    np.testing.assert_allclose(labels[1].instances[0].numpy(), [[11, 19.75], [np.nan, np.nan]])


def test_supervision_draws_key_points_where_we_do() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sv = pytest.importorskip("supervision")
        first, second, third = keypoints(some_tracks())
        assert first.xy.shape == (1, 2, 2)
        black = np.zeros((48, 64, 3), np.uint8)
        drawn = sv.VertexAnnotator(color=sv.Color.WHITE, radius=1).annotate(black.copy(), second)
        rows, columns = np.nonzero(drawn.any(-1))
        assert (rows.mean(), columns.mean()) == (20, 11), "raster 11.5, 20.25 is in pixel 11, 20; the hidden point is not drawn"
        assert not sv.VertexAnnotator(color=sv.Color.WHITE, radius=1).annotate(black.copy(), third).any()
