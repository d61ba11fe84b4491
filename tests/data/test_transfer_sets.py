"""Readers of sets in many languages, of captions and of questions about text and videos: official files, and hostile ones."""

import json
from pathlib import Path

import pytest

from support.question_sets import make_set, write
from tapetum.core.errors import BadInput
from tapetum.data.questions import CaptionedImage
from tapetum.data.vision_language import CAPTIONS, QUESTIONS
from tapetum.systems.paligemma.transfer.tasks import TASKS


def read(name: str, folder: Path, split: str) -> list:
    return {**QUESTIONS, **CAPTIONS}[name](folder, split)


def made(name: str, folder: Path) -> list:
    """Records of a set in its official files, of the split that is scored."""
    make_set(name, folder)
    return read(name, folder, TASKS[name].scored[0])


def test_sets_in_many_languages(tmp_path: Path) -> None:
    coco = {q.key: q for q in made("coco-35l", tmp_path / "coco")}
    assert set(coco) == {f"{language}/{k}" for language in ("de", "fr", "en") for k in (3, 4)}
    assert coco["fr/3"].answers == ("un chat assis 0", "un chat assis 1")
    assert coco["en/3"].answers == ("a cat 0", "a cat 1")  # once, though each translation has its source
    assert (coco["de/4"].kind, coco["de/4"].images) == ("de", (tmp_path / "coco" / "val2014" / "4.jpg",))
    images = {q.key: q for q in made("xm3600", tmp_path / "xm")}
    assert images["quz/k2"].images == (tmp_path / "xm" / "images" / "k2.jpg",)
    assert images["de/k1"].answers == ("eine Katze sitzt", "die Katze")
    questions = {q.key: q for q in made("xgqa", tmp_path / "xgqa")}
    assert len(questions) == 14
    assert (questions["zh/b"].answers, questions["zh/b"].images[0].name) == (("yes",), "2.jpg")
    pairs = {q.key: q for q in made("marvl", tmp_path / "marvl")}
    assert [pairs["sw/x-0"].answers, pairs["sw/x-1"].answers] == [("True",), ("False",)]
    assert pairs["sw/x-1"].images == tuple(tmp_path / "marvl" / "sw" / "images" / "1-A" / f"1-{k}.jpg" for k in (3, 2))


def test_captions_of_screens_figures_and_photographs(tmp_path: Path) -> None:
    first, _ = made("screen2words", tmp_path / "screens")
    summaries = tuple(f"list of songs {n}" for n in range(5))
    assert first == CaptionedImage(key=12, image=tmp_path / "screens" / "combined" / "12.jpg", captions=summaries)
    figure, _ = made("scicap", tmp_path / "figures")
    place = tmp_path / "figures" / "SciCap-No-Subfig-Img" / "test" / "a-Figure2-1.png"
    assert figure == CaptionedImage(key="a-Figure2-1", image=place, captions=("loss of",))
    sign, _ = made("textcaps", tmp_path / "signs")
    assert sign.image == tmp_path / "signs" / "train_images" / "i1.jpg"
    assert sign.captions == ("A sign that says a stop", "A sign that says b stop")
    described, _ = made("docci", tmp_path / "docci")
    assert (described.key, described.captions) == ("test_1", ("A long text.",))


def test_questions_about_text(tmp_path: Path) -> None:
    questions = made("ocr-vqa", tmp_path / "books")
    assert [(q.key, q.question, q.answers) for q in questions] == [
        ("0761/0", "Who wrote it?", ("A. Man",)),
        ("0761/1", "Genre?", ("Law",)),
    ]
    assert questions[0].images == (tmp_path / "books" / "images" / "0761.jpg",)
    folder = tmp_path / "scenes"
    small, plain = made("st-vqa", folder)
    assert (small.images[0], plain.images[0]) == (
        folder / "train_images" / "coco-text" / "COCO_train2014_1.jpg", folder / "train_images" / "iiit_text" / "b.jpg",
    )  # fmt: skip
    (folder / "train2014").mkdir()  # which has the images of coco-text as large as they were
    assert read("st-vqa", folder, "val")[0].images[0] == folder / "train2014" / "COCO_train2014_1.jpg"
    assert [q.key for q in read("st-vqa", folder, "train")] == [2]
    (folder / "val_images.txt").unlink()
    assert [q.key for q in read("st-vqa", folder, "train")] == [0, 1, 2]
    with pytest.raises(BadInput, match=r"no .*val_images.txt, and ST-VQA has no val of its own; list a file_path"):
        read("st-vqa", folder, "val")


def test_videos(tmp_path: Path) -> None:
    questions = made("activitynet-qa", tmp_path / "qa")
    assert [(q.answers, q.kind) for q in questions] == [(("yes",), "yes/no"), (("red",), "colour")]
    assert questions[0].video is not None
    assert questions[0].video.name == "v_a1.mp4"
    (tmp_path / "qa" / "a1.webm").touch()
    assert read("activitynet-qa", tmp_path / "qa", "test")[0].video == tmp_path / "qa" / "a1.webm"
    parts = made("activitynet-cap", tmp_path / "parts")
    assert [(q.start_s, q.stop_s, q.answers) for q in parts] == [
        (0, 0.4, ("a man runs over there",)),
        (0.4, 1.0, ("he stops and rests now",)),
    ]
    captioned = made("msrvtt-cap", tmp_path / "msrvtt")
    assert [len(q.answers) for q in captioned] == [2, 2]
    assert [q.key for q in read("msrvtt-cap", tmp_path / "msrvtt", "val")] == ["video3"]
    assert len(made("vatex", tmp_path / "vatex")[0].answers) == 3


def test_figures_out_of_their_folder_are_refused(tmp_path: Path) -> None:
    make_set("scicap", tmp_path)
    place = "List-of-Files-for-Each-Experiments/First-Sentence/No-Subfig/test/file_idx.json"
    for content, words in (["../x.png"], "which is no name of a file below"), ({"a": 1}, "is no list of names of files"):
        write(tmp_path, {place: json.dumps(content)})
        with pytest.raises(BadInput, match=words):
            read("scicap", tmp_path, "test")
