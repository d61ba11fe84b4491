"""Files of VOTSp as its toolkit writes and reads them, and damaged ones."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.tracks.votsp import read_sequence, read_sequences, read_task, read_trajectory, write_outputs, write_trajectory


def frames(folder: Path, count: int = 3) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:08d}.jpg" for number in range(1, count + 1)]
    for path in paths:
        Image.new("RGB", (32, 24)).save(path)
    return paths


def a_task(folder: Path, **files: str) -> Path:
    frames(folder / "color")
    names = {"frames_color": "color/00000001.jpg\ncolor/00000002.jpg\ncolor/00000003.jpg\n"}
    for name, text in {**names, "query_obj0": "0\n3.0,4.25\n", "query_obj1": "2\n31.0,23.0\ntext=a cup\n", **files}.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def a_sequence(folder: Path, **files: str) -> Path:
    frames(folder / "color")
    (folder / "sequence").write_text("name=a\nfps=30\nchannels.color=color/%08d.jpg\n")
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def test_a_task_is_read_and_answered(tmp_path: Path) -> None:
    task = read_task(a_task(tmp_path))
    assert (len(task.video), task.video.width, task.video.height) == (3, 32, 24)
    assert task.queries == {"obj0": (0, 3.5, 4.75), "obj1": (2, 31.5, 23.5)}
    xy = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    paths = write_outputs(tmp_path, task, xy)
    assert [path.name for path in paths] == ["output_obj0.txt", "output_obj1.txt"]
    assert paths[0].read_text() == "-0.5000,0.5000\n1.5000,2.5000\n3.5000,4.5000\n"
    assert paths[1].read_text() == "0\n0\n9.5000,10.5000\n"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"query_obj0": "0\n"}, "query_obj0.txt is no query"),
        ({"query_obj0": "first\n1,2\n"}, "is no query"),
        ({"query_obj0": "3\n1,2\n"}, "asks for frame 3 at 1,2, far outside of 3 frames of 32x24"),
        ({"query_obj0": "0\n400,2\n"}, "outside of"),
        ({"query_obj0": "0\n0\n"}, "line 2: '0' is no point"),
        ({"query_obj0": "0\n1,2,3,4\n"}, "line 2: '1,2,3,4' is no point"),
        ({"query_obj0": "0\nm0,0,3,3,0,9\n"}, "is no point"),
        ({"query_obj0": "0\ninf,2\n"}, "is no point"),
        ({"frames_color": ""}, "names no frames"),
        ({"frames_color": "color/9.jpg\n"}, "9.jpg"),
    ],
)
def test_damaged_tasks_are_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        read_task(a_task(tmp_path, **files))
    assert "\n" not in str(caught.value)


def test_trajectories_go_through_files(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    xy = np.array([[np.nan, np.nan], [0.5, 1.25], [-3.0, 700.125]], np.float32)
    write_trajectory(path, xy)
    np.testing.assert_array_equal(read_trajectory(path), xy)
    path.write_text("1\nnan,nan\n2,3\n")
    np.testing.assert_array_equal(read_trajectory(path), [[np.nan] * 2, [np.nan] * 2, [2.5, 3.5]])


def test_sequences_are_read(tmp_path: Path) -> None:
    a_sequence(tmp_path / "sequences" / "b", groundtruth_p1="0\n1,2\n3,4\n", groundtruth_p2="5,6\n")
    a_sequence(tmp_path / "sequences" / "a", groundtruth="1,2\n0\n3,4\n")
    assert list(read_sequences(tmp_path)) == ["a", "b"]
    (tmp_path / "sequences" / "list.txt").write_text("b\na\n")
    places = read_sequences(tmp_path)
    assert list(places) == ["b", "a"]
    two, one = (read_sequence(place) for place in places.values())
    assert (two.name, len(two.video), list(two.truth), list(one.truth)) == ("b", 3, ["p1", "p2"], ["object"])
    np.testing.assert_array_equal(two.truth["p1"], [[np.nan] * 2, [1.5, 2.5], [3.5, 4.5]])
    np.testing.assert_array_equal(two.truth["p2"], [[5.5, 6.5], [np.nan] * 2, [np.nan] * 2])


@pytest.mark.parametrize(
    ("settings", "truth", "message"),
    [
        ("channels.color=color/%08d.jpg", "1,2\n" * 4, "4 lines for 3 frames"),
        ("channels.color=../color/%08d.jpg", "1,2\n", "must be a pattern"),
        ("channels.color=color/%s.jpg", "1,2\n", "must be a pattern"),
        ("channels.color=depth/%08d.jpg", "1,2\n", "names no frames"),
        ("", "1,2,3,4\n", "line 1: '1,2,3,4' is no point"),
    ],
)
def test_damaged_sequences_are_refused(tmp_path: Path, settings: str, truth: str, message: str) -> None:
    folder = a_sequence(tmp_path, groundtruth=truth)
    (folder / "sequence").write_text(settings)
    with pytest.raises(BadInput, match=message):
        read_sequence(folder)
