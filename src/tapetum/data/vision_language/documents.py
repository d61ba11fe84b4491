"""Questions about text in images.

    TextVQA   DIR/TextVQA_0.5.1_train.json      {data: [{question_id, image_id, question, answers}]}; val, test
              DIR/train_images/ID.jpg           of train and val; test_images of test
    DocVQA    DIR/train_v1.0.json               (or train_v1.0_withQT.json) {data: [{questionId, question, image, answers}]};
              DIR/documents/xnbl0037_1.png      `image`, relative to DIR
    InfoVQA   DIR/infographicsVQA_train_v1.0.json   (or ..._withQT.json) the same with image_local_name
              DIR/images/30023.jpeg
    ChartQA   DIR/train/train_human.json        [{imgname, query, label}], and train_augmented.json; val, test
              DIR/train/png/41699051005347.png
    ST-VQA    DIR/train_task_3.json             {data: [{question_id, file_path, question, answers}]}; test_task_3 (without)
              DIR/train_images/FILE_PATH        test_task3_images of the test; images of coco-text are taken from DIR/train2014,
                                                which has them larger, where that is there, as the reference does
              DIR/val_images.txt                a file_path each line: the official set has no val, and this is which images are
    OCR-VQA   DIR/dataset.json                  {ID: {imageURL, split: 1, 2, 3, questions: [...], answers: [...]}}
              DIR/images/ID.jpg                 the ending is that of imageURL

Sources: arXiv 1904.08920 (TextVQA), 2007.00398 (DocVQA), 2104.12756 (InfographicVQA), 2203.10244 (ChartQA), 1905.13648
(ST-VQA); Mishra et al., ICDAR 2019 (OCR-VQA).

Test files have no answers, except those of ChartQA. The kind of a question of ChartQA is human or augmented; its official files
have no ids, so its key is kind and index ("human/17").
"""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, entries, inside, named_entries, one_of
from tapetum.data.listings import text_of
from tapetum.data.questions import OfficialSplit, Question, ask, check_unique, reader

_PARTS = {"train": 1, "val": 2, "test": 3}


@reader("train val test", "TextVQA_0.5.1_{split}.json", under="data")
def read_textvqa(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read TextVQA: train, val or test."""
    images = at.folder / ("test_images" if at.split == "test" else "train_images")
    for entry in listed:
        yield ask(entry, images / f"{entry.file_name('image_id')}.jpg", answers=entry.optional_texts("answers"))


@reader("train val test", "{split}_v1.0.json", "{split}_v1.0_withQT.json", under="data")
def read_docvqa(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read DocVQA: train, val or test."""
    for entry in listed:
        image = at.folder / entry.file_name("image")
        yield ask(entry, image, key="questionId", answers=entry.optional_texts("answers"))


@reader("train val test", "infographicsVQA_{split}_v1.0.json", "infographicsVQA_{split}_v1.0_withQT.json", under="data")
def read_infovqa(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read InfographicVQA: train, val or test."""
    for entry in listed:
        image = at.folder / "images" / entry.file_name("image_local_name")
        yield ask(entry, image, key="questionId", answers=entry.optional_texts("answers"))


def read_chartqa(folder: Path, split: str) -> list[Question]:
    """Read ChartQA: train, val or test; questions asked by people come before generated ones."""
    place = Path(folder) / one_of(split, _PARTS)

    def question(kind: str, entry: JsonEntry) -> Question:
        image, answers = place / "png" / entry.file_name("imgname"), (entry.text("label"),)
        key = f"{kind}/{entry.name}"
        return Question(key=key, images=(image,), question=entry.text("query"), answers=answers, kind=kind)

    kinds = "human", "augmented"
    return check_unique((question(kind, e) for kind in kinds for e in entries(place / f"{split}_{kind}.json")), place)


def read_stvqa(folder: Path, split: str) -> list[Question]:
    """Read ST-VQA, task 3: train, val or test (without answers).

    val has the images that DIR/val_images.txt lists, and train all others of the official train, or all without that
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

    questions = (
        ask(entry, image(entry.file_name("file_path")), answers=entry.optional_texts("answers"))
        for entry in entries(file, "data")
        if test or (entry.text("file_path") in val) == (split == "val")
    )
    return check_unique(questions, file)


@reader("train val test", "dataset.json", read=named_entries)
def read_ocrvqa(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read OCR-VQA: train, val or test; the key of a question is "ID/number"."""
    for entry in listed:
        if entry.whole("split") != _PARTS[at.split]:
            continue
        name = inside(str(entry.name), f"ID of {entry.where}")
        image = at.folder / "images" / f"{name}{PurePosixPath(entry.text('imageURL')).suffix}"
        questions, answers = entry.texts("questions"), entry.texts("answers")
        if len(questions) != len(answers):
            raise BadInput(f"{entry.where} has {len(questions)} questions and {len(answers)} answers; give the official file")
        for number, (text, answer) in enumerate(zip(questions, answers, strict=True)):
            yield Question(key=f"{name}/{number}", images=(image,), question=text, answers=(answer,))
