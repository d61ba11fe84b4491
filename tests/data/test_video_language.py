"""Official files about videos, small ones in their form: what is read of them, and what is said of what they are not."""

import json
from pathlib import Path

import pytest

from support.question_sets import write
from tapetum.core.errors import BadInput
from tapetum.data.questions import Question
from tapetum.data.video_language import (
    read_egoschema,
    read_episode_questions,
    read_msrvtt,
    read_nextqa,
    read_nextqa_open,
    read_vatex,
    write_egoschema,
)

UID = "0074f737-11cb-497d-8d07-77c3a8127391"


def ego(uid: str) -> dict[str, str]:
    return {"q_uid": uid, "google_drive_id": "x", "question": "What is C doing?"} | {
        f"option {k}": f"C does {k}." for k in range(5)
    }


NEXTQA = """video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4
4010069381,369,640,480,how do the two man play the instrument,0,6,CH,roll the handle,tap their feet,strum,hit,pat
6329077812,1835,640,360,what did the lady do before wipping the baby s mouth,4,7,TP,touch,turn away,adjusts,smiling,take napkin
"""
NEXTOE = """video,frame_count,width,height,question,answer,qid,type
4010069381,369,640,480,how do the two man play the instrument,roll the handle,6,CH
4010069381,369,640,480,is the man happy,yes,7,DB
"""


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_egoschema(tmp_path: Path) -> None:
    write(tmp_path, {"questions.json": [ego(UID), ego("b")], "subset_answers.json": {UID: 3}})
    touch(tmp_path, f"videos/{UID}.mp4")
    [one] = read_egoschema(tmp_path)
    assert (one.key, one.right, one.options[3], one.video) == (UID, 3, "C does 3.", tmp_path / "videos" / f"{UID}.mp4")
    assert [each.right for each in read_egoschema(tmp_path, "full")] == [3, None]
    (tmp_path / "ours").mkdir()
    made = [Question(key="e-0", video=Path("e"), question="What?", options=tuple("abcde"), right=2)]
    write_egoschema(tmp_path / "ours", lambda: made)
    [own] = read_egoschema(tmp_path / "ours")
    assert (own.right, own.video and own.video.name) == (2, "e.mp4")


def test_nextqa(tmp_path: Path) -> None:
    places = {"4010069381": "1164/4010069381", "6329077812": "0000/6329077812"}
    write(tmp_path, {"val.csv": NEXTQA, "map_vid_vidorID.json": places})
    first, second = read_nextqa(tmp_path)
    assert (first.key, first.right, first.options[0], first.kind) == ("4010069381_6", 0, "roll the handle", "CH")
    assert (second.kind, second.options[second.right or 0]) == ("TN", "take napkin")
    assert first.video == tmp_path / "4010069381.mp4"
    touch(tmp_path, "videos/1164/4010069381.mp4")
    (tmp_path / "map_vid_vidorID.json").write_text(json.dumps({**places, "x": "y"}))
    assert read_nextqa(tmp_path)[0].video == tmp_path / "videos" / "1164" / "4010069381.mp4"


def test_nextqa_with_free_answers(tmp_path: Path) -> None:
    write(tmp_path, {"test.csv": NEXTOE, "add_reference_answer_test.json": {"4010069381": {"6": "turn it"}}})
    first, second = read_nextqa_open(tmp_path, "test")
    assert first.answers == ("roll the handle", "turn it")
    assert (second.answers, second.kind, second.options) == (("yes",), "DB", ())
    with pytest.raises(BadInput, match="has no a0"):
        read_nextqa(tmp_path, "test")


def test_episode_questions(tmp_path: Path) -> None:
    row = {"video": "e", "question": "What?", "options": ["a", "b", "c"], "answer_id": 1, "area": "memory"}
    (tmp_path / "questions.jsonl").write_text(json.dumps({**row, "reasoning": "descriptive", "span_s": [0, 2.5]}))
    [one] = read_episode_questions(tmp_path)
    assert (one.kind, one.right, one.context, one.video) == ("memory/descriptive", 1, "2.5", tmp_path / "videos" / "e.mp4")


def test_msrvtt(tmp_path: Path) -> None:
    told = [{"caption": f"text {k}", "video_id": "video1", "sen_id": k} for k in range(2)]
    told += [{"caption": "other", "video_id": "video7", "sen_id": 2}]
    videos = [{"video_id": "video1", "split": "test", "category": 9}, {"video_id": "video7", "split": "train", "category": 9}]
    table = "key,vid_key,video_id,sentence\nret0,msr9770,video9770,a person is connecting something to system\n"
    write(tmp_path, {"MSRVTT_data.json": {"videos": videos, "sentences": told}, "MSRVTT_JSFUSION_test.csv": table})
    touch(tmp_path, "videos/video1.webm")
    [one] = read_msrvtt(tmp_path, "test")
    assert (one.answers, one.video) == (("text 0", "text 1"), tmp_path / "videos" / "video1.webm")
    [one] = read_msrvtt(tmp_path)
    assert (one.key, one.answers) == ("video9770", ("a person is connecting something to system",))


def test_vatex(tmp_path: Path) -> None:
    row = {"videoID": "a_000010_000020", "enCap": ["one", "two"], "chCap": ["x"]}
    write(tmp_path, {"vatex_validation_v1.0.json": [row], "vatex_public_test_english_v1.1.json": [row | {"videoID": "b"}]})
    assert read_vatex(tmp_path)[0].answers == ("one", "two")
    assert read_vatex(tmp_path, "test")[0].key == "b"
