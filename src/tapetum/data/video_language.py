"""Sets of questions and captions about videos, read from their official files; `tapetum.data.layouts` lists Kinetics.

Captions, which are questions without words:

    MSR-VTT      DIR/MSRVTT_data.json (or videodatainfo.json)  {videos: [{video_id, split}], sentences: [{video_id, caption}]}
                 DIR/MSRVTT_JSFUSION_test.csv                  key,vid_key,video_id,sentence: the split 1k-A, a caption each
                 videos/video0.mp4
    VATEX        DIR/vatex_training_v1.0.json, vatex_validation_v1.0.json, vatex_public_test_english_v1.1.json
                 [{videoID: ID_000010_000020, enCap: [ten texts]}]; videos/ID_000010_000020.mp4

Questions of which one option is right, or whose answers are free:

    EgoSchema    DIR/questions.json            [{q_uid, google_drive_id, question, "option 0" ... "option 4"}]
                 DIR/subset_answers.json       {q_uid: number of the right option}: 500 are public
                 DIR/videos/Q_UID.mp4          (an entry `video_id` names another video: those of `tapetum scenes episodes`)
    NExT-QA      DIR/train.csv, val.csv, test.csv       video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4
                 (NExT-OE: answer is a text, a0 to a4 are missing; add_reference_answer_test.json beside test.csv)
                 DIR/map_vid_vidorID.json      {video: folder/name}, if there is one; DIR/videos/...
    episodes     DIR/questions.jsonl, DIR/videos/NAME.mp4 of `tapetum scenes episodes`; the kind is area/reasoning

Sources: Xu et al., CVPR 2016, and Yu et al., ECCV 2018 for 1k-A (MSR-VTT); arXiv 1904.03493 (VATEX), 2308.09126 (EgoSchema),
2105.08276 (NExT-QA).

No video is opened here. Videos vanish from the web: `video_file` finds what is there under any usual ending, and whoever opens
a file that is not there says so. `write_egoschema` writes EgoSchema's files, with `video_id`, since one video may have several
questions. Unusual, and kept: questions of what comes before (TP) count as what comes after (TN), as in the official evaluation;
an id of NExT-QA is VIDEO_QID, for a qid is of its video alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.data.entries import (
    JsonEntry,
    csv_entries,
    entries,
    first_of,
    inside,
    line_entries,
    named_entries,
    one_of,
    read_json,
    write_items,
    write_mapping,
)
from tapetum.data.questions import OfficialSplit, Question, check_unique, reader

ENDINGS = (".mp4", ".mkv", ".webm", ".avi", ".mov")


def video_file(folder: Path, name: str) -> Path:
    """Find the file of a video by its name without an ending: the one that is there, else that with .mp4.

    >>> video_file(Path("videos"), "a").as_posix()
    'videos/a.mp4'
    """
    paths = [folder / f"{name}{ending}" for ending in ENDINGS]
    return next((path for path in paths if path.is_file()), paths[0])


def videos_of(folder: Path) -> Path:
    """Find the folder that has the videos: DIR/videos where there is one, else DIR."""
    return folder / "videos" if (folder / "videos").is_dir() else folder


def read_msrvtt(folder: str | Path, split: str = "1k-A") -> list[Question]:
    """Read MSR-VTT: 1k-A (a caption each), or train, val (its validate) or test with twenty each; captions are answers."""
    folder, official = Path(folder), {"val": "validate", "validate": "validate", "train": "train", "test": "test"}
    texts: dict[str, list[str]] = {}
    if one_of(split, ("1k-A", *official)) == "1k-A":
        file = folder / "MSRVTT_JSFUSION_test.csv"
        for entry in csv_entries(file):
            texts.setdefault(entry.text("video_id"), []).append(entry.text("sentence"))
    else:
        file = first_of(folder, ("MSRVTT_data.json", "videodatainfo.json", "train_val_videodatainfo.json"))
        splits = {entry.text("video_id"): entry.text("split") for entry in entries(file, "videos")}
        for entry in entries(file, "sentences"):
            if splits.get(entry.text("video_id")) == official[split]:
                texts.setdefault(entry.text("video_id"), []).append(entry.text("caption"))
    return _captioned(texts, folder, file)


def read_vatex(folder: str | Path, split: str = "validation") -> list[Question]:
    """Read the English captions of VATEX as answers: train (or training), val (or validation) or test."""
    part = {"train": "training", "val": "validation"}.get(split, split)
    names = {
        "training": ("vatex_training_v1.0.json",),
        "validation": ("vatex_validation_v1.0.json",),
        "test": ("vatex_public_test_english_v1.1.json", "vatex_public_test_english_v1.0.json"),
    }
    file = first_of(Path(folder), names[one_of(part, names)])
    return _captioned({entry.text("videoID"): [*entry.texts("enCap")] for entry in entries(file)}, Path(folder), file)


def _captioned(texts: Mapping[str, list[str]], folder: Path, file: Path) -> list[Question]:
    if not all(texts.values()):
        raise BadInput(f"{file} has videos without captions; give the official file")
    files = {name: video_file(videos_of(folder), inside(name, f"a name in {file}")) for name in texts}
    return check_unique((Question(key=n, video=files[n], question="", answers=tuple(texts[n])) for n in texts), file)


OPTIONS = 5


@reader("subset full", "questions.json")
def read_egoschema(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read EgoSchema: subset (questions with a public answer) or full (all; the right option is known of some)."""
    file = at.folder / "subset_answers.json"
    answers = read_json(file) if at.split == "subset" or file.is_file() else {}
    if not isinstance(answers, dict) or not all(isinstance(v, int) and not isinstance(v, bool) for v in answers.values()):
        raise BadInput(f"{file} is no object of numbers of options by q_uid; give the official file")
    for entry in listed:
        uid = entry.text("q_uid")
        if at.split == "subset" and uid not in answers:
            continue
        right = answers.get(uid)
        options = tuple(entry.text(f"option {k}") for k in range(OPTIONS))
        if right is not None and not 0 <= right < OPTIONS:
            raise BadInput(f"the answer of {uid} is {right}; wanted 0 to {OPTIONS - 1}: give the official subset_answers.json")
        name = entry.file_name("video_id") if "video_id" in entry else inside(uid, f"q_uid of {entry.where}")
        video = video_file(videos_of(at.folder), name)
        yield Question(key=uid, video=video, question=entry.text("question"), options=options, right=right)


@reader("val train test", "{split}.csv", read=csv_entries)
def read_nextqa(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read NExT-QA with five options: train, val or test."""
    places = _nextqa_places(at.folder)
    for entry in listed:
        options, number = tuple(entry.text(f"a{k}") for k in range(OPTIONS)), entry.text("answer")
        if not number.isdecimal():
            raise BadInput(f"answer of {entry.where} is {number!r}; wanted a number: give the file of several options")
        if int(number) >= OPTIONS:
            raise BadInput(f"answer of {entry.where} is {number}; wanted 0 to {OPTIONS - 1}: give the official file")
        yield _nextqa_question(at.folder, entry, places, options=options, right=int(number))


@reader("val train test", "{split}.csv", read=csv_entries)
def read_nextqa_open(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read NExT-OE, whose answers are free: train, val or test; a second answer of some stands in a file of its own."""
    more = at.folder / f"add_reference_answer_{at.split}.json"
    second = {entry.name: entry for entry in named_entries(more)} if more.is_file() else {}
    places = _nextqa_places(at.folder)
    for entry in listed:
        own, qid = second.get(entry.text("video")), entry.text("qid")
        others = (own.text(qid),) if own is not None and qid in own else ()
        yield _nextqa_question(at.folder, entry, places, answers=(entry.text("answer"), *others))


def _nextqa_question(folder: Path, entry: JsonEntry, places: dict[str, str], **more: Any) -> Question:
    video = inside(entry.text("video"), f"video of {entry.where}")
    kind = "TN" if entry.text("type") == "TP" else entry.text("type")
    file = video_file(videos_of(folder), inside(places.get(video, video), f"the place of {video}"))
    return Question(key=f"{video}_{entry.text('qid')}", video=file, question=entry.text("question"), kind=kind, **more)


def _nextqa_places(folder: Path) -> dict[str, str]:
    """Where in VidOR each video is, if its folders are as they were there."""
    file = folder / "map_vid_vidorID.json"
    places = read_json(file) if file.is_file() else {}
    if not isinstance(places, dict):
        raise BadInput(f"{file} is no object of places by video; give the official file")
    deep = any("/" in str(place) and (videos_of(folder) / str(place)).parent.is_dir() for place in places.values())
    return {str(name): str(place) for name, place in places.items()} if deep else {}


@reader("all", "questions.jsonl", read=line_entries)
def read_episode_questions(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read the questions of `tapetum scenes episodes`: all of them. `context` is the second until which the video is seen."""
    for entry in listed:
        options, right = entry.texts("options"), entry.whole("answer_id")
        if not 0 <= right < len(options):
            raise BadInput(f"answer_id of {entry.where} is {right}, of {len(options)} options; make the episodes again")
        span = entry.fields.get("span_s")
        yield Question(
            key=entry.name,
            video=video_file(at.folder / "videos", entry.file_name("video")),
            question=entry.text("question"),
            options=options,
            right=right,
            kind=f"{entry.text('area')}/{entry.text('reasoning')}",
            context=str(float(span[1])) if isinstance(span, list) and len(span) == 2 else "",
        )


def write_egoschema(folder: str | Path, questions: Callable[[], Iterable[Question]]) -> tuple[Path, Path]:
    """Write both files into a folder that is there. `questions` is called twice, so that they need not be in memory.

    Raises BadInput for a question with other than five different options, or without the right one.
    """
    target = write_items(Path(folder) / "questions.json", map(_entry, questions()))
    answers = write_mapping(Path(folder) / "subset_answers.json", ((str(q.key), q.right) for q in questions()))
    return target, answers


def _entry(question: Question) -> dict[str, Any]:
    options, right = question.options, question.right
    if len(set(options)) != OPTIONS or len(options) != OPTIONS or right is None or not 0 <= right < OPTIONS:
        raise BadInput(f"question {question.key} has options {list(options)}, number {right} right; wanted five, all different")
    named = {f"option {number}": text for number, text in enumerate(options)}
    return {"q_uid": question.key, "video_id": str(question.video), "question": question.question, **named}
