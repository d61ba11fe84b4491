"""Tracks keep their promises on shapes, and every file format gives back what was saved.

Views of values: drawn by an entry point of their class's name, which is imported only when it is needed.
"""

import json
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


def test_predicted_errors_are_lengths_and_chances() -> None:
    with pytest.raises(BadInput, match="error_px of Tracks falls below 0"):
        replace(some_tracks(1, 2), error_px=[[0, -1]])
    with pytest.raises(BadInput, match="chance_wrong of Tracks leaves"):
        replace(some_tracks(1, 2), chance_wrong=[[0, 2]])
    with pytest.raises(BadInput, match="error_px of Tracks has shape"):
        replace(some_tracks(1, 2), error_px=[[0]])


def test_csv_rows_may_come_in_any_order(tmp_path: Path) -> None:
    tracks = some_tracks()
    path = tracks.save(tmp_path / "a.csv")
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *rows[::-1]]))
    assert_same(Tracks.load(path), tracks)
    path.write_text("\n".join([header, *rows[1:]]))
    with pytest.raises(BadInput, match="lacks a frame"):
        Tracks.load(path)


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


def test_json_is_plain(tmp_path: Path) -> None:
    fields = json.loads(some_tracks().save(tmp_path / "a.json").read_text())
    assert np.shape(fields["xy"]) == (3, 5, 2)
    assert "0.5, 0.5" in fields["convention"]


def test_unknown_extension_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"'\.txt'; tracks are stored as npz, csv, json or parquet"):
        some_tracks().save(tmp_path / "a.txt")
    with pytest.raises(BadInput, match="no extension"):
        some_tracks().save(tmp_path / "a")
    with pytest.raises(BadInput, match="No such file"):
        Tracks.load(tmp_path / "a.csv")


def test_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = some_tracks().save(tmp_path / "a.csv")
    before = path.read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(BadInput, match="the disk is full"):
        some_tracks(seed=1).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ["a"]}, "1 names for 3 points"),
        ({"names": "abc"}, "one text"),
        ({"names": ["a", "b\nc", "d"]}, "cannot be printed"),
        ({"clicked": np.zeros((3, 4), bool)}, "clicked of Tracks has shape"),
    ],
)
def test_wrong_names_and_clicks_are_named(changes: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        replace(some_tracks(), **changes)


@pytest.mark.parametrize("suffix", ["npz", "csv", "json", "parquet"])
@pytest.mark.parametrize("numbers", [None, [4, 6, 8, 11, 30], [0, 1, 2, 3, 4]])
def test_times_and_numbers_of_frames_come_back(tmp_path: Path, suffix: str, numbers: list[int] | None) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    times = np.array([0.1, 0.15, 1 / 3, 2.0, 1e6 / 3])
    tracks = replace(some_tracks(), times=times, numbers=numbers)
    back = Tracks.load(tracks.save(tmp_path / f"a.{suffix}"))
    assert_same(back, tracks)
    np.testing.assert_array_equal(back.times, times)
    assert (None if back.numbers is None else back.numbers.tolist()) == numbers


def test_tables_have_a_column_for_the_time(tmp_path: Path) -> None:
    tracks = replace(some_tracks(2, 2), times=[0.04, 0.12], numbers=[1, 3])
    rows = [line.split(",") for line in tracks.save(tmp_path / "a.csv").read_text().splitlines()]
    assert rows[0][-2:] == ["time_s", "video_frame"]
    assert [row[-2:] for row in rows[1:]] == [["0.04", "1"], ["0.12", "3"]] * 2
    text = (tmp_path / "a.csv").read_text().replace("0.12,3", "0.13,3", 1)
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(BadInput, match="of a frame changes"):
        Tracks.load(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": [0.0, 1.0]}, r"times of Tracks has shape \(2,\)"),
        ({"times": [0, 1, np.nan, 3, 4]}, "NaN"),
        ({"numbers": [0, 1, 1, 2, 3]}, "not rising"),
        ({"numbers": [-1, 1, 2, 3, 4]}, "not rising"),
    ],
)
def test_wrong_times_and_numbers_are_named(changes: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        replace(some_tracks(), **changes)


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


@pytest.mark.slow
def test_tracks_know_nothing_of_what_shows_them_until_they_are_shown() -> None:
    script = (
        "import sys, tapetum; assert 'numpy' not in sys.modules; from tapetum.types import Tracks\n"
        "tracks = Tracks(xy=[[[1, 1]]], visible=[[True]], confidence=[[1]], queries=[[0, 1, 1]])\n"
        "assert 'tapetum.report' not in sys.modules\n"
        "import numpy; print(tracks.show(numpy.zeros((1, 8, 8, 3), 'uint8'))._repr_html_()[:7])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "<iframe\n"
