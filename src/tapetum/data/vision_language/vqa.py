"""VQAv2 (Goyal et al., arXiv 1612.00837) and OK-VQA (Marino et al., arXiv 1906.00067), in the files of VQA.

DIR/v2_OpenEnded_mscoco_train2014_questions.json     {questions: [{question_id, image_id, question}]}; OK-VQA without v2_
DIR/v2_mscoco_train2014_annotations.json             {annotations: [{question_id, question_type, answer_type,
                                                      answers: [{answer, answer_id}]}]}; not of test2015, test-dev2015
DIR/train2014/COCO_train2014_000000000009.jpg
"""

from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, entries, one_of
from tapetum.data.questions import Question, check_unique

_FILES = {"train": "train2014", "val": "val2014", "test": "test2015", "test-dev": "test-dev2015"}
_HIDDEN = ("test", "test-dev")


def read_vqav2(folder: Path, split: str) -> list[Question]:
    """Read VQAv2: train, val, test or test-dev, the last two without answers; the kind is yes/no, number or other."""
    return _read(Path(folder), one_of(split, _FILES), "v2_")


def read_okvqa(folder: Path, split: str) -> list[Question]:
    """Read OK-VQA: train or val; the kind is the type of the question, one to ten or other."""
    return _read(Path(folder), one_of(split, ("train", "val")), "")


def coco_image(folder: Path, part: str, number: int) -> Path:
    """Name an image of COCO 2014 or 2015.

    >>> coco_image(Path("coco"), "val2014", 42).as_posix()
    'coco/val2014/COCO_val2014_000000000042.jpg'
    """
    return folder / part / f"COCO_{part}_{number:012d}.jpg"


def _read(folder: Path, split: str, before: str) -> list[Question]:
    part = _FILES[split]
    questions = folder / f"{before}OpenEnded_mscoco_{part}_questions.json"
    answered: dict[str | int, JsonEntry] = {}
    if split not in _HIDDEN:
        file = folder / f"{before}mscoco_{part}_annotations.json"
        answered = {entry.key("question_id"): entry for entry in entries(file, "annotations")}
    images = "test2015" if split in _HIDDEN else part

    def question(entry: JsonEntry) -> Question:
        key, answers, kind = entry.key("question_id"), (), ""
        if split not in _HIDDEN:
            if key not in answered:
                raise BadInput(f"question {key} of {questions} has no answers; give the files of one split")
            answers = tuple(answer.text("answer") for answer in answered[key].entries("answers"))
            kind = answered[key].text("answer_type" if before else "question_type")
        image = coco_image(folder, images, entry.whole("image_id"))
        return Question(key=key, images=(image,), question=entry.text("question"), answers=answers, kind=kind)

    return check_unique(map(question, entries(questions, "questions")), questions)
