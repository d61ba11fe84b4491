"""Questions about videos: MSRVTT-QA (Xu et al., ACM Multimedia 2017), ActivityNet-QA (Yu et al., arXiv 1906.02467); and, as
questions without words, captions of MSR-VTT, VATEX and ActivityNet, whose folders `tapetum.data.video_language.captions` draws.

    MSRVTT-QA        DIR/train_qa.json                [{id, video_id, question, answer, category_id}]; val, test
                     DIR/TrainValVideo/video0.mp4     of train and val, TestVideo of test; or all of them in DIR/videos
    ActivityNet-QA   DIR/train_q.json                 [{question_id, video_name, question}]; val, test
                     DIR/train_a.json                 [{question_id, answer, type}]
                     DIR/videos/v_NAME.mp4            or NAME.mp4

Videos vanish from the web: `missing` asks which are there.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, entries, one_of
from tapetum.data.questions import OfficialSplit, Question, ask, reader
from tapetum.data.video_language import video_file, videos_of
from tapetum.data.video_language.captions import CaptionedVideo, read_activitynet, read_msrvtt, read_vatex

ACTIVITYNET_KINDS = "motion", "spatial", "temporal", "yes/no", "colour", "object", "location", "number", "other"
"""Types of ActivityNet-QA, by number."""


@reader("train val test", "{split}_qa.json")
def read_msrvtt_qa(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read MSRVTT-QA: train, val or test; the kind is the first word of the question (what, who, how, when, where)."""
    place = at.folder / ("TestVideo" if at.split == "test" else "TrainValVideo")
    place = at.folder / "videos" if (at.folder / "videos").is_dir() else place
    for entry in listed:
        kind, answers = entry.text("question").split(" ")[0].lower(), (entry.text("answer"),)
        yield ask(entry, key="id", video=place / f"video{entry.whole('video_id')}.mp4", answers=answers, kind=kind)


@reader("train val test", "{split}_q.json")
def read_activitynet_qa(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read ActivityNet-QA: train, val or test; the kind is the name of the type of question or answer."""
    place, name_of_answers = videos_of(at.folder), f"{at.split}_a.json"
    answered = {entry.key("question_id"): entry for entry in entries(at.folder / name_of_answers)}
    for entry in listed:
        key, name = entry.key("question_id"), entry.file_name("video_name")
        if (answer := answered.get(key)) is None:
            raise BadInput(f"question {key} of {at.file} has no answer in {name_of_answers}; give the files of one split")
        kind = answer.whole("type")
        if not 0 <= kind < len(ACTIVITYNET_KINDS):
            raise BadInput(f"type of {answer.where} is {kind}; wanted 0 to {len(ACTIVITYNET_KINDS) - 1}")
        plain = video_file(place, name)
        video = plain if plain.is_file() else video_file(place, f"v_{name}")
        yield ask(entry, video=video, answers=(answer.text("answer"),), kind=ACTIVITYNET_KINDS[kind])


def read_msrvtt_captions(folder: Path, split: str) -> list[Question]:
    """Read the captions of MSR-VTT: train, val or test, about twenty for each video."""
    return _captions(read_msrvtt(folder, "validate" if one_of(split, ("train", "val", "test")) == "val" else split))


def read_vatex_captions(folder: Path, split: str) -> list[Question]:
    """Read the English captions of VATEX: train, val or test, ten for each video."""
    names = {"train": "training", "val": "validation", "test": "test"}
    return _captions(read_vatex(folder, names[one_of(split, names)]))


def read_activitynet_captions(folder: Path, split: str) -> list[Question]:
    """Read ActivityNet Captions: train, val_1 or val_2; a part of a video with its sentence each."""
    return _captions(read_activitynet(folder, split, whole=False))


def _captions(videos: Sequence[CaptionedVideo]) -> list[Question]:
    return [
        Question(key=v.key, video=v.video, start_s=v.start_s, stop_s=v.stop_s, question="", answers=v.captions) for v in videos
    ]


def missing(questions: Sequence[Question]) -> list[Question]:
    """List the questions of which a file is not there; each file is looked for once."""
    there: dict[Path, bool] = {}

    def absent(path: Path) -> bool:
        if path not in there:
            there[path] = path.is_file()
        return not there[path]

    return [q for q in questions if any(map(absent, (*q.images, *([q.video] if q.video else []))))]
