"""Sets that models are tested on, mostly without training: POPE (arXiv 2305.10355), MMVP (arXiv 2401.06209), VSR (arXiv
2205.00363), VizWiz (arXiv 1802.08218).

    POPE      DIR/coco_pope_random.json           a line each: {question_id, image, text, label}; popular, adversarial
              DIR/val2014/COCO_val2014_000000310196.jpg
    MMVP      DIR/Questions.csv                   Index, Question, Options, Correct Answer: "(a) Open (b) Closed", "(a)"
              DIR/MMVP Images/1.jpg               two questions that follow each other are a pair
    VSR       DIR/test.jsonl                      a line each: {image, caption, label, relation}; train, dev
              DIR/images/000000122253.jpg
    VizWiz    DIR/Annotations/train.json          [{image, question, answers: [{answer}], answer_type}]; val, test
              DIR/train/VizWiz_train_00000000.jpg

Keys are those of the files; where they have none, the place in the file, from 0.
"""

import re
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, entries, line_entries, one_of
from tapetum.data.listings import records_of
from tapetum.data.questions import Question, check_unique

_OPTION = re.compile(r"\(([a-z])\)\s*(.*?)\s*(?=\([a-z]\)|$)", re.DOTALL)


def read_pope(folder: Path, split: str) -> list[Question]:
    """Read POPE on COCO: random, popular or adversarial; the answer is yes or no."""
    folder, file = Path(folder), Path(folder) / f"coco_pope_{one_of(split, ('random', 'popular', 'adversarial'))}.json"

    def question(entry: JsonEntry) -> Question:
        image = folder / "val2014" / entry.file_name("image")
        return Question(
            key=entry.key("question_id"), images=(image,), question=entry.text("text"), answers=(entry.text("label"),)
        )

    return check_unique(map(question, line_entries(file)), file)


def read_mmvp(folder: Path, split: str = "test") -> list[Question]:
    """Read MMVP, which has one split; the kind is the number of the pair, the answer the text of the right option."""
    one_of(split, ("test",))
    folder, file = Path(folder), Path(folder) / "Questions.csv"
    questions = []
    for k, row in enumerate(records_of(file)):
        entry = JsonEntry(row, f"row {k} of {file}")
        options = dict(_OPTION.findall(entry.text("Options")))
        letter = entry.text("Correct Answer").strip("() \t")
        if letter not in options or not entry.text("Index").isdecimal():
            raise BadInput(f"{entry.where} has the answer {letter!r} of options {', '.join(options)}; give the official file")
        number = int(entry.text("Index"))
        questions.append(
            Question(
                key=number,
                images=(folder / "MMVP Images" / f"{number}.jpg",),
                question=entry.text("Question"),
                answers=(options[letter],),
                options=tuple(options.values()),
                right=list(options).index(letter),
                kind=str((number - 1) // 2),
            )
        )
    return check_unique(questions, file)


def read_vsr(folder: Path, split: str) -> list[Question]:
    """Read VSR: train, dev or test; a sentence that is True or False of the image, the kind is the relation."""
    folder, file = Path(folder), Path(folder) / f"{one_of(split, ('train', 'dev', 'test'))}.jsonl"

    def question(key: int, entry: JsonEntry) -> Question:
        label = entry.whole("label")
        if label not in (0, 1):
            raise BadInput(f"label of {entry.where} is {label}; wanted 0 or 1: give the official file")
        return Question(
            key=key,
            images=(folder / "images" / entry.file_name("image"),),
            question=entry.text("caption"),
            answers=("True" if label else "False",),
            kind=entry.text("relation"),
        )

    return check_unique((question(k, entry) for k, entry in enumerate(line_entries(file))), file)


def read_vizwiz(folder: Path, split: str) -> list[Question]:
    """Read VizWiz: train, val or test (without answers); the kind is the type of the answer."""
    folder, file = Path(folder), Path(folder) / "Annotations" / f"{one_of(split, ('train', 'val', 'test'))}.json"

    def question(key: int, entry: JsonEntry) -> Question:
        answers = tuple(answer.text("answer") for answer in entry.entries("answers")) if "answers" in entry else ()
        kind = entry.text("answer_type") if "answer_type" in entry else ""
        image = folder / split / entry.file_name("image")
        return Question(key=key, images=(image,), question=entry.text("question"), answers=answers, kind=kind)

    return check_unique((question(k, entry) for k, entry in enumerate(entries(file))), file)
