"""Official files of questions about long videos, small ones in their form; scores beside those of the official programs."""

import json
from pathlib import Path

import pytest

from support.question_sets import write
from support.scripts import GOLDEN, script
from tapetum.bench.longvideo import option_scores
from tapetum.bench.longvideo_tasks import BENCHMARKS, PROTOCOLS
from tapetum.core.errors import BadInput
from tapetum.data.long_video import official_predictions, read_longvideobench, read_lvbench, read_video_mme

recipes = script("tests/golden/make_long_video_golden.py")
LVB = {"id": "a_0", "video_path": "a.mp4", "question": "What?", "candidates": ["p", "q"], "correct_choice": 1}
LVB |= {"duration_group": 15, "question_category": "S2E"}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    recipes.write_files(folder)
    return folder


@pytest.mark.parametrize("task", ["video-mme", "lvbench", "longvideobench"])
def test_scores_are_those_of_the_official_programs(sets: Path, task: str) -> None:
    questions = BENCHMARKS[task].read(sets / task, BENCHMARKS[task].split)
    chosen = recipes.choose(questions)
    scores = {q.key: {"scores": [float(k == chosen[q.key]) for k in range(len(q.options))]} for q in questions}
    table = option_scores(questions, scores)
    theirs = json.loads((GOLDEN / "long_video.json").read_text())[task]
    for group in theirs.keys() | table.keys() - {"questions", "with_answer"}:  # their program also prints 0 for empty groups
        ours = table.get(group, {"accuracy": 0.0})["accuracy"]
        assert ours == pytest.approx(theirs[group], abs=6e-4 if task == "video-mme" else 6e-6), group


def test_what_is_read_of_each(sets: Path, tmp_path: Path) -> None:
    first = read_video_mme(sets / "video-mme")[0]
    assert (first.key, first.video) == ("000-1", sets / "video-mme" / "v0.mp4")
    assert not any(option.startswith("A.") for option in first.options)
    years = read_lvbench(sets / "lvbench")[0]
    assert (years.question, years.options) == ("What year?", ("1636", "1366 (about)", "1363", "1633"))
    write(tmp_path, {"lvb_val.json": [LVB], "lvb_test_wo_gt.json": [{**LVB, "correct_choice": None}]})
    [one] = read_longvideobench(tmp_path)
    assert (one.options, one.right, one.kind, one.video) == (("p", "q"), 1, "15;S2E", tmp_path / "a.mp4")
    [hidden] = read_longvideobench(tmp_path, "test_wo_gt")
    assert hidden.right is None
    assert official_predictions("longvideobench", [one], {"a_0": 0}) == {"a_0": "A"}


def test_answers_and_options_of_lvbench_are_letters_in_order(tmp_path: Path) -> None:
    asked = {"uid": 1, "question": "What?\n(A) p\n(B) q", "answer": "C", "question_type": ["reasoning"]}
    for change, said in (({}, "'C', of 2 options"), ({"question": "What?\n(B) p\n(A) q"}, "lists the options")):
        write(tmp_path, {"video_info.meta.jsonl": json.dumps({"key": "v", "qa": [asked | change]})})
        with pytest.raises(BadInput, match=said):
            read_lvbench(tmp_path)


def test_protocols_ask_in_the_words_of_each_benchmark() -> None:
    asked = {name: PROTOCOLS[name].prompts("What?", ("p", "q")) for name in ("video-mme", "lvbench", "longvideobench")}
    assert all([words for _, words in pairs] == ["A", "B"] for pairs in asked.values())
    before = "Select the best answer to the following multiple-choice question based on the video. Respond with only the letter"
    assert (
        asked["video-mme"][0][0] == f"{before} (A, B, C, or D) of the correct option.\nWhat?\nA. p\nB. q\nThe best answer is:"
    )
    assert asked["lvbench"][0][0] == "What?\n(A) p\n(B) q\nAnswer the question with the option letter"
    directly = "Answer with the option's letter from the given choices directly."
    assert asked["longvideobench"][0][0] == f"Question: What?\nA. p\nB. q\n{directly}"
