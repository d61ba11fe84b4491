"""Questions about text in photographs and on covers of books: ST-VQA (Biten et al., arXiv 1905.13648), OCR-VQA (Mishra et al.,
ICDAR 2019).

    ST-VQA    DIR/train_task_3.json            {data: [{question_id, file_path, question, answers}]}; test_task_3 (without)
              DIR/train_images/FILE_PATH       test_task3_images of the test; images of coco-text are taken from DIR/train2014,
                                               which has them larger, where that is there, as the reference does
              DIR/val_images.txt               a file_path each line: the official set has no val, and this is which images are
    OCR-VQA   DIR/dataset.json                 {ID: {imageURL, split: 1, 2, 3, questions: [...], answers: [...]}}
              DIR/images/ID.jpg                the ending is that of imageURL
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, entries, named_entries, one_of
from tapetum.data.listings import text_of
from tapetum.data.questions import Question, check_unique

_PARTS = {"train": 1, "val": 2, "test": 3}


def read_stvqa(folder: Path, split: str) -> list[Question]:
    """Read ST-VQA, task 3: train, val or test (without answers).

    val are the images that DIR/val_images.txt lists, and train all others of the official train, or all where there is no such
    file. Raises BadInput for val without it.
    """
    folder, test = Path(folder), one_of(split, _PARTS) == "test"
    file, listed = folder / f"{'test' if test else 'train'}_task_3.json", folder / "val_images.txt"
    if split == "val" and not listed.is_file():
        raise BadInput(f"there is no {listed}, and ST-VQA has no val of its own; list a file_path of train a line there")
    val = {line.strip() for line in text_of(listed).splitlines()} if listed.is_file() else set()

    def image(name: str) -> Path:
        if name.startswith("coco-text/") and (folder / "train2014").is_dir():
            return folder / "train2014" / name.removeprefix("coco-text/")
        return folder / ("test_task3_images" if test else "train_images") / name

    def question(entry: JsonEntry) -> Question:
        answers = entry.texts("answers") if "answers" in entry else ()
        images = (image(entry.file_name("file_path")),)
        return Question(key=entry.key("question_id"), images=images, question=entry.text("question"), answers=answers)

    return check_unique(
        (question(entry) for entry in entries(file, "data") if test or (entry.text("file_path") in val) == (split == "val")),
        file,
    )


def read_ocrvqa(folder: Path, split: str) -> list[Question]:
    """Read OCR-VQA: train, val or test; the key of a question is "ID/number"."""
    folder, file, part = Path(folder), Path(folder) / "dataset.json", _PARTS[one_of(split, _PARTS)]

    def of_book(key: str, entry: JsonEntry) -> Iterator[Question]:
        name = JsonEntry({"ID": key}, entry.where).file_name("ID")
        image = folder / "images" / f"{name}{PurePosixPath(entry.text('imageURL')).suffix}"
        questions, answers = entry.texts("questions"), entry.texts("answers")
        if len(questions) != len(answers):
            raise BadInput(f"{entry.where} has {len(questions)} questions and {len(answers)} answers; give the official file")
        for number, (text, answer) in enumerate(zip(questions, answers, strict=True)):
            yield Question(key=f"{key}/{number}", images=(image,), question=text, answers=(answer,))

    return check_unique(
        (made for key, entry in named_entries(file) if entry.whole("split") == part for made in of_book(key, entry)), file
    )
