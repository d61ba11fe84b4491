"""MSRVTT-QA (Xu et al., ACM Multimedia 2017): questions made of the captions of MSR-VTT (Xu et al., CVPR 2016).

    DIR/train_qa.json                [{id, video_id, question, answer, category_id}]; val, test
    DIR/TrainValVideo/video0.mp4     of train and val, TestVideo of test; or all of them in DIR/videos

Videos vanish from the web: `missing` asks which are there.
"""

from collections.abc import Sequence
from pathlib import Path

from tapetum.data.entries import JsonEntry, entries, one_of
from tapetum.data.questions import Question, check_unique


def read_msrvtt_qa(folder: Path, split: str) -> list[Question]:
    """Read MSRVTT-QA: train, val or test; the kind is the first word of the question (what, who, how, when, where)."""
    folder, file = Path(folder), Path(folder) / f"{one_of(split, ('train', 'val', 'test'))}_qa.json"
    place = folder / ("TestVideo" if split == "test" else "TrainValVideo")
    place = folder / "videos" if (folder / "videos").is_dir() else place

    def question(entry: JsonEntry) -> Question:
        text = entry.text("question")
        return Question(
            key=entry.key("id"),
            video=place / f"video{entry.whole('video_id')}.mp4",
            question=text,
            answers=(entry.text("answer"),),
            kind=text.split(" ")[0].lower(),
        )

    return check_unique(map(question, entries(file)), file)


def missing(questions: Sequence[Question]) -> list[Question]:
    """List the questions of which a file is not there; each file is looked for once."""
    there: dict[Path, bool] = {}

    def absent(path: Path) -> bool:
        if path not in there:
            there[path] = path.is_file()
        return not there[path]

    return [q for q in questions if any(map(absent, (*q.images, *([q.video] if q.video else []))))]
