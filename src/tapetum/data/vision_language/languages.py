"""Captions and questions in many languages: COCO-35L and Crossmodal-3600 (Thapliyal et al., arXiv 2205.12522), xGQA (Pfeiffer
et al., arXiv 2109.06082), MaRVL (Liu et al., arXiv 2109.13238).

    COCO-35L   DIR/coco_mt_train.jsonl, coco_mt_dev.jsonl   a line a translation: {image_id: "IMAGE_k", trg_lang,
                                                            caption_tokenized (English), translation_tokenized}
               DIR/dataset_coco.json                        where each image lies, as Karpathy's split has it
    XM3600     DIR/captions.jsonl                           a line an image: {image/key, LANGUAGE: {caption: [...]}}
               DIR/images/KEY.jpg
    xGQA       DIR/testdev_balanced_questions_bn.json       {ID: {question, imageId, answer}}; or in annotations/zero_shot
               DIR/images/2354786.jpg                       those of GQA
    MaRVL      DIR/id/annotations/marvl-id.jsonl            a line each: {id, concept, language, caption, left_img, right_img,
               DIR/id/images/CONCEPT/FILE                   label}

Each record has the language as its kind, and "LANGUAGE/ID" as its key. English captions of COCO-35L are the sources of the
German ones, as the reference takes them. All answers of xGQA are English.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, entries, first_of, inside, line_entries, named_entries, one_of, read_lines
from tapetum.data.questions import Question, check_unique

XGQA = "bn", "de", "id", "ko", "pt", "ru", "zh"
"""Languages of xGQA that are translated."""
MARVL = "id", "sw", "ta", "tr", "zh"
"""Languages of MaRVL."""
_SOURCE_OF_ENGLISH = "de"


def read_coco35l(folder: Path, split: str) -> list[Question]:
    """Read COCO-35L: train or dev; one record for an image and a language, with all its captions as answers."""
    folder, file = Path(folder), Path(folder) / f"coco_mt_{one_of(split, ('train', 'dev'))}.jsonl"
    place = folder / "dataset_coco.json"
    images = {entry.whole("cocoid"): _karpathy_file(folder, entry) for entry in entries(place, "images")}
    captions: dict[tuple[str, int], list[str]] = {}
    for number, row in enumerate(read_lines(file), 1):
        entry = JsonEntry(row, f"line {number} of {file}")
        name, language = entry.text("image_id").partition("_")[0], entry.text("trg_lang")
        if not name.isdecimal() or int(name) not in images:
            raise BadInput(f"image_id of {entry.where} is {name!r}, which is no image of {place}; give the official files")
        captions.setdefault((language, int(name)), []).append(entry.text("translation_tokenized"))
        if language == _SOURCE_OF_ENGLISH:
            captions.setdefault(("en", int(name)), []).append(entry.text("caption_tokenized"))
    made = (
        Question(key=f"{language}/{name}", images=(images[name],), question="", answers=tuple(texts), kind=language)
        for (language, name), texts in captions.items()
    )
    return check_unique(made, file)


def read_xm3600(folder: Path, split: str = "test") -> list[Question]:
    """Read Crossmodal-3600, which has one split; one record for an image and a language."""
    one_of(split, ("test",))
    folder, file = Path(folder), Path(folder) / "captions.jsonl"
    return check_unique((made for entry in line_entries(file) for made in _xm3600(folder, entry)), file)


def read_xgqa(folder: Path, split: str = "test") -> list[Question]:
    """Read the questions of xGQA without any training (zero_shot), which are one split, in its seven other languages."""
    one_of(split, ("test",))
    folder = Path(folder)

    def questions() -> Iterator[Question]:
        for language in XGQA:
            name = f"testdev_balanced_questions_{language}.json"
            for key, entry in named_entries(first_of(folder, (name, f"annotations/zero_shot/{name}"))):
                image = folder / "images" / f"{entry.file_name('imageId')}.jpg"
                text, answers = entry.text("question"), (entry.text("answer"),)
                yield Question(key=f"{language}/{key}", images=(image,), question=text, answers=answers, kind=language)

    return check_unique(questions(), folder)


def read_marvl(folder: Path, split: str = "test") -> list[Question]:
    """Read MaRVL, which has one split; two images, left and right, and a sentence that is True or False of them."""
    one_of(split, ("test",))
    folder = Path(folder)

    def questions() -> Iterator[Question]:
        for language in MARVL:
            name = f"marvl-{language}.jsonl"
            file = first_of(folder, (f"{language}/annotations/{name}", f"zero_shot/annotations/{name}"))
            for entry in line_entries(file):
                place = folder / language / "images" / entry.file_name("concept")
                yield Question(
                    key=f"{language}/{entry.key('id')}",
                    images=(place / entry.file_name("left_img"), place / entry.file_name("right_img")),
                    question=entry.text("caption"),
                    answers=("True" if entry.truth("label") else "False",),
                    kind=language,
                )

    return check_unique(questions(), folder)


def _karpathy_file(folder: Path, entry: JsonEntry) -> Path:
    return folder / entry.file_name("filepath") / entry.file_name("filename")


def _xm3600(folder: Path, entry: JsonEntry) -> Iterator[Question]:
    key = entry.file_name("image/key")
    captioned: dict[str, Any] = {name: value for name, value in entry.fields.items() if isinstance(value, dict)}
    if not captioned:
        raise BadInput(f"{entry.where} has no captions of any language; give the official file")
    for language, value in captioned.items():
        answers = JsonEntry(value, f"{language} of {entry.where}").texts("caption")
        image = folder / "images" / f"{inside(key, 'a key')}.jpg"
        yield Question(key=f"{language}/{key}", images=(image,), question="", answers=answers, kind=language)
