"""Which points are asked for: tables with names and ids, single ones beside them, grids on a part of the image."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.tracks.points import read_mask, region_points, request_points


def table(folder: Path, text: str) -> Path:
    path = folder / "points.csv"
    path.write_text(text)
    return path


def test_points_of_a_table_come_before_single_ones(tmp_path: Path) -> None:
    asked = request_points(64, 48, 6, points=table(tmp_path, "t,x,y\n1,2,3\n"), query=["0,5,6", (2, 7, 8)])
    assert asked.points == [(1, 2, 3), (0, 5, 6), (2, 7, 8)]
    assert asked.names is None
    assert asked.ids is None


def test_rows_of_one_id_are_clicks_of_one_point(tmp_path: Path) -> None:
    path = table(tmp_path, "id,t,x,y,name\n7,1,2,3,\n8,0,1,1,\n7,4,2,2,nose\n,5,3,3,\n,5,4,4,tail\n")
    asked = request_points(64, 48, 6, points=path)
    assert asked.firsts == [0, 1, 3, 4]
    assert asked.names == ("nose", "", "", "tail")
    assert asked.ids is not None
    assert [asked.ids[0] == known for known in asked.ids] == [True, False, True, False, False]
    assert request_points(64, 48, 6, points=table(tmp_path, "id,x,y\n7,2,3\n8,1,1\n")).ids is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"grid": 3, "query": ["0,1,1"]}, "--grid was given with --query"),
        ({"region": "0,0,9,9", "query": ["0,1,1"]}, "--region was given with --query"),
        ({"query": ["0,1,1", "0,99,1"]}, "--query 0,99,1: the point 99,1 is outside"),
        ({"region": "9,0,0,9"}, "no box"),
        ({"region": "0,0,65,9"}, "no box in an image of 64x48"),
        ({"region": "0,0,nan,9"}, "no box"),
        ({"region": "nowhere.png"}, "neither a file nor a box"),
        ({"region": "1,2,3"}, "neither a file nor a box"),
        ({"region": "mask.jpg"}, "compressed with loss"),
        ({"region": np.zeros((48, 64), bool)}, "all black"),
        ({"region": np.ones((48, 60), bool)}, "has 60x48 pixels, the image 64x48"),
    ],
)
def test_what_is_asked_must_fit(given: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        request_points(64, 48, 6, **given)


def test_a_grid_lies_on_what_is_white(tmp_path: Path) -> None:
    mask = np.zeros((48, 64), np.uint8)
    mask[10:20, 30:50] = 1  # not 255: labels are masks too
    mask[10:15, 30:40] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    points = region_points(tmp_path / "mask.png", 4, 2, 64, 48)
    assert points == [(2, x, y) for y in (11.25, 13.75, 16.25, 18.75) for x in (32.5, 37.5, 42.5, 47.5) if y > 15 or x > 40]
    assert region_points(mask, 4, 2, 64, 48) == points
    ring = np.ones((48, 64), bool)
    ring[1:-1, 1:-1] = False
    with pytest.raises(BadInput, match="none of 3x3 points lies on the mask"):
        region_points(ring, 3, 0, 64, 48)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "LA", "P", "I;16"])
def test_masks_of_all_kinds(tmp_path: Path, mode: str) -> None:
    wanted = np.arange(12).reshape(3, 4) % 3 == 0
    white = np.uint8(wanted) * 255
    if mode in ("RGBA", "LA"):  # all white, transparent outside
        bands = [np.full_like(white, 255)] * (len(mode) - 1)
        image = Image.fromarray(np.stack([*bands, white], -1))
    elif mode == "P":
        image = Image.fromarray(np.uint8(wanted) * 2).convert("P")
        image.putpalette([0, 0, 0] * 256)  # black all over: numbers count, not colours
    elif mode == "I;16":
        image = Image.fromarray(np.uint16(wanted) * 60_000)
    else:
        image = Image.fromarray(white).convert(mode)
    image.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), wanted)
