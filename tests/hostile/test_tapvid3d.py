"""A folder of every kind of bad clip and one of bad predictions: each is named, none runs code, nothing stops at the first."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.tapvid3d_clips import CAMERA, N, T, example, jpeg, objects, prediction, save

Run = Callable[..., tuple[int, str, str]]

GOOD = example()
SEEN = GOOD["visibility"]


class Evil:
    def __reduce__(self) -> tuple:
        return print, ("code from a file was run",)


def nan(array: np.ndarray) -> np.ndarray:
    return np.where(SEEN[..., None], np.nan, array)


CLIPS: dict[str, tuple[dict[str, Any], str]] = {
    "truncated": ({}, "unreadable"),
    "empty": ({}, "unreadable"),
    "bare-pickle": ({}, "unreadable"),
    "flipped": ({}, "unreadable"),
    "encrypted": ({}, "unreadable"),
    "bomb": ({}, "unreadable"),
    "pickled-frames": ({"images_jpeg_bytes": objects([Evil()] * T)}, "pickled"),
    "pickled-frames-later": ({"images_jpeg_bytes": objects([jpeg(0), *[Evil()] * (T - 1)])}, "pickled"),
    "pickled-text": ({"images_jpeg_bytes": objects(["text"] * T)}, "pickled"),
    "pickled-tracks": ({"tracks_XYZ": objects([Evil()])}, "pickled"),
    "pickled-dict": ({"visibility": np.array({"a": Evil()}, object)}, "pickled"),
    "no-tracks": ({"tracks_XYZ": None}, "key"),
    "transposed": ({"tracks_XYZ": GOOD["tracks_XYZ"].transpose(1, 0, 2)}, "shape"),
    "other-frames": ({"images_jpeg_bytes": GOOD["images_jpeg_bytes"][:2]}, "images"),
    "text": ({"queries_xyt": np.full((N, 3), "x")}, "dtype"),
    "nan": ({"tracks_XYZ": nan(GOOD["tracks_XYZ"])}, "nan"),
    "nan-queries": ({"queries_xyt": np.full((N, 3), np.nan)}, "nan"),
    "query-after-the-end": ({"queries_xyt": GOOD["queries_xyt"] + [0, 0, T]}, "query-frame"),
    "never-visible": ({"visibility": np.zeros((T, N), bool)}, "never-visible"),
    "one-never-visible": ({"visibility": SEEN & (np.arange(N) > 0)}, "never-visible"),
    "camera-turned-round": ({"fx_fy_cx_cy": CAMERA[[2, 3, 0, 1]]}, "intrinsics"),
    "camera-interleaved": ({"fx_fy_cx_cy": CAMERA[[0, 2, 1, 3]]}, "intrinsics"),
    "camera-matrix": ({"fx_fy_cx_cy": np.eye(3)}, "shape"),
    "camera-negative": ({"fx_fy_cx_cy": -CAMERA}, "intrinsics"),
}


def spoil(name: str, path: Path) -> None:
    data = path.read_bytes()
    if name == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif name == "empty":
        path.write_bytes(b"")
    elif name == "bare-pickle":
        path.write_bytes(pickle.dumps(Evil()))
    elif name == "flipped":
        at = data.index(GOOD["tracks_XYZ"].tobytes()[:16])
        path.write_bytes(data[:at] + bytes(8) + data[at + 8 :])
    elif name == "encrypted":
        changed = bytearray(data)
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            at = changed.find(signature)
            while at >= 0:
                changed[at + offset] |= 1
                at = changed.find(signature, at + 4)
        path.write_bytes(bytes(changed))
    elif name == "bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for key in ("tracks_XYZ", "visibility", "queries_xyt", "fx_fy_cx_cy"):
                header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999, 99999, 3), }\n"
                file.writestr(f"{key}.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(2**22))


@pytest.mark.parametrize("as_json", [True, False])
def test_check_names_every_bad_clip_and_no_good_one(run: Run, tmp_path: Path, as_json: bool) -> None:
    for name, (changes, _) in CLIPS.items():
        spoil(name, save(tmp_path / f"{name}.npz", GOOD, **changes))
    save(tmp_path / "good.npz", GOOD)
    code, out, err = run("tapvid3d", "check", tmp_path, *(["--json"] if as_json else []))
    assert code == 2
    assert "was run" not in out + err
    assert "Traceback" not in err
    if as_json:
        report = json.loads(out)
        assert {f["file"].removesuffix(".npz"): f["kind"] for f in report["findings"]} == {
            name: kind for name, (_, kind) in CLIPS.items()
        }
        assert report["files"] == len(CLIPS) + 1
    else:
        assert {line.split(".npz: ")[0].split()[-1] for line in out.splitlines() if ".npz: " in line} == set(CLIPS)


PREDICTION = prediction(GOOD)
PREDICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({}, "there is no file"),
    "truncated": ({}, "is cut off or no npz file"),
    "bare-pickle": ({}, "is cut off or no npz file"),
    "encrypted": ({}, "is damaged"),
    "pickled": ({"tracks_XYZ": objects([Evil()])}, "pickled objects"),
    "dict": ({"visibility": np.array({"a": Evil()}, object)}, "pickled objects"),
    "other-key": ({"tracks_XYZ": None, "tracks": PREDICTION["tracks_XYZ"]}, "has no array tracks_XYZ"),
    "turned": ({"tracks_XYZ": np.zeros((N, T, 3)), "visibility": np.ones((N, T), bool)}, "it looks like (n, t, 3)"),
    "flat": ({"tracks_XYZ": np.zeros((T, N, 2))}, "must be numbers (t, n, 3)"),
    "fewer": ({"tracks_XYZ": np.zeros((T, N - 1, 3)), "visibility": SEEN[:, 1:]}, "must be (6, 4, 3)"),
    "logits": ({"visibility": np.full((T, N), -3.5)}, "other values than 0 and 1"),
    "text": ({"tracks_XYZ": np.full((T, N, 3), "x")}, "it must be numbers"),
}


def test_eval_names_every_bad_prediction_and_scores_the_good_one(run: Run, tmp_path: Path) -> None:
    for name, (changes, _) in PREDICTIONS.items():
        save(tmp_path / "gt" / f"{name}.npz", GOOD)
        if name != "missing":
            spoil(name, save(tmp_path / "pred" / f"{name}.npz", PREDICTION, **changes))
    for name, changes in (("good", {}), ("nan", {"tracks_XYZ": np.full((T, N, 3), np.nan)})):
        save(tmp_path / "gt" / f"{name}.npz", GOOD)
        save(tmp_path / "pred" / f"{name}.npz", PREDICTION, **changes)
    code, out, err = run("eval", "tapvid3d", "--gt", tmp_path / "gt", "--predictions", tmp_path / "pred", "--json")
    assert code == 0
    assert "was run" not in out + err
    result = json.loads(out)
    reasons = {failed["name"]: failed["reason"] for failed in result["failed"]}
    assert reasons.keys() == PREDICTIONS.keys()
    for name, (_, message) in PREDICTIONS.items():
        assert message in reasons[name]
        assert f"clips/{name} counts as 0: " in err
    assert "1 clips have predicted positions that are NaN or infinite" in err
    assert result["scalings"]["median"]["sources"]["clips"]["failed"] == len(PREDICTIONS)
    assert result["scalings"]["median"]["average"]["average_jaccard"] == pytest.approx(1 / (len(PREDICTIONS) + 2))
