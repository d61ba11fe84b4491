"""Every inconsistency of a clip that can be read has its name, and a good clip has none."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.tapvid3d_clips import CAMERA, H, N, T, W, example, jpeg, objects, save
from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.check import check
from tapetum.systems.tapvid3d.folders import files

GOOD = example()
SEEN = GOOD["visibility"]


def found(folder: Path, **changes: Any) -> list[tuple[str, str]]:
    save(folder / "a.npz", GOOD, **changes)
    return [(finding["kind"], finding["text"]) for finding in check(folder)["findings"]]


def changed(array: np.ndarray, at: Any, value: Any) -> np.ndarray:
    array = array.copy()
    array[at] = value
    return array


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_wrong_with_a_good_clip(tmp_path: Path, seed: int) -> None:
    save(tmp_path / "a.npz", example(seed))
    save(tmp_path / "b.npz", example(seed), images_jpeg_bytes=None, extrinsics_w2c=None)
    report = check(tmp_path)
    assert report["findings"] == []
    counts = report["sources"]["clips"]
    assert counts.pop("visible") == pytest.approx(example(seed)["visibility"].mean())
    assert counts == {"wanted": 2, "clips": 2, "with_frames": 1, "frames": 2 * T, "tracks": 2 * N}


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"visibility": SEEN & (np.arange(N) != 1)}, "never-visible", "1 of 4 points is visible in no frame"),
        ({"visibility": np.zeros((T, N), bool)}, "never-visible", "4 of 4 points are visible in no frame"),
        ({"queries_xyt": GOOD["queries_xyt"] + [0.6, 0, 0]}, "query-off", "4 of 4 queries are beside .* by up to 0.6 pixels"),
        ({"tracks_XYZ": GOOD["tracks_XYZ"] * [1, -1, 1]}, "query-off", "beside the projected point"),
        ({"extrinsics_w2c": np.ones((T, 4, 4))}, "poses", "6 of 6 poses of extrinsics_w2c are not rigid"),
        ({"extrinsics_w2c": np.tile(np.diag([1, 1, -1.0, 1]), (T, 1, 1))}, "poses", "not rigid"),
        ({"images_jpeg_bytes": [*GOOD["images_jpeg_bytes"][:-1], jpeg(5)[:-100]]}, "images", "frame 5 is no whole JPEG"),
        ({"images_jpeg_bytes": [jpeg(0), jpeg(1, (H, W + 1)), *GOOD["images_jpeg_bytes"][2:]]}, "images", "frame 1 is .* 65"),
        ({"images_jpeg_bytes": [jpeg(0), b"x", *GOOD["images_jpeg_bytes"][2:]]}, "images", "frame 1 is no JPEG"),
        ({"images_jpeg_bytes": objects([jpeg(0), 3, 4, 5, 6, 7])}, "pickled", "holds a int as item 1"),
    ],
)
def test_one_finding(tmp_path: Path, changes: dict[str, Any], kind: str, text: str) -> None:
    [finding] = found(tmp_path, **changes)
    assert finding[0] == kind
    assert re.search(text, finding[1]), finding[1]


def test_a_query_where_its_point_is_hidden(tmp_path: Path) -> None:
    point = 0
    frame = int(GOOD["queries_xyt"][point, 2])
    seen = changed(changed(SEEN, (slice(None), point), True), (frame, point), False)
    [finding] = found(tmp_path, visibility=seen)
    assert finding == ("query-hidden", "1 of 4 queries is at a frame where the point is not visible")


def test_intrinsics_that_are_not_pixels_of_the_image(tmp_path: Path) -> None:
    shares = CAMERA / [W, H, W, H]
    kinds = dict(found(tmp_path, fx_fy_cx_cy=shares))
    assert kinds["intrinsics"].startswith("the principal point is at 0.484375, 0.520833 of an image of 64x48")
    assert "query-off" in kinds
    assert "intrinsics" in dict(found(tmp_path, fx_fy_cx_cy=CAMERA * 4))


def test_visible_points_out_of_sight(tmp_path: Path) -> None:
    frame, point = next((t, n) for t, n in np.argwhere(SEEN) if GOOD["queries_xyt"][n, 2] != t)
    tracks = GOOD["tracks_XYZ"]
    [finding] = found(tmp_path, tracks_XYZ=changed(tracks, (frame, point), [0, 0, -1]))
    assert finding == ("behind", f"1 of {T * N} visible positions is behind the camera or in it: Z is 0 or less")
    [finding] = found(tmp_path, tracks_XYZ=changed(tracks, (frame, point), [5, 0, 1]))
    assert finding == ("outside", f"1 of {SEEN.sum()} visible positions is outside the image of 64x48")
    hidden = changed(SEEN, (frame, point), False)
    assert found(tmp_path, tracks_XYZ=changed(tracks, (frame, point), [5, 0, -1]), visibility=hidden) == []
    edge = changed(tracks, (frame, point), [(W + 0.5 - CAMERA[2]) / CAMERA[0], 0, 1])
    assert found(tmp_path, tracks_XYZ=edge) == []


def test_a_split_must_be_whole(tmp_path: Path) -> None:
    names = files("minival", "pstudio")
    for name in names[2:]:
        save(tmp_path / "pstudio" / name, GOOD)
    (tmp_path / "pstudio" / "other.npz").write_bytes(b"not in the split")
    report = check(tmp_path, "minival")
    assert [(f["kind"], f["file"]) for f in report["findings"]] == [
        ("missing", f"pstudio/{names[0]}"),
        ("missing", f"pstudio/{names[1]}"),
    ]
    assert (report["sources"]["pstudio"]["clips"], report["sources"]["pstudio"]["wanted"]) == (48, 50)
    alone = check(tmp_path / "pstudio", "minival")
    assert [f["file"] for f in alone["findings"]] == list(names[:2])
    assert check(tmp_path)["findings"][0]["kind"] == "unreadable"


def test_a_flat_folder_of_official_files(tmp_path: Path) -> None:
    for name in ("basketball_5.npz", "Apartment_release_meal_seq136_8.npz", "mine.npz"):
        save(tmp_path / name, GOOD)
    save(tmp_path / "mine.depth.npz", {"depth": np.zeros(1)})
    report = check(tmp_path)
    assert {source: counts["clips"] for source, counts in report["sources"].items()} == {"adt": 1, "pstudio": 1, "clips": 1}


def test_folders_without_clips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no folder"):
        check(tmp_path / "none")
    with pytest.raises(BadInput, match="holds no npz file"):
        check(tmp_path)
    save(tmp_path / "mine.npz", GOOD)
    with pytest.raises(BadInput, match="holds no clip of the official lists"):
        check(tmp_path, "minival")
