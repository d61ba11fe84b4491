"""Questions about photographs and about text in them.

    VQAv2     DIR/v2_OpenEnded_mscoco_train2014_questions.json   {questions: [{question_id, image_id, question}]}
              DIR/v2_mscoco_train2014_annotations.json           {annotations: [{question_id, answer_type,
              DIR/train2014/COCO_train2014_000000000009.jpg       answers: [{answer}]}]}; not of test2015
    GQA       DIR/train_balanced_questions.json   {ID: {question, imageId, answer, types: {structural}}}; val, testdev, test
              DIR/images/2354786.jpg
    ScienceQA DIR/problems.json                   {ID: {question, choices, answer, hint, image, subject}}
              DIR/pid_splits.json                 {train: [ID], val: [...], test: [...]}
              DIR/images/train/1/image.png        or DIR/train/1/image.png
    TextVQA   DIR/TextVQA_0.5.1_train.json        {data: [{question_id, image_id, question, answers}]}; val, test
              DIR/train_images/ID.jpg             of train and val; test_images of test
    DocVQA    DIR/train_v1.0.json                 (or train_v1.0_withQT.json) {data: [{questionId, question, image, answers}]};
              DIR/documents/xnbl0037_1.png        `image`, relative to DIR
    ChartQA   DIR/train/train_human.json          [{imgname, query, label}], and train_augmented.json; val, test
              DIR/train/png/41699051005347.png

arXiv: VQAv2 1612.00837, GQA 1902.09506, ScienceQA 2209.09513, TextVQA 1904.08920, DocVQA 2007.00398, ChartQA 2203.10244. Test
files have no answers, except those of ChartQA, whose official files have no ids: its keys are kind and index ("human/17").
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, entries, inside, named_entries, one_of, read_json
from tapetum.data.questions import OfficialSplit, Question, ask, check_unique, reader

_VQA = {"train": "train2014", "val": "val2014", "test": "test2015", "test-dev": "test-dev2015"}


def read_vqav2(folder: Path, split: str) -> list[Question]:
    """Read VQAv2: train, val, test or test-dev, the last two without answers; the kind is yes/no, number or other."""
    part, folder = _VQA[one_of(split, _VQA)], Path(folder)
    file = folder / f"v2_OpenEnded_mscoco_{part}_questions.json"
    hidden = split.startswith("test")
    images = "test2015" if hidden else part
    annotations = [] if hidden else entries(folder / f"v2_mscoco_{part}_annotations.json", "annotations")
    answered = {entry.key("question_id"): entry for entry in annotations}

    def question(entry: JsonEntry) -> Question:
        image = folder / images / f"COCO_{images}_{entry.whole('image_id'):012d}.jpg"
        if hidden:
            return ask(entry, image)
        if (truth := answered.get(entry.key("question_id"))) is None:
            raise BadInput(f"question {entry.key('question_id')} of {file} has no answers; give the files of one split")
        answers = tuple(answer.text("answer") for answer in truth.entries("answers"))
        return ask(entry, image, answers=answers, kind=truth.text("answer_type"))

    return check_unique(map(question, entries(file, "questions")), file)


@reader("train val testdev test", "{split}_balanced_questions.json", read=named_entries)
def read_gqa(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read the balanced questions of GQA: train, val, testdev or test (without answers); the kind is the structural type."""
    for entry in listed:
        image = at.folder / "images" / f"{entry.file_name('imageId')}.jpg"
        answers = (entry.text("answer"),) if "answer" in entry else ()
        kind = entry.entry("types").text("structural") if "types" in entry else ""
        yield Question(key=entry.name, images=(image,), question=entry.text("question"), answers=answers, kind=kind)


def _splits_of_science(file: Path) -> list[JsonEntry]:
    splits = read_json(file)
    if not isinstance(splits, Mapping) or not all(isinstance(ids, list) for ids in splits.values()):
        raise BadInput(f"{file} is no object of lists of ids; give the official file")
    return [JsonEntry({"id": str(key)}, f"{name} of {file}", name) for name, ids in splits.items() for key in ids]


@reader("train val test", "pid_splits.json", read=_splits_of_science)
def read_scienceqa(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read ScienceQA: train, val or test, those with an image, as PaliGemma is scored; the kind is the subject, `context` the
    hint."""
    problems = {str(entry.name): entry for entry in named_entries(at.folder / "problems.json")}
    place = (at.folder / "images" if (at.folder / "images").is_dir() else at.folder) / at.split
    for key in (entry.text("id") for entry in listed if entry.name == at.split):
        if (entry := problems.get(key)) is None:
            raise BadInput(f"{at.file} lists the question {key}, which problems.json has not; give files of one set")
        options, right = entry.texts("choices"), entry.whole("answer")
        if not 0 <= right < len(options):
            raise BadInput(f"answer of {entry.where} is {right}, of {len(options)} choices; copy the file again")
        if "image" in entry:
            yield Question(
                key=key,
                images=(place / inside(key, "an id") / entry.file_name("image"),),
                question=entry.text("question"),
                answers=(options[right],),
                options=options,
                right=right,
                kind=entry.text("subject"),
                context=entry.optional_text("hint"),
            )


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


def read_chartqa(folder: Path, split: str) -> list[Question]:
    """Read ChartQA: train, val or test; questions asked by people come before generated ones."""
    place = Path(folder) / one_of(split, ("train", "val", "test"))

    def question(kind: str, entry: JsonEntry) -> Question:
        image, answers = place / "png" / entry.file_name("imgname"), (entry.text("label"),)
        key = f"{kind}/{entry.name}"
        return Question(key=key, images=(image,), question=entry.text("query"), answers=answers, kind=kind)

    kinds = "human", "augmented"
    return check_unique((question(kind, e) for kind in kinds for e in entries(place / f"{split}_{kind}.json")), place)
