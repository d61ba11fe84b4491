"""Examples of transfer tasks: official files and lines in, prompts, answers and samples out."""

from pathlib import Path

import numpy as np
import pytest

from support.question_sets import OFFICIAL, fill, lines, make_set, write
from tapetum.core.errors import BadInput
from tapetum.systems.paligemma.locations import parse
from tapetum.systems.paligemma.masks.codec import MaskCodec
from tapetum.systems.paligemma.masks.config import SMALL
from tapetum.systems.paligemma.transfer.data import read_examples, shuffled, split_names, there
from tapetum.systems.paligemma.transfer.samples import TaskSamples, frames_of, read_pixels, spaced_subset, suffix_of
from tapetum.systems.paligemma.transfer.tasks import TASKS

RNG = np.random.default_rng(0)
SAID = {
    "coco-captions": ("caption en", {"a red cup stands here", "one a red cup stands here"}),
    "nocaps": ("caption en", {"a red cat sits here", "one cat on a mat"}),
    "vqav2": ("answer en What is 1?", {"red"}),
    "aokvqa-mc": ("answer en  What is it? choose from: cat \t dog \t cup", {"dog"}),
    "gqa": ("answer en Is it red?", {"yes"}),
    "nlvr2": ("answer en One is open.", {"True"}),
    "tallyqa": ("answer en How many?", {"4"}),
    "textvqa": ("answer en what brand?", {"nokia"}),
    "docvqa": ("What date?", {"1/8/93", "1993"}),
    "chartqa": ("How many?", {"14"}),
    "scienceqa": ("Question: Which?\nContext: Look.\nOptions: (A) a, (B) b, (C) c\nAnswer:", {"The answer is B."}),
    "rsvqa-lr": ("answer en Is it?", {"yes"}),
    "pope": ("answer en Is there a dog?", {"yes"}),
    "mmvp": ("answer en Open?", {"Open"}),
    "msrvtt-qa": ("answer en what is it?", {"dog"}),
    "coco-35l": ("caption de", {"eine Katze sitzt 0", "eine Katze sitzt 1"}),
    "textcaps": ("caption en", {"a sign that says a stop", "a sign that says b stop"}),
    "xgqa": ("answer en Ist es rot?", {"yes"}),
    "msrvtt-cap": ("caption en", {"a man cooks here now", "a man eats here now"}),
    "activitynet-cap": ("caption en", {"a man runs over there"}),
    "vatex": ("caption en", {f"a man {said} over there" for said in "abc"}),
}


@pytest.mark.parametrize("name", SAID)
def test_official_files(name: str, tmp_path: Path) -> None:
    task = TASKS[name]
    first, *others = make_set(name, tmp_path)
    prefix, suffixes = SAID[name]
    assert first.prefix == prefix
    assert {suffix_of(task, first, np.random.default_rng(k)) for k in range(40)} == suffixes
    assert others
    assert read_pixels(task, first, 28).shape == (task.visible_objects, 3, 28, 28)
    if task.kinds:
        assert {e.kind for e in (first, *others)} <= set(task.kinds)


def test_every_official_task_is_tested() -> None:
    assert {*SAID, "refcoco", "coco-detection", "doclaynet"} >= set(OFFICIAL)


def test_expressions(tmp_path: Path) -> None:
    task, codec = TASKS["refcoco"], MaskCodec(SMALL).eval()
    make_set("refcoco", tmp_path)
    [first, *_] = read_examples(task, tmp_path, ["refcoco+/testA"])
    assert (first.prefix, first.id) == ("the left thing 1", ("refcoco+/testA", "31/0"))
    said = suffix_of(task, first, RNG, codec)
    assert said.startswith("<loc0000><loc0000><loc0363><loc0341><seg")
    found = parse(said, 33, 31, codec.unpack)
    assert (len(found.masks.masks), found.boxes.labels) == (1, ("",))
    learned = read_examples(task, tmp_path, ["train"])
    fill(learned)
    assert {e.images[0].name for e in learned} == {"1.jpg"}  # 2 is of val, 3 of both
    assert len(learned) == 3 * 2 * 2
    samples = TaskSamples(task, learned, 28, codec)
    assert len(samples) == 1
    drawn = {samples.draw(0, number).pairs[0].prefix for number in range(30)}
    assert drawn == {f"the {word} thing {k}" for word in ("left", "small") for k in (1, 2)}
    with pytest.raises(BadInput, match="name its weights with --codec"):
        suffix_of(task, first, RNG)
    with pytest.raises(BadInput, match="no split 'val'"):
        read_examples(task, tmp_path, ["val"])
    assert split_names("train+refcoco+/val", ()) == ["train", "refcoco+/val"]


def test_detection_comes_in_random_order(tmp_path: Path) -> None:
    task = TASKS["coco-detection"]
    first, empty = make_set("coco-detection", tmp_path)
    said = {suffix_of(task, first, np.random.default_rng(k)) for k in range(20)}
    assert len(said) == 6
    assert {tuple(sorted(text.split(" ; "))) for text in said} == {tuple(sorted(min(said).split(" ; ")))}
    assert suffix_of(task, empty, RNG) == ""
    assert parse(min(said), 33, 31).boxes.xyxy.shape == (3, 4)


def test_options_of_scienceqa_are_shuffled_and_stay_right(tmp_path: Path) -> None:
    task = TASKS["scienceqa"]
    first, _ = make_set("scienceqa", tmp_path)
    found = {
        shuffled(task, first, np.random.default_rng(k)).prefix: shuffled(task, first, np.random.default_rng(k))
        for k in range(40)
    }
    assert len(found) == 6
    for prefix, example in found.items():
        letter = example.references[0][len("The answer is ")]
        assert f"({letter}) b" in prefix
    assert shuffled(TASKS["aokvqa-mc"], first, RNG) is first


def test_lines(tmp_path: Path) -> None:
    rows = [
        {"image": "a.png", "question": "how many?", "answers": ["Two", "2"], "kind": "x"},
        {"id": "b", "image": ["b.png"], "question": "what?", "answers": ["c"], "language": "de"},
    ]
    write(tmp_path, {"val.jsonl": lines(*rows), "test.jsonl": lines({"image": "a.png", "question": "hidden?"})})
    task = TASKS["st-vqa"]
    one, two = read_examples(task, tmp_path, ["val"])
    assert (one.id, one.references, one.kind, one.images) == (("val", 0), ("two", "2"), "x", (tmp_path / "a.png",))
    assert (two.id, two.kind) == (("val", "b"), "de")
    hidden = read_examples(task, tmp_path, ["test"])
    assert hidden[0].references == ()
    with pytest.raises(BadInput, match=r"is hidden; learn from other splits"):
        TaskSamples(task, hidden, 28)
    write(tmp_path, {"dev.jsonl": lines({"image": "a.png", "answers": ["x"], "language": "de"})})
    assert read_examples(TASKS["coco-35l"], tmp_path)[0].prefix == "caption de"
    words = {"image": "d.png", "width": 33, "height": 31, "boxes": [[0, 0, 11, 11], [3, 3, 6, 6]], "labels": ["stop", "###"]}
    write(tmp_path, {"test.jsonl": lines(words | {"question": "ocr"})})
    [spotted] = read_examples(TASKS["icdar15"], tmp_path)
    assert spotted.prefix == "ocr"
    assert suffix_of(TASKS["icdar15"], spotted, RNG) == "<loc0000><loc0000><loc0363><loc0341> stop"


@pytest.mark.parametrize(
    ("task", "row", "words"),
    [
        ("st-vqa", {"image": "../a.png", "question": "q"}, "which is no name of a file below the data"),
        ("st-vqa", {"question": "q"}, "has no image"),
        ("st-vqa", {"image": ["a.png", "b.png"], "question": "q"}, "has 2 images; ST-VQA wants 1"),
        ("st-vqa", {"video": "a.mp4", "question": "q"}, "images; ST-VQA wants 1|has a video"),
        ("vatex", {"image": "a.png", "answers": ["x"]}, "has no video"),
        ("ai2d", {"image": "a.png", "question": "q"}, "has no options"),
        ("ai2d", {"image": "a.png", "question": "q", "options": ["a"], "right": 1}, "of 1 options"),
        (
            "icdar15",
            {"image": "a.png", "boxes": [[0, 0, 1]], "labels": ["x"], "width": 2, "height": 2},
            "wanted x1, y1, x2, y2",
        ),
        ("icdar15", {"image": "a.png", "boxes": [], "labels": ["x"], "width": 2, "height": 2}, "not as many"),
    ],
)
def test_lines_that_cannot_be_used(task: str, row: dict, words: str, tmp_path: Path) -> None:
    split = TASKS[task].scored[0]
    write(tmp_path, {f"{split}.jsonl": lines(row)})
    with pytest.raises(BadInput, match=words):
        read_examples(TASKS[task], tmp_path)


def test_data_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no folder"):
        read_examples(TASKS["vqav2"], tmp_path / "none")
    with pytest.raises(BadInput, match=r"official files of this task are not read: write lines of JSON"):
        read_examples(TASKS["icdar15"], tmp_path)
    examples = make_set("msrvtt-qa", tmp_path)
    assert there(examples) == examples
    assert examples[0].video is not None
    examples[0].video.unlink()
    assert there(examples) == examples[1:]


def test_white_is_put_where_a_square_lacks(tmp_path: Path) -> None:
    write(tmp_path, {"test.jsonl": lines({"image": "a.png", "question": "smiles", "answers": ["C"]})})
    task = TASKS["molecules"]
    [example] = read_examples(task, tmp_path)
    fill([example])
    [image] = frames_of(task, example)
    assert image.shape == (1, 33, 33, 3)
    assert (image[0, 31:] == 255).all()


def test_frames_begin_anywhere_in_training_and_at_the_start_in_evaluation(tmp_path: Path) -> None:
    from dataclasses import replace

    from tapetum.systems.paligemma.transfer.form import FrameSampling

    task = replace(TASKS["msrvtt-qa"], frames=FrameSampling(count=3, stride=2))
    example = make_set("msrvtt-qa", tmp_path)[0]
    first = np.concatenate(frames_of(task, example))
    starts = {np.concatenate(frames_of(task, example, np.random.default_rng(k))).tobytes() for k in range(12)}
    assert len(starts) > 3
    assert np.array_equal(first, np.concatenate(frames_of(task, example)))
    assert len(frames_of(TASKS["msrvtt-qa"], example)) == 16  # 12 frames, of which every ninth is shown again and again


def test_frames_of_a_part_of_a_video(tmp_path: Path) -> None:
    """Of 12 frames, ten a second, those from 0.4 to 1.0 s; a part after the end has the last one."""
    from dataclasses import replace

    from tapetum.systems.paligemma.transfer.form import FrameSampling
    from tapetum.video import open_video

    task = replace(TASKS["activitynet-cap"], frames=FrameSampling(count=3, stride=2))
    _, second = make_set("activitynet-cap", tmp_path)
    assert second.video is not None
    whole = open_video(second.video)
    assert np.array_equal(np.concatenate(frames_of(task, second)), whole[[4, 6, 8]])
    starts = {np.concatenate(frames_of(task, second, np.random.default_rng(k))).tobytes() for k in range(20)}
    assert starts == {whole[[first, first + 2, first + 4]].tobytes() for first in (4, 5, 6)}
    assert second.question is not None
    late = replace(second, question=replace(second.question, start_s=9.0, stop_s=12.0))
    assert np.array_equal(np.concatenate(frames_of(task, late)), whole[[11, 11, 11]])


def test_lines_of_ours_come_before_official_files(tmp_path: Path) -> None:
    make_set("xgqa", tmp_path)
    write(tmp_path, {"test.jsonl": lines({"image": "a.png", "question": "own?", "answers": ["yes"], "language": "de"})})
    assert [example.prefix for example in read_examples(TASKS["xgqa"], tmp_path)] == ["answer en own?"]


def test_some_of_all() -> None:
    assert spaced_subset(list(range(10)), 4) == [0, 2, 5, 7]  # type: ignore[arg-type, comparison-overlap]
    assert spaced_subset([], None) == []
