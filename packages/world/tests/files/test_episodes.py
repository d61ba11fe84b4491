"""Episodes of the physical world as files: every reader of the house reads them, and they agree with the record."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from tapetum.core.errors import BadInput
from tapetum.data.entries import read_lines
from tapetum.systems.tapvid3d.check import check_clip
from tapetum.systems.tapvid3d.data import read_clip
from tapetum.tracks.tapvid import read_entries
from tapetum.video import open_video
from tapetum.video.sound import has_sound
from tapetum_world.bodies.files import load_episode
from tapetum_world.commands.scenes import episodes
from tapetum_world.files.annotations import mc_questions
from tapetum_world.rendering import GroundTruth

SIZE, RATE, FRAMES = 48, 12, 30
NAME = "episode_00000"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("episodes") / "out"
    done = episodes(folder, n=1, seed=3, size=SIZE, frame_rate=RATE, seconds=FRAMES / RATE, points=8, story="put-and-take")
    assert (done.episodes, done.frames, done.annotations) == (1, FRAMES, folder / "all_train.json")
    return folder


def item(folder: Path) -> dict:
    return json.loads((folder / "all_train.json").read_text())[NAME]


@pytest.mark.slow
def test_video_and_sound(made: Path) -> None:
    meta = item(made)["metadata"]
    with open_video(made / "videos" / f"{NAME}.mp4") as video:
        assert len(video) == meta["num_frames"] == FRAMES
        assert video[0].shape == (*meta["resolution"], 3) == (SIZE, SIZE, 3)
    assert has_sound(made / "videos" / f"{NAME}.mp4")
    sample_rate, samples = wavfile.read(made / "audios" / f"{NAME}.wav")
    assert (sample_rate, len(samples)) == (meta["audio_sample_rate"], meta["audio_samples"]) == (16000, FRAMES * 16000 // RATE)


@pytest.mark.slow
def test_tracks_agree_with_each_other_and_the_annotations(made: Path) -> None:
    [entry] = read_entries(made / "tapvid")
    clip = read_clip(made / "tapvid3d" / f"{NAME}.npz")
    assert not [kind for kind, _ in check_clip(clip) if kind != "outside"]
    assert entry.video.shape == (FRAMES, SIZE, SIZE, 3)
    assert np.array_equal(clip.visibility, ~entry.occluded.T)
    fx, fy, cx, cy = clip.fx_fy_cx_cy
    x, y, z = np.moveaxis(clip.tracks_XYZ, -1, 0)
    shown = np.stack([fx * x / z + cx, fy * y / z + cy], -1)
    assert np.abs(shown - entry.points.transpose(1, 0, 2) * SIZE)[clip.visibility].max() < 0.01
    rows, frames = np.arange(8), clip.queries_xyt[:, 2].astype(int)
    assert np.abs(shown[frames, rows] - clip.queries_xyt[:, :2]).max() < 0.01
    points = item(made)["point_tracking"]
    assert len(points) == 8
    for track, places, hidden in zip(points, entry.points, entry.occluded, strict=True):
        assert track["frame_ids"] == np.flatnonzero(~hidden).tolist()
        assert np.allclose(np.array(track["points"])[::-1].T, places[~hidden], atol=1e-5)


@pytest.mark.slow
def test_boxes_and_segments_agree_with_the_record(made: Path) -> None:
    told, episode = item(made), load_episode(made / "episodes" / f"{NAME}.npz")
    truth, tracks = GroundTruth(episode), told["object_tracking"]
    assert {track["frame_ids"][0] % RATE for track in tracks} == {0}
    names = [f"{b.colour_name} {b.noun}".strip() for b in episode.bodies]
    for track in tracks:
        frame = track["frame_ids"][0]
        boxes = truth.boxes(frame)
        same = [boxes.amodal[boxes.ids.tolist().index(episode.instance[j])] for j, n in enumerate(names) if n == track["label"]]
        found = np.array(track["bounding_boxes"][0]) * SIZE
        assert min(np.abs(box - found).max() for box in same) < 1e-3
    actions = sorted(episode.actions, key=lambda a: a.start_s)
    assert [a["timestamps"][0] for a in told["action_localisation"]] == [round(a.start_s * 1e6) for a in actions]
    for task in ("action_localisation", "sound_localisation"):
        for segment in told[task]:
            assert segment["timestamps"][1] <= FRAMES / RATE * 1e6 + 1
            assert segment["label_id"] >= 0
            assert all(-1 <= p < len(tracks) for p in segment["parent_objects"])


@pytest.mark.slow
def test_questions_and_words(made: Path) -> None:
    [caption] = read_lines(made / "captions.jsonl")
    assert caption["video"] == NAME
    assert caption["caption"]
    assert len(list(read_lines(made / "questions.jsonl"))) == len(item(made)["mc_question"])
    questions = json.loads((made / "egoschema" / "questions.json").read_text())
    assert set(json.loads((made / "egoschema" / "subset_answers.json").read_text())) == {q["q_uid"] for q in questions}


def test_a_question_that_looks_ahead_names_its_last_frame() -> None:
    from tapetum_world.words import SceneQuestion

    ask = SceneQuestion(
        template="what-next",
        text="What?",
        answer="b",
        options=("a", "b", "c"),
        kind="predictive",
        area="semantics",
        span=(0.0, 1.2),
    )
    [ahead, open_end] = mc_questions([ask, replace(ask, span=(0.0, 2.5))], frame_rate=10, frames=25)
    assert (ahead["cut_frame"], ahead["answer_id"], ahead["tag"]) == (12, 1, ["action recognition", "task completion"])
    assert "cut_frame" not in open_end


@pytest.mark.slow
def test_the_same_again_from_another_process(made: Path, tmp_path: Path) -> None:
    options = {"seed": 3, "size": SIZE, "frame_rate": RATE, "seconds": FRAMES / RATE, "points": 8, "story": "put-and-take"}
    episodes(tmp_path / "out", n=2, workers=2, **options)
    for path in ("audios/{}.wav", "tapvid/{}.pkl", "tapvid3d/{}.npz", "episodes/{}.npz", "truth/{}.json"):
        name = path.format(NAME)
        assert (tmp_path / "out" / name).read_bytes() == (made / name).read_bytes(), name
    again, first = (np.stack(list(open_video(folder / f"videos/{NAME}.mp4"))) for folder in (tmp_path / "out", made))
    np.testing.assert_array_equal(again, first)  # x264 may end a frame with other bytes, which mean the same


def test_one_frame_and_bad_requests(tmp_path: Path) -> None:
    done = episodes(tmp_path / "one", n=1, size=16, seconds=1 / 24, points=2)
    assert done.frames == 1
    [entry] = read_entries(tmp_path / "one" / "tapvid")
    assert entry.video.shape == (1, 16, 16, 3)
    for match, more in (
        ("one frame or more", {"seconds": 0}),
        ("at most 60", {"seconds": 61}),
        ("--frame-rate from 1", {"frame_rate": 0.5}),
        ("--points 1", {"points": 0}),
        ("--story one of fall", {"story": "party"}),
        ("--n 1", {"n": 0}),
    ):
        with pytest.raises(BadInput, match=match):
            episodes(tmp_path / "out", **{"n": 1, **more})
    assert not (tmp_path / "out").exists()
