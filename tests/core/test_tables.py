"""Csv texts with any sign between cells, and every reader of them."""

import csv
from pathlib import Path

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.data.entries import records_of
from tapetum.systems.perception_test.annotations import read_ids
from tapetum.systems.tap.tracking.corrections import corrections_of
from tapetum.systems.tapvid3d.lifting import parse_intrinsics
from tapetum.tracks.exchange import read_tracks, write_tracks
from tapetum.tracks.points import parse_point, read_points, region_points, request_points
from tapetum.types import Tracks, Tracks3D
from tapetum.video import open_video

SIGNS = [(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ",")]
"""Between cells, and in numbers."""


def rewritten(text: str, sign: str, point: str) -> str:
    """A text with commas between its cells as another program would write it."""
    return "\n".join(sign.join(cell.replace(".", point) for cell in line.split(",")) for line in text.splitlines()) + "\n"


def tracks() -> Tracks:
    xy = np.array([[[1.5, 2.25], [3.125, 4.5]], [[10.0, 20.5], [11.75, 21.0]]], np.float32)
    return Tracks(
        xy=xy, visible=np.ones((2, 2), bool), confidence=np.full((2, 2), 0.5), queries=[[0, 1.5, 2.25], [0, 10, 20.5]]
    )


@pytest.mark.parametrize(("sign", "point"), SIGNS)
def test_points_queries_and_corrections(tmp_path: Path, sign: str, point: str):
    file = tmp_path / "points.csv"
    for start in ("", "\N{ZERO WIDTH NO-BREAK SPACE}"):
        file.write_text(start + rewritten("t,x,y,name\n0,10.5,20,nose\n1,5.25,5,tail\n", sign, point), encoding="utf-8")
        rows = read_points(file)
        assert [(row.point, row.name) for row in rows] == [((0, 10.5, 20), "nose"), ((1, 5.25, 5), "tail")]
    file.write_text(f"sep={sign}\n" + rewritten("x,y\n1.5,2\n3,x\n", sign, point))
    with pytest.raises(BadInput, match="line 4 of"):
        read_points(file)
    one = rewritten("1,10.5,20.25", sign, point).strip()
    assert parse_point(one) == (1, 10.5, 20.25)
    assert request_points(64, 48, 6, query=[one]).points == [(1, 10.5, 20.25)]
    video = open_video(np.zeros((2, 48, 64, 3), np.uint8))
    assert corrections_of([rewritten("1,0,10.5,20.25", sign, point).strip()], tracks(), video) == [(1, 0, 10.5, 20.25)]
    assert parse_intrinsics(rewritten("500.5,500,320,240", sign, point).strip()) == (500.5, 500, 320, 240)
    assert region_points(rewritten("1.5,2,3,4", sign, point).strip(), 1, 0, 64, 48) == [(0, 2.25, 3.0)]


@pytest.mark.parametrize(("sign", "point"), SIGNS)
@pytest.mark.parametrize("form", ["tapetum", "dlc", "napari"])
def test_tables_of_tracks(tmp_path: Path, sign: str, point: str, form: str):
    file = tmp_path / "tracks.csv"
    video = open_video(np.zeros((2, 48, 64, 3), np.uint8))
    if form == "tapetum":
        tracks().save(file)
    else:
        write_tracks(tracks(), file, form, video=video)
    before = read_tracks(file, video=video)
    file.write_text(rewritten(file.read_text(), sign, point))
    after = read_tracks(file, video=video)
    np.testing.assert_array_equal(after.xy, before.xy)
    np.testing.assert_array_equal(after.confidence, before.confidence)


@pytest.mark.parametrize(("sign", "point"), SIGNS)
def test_tables_in_space_and_lists_of_ids_and_words(tmp_path: Path, sign: str, point: str):
    file = tmp_path / "t.csv"
    flat = tracks()
    space = Tracks3D(
        xyz=np.arange(12, dtype=np.float32).reshape(2, 2, 3) / 8 + 1,
        **{name: getattr(flat, name) for name in ("xy", "visible", "confidence", "queries")},
        intrinsics=np.array([50.5, 50, 32, 24]),
        metric=True,
    )
    space.save(file)
    file.write_text(rewritten(file.read_text(), sign, point))
    np.testing.assert_array_equal(Tracks3D.load(file).xyz, space.xyz)
    file.write_text(sign.join(["video_id", "a", "b"]))
    assert read_ids(file) == ["a", "b"]
    file.write_text(rewritten("label,youtube_id,time\nsurfing water,abc,1.5\n", sign, point))
    assert records_of(file) == [{"label": "surfing water", "youtube_id": "abc", "time": f"1{point}5"}]


NAMES = (
    "=1+1",
    "@SUM(A1)",
    "+left",
    "-5",
    " =x",
    "'=x",
    "''@",
    "'tail",
    "a;=1",
    "a,+b",
    "\uff1d1",
    "x-y",
    "it's = 1",
    "=",
    'b;"=2',
)


@pytest.mark.parametrize("form", ["tapetum", "dlc"])
def test_no_name_is_a_formula_and_all_come_back(tmp_path: Path, form: str) -> None:
    n = len(NAMES)
    made = Tracks(
        xy=np.ones((n, 2, 2)), visible=np.ones((n, 2), bool), confidence=np.ones((n, 2)), queries=np.ones((n, 3)), names=NAMES
    )
    path = write_tracks(made, tmp_path / "tracks.csv", form)  # pyright: ignore[reportArgumentType]
    assert read_tracks(path).names == NAMES
    lines = path.read_text().splitlines()
    for sign in ",;\t":  # whichever a spreadsheet takes
        cells = {cell.strip('" ') for row in csv.reader(lines, delimiter=sign) for cell in row}
        assert [cell for cell in cells if cell and cell[0] in "=+-@\uff1d"] == []
