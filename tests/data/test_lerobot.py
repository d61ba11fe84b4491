"""Copies of LeRobot data sets with more columns, with values that are computed for each episode."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tapetum.core.errors import BadInput
from tapetum.core.identity import fingerprint
from tapetum.data.lerobot import FrameFeature, compute_stats, copy_with_features
from tapetum.video import open_video
from tapetum.video.lerobot import open_lerobot

SET = Path(__file__).parents[1] / "golden" / "lerobot" / "set"


@pytest.mark.slow
def test_a_copy_has_the_columns_and_all_else_as_it_was(tmp_path: Path) -> None:
    """The layout is that which the package wrote; that it opens such a copy was checked with lerobot 0.4.4."""
    before, out = fingerprint(SET), tmp_path / "copy"
    data = open_lerobot(SET)
    place = np.array([16, 12, 48, 12, 16, 36, 48, 36], np.float32)
    features = [
        FrameFeature(name="flags.wrist.cut", dtype="bool"),
        FrameFeature(name="tracks.wrist.xy", dtype="float32", size=8),
        FrameFeature(name="tracks.wrist.visible", dtype="bool", size=4),
    ]

    def compute(number: int) -> dict[str, np.ndarray]:
        length = data.episodes[number].length
        tracks = {"tracks.wrist.xy": np.tile(place, (length, 1)), "tracks.wrist.visible": np.ones((length, 4), bool)}
        return tracks | {"flags.wrist.cut": np.zeros(length, bool)}

    copy_with_features(data, out, features, compute)
    assert fingerprint(SET) == before
    copy = open_lerobot(out)
    assert [name for name in copy.features if name not in data.features] == [each.name for each in features]
    assert copy.features["tracks.wrist.xy"]["shape"] == [8]
    for number in range(3):
        rows = copy.rows(number, ("action", "tracks.wrist.xy", "tracks.wrist.visible"))
        assert np.array_equal(rows["action"], data.rows(number, ("action",))["action"])
        assert rows["tracks.wrist.xy"].tolist() == [[16, 12, 48, 12, 16, 36, 48, 36]] * copy.episodes[number].length
        assert rows["tracks.wrist.visible"].all()
    assert np.array_equal(open_video(f"{out}#episode=1,camera=top")[:], open_video(f"{SET}#episode=1,camera=top")[:])
    schema = pq.read_schema(out / "data/chunk-000/file-000.parquet")
    assert str(schema.field("tracks.wrist.xy").type) == "fixed_size_list<element: float>[8]"
    assert str(schema.field("flags.wrist.cut").type) == "bool"
    columns = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert columns["action"] == {"feature": {"dtype": "float32", "_type": "Value"}, "length": 2, "_type": "List"}
    assert columns["tracks.wrist.xy"] == columns["action"] | {"length": 8}
    stats = json.loads((out / "meta/stats.json").read_text())
    assert stats["tracks.wrist.xy"]["mean"] == [16, 12, 48, 12, 16, 36, 48, 36]
    episodes = pq.read_table(out / "meta/episodes/chunk-000/file-000.parquet")
    assert episodes["stats/flags.wrist.cut/count"].to_pylist() == [[7], [5], [9]]


def test_statistics_are_those_that_the_package_wrote() -> None:
    """Extremes, mean and deviation of the whole set, and of an episode; the package's quantiles are from histograms."""
    data, stored = open_lerobot(SET), json.loads((SET / "meta/stats.json").read_text())
    rows = [data.rows(number, ("action", "observation.state")) for number in range(3)]
    for name in ("action", "observation.state"):
        stats = compute_stats(np.concatenate([each[name] for each in rows]))
        assert stats.keys() == stored[name].keys()
        for key in ("min", "max", "mean", "std", "count"):
            assert stats[key] == pytest.approx(stored[name][key], rel=1e-4)
    table = pq.read_table(SET / "meta/episodes/chunk-000/file-000.parquet")
    assert compute_stats(rows[1]["action"])["std"] == pytest.approx(table["stats/action/std"].to_pylist()[1], rel=1e-4)


def test_texts_are_columns_without_statistics(tmp_path: Path) -> None:
    data, out = open_lerobot(SET), tmp_path / "copy"
    feature = FrameFeature(name="caption.top", dtype="string")
    copy_with_features(
        data, out, [feature], lambda number: {"caption.top": np.array([f"é {number}"] * (7, 5, 9)[number], object)}
    )
    assert open_lerobot(out).rows(2, ("caption.top",))["caption.top"].tolist() == ["é 2"] * 9
    assert "caption.top" not in json.loads((out / "meta/stats.json").read_text())
    with pytest.raises(BadInput, match="has a feature caption"):
        copy_with_features(open_lerobot(out), tmp_path / "again", [feature], lambda number: {})


@pytest.mark.parametrize(
    ("out", "message"), [("{set}/meta/copy", "lies in"), ("{set}", "is not empty"), ("{tmp}/full", "is not empty")]
)
def test_a_place_that_is_taken_is_refused_and_nothing_is_written(out: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    before = fingerprint(SET)
    with pytest.raises(BadInput, match=message):
        copy_with_features(open_lerobot(SET), Path(out.format(set=SET, tmp=tmp_path)), [], lambda number: {})
    assert fingerprint(SET) == before
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "file"]
