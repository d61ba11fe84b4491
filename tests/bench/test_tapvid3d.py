"""TAPVid-3D scored on small files in every layout; the public driver's own numbers; predictions that cannot be scored."""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.scripts import GOLDEN
from support.tapvid3d_clips import H, N, T, W, example, prediction, save
from tapetum.bench.baselines import load_tracker3d
from tapetum.bench.tapvid3d import METRICS, evaluate
from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.baselines import PointArrays, Static3D
from tapetum.systems.tapvid3d.folders import files

PUBLIC = json.loads((GOLDEN / "tapvid3d_eval.json").read_text())
EVERY = ("none", "median", "mean", "median_on_queries", "per_trajectory", "local_neighborhood", "reproduce_2d")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three clips, a perfect prediction, one off by 3 cm, and none for the last: what the golden driver was run on."""
    for number in range(3):
        arrays = example(number)
        save(tmp_path / "gt" / f"{number}.npz", arrays)
        if number < 2:
            save(tmp_path / "pred" / f"{number}.npz", prediction(arrays, 0.03 * number))
    return tmp_path / "gt", tmp_path / "pred"


@pytest.mark.parametrize("mode", PUBLIC)
def test_the_public_driver_says_the_same(folders: tuple[Path, Path], mode: str) -> None:
    result = evaluate(*folders, scalings=(mode,))  # pyright: ignore[reportArgumentType]
    ours = result["scalings"][mode]["average"]
    assert set(PUBLIC[mode]) == set(ours) == set(METRICS)
    for name, value in PUBLIC[mode].items():
        assert ours[name] == pytest.approx(value, abs=1e-9), name
    [failed] = result["failed"]
    assert (failed["source"], failed["name"]) == ("clips", "2")
    assert failed["reason"].startswith("there is no file ")


def test_clips_weigh_the_same_in_a_source_and_sources_in_the_average(tmp_path: Path) -> None:
    gt, pred = tmp_path / "gt", tmp_path / "pred"
    for source, seeds in (("adt", (0, 1, 2)), ("pstudio", (3,))):
        for seed in seeds:
            arrays = example(seed)
            save(gt / source / f"{seed}.npz", arrays)
            save(pred / source / f"{seed}.npz", prediction(arrays, 0.04 * seed))
    result = evaluate(gt, pred, scalings=("none", "median"))
    assert result["clips"] == 4
    for table in result["scalings"].values():
        assert list(table["sources"]) == ["adt", "pstudio"]
        assert [means["clips"] for means in table["sources"].values()] == [3, 1]
    for name in ("average_jaccard", "pts_within_2"):
        rows = {row["name"]: row["scores"]["none"][name] for row in result["per_clip"]}
        table = result["scalings"]["none"]
        assert table["sources"]["adt"][name] == pytest.approx((rows["0"] + rows["1"] + rows["2"]) / 3)
        assert table["average"][name] == pytest.approx((table["sources"]["adt"][name] + rows["3"]) / 2)
    assert evaluate(gt / "adt", pred, scalings=("none",))["scalings"]["none"]["average"] == pytest.approx(
        {name: result["scalings"]["none"]["sources"]["adt"][name] for name in METRICS}
    )


def test_a_perfect_prediction_scores_one_in_every_mode(tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path / "gt" / f"{number}.npz", example(number))
    result = evaluate(tmp_path / "gt", tmp_path / "gt", scalings=EVERY)
    for table in result["scalings"].values():
        assert set(table["average"].values()) == {1.0}


def test_annotations_without_frames_are_scored_as_with_them(tmp_path: Path) -> None:
    arrays = example()
    arrays["images_jpeg_bytes"] = None
    save(tmp_path / "gt" / "basketball_5.npz", arrays)
    save(tmp_path / "pred" / "basketball_5.npz", prediction(arrays, 0.02))
    result = evaluate(tmp_path / "gt", tmp_path / "pred", scalings=("none",))
    [row] = result["per_clip"]
    threshold = arrays["tracks_XYZ"][..., 2] / (np.sqrt(50 * 52) * 256 / 360)
    expected = (2 * threshold > 0.02)[arrays["visibility"]].mean()
    assert row["source"] == "pstudio"
    assert row["scores"]["none"]["pts_within_2"] == pytest.approx(expected)
    save(tmp_path / "other" / "mine.npz", arrays)
    with pytest.raises(BadInput, match="mine has no frames and no official name"):
        evaluate(tmp_path / "other", tmp_path / "pred")


GOOD = prediction(example())
NAN = np.where(np.arange(N)[:, None] == 1, np.nan, GOOD["tracks_XYZ"])


def test_predicted_nan_is_wrong_and_counted(tmp_path: Path) -> None:
    save(tmp_path / "gt" / "a.npz", example())
    save(tmp_path / "pred" / "a.npz", GOOD, tracks_XYZ=NAN)
    result = evaluate(tmp_path / "gt", tmp_path / "pred", scalings=("none",))
    seen = GOOD["visibility"]
    assert (result["not_finite"], result["per_clip"][0]["not_finite"], result["failed"]) == (1, T, [])
    assert result["scalings"]["none"]["average"]["average_pts_within_thresh"] == pytest.approx(
        1 - seen[:, 1].sum() / seen.sum()
    )


def test_a_clip_without_any_visible_point_is_left_out_and_counted(tmp_path: Path) -> None:
    for name, changes in (("a", {}), ("hidden", {"visibility": np.zeros((T, N), bool)})):
        save(tmp_path / "gt" / f"{name}.npz", example(), **changes)
        save(tmp_path / "pred" / f"{name}.npz", GOOD)
    result = evaluate(tmp_path / "gt", tmp_path / "pred", rows=tmp_path / "rows.jsonl")
    again = evaluate(tmp_path / "gt", tmp_path / "pred", rows=tmp_path / "rows.jsonl")
    for this in (result, again):
        table = this["scalings"]["median"]
        assert (table["dropped"], table["average"]["average_pts_within_thresh"]) == (1, 1)
        assert math.isnan(this["per_clip"][1]["scores"]["median"]["average_pts_within_thresh"])


def test_damaged_truth_stops_everything(folders: tuple[Path, Path]) -> None:
    path = folders[0] / "1.npz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(BadInput, match=r"1\.npz is cut off"):
        evaluate(*folders)


def test_a_split_must_be_whole(tmp_path: Path) -> None:
    arrays = example()
    for name in files("minival", "pstudio"):
        save(tmp_path / "gt" / "pstudio" / name, arrays)
    (tmp_path / "gt" / "pstudio" / files("minival", "pstudio")[7]).unlink()
    pred = tmp_path / "pred"
    pred.mkdir()
    with pytest.raises(BadInput, match="1 of 50 clips of the split minival are missing, the first being"):
        evaluate(tmp_path / "gt", pred, split="minival")
    with pytest.raises(BadInput, match="106 of 106 clips of the split full are missing"):
        evaluate(tmp_path / "gt", pred, split="full")
    assert evaluate(tmp_path / "gt", pred)["clips"] == 49


class Oracle:
    """Knows the answers of a folder, and checks what it is asked."""

    def __init__(self, clips: dict[tuple[float, ...], dict[str, Any]], asked: Path):
        self.clips, self.asked = clips, asked

    def track(self, video: np.ndarray, queries_xyt: np.ndarray, intrinsics: np.ndarray, depth: Any = None) -> PointArrays:
        assert (video.dtype, video.shape) == (np.uint8, (T, H, W, 3))
        arrays = self.clips[tuple(queries_xyt.ravel())]
        np.testing.assert_array_equal(intrinsics, arrays["fx_fy_cx_cy"])
        assert depth is None or (depth.shape, depth[0, 0, 0]) == ((T, H, W), 2)
        with open(self.asked, "a") as file:
            file.write("x" if depth is None else "d")
        return PointArrays(arrays["tracks_XYZ"].transpose(1, 0, 2), arrays["visibility"].T)


@pytest.fixture
def oracle(tmp_path: Path) -> tuple[Path, Callable[[], Oracle], Path]:
    """A folder of 4 clips with depth, what makes a tracker that knows them, and the file in which it counts its work."""
    clips = {}
    for number in range(4):
        arrays = example(number)
        save(tmp_path / "gt" / f"{number}.npz", arrays)
        save(tmp_path / "gt" / f"{number}.depth.npz", {"depth": np.full((T, H, W), 2, np.float32)})
        clips[tuple(arrays["queries_xyt"].ravel())] = arrays
    return tmp_path / "gt", partial(Oracle, clips, tmp_path / "asked"), tmp_path / "asked"


@pytest.mark.parametrize("true_depth", [False, True])
def test_a_tracker_in_place_of_predictions(oracle: tuple[Path, Callable[[], Oracle], Path], true_depth: bool) -> None:
    gt, load, asked = oracle
    result = evaluate(gt, load=load, true_depth=true_depth, scalings=("none", "median"))
    assert set(result["scalings"]["none"]["average"].values()) == {1.0}
    assert asked.read_text() == 4 * ("d" if true_depth else "x")


def test_a_tracker_that_gives_up_on_a_clip_is_asked_again(
    oracle: tuple[Path, Callable[[], Oracle], Path], tmp_path: Path
) -> None:
    class Picky(Static3D):
        def track(self, video: np.ndarray, queries_xyt: np.ndarray, *rest: Any) -> PointArrays:
            if queries_xyt[0, 0] == example(2)["queries_xyt"][0, 0]:
                raise BadInput("nothing moves in this video")
            return super().track(video, queries_xyt, *rest)

    result = evaluate(oracle[0], load=Picky, rows=tmp_path / "rows.jsonl")
    assert result["failed"] == [{"source": "clips", "name": "2", "reason": "nothing moves in this video"}]
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 4
    again = evaluate(oracle[0], load=Static3D, rows=tmp_path / "rows.jsonl")  # mended meanwhile
    assert again["failed"] == []


def test_work_goes_on_where_it_was_stopped(oracle: tuple[Path, Callable[[], Oracle], Path], tmp_path: Path) -> None:
    gt, load, asked = oracle
    rows = tmp_path / "rows.jsonl"

    def stop(row: dict[str, Any], done: int, every: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(gt, load=load, rows=rows, progress=stop)
    with open(rows, "a") as file:
        file.write('{"key": "clips/2.npz", "st')
    whole = evaluate(gt, load=load, rows=rows)
    assert len(asked.read_text()) == 4
    assert len(rows.read_text().splitlines()) == 5
    again = evaluate(gt, load=load, rows=rows)
    assert len(asked.read_text()) == 4
    assert again == whole == {**evaluate(gt, load=load), "seconds": whole["seconds"], "per_clip": whole["per_clip"]}
    asked.write_text("")
    save(gt / "1.npz", example(1), visibility=~example(1)["visibility"] | (np.arange(T) == 2)[:, None])
    changed = evaluate(gt, load=load, rows=rows)
    assert len(asked.read_text()) == 1
    assert changed["per_clip"][1]["scores"] != whole["per_clip"][1]["scores"]
    heard: list[str] = []
    evaluate(gt, load=load, rows=rows, scalings=("none",), note=heard.append)
    assert heard == [f"{rows}: 4 results that were kept there differ in scalings; they are computed again"]
    evaluate(gt, load=load, rows=tmp_path / "r.jsonl", settings={"model": "a"})
    evaluate(gt, load=load, rows=tmp_path / "r.jsonl", settings={"model": "b"}, note=heard.append)
    assert heard[1:] == [f"{tmp_path / 'r.jsonl'}: 4 results that were kept there differ in model; they are computed again"]
    rows.write_text("hello\n")
    with pytest.raises(BadInput, match="does not hold rows of an evaluation"):
        evaluate(gt, load=load, rows=rows)
    with pytest.raises(BadInput, match="cannot write"):
        evaluate(gt, load=load, rows=tmp_path / "none" / "rows.jsonl")


@pytest.mark.slow
def test_processes_give_the_same(folders: tuple[Path, Path]) -> None:
    def without_times(result: dict[str, Any]) -> dict[str, Any]:
        rows = [{**row, "seconds": 0} for row in result["per_clip"]]
        return {**result, "seconds": 0, "per_clip": rows}

    alone = evaluate(*folders, scalings=EVERY)
    assert without_times(evaluate(*folders, scalings=EVERY, workers=2)) == without_times(alone)
    tracked = evaluate(folders[0], load=partial(load_tracker3d, "static"), workers=2)
    assert tracked["scalings"] == evaluate(folders[0], load=Static3D)["scalings"]


def test_static_by_hand(tmp_path: Path) -> None:
    """One point at 2 m that moves 3 cm to the side after frame 2: 2 of 6 frames are off, by 3 px of the 256 px camera."""
    tracks = np.tile([0, 0, 2.0], (6, 1, 1))
    focal = 50 * 256 / H
    tracks[4:, 0, 0] = 3 * 2 / focal
    save(
        tmp_path / "a.npz",
        example(),
        tracks_XYZ=tracks,
        visibility=np.ones((6, 1), bool),
        queries_xyt=[[32, 24, 1]],
        fx_fy_cx_cy=[50, 50, 32, 24],
    )
    scores = evaluate(tmp_path, load=Static3D, scalings=("reproduce_2d",))["scalings"]["reproduce_2d"]["average"]
    assert scores["occlusion_accuracy"] == 1
    assert [scores[f"pts_within_{d}"] for d in (1, 2, 4, 8, 16)] == pytest.approx([4 / 6, 4 / 6, 1, 1, 1])
    assert scores["jaccard_1"] == pytest.approx(4 / (6 + 2))


def test_wrong_requests(folders: tuple[Path, Path]) -> None:
    gt, pred = folders
    for arguments, message in (
        ({}, "one of the two"),
        ({"pred": pred, "scalings": ()}, "0 scalings"),
        ({"pred": gt / "none"}, "there is no folder .* of predictions"),
        ({"pred": pred, "scalings": ("best",)}, "there is no scaling 'best'; it is one of none, median"),
    ):
        with pytest.raises(BadInput, match=message):
            evaluate(gt, **arguments)  # pyright: ignore[reportArgumentType]
    with pytest.raises(BadInput, match="there is no folder"):
        evaluate(gt / "none", pred)
    with pytest.raises(BadInput, match="holds no npz file"):
        evaluate(gt.parent, pred)
