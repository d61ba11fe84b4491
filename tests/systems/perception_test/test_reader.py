"""Folders of the benchmark read back: frames by their times, cuts, lists with and without files, sound, features."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from scipy.interpolate import interp1d

from tapetum.core.errors import BadInput
from tapetum.systems.perception_test.annotations import read_annotations, read_cuts, read_ids
from tapetum.systems.perception_test.dataset import find_annotations, open_split
from tapetum.systems.perception_test.footage import frame_numbers, open_footage
from tapetum.systems.perception_test.localiser.features import FeatureFiles, join_features, read_features
from tapetum.systems.perception_test.types import Metadata
from tapetum.video.sound import wav_file

RATE = 10


def write_times(path: Path, times: list[int]) -> Path:
    """Write a video of grey frames, frame k as bright as 20 k, shown at these tenths of a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 32, 32, "yuv420p", Fraction(1, RATE)
        for k, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * k, np.uint8), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def shown(video: Any) -> list[int]:
    return [round(float(frame.mean()) / 20) for frame in video]


def meta(frames: int, **more: Any) -> dict[str, Any]:
    about = {"split": "valid", "frame_rate": float(RATE), "num_frames": frames, "resolution": [32, 32]}
    return {**about, "is_cup_game": False, **more}


def question(number: int = 0, **more: Any) -> dict[str, Any]:
    whole = {"id": number, "question": "q", "options": ["a", "b", "c"], "answer_id": 0, "area": "physics"}
    return {**whole, "reasoning": "descriptive", "tag": ["motion"], **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three videos as they are fetched: one as it should be, a cup game that is cut, and one with fewer frames than it says."""
    videos = {
        "video_1": {"metadata": meta(6), "mc_question": [question()]},
        "video_2": {"metadata": meta(8, is_cup_game=True), "mc_question": [question()]},
        "video_3": {"metadata": meta(12), "mc_question": [question(cut_frame=7), question(1)]},
    }
    for part in ("annotations", "videos", "audios", "lists"):
        (tmp_path / part).mkdir()
    (tmp_path / "annotations/mc_question_valid.json").write_text(json.dumps(videos))
    (tmp_path / "lists/cut_frame_mapping_valid.json").write_text(json.dumps({"video_1": -1, "video_2": 5, "video_9": 3}))
    write_times(tmp_path / "videos/video_1.mp4", [*range(6)])
    write_times(tmp_path / "videos/video_2.mp4", [*range(8)])
    write_times(tmp_path / "videos/video_3.mp4", [0, 1, 2, 3, 6, 7, 8, 9, 10, 11])
    with wav_file(tmp_path / "audios/video_2.wav", 8000) as file:
        file.write(np.linspace(-1, 1, 6400))
    return tmp_path


def test_frames_are_those_of_the_annotations(folder: Path) -> None:
    one, two, three = open_split(folder, "valid", "mcqa")
    assert shown(one.open()) == [*range(6)]
    late = three.open()
    assert (len(late), shown(late)) == (12, [0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9])
    assert shown([late[5], late[6], *late[4:7]]) == [3, 4, 3, 3, 4]
    frame = late[4:6]
    frame[0] = 0
    assert frame[1].mean() > 20  # every frame is one's own
    assert late.timestamps[-1] == pytest.approx(1.1)
    assert (two.truth.metadata.frames, len(two.open())) == (8, 8)


def test_more_frames_than_the_annotations_say(tmp_path: Path) -> None:
    path = write_times(tmp_path / "a.mp4", [*range(12)])
    half = Metadata(video_id="a", split="valid", frame_rate=5.0, frames=6, size=(32, 32))
    assert shown(open_footage(path, half)) == [0, 2, 4, 6, 8, 10]
    short = Metadata(video_id="a", split="valid", frame_rate=10.0, frames=9, size=(32, 32))
    assert shown(open_footage(path, short)) == [*range(9)]
    long = Metadata(video_id="a", split="valid", frame_rate=10.0, frames=14, size=(32, 32))
    assert shown(open_footage(path, long)) == [*range(12), 11, 11]


def test_numbers_of_frames_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        times, frames, frame_rate = np.sort(rng.uniform(0, 5, 40)), int(rng.integers(20, 60)), float(rng.uniform(5, 15))
        found = frame_numbers(times, frames, frame_rate)
        if frames == len(times):
            continue
        for k in range(frames):  # the last frame whose number, by its time, is not above k
            wanted = max(i for i, t in enumerate(times) if i == 0 or round((t - times[0]) * frame_rate) <= k)
            assert found[k] == wanted


def test_questions_see_and_hear_their_video_until_it_is_cut(folder: Path) -> None:
    one, two, three = open_split(folder, "valid", "mcqa")
    [asked] = two.truth.questions
    assert asked.cut == 5
    assert shown(two.open(asked)) == [*range(5)]
    assert shown(two.open()) == [*range(8)]
    assert len(two.sound(8000, asked)) == 4000
    assert len(two.sound(8000)) == 6400
    assert one.truth.questions[0].cut is None  # a number that is not above 0 cuts nothing
    assert len(one.sound(8000)) == 0
    assert [q.cut for q in three.truth.questions] == [7, None]
    assert len(three.open(three.truth.questions[0])) == 7
    whole = open_split(folder, "valid", "mcqa", cut=False)
    assert [len(item.open(item.truth.questions[0])) for item in whole] == [6, 8, 12]
    with pytest.raises(BadInput, match="is cut at its frame 0"):
        open_footage(folder / "videos/video_1.mp4", one.truth.metadata, 0)


def test_without_lists_all_is_taken_and_it_is_said(folder: Path) -> None:
    told = open_split(folder, "valid", "mcqa").remarks
    assert len(told) == 1
    assert "there is no list of the challenge's videos" in told[0]
    (folder / "lists/mc_question_valid_id_list.csv").write_text("video_id\nvideo_3\nvideo_7\n")
    found = open_split(folder, "valid", "mcqa")
    assert [item.name for item in found] == ["video_3"]
    assert found.remarks == ("1 of 2 videos in mc_question_valid_id_list.csv are not in mc_question_valid.json",)
    assert len(open_split(folder, "valid", "mcqa", challenge=False)) == 3
    (folder / "lists/cut_frame_mapping_valid.json").unlink()
    assert "there is no cut_frame_mapping_valid.json" in open_split(folder, "valid", "mcqa").remarks[0]


def test_ids_are_read_in_a_line_or_in_lines(tmp_path: Path) -> None:
    for text in ("video_1,video_2", "video_1\r\nvideo_2\r\n", "\ufeffvideo_ids\n'video_1'\nvideo_2,\nvideo_1\n"):
        (tmp_path / "a.csv").write_text(text)
        assert read_ids(tmp_path / "a.csv") == ["video_1", "video_2"]
    for content in (b"", b"\xff\xfe\x00", b"x" * 500):
        (tmp_path / "a.csv").write_bytes(content)
        with pytest.raises(BadInput, match="list of ids"):
            read_ids(tmp_path / "a.csv")
    (tmp_path / "cut.json").write_text('{"video_1": "late"}')
    with pytest.raises(BadInput, match="video_1 ends at 'late'"):
        read_cuts(tmp_path / "cut.json")


def test_annotations_are_found_by_name(folder: Path) -> None:
    assert find_annotations(folder, "valid", "mcqa").name == "mc_question_valid.json"
    for name in (
        "all_valid.json",
        "challenge_action_localisation_valid.json",
        "object_tracking_valid_subset.json",
        "sample.json",
    ):
        (folder / "annotations" / name).write_text("{}")
    assert find_annotations(folder, "valid", "action").name == "challenge_action_localisation_valid.json"
    assert find_annotations(folder, "valid", "object").name == "object_tracking_valid_subset.json"
    assert find_annotations(folder, "valid", "sound").name == "all_valid.json"
    assert find_annotations(folder, "valid").name == "all_valid.json"
    assert find_annotations(folder, "sample", "object").name == "sample.json"
    with pytest.raises(BadInput, match="tapetum data perception-test --split train"):
        find_annotations(folder, "train")
    with pytest.raises(BadInput, match="no task 'boxes'"):
        open_split(folder, "valid", "boxes")


def test_cuts_are_found_beside_the_annotations_wherever_these_are_read(folder: Path, tmp_path: Path) -> None:
    path = folder / "annotations/mc_question_valid.json"
    assert read_annotations(path)["video_2"].questions[0].cut == 5
    assert read_annotations(path, None)["video_2"].questions[0].cut is None
    other = tmp_path / "other.json"
    other.write_text('{"video_2": 3}')
    assert read_annotations(path, other)["video_2"].questions[0].cut == 3


def test_a_video_that_is_missing_or_has_a_hostile_name(folder: Path) -> None:
    (folder / "videos/video_1.mp4").unlink()
    item = open_split(folder, "valid", "mcqa")[0]
    with pytest.raises(BadInput, match=r"there is no video_1\.mp4"):
        item.open()
    path = folder / "annotations/mc_question_valid.json"
    path.write_text(json.dumps({"../video_1": json.loads(path.read_text())["video_1"]}))
    with pytest.raises(BadInput, match=r"\[escape\]"):
        open_split(folder, "valid", "mcqa")[0].open()


def test_features_are_read_and_joined_as_the_public_code_joins_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    video, sound = rng.normal(size=(37, 512)).astype(np.float32), rng.normal(size=(23, 256)).astype(np.float32)
    for name, array in (("video", video), ("audio", sound)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "video_1.npy", array)
    np.save(tmp_path / "audio/video_2.npy", sound)
    first, second = FeatureFiles(tmp_path / "video"), FeatureFiles(tmp_path / "audio")
    assert (list(first.files), list(second.files)) == (["video_1"], ["video_1", "video_2"])
    np.testing.assert_array_equal(second.read("video_2"), sound)
    found = join_features(first.read("video_1"), second.read("video_1"))
    x = np.arange(23)
    wanted = interp1d(x, sound, axis=0)(np.linspace(x.min(), x.max(), 37))
    assert found.shape == (37, 768)
    np.testing.assert_array_equal(found[:, :512], video)
    np.testing.assert_allclose(found[:, 512:], wanted, atol=1e-6)
    np.testing.assert_array_equal(join_features(video, sound[:1])[:, 512:], np.repeat(sound[:1], 37, 0))
    with pytest.raises(BadInput, match="there are no features"):
        FeatureFiles(tmp_path)


class Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this must not run",))


@pytest.mark.parametrize("kind", ["pickle", "text", "flat", "nan", "header", "npz"])
def test_features_that_are_none_are_refused_and_run_nothing(kind: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "a.npy"
    if kind == "pickle":
        np.save(path, np.array([Runs()], object), allow_pickle=True)
    elif kind == "text":
        path.write_bytes(b"not found")
    elif kind == "flat":
        np.save(path, np.zeros(5))
    elif kind == "nan":
        np.save(path, np.full((5, 512), np.nan))
    elif kind == "npz":
        np.savez(tmp_path / "a.npz", a=np.zeros((2, 512)), b=np.array([Runs()], object))
        (tmp_path / "a.npz").rename(path)
    else:
        with open(path, "wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 512)})
            file.write(bytes(2048))
    with pytest.raises(BadInput, match=r"a\.npy"):
        read_features(path)
    assert "must not run" not in capsys.readouterr().out
