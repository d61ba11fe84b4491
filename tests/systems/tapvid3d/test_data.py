"""Clips of TAPVid-3D in every spelling and storage that is met, and every damage with its name."""

import pickle
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.tapvid3d_clips import CAMERA, H, N, T, W, example, jpeg, objects, prediction, save
from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d import npz
from tapetum.systems.tapvid3d.data import depth_path, read_clip, read_depth, read_prediction, write_clip
from tapetum.systems.tapvid3d.npz import Damage

README = {"tracks_XYZ": "tracks_xyz", "visibility": "visibility", "fx_fy_cx_cy": "intrinsics"}


class Evil:
    def __reduce__(self) -> tuple:
        return exec, ("raise AssertionError('code from a file was run')",)


@pytest.mark.parametrize("storage", ["bytes", "objects", "none"])
@pytest.mark.parametrize("spelling", ["code", "readme"])
def test_a_clip_as_the_public_code_writes_it(tmp_path: Path, storage: str, spelling: str) -> None:
    arrays = example()
    if storage != "bytes":
        arrays["images_jpeg_bytes"] = objects(arrays["images_jpeg_bytes"]) if storage == "objects" else None
    stored = {README.get(key, key): value for key, value in arrays.items()} if spelling == "readme" else arrays
    clip = read_clip(save(tmp_path / "drivetrack" / "a.npz", stored))
    assert (clip.name, clip.source, clip.frames, clip.points) == ("a", "drivetrack", T, N)
    for name in ("tracks_XYZ", "visibility", "queries_xyt", "fx_fy_cx_cy", "extrinsics_w2c"):
        np.testing.assert_array_equal(getattr(clip, name), arrays[name])
    if storage == "none":
        assert (clip.size, clip.images) == (None, None)
        with pytest.raises(Damage, match="has no images_jpeg_bytes"):
            clip.video()
    else:
        assert clip.size == (H, W)
        assert list(clip.images or ()) == example()["images_jpeg_bytes"]
        assert clip.video().shape == (T, H, W, 3)
        np.testing.assert_array_equal(clip.video()[3], list(clip.decoded_images())[3])


def test_official_files_without_frames_have_the_size_of_their_source(tmp_path: Path) -> None:
    arrays = {**example(), "images_jpeg_bytes": None, "extrinsics_w2c": None}
    clip = read_clip(save(tmp_path / "basketball_5.npz", arrays))
    assert (clip.source, clip.size, clip.extrinsics_w2c) == ("pstudio", (360, 640), None)
    clip = read_clip(save(tmp_path / "Apartment_release_meal_seq136_8.npz", arrays))
    assert (clip.source, clip.size) == ("adt", (512, 512))
    assert read_clip(save(tmp_path / "mine.npz", arrays)).source is None


def test_only_the_beginning_of_the_frames_is_read_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.npz", example())
    asked: list[int] = []
    read = zipfile.ZipExtFile.read
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda self, n=-1: (asked.append(n), read(self, n))[1])
    clip = read_clip(path)
    assert clip.size == (H, W)
    whole = len(asked)
    assert clip.images is not None
    assert clip.images[0] == jpeg(0)
    assert len(asked) > whole


def test_what_is_written_is_read_back_and_needs_no_pickle(tmp_path: Path) -> None:
    arrays = example()
    path = write_clip(tmp_path / "a.npz", **arrays)
    clip = read_clip(path)
    with np.load(path, allow_pickle=False) as file:
        assert sorted(file.files) == sorted(arrays)
        assert file["images_jpeg_bytes"].tolist() == arrays["images_jpeg_bytes"]
        assert {key: file[key].dtype.name for key in ("tracks_XYZ", "visibility", "queries_xyt")} == {
            "tracks_XYZ": "float64",
            "visibility": "bool",
            "queries_xyt": "float64",
        }
    np.testing.assert_array_equal(clip.tracks_XYZ, arrays["tracks_XYZ"])
    bare = write_clip(tmp_path / "b.npz", **{**arrays, "images_jpeg_bytes": None, "extrinsics_w2c": None})
    with np.load(bare) as file:
        assert len(file.files) == 4
    with pytest.raises(Damage, match="focal lengths"):
        write_clip(tmp_path / "c.npz", **{**arrays, "fx_fy_cx_cy": -CAMERA})
    assert not (tmp_path / "c.npz").exists()
    with pytest.raises(BadInput, match="cannot write"):
        write_clip(tmp_path / "none" / "c.npz", **arrays)


def nan(array: np.ndarray, *at: int) -> np.ndarray:
    array = array.astype(float)
    array[at] = np.nan
    return array


GOOD = example()
DAMAGED: list[tuple[dict[str, Any], str, str]] = [
    ({"tracks_XYZ": None}, "key", r"has no array tracks_XYZ; it holds extrinsics_w2c, fx_fy_cx_cy, images_jpeg_bytes"),
    ({"queries_xyt": None}, "key", "has no array queries_xyt"),
    ({"tracks_XYZ": GOOD["tracks_XYZ"].transpose(1, 0, 2)}, "shape", r"visibility has shape \(6, 4\); .* \(4, 6, 3\)"),
    ({"tracks_XYZ": GOOD["tracks_XYZ"][..., :2]}, "shape", r"tracks_XYZ has shape \(6, 4, 2\); it must be \(t, n, 3\)"),
    ({"tracks_XYZ": np.zeros((0, 4, 3)), "visibility": np.zeros((0, 4), bool)}, "shape", "has frames and points"),
    ({"tracks_XYZ": GOOD["tracks_XYZ"].astype(complex)}, "dtype", "complex128; it must be numbers"),
    ({"tracks_XYZ": GOOD["tracks_XYZ"].astype("U8")}, "dtype", "it must be numbers"),
    ({"tracks_XYZ": nan(GOOD["tracks_XYZ"], 2, 1, 0)}, "nan", "NaN or infinite where a point is visible"),
    ({"tracks_XYZ": GOOD["tracks_XYZ"].astype(object)}, "pickled", "holds tracks_XYZ as pickled objects"),
    ({"visibility": GOOD["visibility"] * 0.5}, "dtype", "other values than 0 and 1"),
    ({"queries_xyt": GOOD["queries_xyt"][:3]}, "shape", r"\(3, 3\); it must be \(n, 3\) with n = 4"),
    ({"queries_xyt": GOOD["queries_xyt"] + [0, 0, 9]}, "query-frame", r"a query is at frame 1\d of a clip of 6 frames"),
    ({"queries_xyt": nan(GOOD["queries_xyt"], 0, 2)}, "nan", "queries_xyt holds NaN"),
    ({"fx_fy_cx_cy": np.eye(3)}, "shape", r"fx_fy_cx_cy has shape \(3, 3\); it must be \(4\)"),
    ({"fx_fy_cx_cy": [0.0, 1, 2, 3]}, "intrinsics", r"\[0.0, 1.0, 2.0, 3.0\]; focal lengths must be more than 0"),
    ({"fx_fy_cx_cy": [np.inf, 1, 2, 3]}, "nan", "fx_fy_cx_cy holds NaN or infinity"),
    ({"extrinsics_w2c": np.eye(4)}, "shape", r"\(4, 4\); it must be \(t, 4, 4\) with t = 6"),
    ({"images_jpeg_bytes": [jpeg(0)]}, "images", "1 frames in images_jpeg_bytes, but 6 in tracks_XYZ"),
    ({"images_jpeg_bytes": [b"no image"] * T}, "images", "frame 0 is no JPEG"),
    ({"images_jpeg_bytes": np.zeros((T, H, W, 3), np.uint8)}, "images", r"uint8 \(6, 48, 64, 3\); it must be JPEG files"),
    ({"images_jpeg_bytes": np.array([], "S4")}, "images", r"\(0,\)"),
    ({"images_jpeg_bytes": objects([Evil()] * T)}, "pickled", r"foreign objects in images_jpeg_bytes: .* names builtins.exec"),
    ({"images_jpeg_bytes": objects([1] * T)}, "pickled", "holds a int as item 0 of images_jpeg_bytes; it must be bytes"),
    ({"images_jpeg_bytes": np.array({"a": 1}, object)}, "images", r"object \(\)"),
]


@pytest.mark.parametrize(("changes", "kind", "message"), DAMAGED)
def test_damage_has_a_kind_and_one_line(
    tmp_path: Path, changes: dict[str, Any], kind: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "bad.npz", GOOD, **changes)
    with pytest.raises(Damage, match=message) as caught:
        read_clip(path)
    assert caught.value.kind == kind
    assert "\n" not in str(caught.value)
    assert "bad" in str(caught.value)
    assert capsys.readouterr().out == ""
    assert pickle.loads(pickle.dumps(caught.value)).kind == kind


def test_hidden_points_may_be_anywhere(tmp_path: Path) -> None:
    frame, point = np.argwhere(~GOOD["visibility"])[0]
    clip = read_clip(save(tmp_path / "a.npz", GOOD, tracks_XYZ=nan(GOOD["tracks_XYZ"], frame, point)))
    assert np.isnan(clip.tracks_XYZ).any()


def test_damage_inside_the_frames_is_found_when_they_are_decoded(tmp_path: Path) -> None:
    frames = [jpeg(0), jpeg(1)[:-100], *GOOD["images_jpeg_bytes"][2:]]
    clip = read_clip(save(tmp_path / "a.npz", GOOD, images_jpeg_bytes=frames))
    with pytest.raises(Damage, match="frame 1 is no whole JPEG"):
        clip.video()
    frames[1] = jpeg(1, (H, W + 8))
    with pytest.raises(Damage, match=r"frame 1 is \(48, 72\), but the first \(48, 64\)"):
        read_clip(save(tmp_path / "b.npz", GOOD, images_jpeg_bytes=frames)).video()
    late = objects([jpeg(0), *[Evil()] * (T - 1)])
    with pytest.raises(Damage, match="foreign objects") as caught:
        read_clip(save(tmp_path / "c.npz", GOOD, images_jpeg_bytes=late)).video()
    assert caught.value.kind == "pickled"


def test_every_cut_ends_in_damage(tmp_path: Path) -> None:
    data = save(tmp_path / "good.npz", GOOD).read_bytes()
    path = tmp_path / "cut.npz"
    for end in range(0, len(data), 199):
        path.write_bytes(data[:end])
        with pytest.raises(Damage, match="cut off or no npz file") as caught:
            read_clip(path)
        assert caught.value.kind == "unreadable"
    rng = np.random.default_rng(0)
    for _ in range(200):
        flipped = bytearray(data)
        for position in rng.integers(0, len(data), 3):
            flipped[position] = rng.integers(256)
        path.write_bytes(bytes(flipped))
        with suppress(Damage):
            read_clip(path).video()


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps(Evil()), b"PK\x03\x04" + bytes(100)])
def test_files_that_are_no_npz(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(Damage, match="cut off or no npz file"):
        read_clip(path)
    with pytest.raises(Damage, match="there is no file"):
        read_prediction(tmp_path / "b.npz")
    with pytest.raises(Damage, match="cannot read"):
        read_prediction(tmp_path)


def header(shape: str, descr: str = "'<f8'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (117 - len(text) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (header("(1000000, 1000000, 3)"), "unreadable", "promises tracks_XYZ of float64"),
        (header("(-2, -2, 3)") + bytes(96), "unreadable", "promises"),
        (header("(2**40, 3)"), "unreadable", "is damaged at tracks_XYZ"),
        (header("(2, 2, 3)", "[('a', '<f8')]") + bytes(96), "dtype", "it must be numbers"),
        (b"\x93NUMPY\x09\x00" + bytes(100), "unreadable", "is damaged at tracks_XYZ"),
        (header("(2, 2, 3)", "'|V0'"), "dtype", "it must be numbers"),
    ],
)
def test_headers_that_lie(tmp_path: Path, content: bytes, kind: str, message: str) -> None:
    path = save(tmp_path / "a.npz", GOOD, tracks_XYZ=None)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("tracks_XYZ.npy", content)
    with pytest.raises(Damage, match=message) as caught:
        read_clip(path)
    assert caught.value.kind == kind


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.npz", GOOD, tracks_XYZ=None)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("tracks_XYZ.npy", header("(1048576, 1, 3)") + bytes(3 * 2**23))
    assert path.stat().st_size < 2**16
    monkeypatch.setattr(npz, "LIMIT", 2**24)
    with pytest.raises(Damage, match="an array may have up to 16777216") as caught:
        read_clip(path)
    assert caught.value.kind == "large"


def test_predictions(tmp_path: Path) -> None:
    arrays = prediction(GOOD)
    read = read_prediction(save(tmp_path / "a.npz", arrays))
    np.testing.assert_array_equal(read.tracks_XYZ, arrays["tracks_XYZ"])
    np.testing.assert_array_equal(read.visibility, arrays["visibility"])
    other = {"tracks_xyz": nan(arrays["tracks_XYZ"].astype(np.float32), 0), "visible": arrays["visibility"].astype(np.uint8)}
    read = read_prediction(save(tmp_path / "b.npz", other))
    assert np.isnan(read.tracks_XYZ[0]).all()
    np.testing.assert_array_equal(read.visibility, arrays["visibility"])
    for changes, message in (
        ({"visibility": arrays["visibility"] * 0.3}, "other values than 0 and 1"),
        ({"visibility": arrays["visibility"].T}, "visibility has shape"),
        ({"tracks_XYZ": arrays["tracks_XYZ"][0]}, r"tracks_XYZ is float64 \(4, 3\)"),
        ({"visibility": None}, "has no array visibility; it holds tracks_XYZ"),
    ):
        with pytest.raises(Damage, match=message):
            read_prediction(save(tmp_path / "c.npz", arrays, **changes))


def test_depth_maps(tmp_path: Path) -> None:
    path = depth_path(tmp_path / "a.npz")
    depth = np.ones((T, H, W), np.float32)
    save(path, {"depth": depth})
    np.testing.assert_array_equal(read_depth(path, depth.shape), depth)
    with pytest.raises(Damage, match=r"for this clip it must be floats \(5, 48, 64\)"):
        read_depth(path, (5, H, W))
    with pytest.raises(Damage, match="has no array depth"):
        read_depth(save(tmp_path / "b.depth.npz", {"d": depth}), depth.shape)
