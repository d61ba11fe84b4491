"""Questions about text in images: TextVQA (arXiv 1904.08920), DocVQA (arXiv 2007.00398), InfographicVQA (arXiv 2104.12756),
ChartQA (arXiv 2203.10244).

    TextVQA   DIR/TextVQA_0.5.1_train.json      {data: [{question_id, image_id, question, answers}]}; val, test
              DIR/train_images/ID.jpg           of train and val; test_images of test
    DocVQA    DIR/train_v1.0.json               (or train_v1.0_withQT.json) {data: [{questionId, question, image, answers}]};
              DIR/documents/xnbl0037_1.png      `image`, relative to DIR
    InfoVQA   DIR/infographicsVQA_train_v1.0.json   (or ..._withQT.json) the same with image_local_name
              DIR/images/30023.jpeg
    ChartQA   DIR/train/train_human.json        [{imgname, query, label}], and train_augmented.json; val, test
              DIR/train/png/41699051005347.png

Test files have no answers, but those of ChartQA do. The kind of a question of ChartQA is human or augmented; its official files
number nothing, so its key is kind and place ("human/17").
"""

from pathlib import Path

from tapetum.data.entries import JsonEntry, entries, first_of, one_of
from tapetum.data.questions import Question, check_unique

_SPLITS = ("train", "val", "test")


def read_textvqa(folder: Path, split: str) -> list[Question]:
    """Read TextVQA: train, val or test."""
    folder, file = Path(folder), Path(folder) / f"TextVQA_0.5.1_{one_of(split, _SPLITS)}.json"
    images = folder / ("test_images" if split == "test" else "train_images")

    def question(entry: JsonEntry) -> Question:
        answers = entry.texts("answers") if "answers" in entry else ()
        image = images / f"{entry.file_name('image_id')}.jpg"
        return Question(key=entry.key("question_id"), images=(image,), question=entry.text("question"), answers=answers)

    return check_unique(map(question, entries(file, "data")), file)


def read_docvqa(folder: Path, split: str) -> list[Question]:
    """Read DocVQA: train, val or test."""
    one_of(split, _SPLITS)
    file = first_of(Path(folder), (f"{split}_v1.0.json", f"{split}_v1.0_withQT.json"))
    return _documents(file, Path(folder), "image")


def read_infovqa(folder: Path, split: str) -> list[Question]:
    """Read InfographicVQA: train, val or test."""
    one_of(split, _SPLITS)
    file = first_of(Path(folder), [f"infographicsVQA_{split}_v1.0{end}.json" for end in ("", "_withQT")])
    return _documents(file, Path(folder) / "images", "image_local_name")


def read_chartqa(folder: Path, split: str) -> list[Question]:
    """Read ChartQA: train, val or test; questions that people asked come before those that were generated."""
    place = Path(folder) / one_of(split, _SPLITS)
    return check_unique(
        (
            Question(
                key=f"{kind}/{k}",
                images=(place / "png" / entry.file_name("imgname"),),
                question=entry.text("query"),
                answers=(entry.text("label"),),
                kind=kind,
            )
            for kind in ("human", "augmented")
            for k, entry in enumerate(entries(place / f"{split}_{kind}.json"))
        ),
        place,
    )


def _documents(file: Path, images: Path, field: str) -> list[Question]:
    def question(entry: JsonEntry) -> Question:
        answers = entry.texts("answers") if "answers" in entry else ()
        image = images / entry.file_name(field)
        return Question(key=entry.key("questionId"), images=(image,), question=entry.text("question"), answers=answers)

    return check_unique(map(question, entries(file, "data")), file)
