"""Data sets of LeRobot, against what the package itself reads from one that it wrote (tests/golden/make_lerobot_golden.py)."""

import json
import pickle
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tapetum.app.track.many import find_sources
from tapetum.core.errors import BadInput
from tapetum.video import open_video
from tapetum.video.episodes import files_of_episode, list_episodes
from tapetum.video.lerobot import ACTION, INFO, STATE, LeRobotDataset, open_lerobot

GOLDEN = Path(__file__).parents[1] / "golden" / "lerobot"
SET = GOLDEN / "set"


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    """Every frame as the package returns it."""
    with np.load(GOLDEN / "expected.npz") as stored:
        return dict(stored)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the set, to damage."""
    return Path(shutil.copytree(SET, tmp_path / "set"))


@pytest.mark.parametrize("episode", [0, 1, 2])
def test_an_episode_is_what_the_package_reads(expected: dict[str, np.ndarray], episode: int) -> None:
    rows = expected["episode"] == episode
    for number, camera in enumerate(("top", "observation.images.wrist")):
        with open_video(f"{SET}#episode={episode},camera={camera}") as video:
            frames = expected["frames"][rows, number].transpose(0, 2, 3, 1)
            assert np.array_equal(video[:], frames)
            assert np.array_equal(np.stack(list(video)), frames)
            assert np.array_equal(video[-2], frames[-2])
            assert np.allclose(video.timestamps, expected["timestamp"][rows], atol=1e-6)
            assert (video.frame_rate, video.height, video.width) == (10, 48, 64)
    data = open_lerobot(SET)
    stored = data.rows(episode, (STATE, ACTION))
    assert np.array_equal(stored[STATE], expected["state"][rows])
    assert np.array_equal(stored[ACTION], expected["action"][rows])
    assert data.episodes[episode].tasks == tuple(set(expected["task"][rows].tolist()))


def test_an_address_names_one_episode_or_several() -> None:
    assert list_episodes(SET) == [f"{SET}#episode={n}" for n in range(3)]
    wrist = [f"{SET}#episode={n},camera=observation.images.wrist" for n in (1, 2)]
    assert list_episodes(f"{SET}#episode=1-2,camera=wrist") == wrist
    assert [name for name, _ in find_sources([f"{SET}#episode=1-2"])] == ["set#episode=1", "set#episode=2"]
    assert list_episodes("film.mp4") == []
    assert [file.name for file in files_of_episode(wrist[0])] == ["file-000.parquet", "file-000.mp4"]
    video = pickle.loads(pickle.dumps(open_video(wrist[1])))  # as processes get it
    assert len(video[:2]) == 2


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("{set}", "has 3 episodes; name one"),
        ("{set}#episode=3", "has episodes 0 to 2, not 3"),
        ("{set}#episode=2-1", "not 2-1"),
        ("{set}#episode=one", "has 'episode=one'; write"),
        ("{set}#episode=1,camera=left", "has 0 cameras named 'left'"),
        ("{set}/meta#episode=1", "is no data set of LeRobot"),
    ],
)
def test_an_address_of_what_is_not_there_is_refused(address: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        open_video(address.format(set=SET))


def test_episodes_may_lie_in_several_files_of_each_kind(copied: Path, expected: dict[str, np.ndarray]) -> None:
    """The last one: its video of the top camera is what the other saw, so that it tells the files apart."""
    table = pq.read_table(copied / "meta/episodes/chunk-000/file-000.parquet")
    for name in [name for name in table.column_names if name.endswith("/file_index") and not name.startswith("meta/")]:
        table = table.set_column(table.column_names.index(name), name, pa.array([0, 0, 1]))
    rows = pq.read_table(copied / "data/chunk-000/file-000.parquet")
    for kind, whole, first in (("meta/episodes", table, 2), ("data", rows, 12)):
        for number, part in enumerate((whole.slice(0, first), whole.slice(first))):
            pq.write_table(part, copied / f"{kind}/chunk-000/file-00{number}.parquet")
    videos = [copied / f"videos/observation.images.{name}/chunk-000/file-000.mp4" for name in ("top", "wrist")]
    for path in videos:
        shutil.copy(videos[1], path.with_name("file-001.mp4"))
    last = expected["episode"] == 2
    for episode, camera in ((1, 0), (2, 1)):
        frames = expected["frames"][expected["episode"] == episode, camera].transpose(0, 2, 3, 1)
        assert np.array_equal(open_video(f"{copied}#episode={episode},camera=top")[:], frames)
    assert np.array_equal(open_lerobot(copied).rows(2, (STATE,))[STATE], expected["state"][last])


def test_other_versions_and_other_folders_are_refused(copied: Path) -> None:
    about = json.loads((copied / INFO).read_text())
    cases = {
        "v3 is read; convert it": {"codebase_version": "v2.1"},
        "frames a second": {"fps": 0},
        "names ../../elsewhere.parquet": {"data_path": "../../elsewhere.parquet"},
    }
    for message, change in cases.items():
        (copied / INFO).write_text(json.dumps(about | change))
        with pytest.raises(BadInput, match=message):
            open_video(f"{copied}#episode=0")


def test_a_table_that_does_not_fit_is_refused(copied: Path) -> None:
    rows = copied / "data/chunk-000/file-000.parquet"
    table = pq.read_table(rows)
    pq.write_table(table.slice(1), rows)
    with pytest.raises(BadInput, match="has 6 rows of episode 0"):
        open_video(f"{copied}#episode=0")[0]
    late = table.set_column(table.column_names.index("timestamp"), "timestamp", pa.array(np.arange(21, dtype=np.float32)))
    pq.write_table(late, rows)
    with pytest.raises(BadInput, match="no frame of its own"):
        open_video(f"{copied}#episode=1")[0]
    pq.write_table(table.drop_columns(STATE), rows)
    with pytest.raises(BadInput, match=r"has no feature 'observation\.state'"):
        open_lerobot(copied).rows(0, (STATE,))
    pq.write_table(table.set_column(3, "frame_index", pa.array([[]] * 21)), rows)
    with pytest.raises(BadInput, match="has no column frame_index of numbers"):
        open_video(f"{copied}#episode=1")[0]
    pq.write_table(table, rows)
    listed = copied / "meta/episodes/chunk-000/file-000.parquet"
    infinite = pq.read_table(listed)
    place = infinite.column_names.index("length")
    pq.write_table(infinite.set_column(place, "length", pa.array([7.0, np.inf, 7.0])), listed)
    with pytest.raises(BadInput, match="lacks cannot convert float infinity"):
        assert LeRobotDataset(copied).episodes


def test_images_in_the_rows_are_frames(copied: Path) -> None:
    about = json.loads((copied / INFO).read_text())
    about["features"]["observation.images.top"]["dtype"] = "image"
    (copied / INFO).write_text(json.dumps(about))
    rows = copied / "data/chunk-000/file-000.parquet"
    images = []
    for k in range(21):
        Image.new("RGB", (64, 48), (k, 10, 20)).save(buffer := BytesIO(), "png")
        images.append({"bytes": buffer.getvalue(), "path": None})
    pq.write_table(pq.read_table(rows).append_column("observation.images.top", pa.array(images)), rows)
    video = open_video(f"{copied}#episode=1")
    assert video[[0, 4]][:, 0, 0].tolist() == [[7, 10, 20], [11, 10, 20]]
    table = pq.read_table(rows).drop_columns("observation.images.top")
    for lacking in (None, {"bytes": None, "path": None}):
        given = [*images[:7], lacking, *images[8:]]
        pq.write_table(table.append_column("observation.images.top", pa.array(given, pa.array(images).type)), rows)
        with pytest.raises(BadInput, match=r"file-000\.parquet has no observation\.images\.top in row 0 of an episode; get"):
            open_video(f"{copied}#episode=1")[0]
