"""The TAP-Vid reader and runner on small files of every official layout, and on damaged ones."""

import io
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tapetum.bench.baselines import Static
from tapetum.bench.tapvid import as_json, compare, evaluate, read_clips, sample_queries
from tapetum.core.errors import BadInput
from tapetum.tracks.metrics import PUBLISHED, redetection_metrics
from tapetum.types import Tracks

T = 7


def entry(seed: int = 0, size: tuple[int, int] = (24, 32), tracks: int = 3, frames: int = T) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "video": rng.integers(0, 255, (frames, *size, 3), dtype=np.uint8),
        "points": rng.uniform(0, 1, (tracks, frames, 2)),
        "occluded": rng.random((tracks, frames)) < 0.3,
    }


def jpegs(video: np.ndarray) -> list[bytes]:
    def encode(frame: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=95)
        return buffer.getvalue()

    return [encode(frame) for frame in video]


def write(path: Path, content: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path


class Oracle:
    """Knows the truth of one clip, and answers with it after checking what it was asked."""

    def __init__(self, path: Path, mode: str, size: int):
        clip = next(read_clips(path, size))
        self.sampled, self.size = sample_queries(clip.tracks, clip.occluded, mode), size

    def track(self, video: np.ndarray, queries: np.ndarray) -> Tracks:
        assert (video.dtype, video.shape[1:]) == (np.uint8, (self.size, self.size, 3))
        np.testing.assert_array_equal(queries, self.sampled.queries.astype(np.float32))
        confidence = np.ones(self.sampled.occluded.shape)
        return Tracks(xy=self.sampled.tracks, visible=~self.sampled.occluded, confidence=confidence, queries=queries)


@pytest.mark.parametrize("mode", ["first", "strided"])
@pytest.mark.parametrize("size", [256, 64])
def test_a_perfect_tracker_scores_one(tmp_path: Path, mode: str, size: int) -> None:
    path = write(tmp_path / "a.pkl", {"bear": entry(frames=12)})
    result = evaluate(Oracle(path, mode, size), path, mode, size=size)
    assert result["average_jaccard"] == result["average_pts_within_thresh"] == result["occlusion_accuracy"] == 1
    assert result["videos"] == 1
    assert result["per_video"][0]["name"] == "bear"


def test_frames_are_resized_and_points_scaled(tmp_path: Path) -> None:
    item = entry()
    clip = next(read_clips(write(tmp_path / "a.pkl", {"bear": item})))
    assert clip.video.shape == (T, 256, 256, 3)
    expected = Image.fromarray(item["video"][2]).resize((256, 256), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(clip.video[2], np.asarray(expected))
    np.testing.assert_allclose(clip.tracks, item["points"] * 256)
    square = entry(size=(256, 256))
    np.testing.assert_array_equal(next(read_clips(write(tmp_path / "b.pkl", [square]))).video, square["video"])


def test_every_official_layout_is_read(tmp_path: Path) -> None:
    davis = write(tmp_path / "davis.pkl", {"bear": entry(0), "camel": entry(1, size=(32, 24))})
    assert [clip.name for clip in read_clips(davis)] == ["bear", "camel"]
    stacking = write(tmp_path / "stacking.pkl", [entry(0), entry(1)])
    assert [clip.name for clip in read_clips(stacking)] == ["00000", "00001"]
    shards = tmp_path / "kinetics"
    shards.mkdir()
    for shard in range(2):
        item = entry(shard)
        item["video"] = jpegs(item["video"])
        write(shards / f"{shard:04d}_of_0010.pkl", [item])
    names = ["0000_of_0010/00000", "0001_of_0010/00000"]
    assert [clip.name for clip in read_clips(shards)] == names
    assert [clip.name for clip in read_clips(f"{shards}/*_of_0010.pkl")] == names


@pytest.mark.parametrize("kind", ["list", "object", "bytes"])
def test_jpeg_frames_are_decoded(tmp_path: Path, kind: str) -> None:
    smooth = np.broadcast_to(np.linspace(0, 255, 32)[None, None, :, None], (T, 24, 32, 3)).astype(np.uint8)
    frames: Any = jpegs(smooth)
    if kind == "object":
        frames = np.array(frames, dtype=object)
    elif kind == "bytes":
        frames = np.array(frames)
    item = {**entry(), "video": frames}
    clip = next(read_clips(write(tmp_path / "robotap.pkl", {"a": item})))
    raw = next(read_clips(write(tmp_path / "raw.pkl", {"a": {**item, "video": smooth}})))
    assert np.abs(clip.video.astype(int) - raw.video).max() < 12


def damaged(field: str, value: Any) -> dict[str, Any]:
    return {"good": entry(), "bad": {**entry(1), field: value}}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("video", np.zeros((T, 8, 8, 3), np.float32), r"float32 \(7, 8, 8, 3\); it must be uint8"),
        ("video", np.zeros((T - 1, 8, 8, 3), np.uint8), "6 frames, but points and occluded have 7"),
        ("video", np.zeros((0, 8, 8, 3), np.uint8), "no frames"),
        ("video", 3, "int; it must be uint8"),
        ("video", [b"not an image"] * T, "frame 0 is no whole image"),
        ("video", [jpegs(np.zeros((1, 64, 64, 3), np.uint8))[0][:300]] * T, "frame 0 is no whole image"),
        ("points", np.zeros((3, T)), r"float64 \(3, 7\); with occluded \(3, 7\) it must be numbers \(3, 7, 2\)"),
        ("points", np.full((3, T, 2), np.nan), "a visible point is NaN"),
        ("points", np.full((3, T, 2), 100.0), "reaches 100; points are shares"),
        ("occluded", np.zeros((3, T, 1), bool), r"bool \(3, 7, 1\)"),
        ("occluded", np.full((3, T), 0.5), "must be bool"),
    ],
)
def test_damage_names_the_video_and_the_field(tmp_path: Path, field: str, value: Any, message: str) -> None:
    path = write(tmp_path / "a.pkl", damaged(field, value))
    with pytest.raises(BadInput, match=f"video 'bad', field '{field}': .*{message}") as caught:
        evaluate(Static(), path, "first")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "an empty dict"),
        ({"a": 3}, "video 'a' is a int"),
        ({"a": {"video": 1}}, "field 'points': missing"),
        ({"a": eval}, r"names \w+\.eval"),
    ],
)
def test_other_pickles_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        evaluate(Static(), write(tmp_path / "a.pkl", content), "first")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"):
        evaluate(Static(), tmp_path / "a.pkl", "first")
    with pytest.raises(BadInput, match=r"there is no file .*\*\.pkl"):
        evaluate(Static(), tmp_path, "first")


def test_a_video_without_visible_points_is_counted_as_dropped(tmp_path: Path) -> None:
    hidden = {**entry(1), "occluded": np.ones((3, T), bool)}
    bare = {**entry(2), "points": np.zeros((0, T, 2)), "occluded": np.zeros((0, T), bool)}
    path = write(tmp_path / "a.pkl", {"a": entry(), "hidden": hidden, "bare": bare})
    seen: list[str] = []
    result = evaluate(Static(), path, "first", progress=lambda name, scores: seen.append(name))
    alone = evaluate(Static(), write(tmp_path / "b.pkl", {"a": entry()}), "first")
    assert seen == ["a", "hidden", "bare"]
    assert result["videos"] == 3
    assert result["dropped"]["average_jaccard"] == 2
    assert result["average_jaccard"] == alone["average_jaccard"]
    assert math.isnan(result["per_video"][1]["average_jaccard"])
    text = json.dumps(as_json(result), allow_nan=False)
    assert json.loads(text)["per_video"][1]["average_jaccard"] is None


def test_static_baseline_by_hand(tmp_path: Path) -> None:
    points = np.full((1, T, 2), 0.5)
    points[0, 4:, 0] += 3 / 256
    still = {**entry(), "points": points, "occluded": np.zeros((1, T), bool)}
    result = evaluate(Static(), write(tmp_path / "a.pkl", [still]), "first")
    assert result["occlusion_accuracy"] == 1
    assert result["pts_within_2"] == 3 / 6
    assert result["jaccard_2"] == 3 / (6 + 3)
    assert result["average_pts_within_thresh"] == pytest.approx((2 * 0.5 + 3) / 5)


def test_queries_just_outside_the_image_are_moved_to_its_edge(tmp_path: Path) -> None:
    asked: list[np.ndarray] = []

    class Spy(Static):
        def track(self, video: Any, queries: np.ndarray, **options: Any) -> Tracks:
            asked.append(queries)
            return super().track(video, queries)

    points = np.stack([np.full((T, 2), -0.002), np.full((T, 2), 1.002)])
    item = {**entry(), "points": points, "occluded": np.zeros((2, T), bool)}
    result = evaluate(Spy(), write(tmp_path / "a.pkl", [item]), "first")
    assert asked[0].tolist() == [[0, 0, 0], [0, 256, 256]]
    assert result["average_jaccard"] == 1


class Shifted(Static):
    def track(self, video: Any, queries: Any, /, **options: Any) -> Tracks:
        still = super().track(video, queries, **options)
        return Tracks(xy=still.xy + 2, visible=still.visible, confidence=still.confidence, queries=still.queries)


def test_two_trackers_are_compared_video_by_video(tmp_path: Path) -> None:
    data = write(tmp_path / "a.pkl", {f"v{k}": entry(k) for k in range(6)})
    one, other = (evaluate(kind(), data, "first") for kind in (Static, Shifted))
    same = compare(one, one)["average_jaccard"]
    assert (same["difference"], same["interval"], same["videos"]) == (0.0, (0.0, 0.0), 6)
    change = compare(one, other)["average_pts_within_thresh"]
    assert change["difference"] == pytest.approx(other["average_pts_within_thresh"] - one["average_pts_within_thresh"])
    assert change["interval"][0] <= change["difference"] <= change["interval"][1]
    low, high = one["intervals"]["average_jaccard"]
    rows = [row["average_jaccard"] for row in one["per_video"]]
    assert min(rows) <= low <= one["average_jaccard"] <= high <= max(rows)
    with pytest.raises(BadInput, match="other videos or another mode"):
        compare(one, evaluate(Static(), data, "strided"))


def test_points_that_come_back_are_scored_where_that_is_asked_for(tmp_path: Path) -> None:
    data = write(tmp_path / "a.pkl", {"v": entry(3, tracks=5)})
    result = evaluate(Static(), data, "first", redetection=PUBLISHED)
    clip = next(read_clips(data))
    sampled = sample_queries(clip.tracks, clip.occluded, "first")
    still = np.repeat(sampled.queries[:, None, 1:], T, 1).astype(np.float32)
    visible = np.zeros(sampled.occluded.shape, bool)
    wanted = redetection_metrics(sampled.occluded, sampled.tracks, visible, still)
    assert result["aj_rd"] == pytest.approx(wanted["aj_rd"])
    assert "aj_rd" in result["intervals"]
    assert "aj_rd" not in evaluate(Static(), data, "first")
