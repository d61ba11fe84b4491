"""Questions about photographs, and sets of them that models are tested on without training.

    VQAv2     DIR/v2_OpenEnded_mscoco_train2014_questions.json   {questions: [{question_id, image_id, question}]}
              DIR/v2_mscoco_train2014_annotations.json           {annotations: [{question_id, question_type, answer_type,
              DIR/train2014/COCO_train2014_000000000009.jpg       answers: [{answer, answer_id}]}]}; not of test2015
    OK-VQA    the same without v2_
    A-OKVQA   DIR/aokvqa_v1p0_train.json          [{question_id, image_id, question, choices, correct_choice_idx,
              DIR/train2017/000000299207.jpg      direct_answers}]; val, test (without answers)
    GQA       DIR/train_balanced_questions.json   {ID: {question, imageId, answer, types: {structural}}}; val, testdev, test
              DIR/images/2354786.jpg
    NLVR2     DIR/train.json                      a line each: {identifier, sentence, label, directory}; dev, test1
              DIR/images/train/87/train-10171-0-img0.png and ...-img1.png; dev/dev-..., test1/test1-...
    TallyQA   DIR/train.json, test.json           [{question_id, image, question, answer, issimple}]
              DIR/VG_100K/2.jpg, DIR/train2014/COCO_...  `image`, relative to DIR
    ScienceQA DIR/problems.json                   {ID: {question, choices, answer, hint, image, subject}}
              DIR/pid_splits.json                 {train: [ID], val: [...], test: [...]}
              DIR/images/train/1/image.png        or DIR/train/1/image.png
    RSVQA     DIR/LR_split_train_questions.json   {questions: [{id, img_id, type, question, active}]}; val, test
              DIR/LR_split_train_answers.json     {answers: [{id, question_id, answer, active}]}
              DIR/Images_LR/0.tif                 by img_id; USGS_split_... and DIR/Data/0.tif of the high resolution
    POPE      DIR/coco_pope_random.json           a line each: {question_id, image, text, label}; popular, adversarial
              DIR/val2014/COCO_val2014_000000310196.jpg
    MMVP      DIR/Questions.csv                   Index, Question, Options, Correct Answer: "(a) Open (b) Closed", "(a)"
              DIR/MMVP Images/1.jpg               two questions that follow each other are a pair
    VSR       DIR/test.jsonl                      a line each: {image, caption, label, relation}; train, dev
              DIR/images/000000122253.jpg
    VizWiz    DIR/Annotations/train.json          [{image, question, answers: [{answer}], answer_type}]; val, test
              DIR/train/VizWiz_train_00000000.jpg

arXiv: VQAv2 1612.00837, OK-VQA 1906.00067, A-OKVQA 2206.01718, GQA 1902.09506, NLVR2 1811.00491, TallyQA 1810.12440, ScienceQA
2209.09513, RSVQA 2003.07333, POPE 2305.10355, MMVP 2401.06209, VSR 2205.00363, VizWiz 1802.08218.

Keys are those of the files; where they have none, the place in the file, from 0. Entries of RSVQA that are not active were
taken back, and are left out.

Questions about text in images.

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

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from tapetum.core.errors import BadInput
from tapetum.data.entries import (
    JsonEntry,
    csv_entries,
    entries,
    inside,
    line_entries,
    named_entries,
    one_of,
    read_json,
    text_of,
)
from tapetum.data.questions import OfficialSplit, Question, ask, check_unique, reader

_VQA = {"train": "train2014", "val": "val2014", "test": "test2015", "test-dev": "test-dev2015"}
_OPTION = re.compile(r"\(([a-z])\)\s*(.*?)\s*(?=\([a-z]\)|$)", re.DOTALL)


def read_vqav2(folder: Path, split: str) -> list[Question]:
    """Read VQAv2: train, val, test or test-dev, the last two without answers; the kind is yes/no, number or other."""
    return _read_vqa(Path(folder), one_of(split, _VQA), "v2_", "answer_type")


def read_okvqa(folder: Path, split: str) -> list[Question]:
    """Read OK-VQA: train or val; the kind is the type of the question, one to ten or other."""
    return _read_vqa(Path(folder), one_of(split, ("train", "val")), "", "question_type")


def _read_vqa(folder: Path, split: str, before: str, kind: str) -> list[Question]:
    file = folder / f"{before}OpenEnded_mscoco_{_VQA[split]}_questions.json"
    hidden, images = split.startswith("test"), "test2015" if split.startswith("test") else _VQA[split]
    answered: dict[str | int, JsonEntry] = {}
    if not hidden:
        annotations = entries(folder / f"{before}mscoco_{_VQA[split]}_annotations.json", "annotations")
        answered = {entry.key("question_id"): entry for entry in annotations}

    def question(entry: JsonEntry) -> Question:
        image = folder / images / f"COCO_{images}_{entry.whole('image_id'):012d}.jpg"
        if hidden:
            return ask(entry, image)
        if (truth := answered.get(entry.key("question_id"))) is None:
            raise BadInput(f"question {entry.key('question_id')} of {file} has no answers; give the files of one split")
        answers = tuple(answer.text("answer") for answer in truth.entries("answers"))
        return ask(entry, image, answers=answers, kind=truth.text(kind))

    return check_unique(map(question, entries(file, "questions")), file)


@reader("train val test", "aokvqa_v1p0_{split}.json")
def read_aokvqa(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read A-OKVQA: train, val or test; `options` are its choices, `answers` what ten people said freely."""
    for entry in listed:
        image = at.folder / f"{at.split}2017" / f"{entry.whole('image_id'):012d}.jpg"
        right = entry.whole("correct_choice_idx") if "correct_choice_idx" in entry else None
        options = entry.texts("choices")
        if right is not None and not 0 <= right < len(options):
            raise BadInput(f"correct_choice_idx of {entry.where} is {right}, of {len(options)} choices; copy the file again")
        yield ask(entry, image, answers=entry.optional_texts("direct_answers"), options=options, right=right)


@reader("train val testdev test", "{split}_balanced_questions.json", read=named_entries)
def read_gqa(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read the balanced questions of GQA: train, val, testdev or test (without answers); the kind is the structural type."""
    for entry in listed:
        image = at.folder / "images" / f"{entry.file_name('imageId')}.jpg"
        answers = (entry.text("answer"),) if "answer" in entry else ()
        kind = entry.entry("types").text("structural") if "types" in entry else ""
        yield Question(key=entry.name, images=(image,), question=entry.text("question"), answers=answers, kind=kind)


@reader("train dev test1", "{split}.json", read=line_entries)
def read_nlvr2(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read NLVR2: train, dev or test1; two images, left and right, and a sentence that is True or False of them."""
    for entry in listed:
        key, answer, place = entry.file_name("identifier"), entry.text("label"), at.folder / "images" / at.split
        if at.split == "train":  # its images are spread over numbered folders
            place /= inside(str(entry.key("directory")), f"directory of {entry.where}")
        pair, _, sentence = key.rpartition("-")
        if not pair or not sentence:
            raise BadInput(f"identifier of {entry.where} is {key!r}; wanted such as dev-850-0-0: give the official file")
        if answer not in ("True", "False"):
            raise BadInput(f"label of {entry.where} is {answer!r}; wanted True or False: give the official file")
        images = place / f"{pair}-img0.png", place / f"{pair}-img1.png"
        yield ask(entry, *images, key="identifier", text="sentence", answers=(answer,))


@reader("train test", "{split}.json")
def read_tallyqa(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read TallyQA: train or test; the answer is a number, the kind simple or complex, or "" of train, which does not say."""
    for entry in listed:
        kind = ("simple" if entry.truth("issimple") else "complex") if "issimple" in entry else ""
        yield ask(entry, at.folder / entry.file_name("image"), answers=(str(entry.whole("answer")),), kind=kind)


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


@reader("train val test", "LR_split_{split}_questions.json", under="questions")
def read_rsvqa_lr(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read RSVQA's low resolution (Sentinel-2): train, val or test; the kind is presence, comp, count or rural_urban."""
    return _rsvqa(listed, at, "LR_split", "Images_LR")


@reader("train val test test_phili", "USGS_split_{split}_questions.json", under="questions")
def read_rsvqa_hr(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read RSVQA's high resolution (USGS): train, val, test or test_phili; the kind is presence, comp, count or area."""
    return _rsvqa(listed, at, "USGS_split", "Data")


def _rsvqa(listed: Iterable[JsonEntry], at: OfficialSplit, before: str, images: str) -> Iterator[Question]:
    answers: dict[str | int, list[str]] = {}
    for entry in entries(at.folder / f"{before}_{at.split}_answers.json", "answers"):
        if entry.truth("active"):
            answers.setdefault(entry.key("question_id"), []).append(entry.text("answer"))
    for entry in listed:
        if not entry.truth("active"):
            continue
        if (key := entry.key("id")) not in answers:
            raise BadInput(f"question {key} of {at.file} has no answer; give the files of one split")
        image = at.folder / images / f"{entry.whole('img_id')}.tif"
        yield ask(entry, image, key="id", answers=tuple(answers[key]), kind=entry.text("type"))


@reader("random popular adversarial", "coco_pope_{split}.json", read=line_entries)
def read_pope(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read POPE on COCO: random, popular or adversarial; the answer is yes or no."""
    for entry in listed:
        yield ask(entry, at.folder / "val2014" / entry.file_name("image"), text="text", answers=(entry.text("label"),))


@reader("test", "Questions.csv", read=csv_entries)
def read_mmvp(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read MMVP, which has one split; the kind is the number of the pair, the answer the text of the right option."""
    for entry in listed:
        options = dict(_OPTION.findall(entry.text("Options")))
        letter = entry.text("Correct Answer").strip("() \t")
        if letter not in options or not entry.text("Index").isdecimal():
            raise BadInput(f"{entry.where} has the answer {letter!r} of options {', '.join(options)}; give the official file")
        number = int(entry.text("Index"))
        yield Question(
            key=number,
            images=(at.folder / "MMVP Images" / f"{number}.jpg",),
            question=entry.text("Question"),
            answers=(options[letter],),
            options=tuple(options.values()),
            right=list(options).index(letter),
            kind=str((number - 1) // 2),
        )


@reader("train dev test", "{split}.jsonl", read=line_entries)
def read_vsr(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read VSR: train, dev or test; a sentence that is True or False of the image, the kind is the relation."""
    for entry in listed:
        image, label = at.folder / "images" / entry.file_name("image"), entry.whole("label")
        if label not in (0, 1):
            raise BadInput(f"label of {entry.where} is {label}; wanted 0 or 1: give the official file")
        answer, sentence = "True" if label else "False", entry.text("caption")
        yield Question(key=entry.name, images=(image,), question=sentence, answers=(answer,), kind=entry.text("relation"))


@reader("train val test", "Annotations/{split}.json")
def read_vizwiz(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read VizWiz: train, val or test (without answers); the kind is the type of the answer."""
    for entry in listed:
        image, text = at.folder / at.split / entry.file_name("image"), entry.text("question")
        answers = tuple(answer.text("answer") for answer in entry.entries("answers")) if "answers" in entry else ()
        kind = entry.optional_text("answer_type")
        yield Question(key=entry.name, images=(image,), question=text, answers=answers, kind=kind)


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
