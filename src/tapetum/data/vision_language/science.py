"""ScienceQA (Lu et al., arXiv 2209.09513): multiple-choice questions of school, about half of them with an image.

DIR/problems.json               {ID: {question, choices, answer, hint, image, subject}}
DIR/pid_splits.json             {train: [ID], val: [...], test: [...]}
DIR/images/train/1/image.png    or DIR/train/1/image.png
"""

from collections.abc import Mapping
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, inside, named_entries, one_of, read_json
from tapetum.data.questions import Question, check_unique


def read_scienceqa(folder: Path, split: str, images_only: bool = True) -> list[Question]:
    """Read a split: train, val or test; the kind is the subject, `context` the hint. `images_only`: those with an image, as
    PaliGemma is scored."""
    one_of(split, ("train", "val", "test"))
    folder, file = Path(folder), Path(folder) / "pid_splits.json"
    splits = read_json(file)
    if not isinstance(splits, Mapping) or not isinstance(splits.get(split), list):
        raise BadInput(f"{file} has no list {split}; give the official file")
    problems = dict(named_entries(folder / "problems.json"))
    place = folder / "images" if (folder / "images").is_dir() else folder

    def question(key: str, entry: JsonEntry) -> Question:
        options, right = entry.texts("choices"), entry.whole("answer")
        if not 0 <= right < len(options):
            raise BadInput(f"answer of {entry.where} is {right}, of {len(options)} choices; copy the file anew")
        return Question(
            key=key,
            images=(place / split / inside(key, "an id") / entry.file_name("image"),) if "image" in entry else (),
            question=entry.text("question"),
            answers=(options[right],),
            options=options,
            right=right,
            kind=entry.text("subject"),
            context=entry.text("hint") if "hint" in entry else "",
        )

    def chosen() -> list[Question]:
        named = []
        for key in map(str, splits[split]):
            if key not in problems:
                raise BadInput(f"{file} lists the question {key}, which problems.json has not; give files of one set")
            if not images_only or "image" in problems[key]:
                named.append(question(key, problems[key]))
        return named

    return check_unique(chosen(), file)
