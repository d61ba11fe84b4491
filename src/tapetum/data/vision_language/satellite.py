"""RSVQA (Lobry et al., arXiv 2003.07333): questions about images from above, at low (Sentinel-2) and high resolution (USGS).

    DIR/LR_split_train_questions.json     {questions: [{id, img_id, type, question, answers_ids, active}]}; val, test
    DIR/LR_split_train_answers.json       {answers: [{id, question_id, answer, active}]}
    DIR/Images_LR/0.tif                   by img_id

    DIR/USGS_split_train_questions.json   the same; val, test, test_phili (the second test set)
    DIR/Data/0.tif

Entries that are not active are left out, as they were taken back. The kind is presence, comp, count, rural_urban or area.
"""

from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, entries, one_of
from tapetum.data.questions import Question, check_unique


def read_rsvqa_lr(folder: Path, split: str) -> list[Question]:
    """Read the low-resolution set: train, val or test."""
    return _read(Path(folder), f"LR_split_{one_of(split, ('train', 'val', 'test'))}", "Images_LR")


def read_rsvqa_hr(folder: Path, split: str) -> list[Question]:
    """Read the high-resolution set: train, val, test or test_phili."""
    return _read(Path(folder), f"USGS_split_{one_of(split, ('train', 'val', 'test', 'test_phili'))}", "Data")


def _read(folder: Path, before: str, images: str) -> list[Question]:
    file = folder / f"{before}_questions.json"
    answers: dict[str | int, list[str]] = {}
    for entry in filter(_active, entries(folder / f"{before}_answers.json", "answers")):
        answers.setdefault(entry.key("question_id"), []).append(entry.text("answer"))

    def question(entry: JsonEntry) -> Question:
        key = entry.key("id")
        if key not in answers:
            raise BadInput(f"question {key} of {file} has no answer; give the files of one split")
        return Question(
            key=key,
            images=(folder / images / f"{entry.whole('img_id')}.tif",),
            question=entry.text("question"),
            answers=tuple(answers[key]),
            kind=entry.text("type"),
        )

    return check_unique(map(question, filter(_active, entries(file, "questions"))), file)


def _active(entry: JsonEntry) -> bool:
    return entry.truth("active")
