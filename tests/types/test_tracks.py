"""Tracks keep their promises on shapes, and every file format gives back what was saved.

Views of values: drawn by an entry point of their class's name, which is imported only when it is needed.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.types import Tracks
from tapetum.types.tracks import view_of


def some_tracks(n: int = 3, t: int = 5, seed: int = 0) -> Tracks:
    rng = np.random.default_rng(seed)
    return Tracks(
        xy=rng.normal(100, 300, (n, t, 2)),
        visible=rng.random((n, t)) < 0.5,
        confidence=rng.random((n, t)),
        queries=rng.random((n, 3)) * [t - 1, 640, 480],
    )


def assert_same(a: Tracks, b: Tracks) -> None:
    for name in ("xy", "visible", "confidence", "queries"):
        left, right = getattr(a, name), getattr(b, name)
        assert left.dtype == right.dtype, name
        np.testing.assert_array_equal(left, right, err_msg=name)


@pytest.mark.parametrize("suffix", ["npz", "csv", "json", "parquet"])
@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (4, 1), (0, 0)])
def test_round_trip_is_exact(tmp_path: Path, suffix: str, shape: tuple[int, int]) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    tracks = some_tracks(*shape)
    path = tracks.save(tmp_path / f"tracks.{suffix}")
    assert_same(Tracks.load(path), tracks)
    assert [file.name for file in tmp_path.iterdir()] == [path.name], "a temporary file was left"


def test_csv_says_each_point_and_frame(tmp_path: Path) -> None:
    tracks = Tracks(xy=[[[1.25, 2], [3, 4]]], visible=[[True, False]], confidence=[[0.75, 0.5]], queries=[[0, 1.25, 2]])
    lines = tracks.save(tmp_path / "a.csv").read_text().splitlines()
    assert lines == [
        "point,frame,x,y,visible,confidence,query_t,query_x,query_y",
        "0,0,1.25,2.0,1,0.75,0.0,1.25,2.0",
        "0,1,3.0,4.0,0,0.5,0.0,1.25,2.0",
    ]


@pytest.mark.parametrize("suffix", ["npz", "csv", "json", "parquet"])
def test_predicted_errors_are_kept_and_selected(tmp_path: Path, suffix: str) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    error, chance = np.array([[0, 1.5], [0, 20]], np.float32), np.array([[0, 0.125], [0, 0.75]], np.float32)
    tracks = replace(some_tracks(2, 2), error_px=error, chance_wrong=chance)
    loaded = Tracks.load(tracks.save(tmp_path / f"tracks.{suffix}"))
    np.testing.assert_array_equal(loaded.error_px, error)
    np.testing.assert_array_equal(loaded.chance_wrong, chance)
    one = tracks.select([1])
    np.testing.assert_array_equal(one.error_px, error[1:])
    np.testing.assert_array_equal(one.chance_wrong, chance[1:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"xy": np.zeros((2, 3))}, r"xy of Tracks has shape \(2, 3\); it must be \(n, t, 2\)"),
        ({"visible": np.ones((2, 4), bool)}, r"visible of Tracks has shape \(2, 4\)"),
        ({"visible": np.full((2, 3), 0.5)}, "must be bool"),
        ({"confidence": np.full((2, 3), 1.5)}, "leaves 0..1"),
        ({"confidence": np.full((2, 3), np.nan)}, "NaN or infinity"),
        ({"queries": np.zeros((3, 3))}, "queries of Tracks has shape"),
        ({"queries": [["a", "b", "c"]] * 2}, "not an array of numbers"),
    ],
)
def test_wrong_fields_are_named(changes: dict, message: str) -> None:
    fields = {
        "xy": np.zeros((2, 3, 2)),
        "visible": np.ones((2, 3), bool),
        "confidence": np.ones((2, 3)),
        "queries": np.zeros((2, 3)),
    }
    with pytest.raises(BadInput, match=message):
        Tracks(**{**fields, **changes})


@pytest.mark.parametrize("suffix", ["npz", "csv", "json", "parquet"])
@pytest.mark.parametrize("content", [b"", b"\x80 not a table", b"{}", b"a,b\n1,2\n", b"[" * 99999])
def test_damaged_files_are_one_line(tmp_path: Path, suffix: str, content: bytes) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"bad.{suffix}"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"does not hold tracks") as caught:
        Tracks.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["npz", "csv", "json"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = some_tracks(6, 9).save(tmp_path / f"a.{suffix}")
    whole = path.read_bytes()
    for keep in (1, len(whole) // 3, len(whole) - 12):
        path.write_bytes(whole[:keep])
        with pytest.raises(BadInput):
            Tracks.load(path)


def test_npz_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, xy=np.array([print], dtype=object), visible=0, confidence=0, queries=0)
    with pytest.raises(BadInput, match="pickle"):
        Tracks.load(path)


def test_no_torch_is_imported() -> None:
    code = "import sys, tapetum.types.tracks, tapetum.tracks.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("suffix", ["npz", "csv", "json", "parquet"])
@pytest.mark.parametrize("shape", [(3, 5), (1, 1)])
def test_names_and_clicks_come_back_exactly(tmp_path: Path, suffix: str, shape: tuple[int, int]) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    names = ('left eye, "wet"', "Schnauze ⚑", "007")[: shape[0]]
    clicked = np.arange(shape[0] * shape[1]).reshape(shape) % 3 == 0
    for given in ({"names": names}, {"clicked": clicked}, {"names": names, "clicked": clicked}):
        tracks = replace(some_tracks(*shape), **given)
        read = Tracks.load(tracks.save(tmp_path / f"tracks.{suffix}"))
        assert_same(read, tracks)
        assert read.names == tracks.names
        assert (read.clicked is None) == (tracks.clicked is None)
        np.testing.assert_array_equal(read.clicked, tracks.clicked)


def test_tables_have_a_column_for_the_time(tmp_path: Path) -> None:
    tracks = replace(some_tracks(2, 2), times=[0.04, 0.12], numbers=[1, 3])
    rows = [line.split(",") for line in tracks.save(tmp_path / "a.csv").read_text().splitlines()]
    assert rows[0][-2:] == ["time_s", "video_frame"]
    assert [row[-2:] for row in rows[1:]] == [["0.04", "1"], ["0.12", "3"]] * 2
    text = (tmp_path / "a.csv").read_text().replace("0.12,3", "0.13,3", 1)
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(BadInput, match="of a frame changes"):
        Tracks.load(tmp_path / "a.csv")


def test_a_data_frame_of_pandas() -> None:
    pytest.importorskip("pandas")
    tracks = replace(some_tracks(), times=np.arange(5) / 10)
    frame = tracks.to_dataframe()
    assert len(frame) == 15
    row = frame[(frame.point == 1) & (frame.frame == 3)].iloc[0]
    assert (row.x, row.y, row.visible, row.time_s) == (*tracks.xy[1, 3], tracks.visible[1, 3], 0.3)
    wide = frame.pivot(index="frame", columns="point", values="x")
    np.testing.assert_array_equal(wide.to_numpy(), tracks.xy[..., 0].T)


class Thing:
    """Shown by a package of its own."""


class OddThing(Thing):
    """Shown as what it derives from."""


def test_an_installed_package_draws_a_type_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert view_of(Thing()) is None
    (tmp_path / "draws_things.py").write_text("def draw(thing, *beside):\n    return (thing, *beside)\n")
    about = tmp_path / "draws_things-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: draws-things\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[tapetum.views]\nThing = draws_things:draw\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "draws_things" not in sys.modules
    thing = OddThing()
    assert view_of(thing, "video") == (thing, "video")
