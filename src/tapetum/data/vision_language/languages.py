"""Captions and questions in many languages.

    COCO-35L   DIR/coco_mt_train.jsonl, coco_mt_dev.jsonl   a line a translation: {image_id: "IMAGE_k", trg_lang,
                                                            caption_tokenized (English), translation_tokenized}
               DIR/dataset_coco.json                        where each image lies, as Karpathy's split has it
    XM3600     DIR/captions.jsonl                           a line an image: {image/key, LANGUAGE: {caption: [...]}}
               DIR/images/KEY.jpg
    xGQA       DIR/testdev_balanced_questions_bn.json       {ID: {question, imageId, answer}}; or in annotations/zero_shot
               DIR/images/2354786.jpg                       those of GQA
    MaRVL      DIR/id/annotations/marvl-id.jsonl            a line each: {id, concept, language, caption, left_img, right_img,
               DIR/id/images/CONCEPT/FILE                   label}

Sources: COCO-35L and Crossmodal-3600 (arXiv 2205.12522), xGQA (2109.06082), MaRVL (2109.13238).

Each record has the language as its kind, and "LANGUAGE/ID" as its key. English captions of COCO-35L are the sources of the
German ones, as the reference takes them. All answers of xGQA are English.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, entries, first_of, line_entries, named_entries, one_of, read_lines
from tapetum.data.questions import OfficialSplit, Question, check_unique, reader

XGQA = "bn", "de", "id", "ko", "pt", "ru", "zh"
"""Languages of xGQA that are translated."""
MARVL = "id", "sw", "ta", "tr", "zh"
"""Languages of MaRVL."""
_SOURCE_OF_ENGLISH = "de"


def _streamed(file: Path) -> Iterator[JsonEntry]:
    """Lines of a file of some gigabytes."""
    return (JsonEntry(row, f"line {number} of {file}") for number, row in enumerate(read_lines(file), 1))


@reader("train dev", "coco_mt_{split}.jsonl", read=_streamed)
def read_coco35l(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read COCO-35L: train or dev; one record for an image and a language, with all its captions as answers."""
    place = at.folder / "dataset_coco.json"
    images = {
        entry.whole("cocoid"): at.folder / entry.file_name("filepath") / entry.file_name("filename")
        for entry in entries(place, "images")
    }
    captions: dict[tuple[str, int], list[str]] = {}
    for entry in listed:
        name, language = entry.text("image_id").partition("_")[0], entry.text("trg_lang")
        if not name.isdecimal() or int(name) not in images:
            raise BadInput(f"image_id of {entry.where} is {name!r}, which is no image of {place}; give the official files")
        captions.setdefault((language, int(name)), []).append(entry.text("translation_tokenized"))
        if language == _SOURCE_OF_ENGLISH:
            captions.setdefault(("en", int(name)), []).append(entry.text("caption_tokenized"))
    for (language, image), texts in captions.items():
        yield _of_language(language, image, images[image], answers=tuple(texts))


@reader("test", "captions.jsonl", read=line_entries)
def read_xm3600(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read Crossmodal-3600, which has one split; one record for an image and a language."""
    for entry in listed:
        key = entry.file_name("image/key")
        languages = [name for name, value in entry.fields.items() if isinstance(value, dict)]
        if not languages:
            raise BadInput(f"{entry.where} has no captions of any language; give the official file")
        for language in languages:
            captions = entry.entry(language).texts("caption")
            yield _of_language(language, key, at.folder / "images" / f"{key}.jpg", answers=captions)


def read_xgqa(folder: Path, split: str = "test") -> list[Question]:
    """Read the questions of xGQA without any training (zero_shot), which are one split, in its seven other languages."""
    one_of(split, ("test",))

    def questions(language: str) -> Iterator[Question]:
        name = f"testdev_balanced_questions_{language}.json"
        for entry in named_entries(first_of(Path(folder), (name, f"annotations/zero_shot/{name}"))):
            image = Path(folder) / "images" / f"{entry.file_name('imageId')}.jpg"
            answers = (entry.text("answer"),)
            yield _of_language(language, entry.name, image, question=entry.text("question"), answers=answers)

    return check_unique((question for language in XGQA for question in questions(language)), folder)


def read_marvl(folder: Path, split: str = "test") -> list[Question]:
    """Read MaRVL, which has one split; two images, left and right, and a sentence that is True or False of them."""
    one_of(split, ("test",))

    def questions(language: str) -> Iterator[Question]:
        places = (f"{language}/annotations/marvl-{language}.jsonl", f"zero_shot/annotations/marvl-{language}.jsonl")
        for entry in line_entries(first_of(Path(folder), places)):
            place = Path(folder) / language / "images" / entry.file_name("concept")
            images = place / entry.file_name("left_img"), place / entry.file_name("right_img")
            answers = ("True" if entry.truth("label") else "False",)
            yield _of_language(language, entry.key("id"), *images, question=entry.text("caption"), answers=answers)

    return check_unique((question for language in MARVL for question in questions(language)), folder)


def _of_language(language: str, key: str | int, *images: Path, question: str = "", answers: tuple[str, ...]) -> Question:
    return Question(key=f"{language}/{key}", images=images, question=question, answers=answers, kind=language)
