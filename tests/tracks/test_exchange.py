"""Tracks to and from the layouts of other programs: what is seen comes back, what is not known is filled in as said."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from support.scripts import GOLDEN
from tapetum.bench.tapvid import read_clips
from tapetum.core.errors import BadInput
from tapetum.tracks.exchange import check_video, read_tracks, write_tracks
from tapetum.tracks.tapvid import TapVidEntry, write_entries
from tapetum.types import Tracks
from tapetum.video import open_video

WIDTH, HEIGHT = 64, 48


def some_tracks(n: int = 3, t: int = 5, seed: int = 0) -> Tracks:
    """Tracks of a tracker: visible where confidence is above a half; every point, and the last frame, is seen once."""
    rng = np.random.default_rng(seed)
    confidence = rng.random((n, t)).astype(np.float32)
    confidence[:, -1] = 0.75
    xy = (rng.random((n, t, 2)) * [WIDTH, HEIGHT]).astype(np.float32)
    queries = rng.random((n, 3)) * [t - 1, WIDTH, HEIGHT]
    return Tracks(xy=xy, visible=confidence > 0.5, confidence=confidence, queries=queries)


def frames(t: int = 5, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (t, height, width, 3), dtype=np.uint8)


def table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("layout", ["tapetum", "dlc", "napari", "tapvid"])
@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 5), t=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
def test_what_is_seen_comes_back(tmp_path_factory: pytest.TempPathFactory, layout: str, n: int, t: int, seed: int) -> None:
    tracks = some_tracks(n, t, seed)
    path = tmp_path_factory.mktemp("trip") / ("a.pkl" if layout == "tapvid" else "a.csv")
    assert write_tracks(tracks, path, layout, video=open_video(frames(t))) == path
    assert [file.name for file in path.parent.iterdir()] == [path.name], "a temporary file was left"
    back = read_tracks(path)
    np.testing.assert_array_equal(back.visible, tracks.visible)
    seen = tracks.visible
    np.testing.assert_allclose(back.xy[seen], tracks.xy[seen], rtol=0, atol=1e-5 if layout == "tapvid" else 0)
    if layout == "tapetum":
        np.testing.assert_array_equal(back.queries, tracks.queries)
        np.testing.assert_array_equal(back.xy, tracks.xy)
        return
    np.testing.assert_array_equal(back.confidence, tracks.confidence if layout == "dlc" else seen)
    first = seen.argmax(axis=1)
    np.testing.assert_array_equal(back.queries, np.column_stack([first, back.xy[np.arange(n), first]]))


def test_tables_as_they_are_written(tmp_path: Path) -> None:
    tracks = Tracks(
        xy=[[[0.5, 0.5], [3, 4.25]], [[2, 1], [5, 6]]],
        visible=[[True, False], [True, True]],
        confidence=[[0.75, 0.25], [1, 0.5]],
        queries=[[0, 0.5, 0.5], [0, 2, 1]],
    )
    assert write_tracks(tracks, tmp_path / "dlc.csv", "dlc").read_text().splitlines() == [
        "scorer,tapetum,tapetum,tapetum,tapetum,tapetum,tapetum",
        "bodyparts,point0,point0,point0,point1,point1,point1",
        "coords,x,y,likelihood,x,y,likelihood",
        "0,0.0,0.0,0.75,1.5,0.5,1.0",
        "1,,,0.25,4.5,5.5,0.5",
    ]
    assert write_tracks(tracks, tmp_path / "napari.csv", "napari").read_text().splitlines() == [
        "ID,T,Y,X",
        "0,0,0.0,0.0",
        "1,0,0.5,1.5",
        "1,1,5.5,4.5",
    ]


@pytest.mark.parametrize("name", ["deeplabcut", "movement", "napari"])
def test_tables_of_other_programs(name: str) -> None:
    """Written by pandas (as DeepLabCut does), movement and napari; see make_exchange_golden.py."""
    truth, tracks = Tracks.load(GOLDEN / "exchange" / "truth.npz"), read_tracks(GOLDEN / "exchange" / f"{name}.csv")
    np.testing.assert_array_equal(tracks.visible, truth.visible)
    np.testing.assert_array_equal(tracks.xy[truth.visible], truth.xy[truth.visible])
    np.testing.assert_array_equal(tracks.queries, truth.queries)
    np.testing.assert_array_equal(tracks.confidence, truth.visible if name == "napari" else truth.confidence)


def test_tapvid_is_as_published(tmp_path: Path) -> None:
    tracks, video = some_tracks(), frames()
    np.save(tmp_path / "clip.npy", video)
    path = write_tracks(tracks, tmp_path / "a.pkl", video=open_video(tmp_path / "clip.npy"))
    content = pickle.loads(path.read_bytes())  # ours, just written
    assert list(content) == ["clip"]
    fields = content["clip"]
    assert {name: (array.dtype.name, array.shape) for name, array in fields.items()} == {
        "video": ("uint8", (5, HEIGHT, WIDTH, 3)),
        "points": ("float32", (3, 5, 2)),
        "occluded": ("bool", (3, 5)),
    }
    np.testing.assert_array_equal(fields["video"], video)
    np.testing.assert_allclose(fields["points"] * [WIDTH, HEIGHT], tracks.xy, atol=1e-5)
    clip = next(read_clips(path))
    np.testing.assert_array_equal(clip.occluded, ~tracks.visible)
    np.testing.assert_allclose(clip.tracks, tracks.xy * [256 / WIDTH, 256 / HEIGHT], atol=1e-4)


def test_one_of_several_videos_is_named(tmp_path: Path) -> None:
    tracks = [some_tracks(seed=seed) for seed in range(2)]
    entries = {
        name: TapVidEntry(name=name, video=frames(), points=one.xy / [WIDTH, HEIGHT], occluded=~one.visible)
        for name, one in zip(("bear", "camel"), tracks, strict=True)
    }
    path = write_entries(tmp_path / "two[1].pkl", entries)
    np.testing.assert_array_equal(read_tracks(path, name="camel").visible, tracks[1].visible)
    with pytest.raises(BadInput, match="holds 2 videos; name one of bear, camel"):
        read_tracks(path)
    with pytest.raises(BadInput, match="has no video cow; name one of bear, camel"):
        read_tracks(path, name="cow")
    with pytest.raises(BadInput, match=r"for TAP-Vid pickles"):
        read_tracks(tracks[0].save(tmp_path / "a.npz"), name="bear")


def test_official_lists_of_jpegs_are_read(tmp_path: Path) -> None:
    """As in the shards of Kinetics: a list of videos, their frames JPEG, anything at all where a point is occluded."""
    buffer = io.BytesIO()
    Image.fromarray(frames()[0]).save(buffer, "JPEG")
    points = np.full((2, 3, 2), np.nan)
    points[0, 1:] = [[0.25, 0.5], [0.5, 1]]
    occluded = np.isnan(points).any(axis=2)
    entry = {"video": [buffer.getvalue()] * 3, "points": points, "occluded": occluded}
    path = tmp_path / "0000_of_0010.pkl"
    path.write_bytes(pickle.dumps([{**entry, "points": points / 2}, entry]))
    tracks = read_tracks(path, name="00001")
    assert tracks.xy.tolist() == [[[16, 24], [16, 24], [32, 48]], [[0, 0]] * 3]
    assert tracks.queries.tolist() == [[1, 16, 24], [0, 0, 0]]
    np.testing.assert_array_equal(tracks.visible, ~occluded)


def test_missing_positions_are_filled_in(tmp_path: Path) -> None:
    path = table(
        tmp_path / "a.csv",
        "scorer,me,me,me,me,me,me,me,me",
        "bodyparts,a,a,a,b,b,b,c,c",
        "coords,x,y,likelihood,y,x,likelihood,x,y",
        "1,1,11,0.9,,,nan,,",
        "3,3,15,0.9,,,,2,3",
        "4,9,9,0.5,,,,,",
        "5,,,,,,,4,5",
    )
    tracks = read_tracks(path)
    assert tracks.visible.astype(int).tolist() == [[0, 1, 0, 1, 0, 0], [0] * 6, [0, 0, 0, 1, 0, 1]]
    # before the first and after the last it stays, between it moves evenly, an unlikely position is a guess
    assert tracks.xy[0].tolist() == [[1.5, 11.5], [1.5, 11.5], [2.5, 13.5], [3.5, 15.5], [9.5, 9.5], [9.5, 9.5]]
    assert tracks.xy[1].tolist() == [[0, 0]] * 6
    assert tracks.xy[2].tolist() == [[2.5, 3.5]] * 4 + [[3.5, 4.5], [4.5, 5.5]]
    assert tracks.confidence[0].tolist() == pytest.approx([0, 0.9, 0, 0.9, 0.5, 0])
    assert tracks.confidence[2].tolist() == [0, 0, 0, 1, 0, 1]
    assert tracks.queries.tolist() == [[1, 1.5, 11.5], [0, 0, 0], [3, 2.5, 3.5]]


def test_napari_tables_in_other_clothes(tmp_path: Path) -> None:
    """Any order of rows and columns, an index of pandas, a flat Z, IDs with gaps."""
    path = table(
        tmp_path / "a.csv", ",x,y,z,frame,track_id", "0,5,6,0,2,90071992547409", "1,3,4,0,0,7", "2,1,2,0,0,90071992547409"
    )
    tracks = read_tracks(path, video=open_video(frames(4)))
    assert tracks.visible.astype(int).tolist() == [[1, 0, 0, 0], [1, 0, 1, 0]]
    assert tracks.xy[1].tolist() == [[1.5, 2.5], [3.5, 4.5], [5.5, 6.5], [5.5, 6.5]]
    assert read_tracks(path).frames == 3


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, HEIGHT, WIDTH), "the tracks have 5 frames but .* has 4"),
        ((5, HEIGHT, 20), r"point 0 of the tracks starts at 40,30, outside the 20x48 pixels"),
    ],
)
def test_tracks_and_video_must_fit(tmp_path: Path, shape: tuple[int, int, int], message: str) -> None:
    tracks = some_tracks()
    tracks.queries[:, 1:] = 40, 30
    check_video(tracks, open_video(frames()))
    with pytest.raises(BadInput, match=message):
        check_video(tracks, open_video(frames(*shape)))
    with pytest.raises(BadInput, match=message):
        write_tracks(tracks, tmp_path / "a.pkl", video=open_video(frames(*shape)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "layout", "message"),
    [
        ("a.txt", "dlc", r"extension .txt; the layout dlc is written as .csv"),
        ("a", "napari", r"extension \(none\); the layout napari is written as .csv"),
        ("a.csv", "tapvid", r"the layout tapvid is written as .pkl"),
        ("a.pkl", None, "needs the video, for its frames"),
        ("a.xyz", None, "tracks are stored as npz, csv, json or parquet"),
        ("nowhere/a.csv", "dlc", "cannot write"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, name: str, layout: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        write_tracks(some_tracks(), tmp_path / name, layout)
    assert not list(tmp_path.iterdir())
