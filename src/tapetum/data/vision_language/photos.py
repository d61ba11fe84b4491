"""Questions about photographs: A-OKVQA (arXiv 2206.01718), GQA (arXiv 1902.09506), NLVR2 (arXiv 1811.00491), TallyQA (arXiv
1810.12440).

    A-OKVQA   DIR/aokvqa_v1p0_train.json          [{question_id, image_id, question, choices, correct_choice_idx,
              DIR/train2017/000000299207.jpg      direct_answers}]; val, test (without answers)
    GQA       DIR/train_balanced_questions.json   {ID: {question, imageId, answer, types: {structural}}}; val, testdev, test
              DIR/images/2354786.jpg
    NLVR2     DIR/train.json                      a line each: {identifier, sentence, label, directory}; dev, test1
              DIR/images/train/87/train-10171-0-img0.png and ...-img1.png; dev/dev-..., test1/test1-...
    TallyQA   DIR/train.json, test.json           [{question_id, image, question, answer, issimple}]
              DIR/VG_100K/2.jpg, DIR/train2014/COCO_...  `image`, relative to DIR
"""

from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, entries, inside, line_entries, named_entries, one_of
from tapetum.data.questions import Question, check_unique


def read_aokvqa(folder: Path, split: str) -> list[Question]:
    """Read A-OKVQA: train, val or test; `options` are its choices, `answers` what ten people said freely."""
    folder, file = Path(folder), Path(folder) / f"aokvqa_v1p0_{one_of(split, ('train', 'val', 'test'))}.json"

    def question(entry: JsonEntry) -> Question:
        options = entry.texts("choices")
        right = entry.whole("correct_choice_idx") if "correct_choice_idx" in entry else None
        if right is not None and not 0 <= right < len(options):
            raise BadInput(f"correct_choice_idx of {entry.where} is {right}, of {len(options)} choices; copy the file anew")
        return Question(
            key=entry.key("question_id"),
            images=(folder / f"{split}2017" / f"{entry.whole('image_id'):012d}.jpg",),
            question=entry.text("question"),
            answers=entry.texts("direct_answers") if "direct_answers" in entry else (),
            options=options,
            right=right,
        )

    return check_unique(map(question, entries(file)), file)


def read_gqa(folder: Path, split: str) -> list[Question]:
    """Read the balanced questions of GQA: train, val, testdev or test (without answers); the kind is the structural type."""
    folder, splits = Path(folder), ("train", "val", "testdev", "test")
    file = folder / f"{one_of(split, splits)}_balanced_questions.json"

    def question(key: str, entry: JsonEntry) -> Question:
        kind = JsonEntry(entry.fields["types"], f"types of {entry.where}").text("structural") if "types" in entry else ""
        image = folder / "images" / f"{entry.file_name('imageId')}.jpg"
        answers = (entry.text("answer"),) if "answer" in entry else ()
        return Question(key=key, images=(image,), question=entry.text("question"), answers=answers, kind=kind)

    return check_unique((question(key, entry) for key, entry in named_entries(file)), file)


def read_nlvr2(folder: Path, split: str) -> list[Question]:
    """Read NLVR2: train, dev or test1; two images, left and right, and a sentence that is True or False of them."""
    folder, file = Path(folder), Path(folder) / f"{one_of(split, ('train', 'dev', 'test1'))}.json"

    def question(entry: JsonEntry) -> Question:
        key = entry.file_name("identifier")
        place = folder / "images" / split
        if split == "train":  # its images are spread over numbered folders
            place /= inside(str(entry.key("directory")), f"directory of {entry.where}")
        pair, _, sentence = key.rpartition("-")
        if not pair or not sentence:
            raise BadInput(f"identifier of {entry.where} is {key!r}; wanted such as dev-850-0-0: give the official file")
        answer = entry.text("label")
        if answer not in ("True", "False"):
            raise BadInput(f"label of {entry.where} is {answer!r}; wanted True or False: give the official file")
        images = (place / f"{pair}-img0.png", place / f"{pair}-img1.png")
        return Question(key=key, images=images, question=entry.text("sentence"), answers=(answer,))

    return check_unique(map(question, line_entries(file)), file)


def read_tallyqa(folder: Path, split: str) -> list[Question]:
    """Read TallyQA: train or test; the answer is a number, the kind simple or complex, or "" of train, which does not say."""
    folder, file = Path(folder), Path(folder) / f"{one_of(split, ('train', 'test'))}.json"

    def question(entry: JsonEntry) -> Question:
        image = folder / entry.file_name("image")
        kind = ("simple" if entry.truth("issimple") else "complex") if "issimple" in entry else ""
        answers = (str(entry.whole("answer")),)
        return Question(
            key=entry.key("question_id"), images=(image,), question=entry.text("question"), answers=answers, kind=kind
        )

    return check_unique(map(question, entries(file)), file)
