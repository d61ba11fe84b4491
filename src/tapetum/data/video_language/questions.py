"""Questions about videos, of which one option is right, or whose answers are free.

    EgoSchema    DIR/questions.json            [{q_uid, google_drive_id, question, "option 0" ... "option 4"}]
                 DIR/subset_answers.json       {q_uid: number of the right option}: 500 are public
                 DIR/videos/Q_UID.mp4          (an entry `video_id` names another video: those of `tapetum scenes episodes`)
    NExT-QA      DIR/train.csv, val.csv, test.csv       video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4
                 (NExT-OE: answer is a text, a0 to a4 are missing; add_reference_answer_test.json beside test.csv)
                 DIR/map_vid_vidorID.json      {video: folder/name}, if there is one; DIR/videos/...
    episodes     DIR/questions.jsonl, DIR/videos/NAME.mp4 of `tapetum scenes episodes`; the kind is area/reasoning

EgoSchema: Mangalam et al., arXiv 2308.09126. NExT-QA: Xiao et al., arXiv 2105.08276.

`write_egoschema` writes EgoSchema's files, with `video_id`, since one video may have several questions.

Unusual, and kept: questions of what comes before (TP) count as what comes after (TN), as in the official evaluation; an id of
NExT-QA is VIDEO_QID, for a qid is of its video alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.data.entries import (
    JsonEntry,
    entries,
    inside,
    line_entries,
    named_entries,
    one_of,
    read_json,
    write_items,
    write_mapping,
)
from tapetum.data.listings import records_of
from tapetum.data.questions import Question, check_unique
from tapetum.data.video_language import video_file, videos_of

OPTIONS = 5
NEXTQA_KINDS = {"CW": "why", "CH": "how", "TN": "before and after", "TC": "when", "DC": "count", "DL": "place", "DO": "other"}
"""Kinds of NExT-QA; their first letters are causal, temporal, descriptive. Open questions have DB, yes or no, too."""


def read_egoschema(folder: str | Path, split: str = "subset") -> list[Question]:
    """Read EgoSchema: subset (questions with a public answer) or full (all; the right option is known of some)."""
    folder, file = Path(folder), Path(folder) / "questions.json"
    one_of(split, ("subset", "full"))
    answers = _egoschema_answers(folder / "subset_answers.json", needed=split == "subset")
    questions = []
    for entry in entries(file):
        uid = entry.text("q_uid")
        if split == "subset" and uid not in answers:
            continue
        right = answers.get(uid)
        options = tuple(entry.text(f"option {k}") for k in range(OPTIONS))
        if right is not None and not 0 <= right < OPTIONS:
            raise BadInput(f"the answer of {uid} is {right}; wanted 0 to {OPTIONS - 1}: give the official subset_answers.json")
        name = entry.file_name("video_id") if "video_id" in entry else inside(uid, f"q_uid of {entry.where}")
        video = video_file(videos_of(folder), name)
        questions.append(Question(key=uid, video=video, question=entry.text("question"), options=options, right=right))
    return check_unique(questions, file)


def _egoschema_answers(file: Path, needed: bool) -> dict[str, int]:
    if not needed and not file.is_file():
        return {}
    answers = read_json(file)
    if not isinstance(answers, dict) or not all(isinstance(v, int) and not isinstance(v, bool) for v in answers.values()):
        raise BadInput(f"{file} is no object of numbers of options by q_uid; give the official file")
    return answers


def read_nextqa(folder: str | Path, split: str = "val") -> list[Question]:
    """Read NExT-QA with five options: train, val or test."""
    questions = []
    for row, where in _nextqa_rows(Path(folder), split):
        options = tuple(row.text(f"a{k}") for k in range(OPTIONS))
        right = _number(row, "answer")
        if not 0 <= right < OPTIONS:
            raise BadInput(f"answer of {where} is {right}; wanted 0 to {OPTIONS - 1}: give the official file")
        questions.append(_nextqa_question(Path(folder), row, options=options, right=right))
    return check_unique(questions, Path(folder) / f"{split}.csv")


def read_nextqa_open(folder: str | Path, split: str = "val") -> list[Question]:
    """Read NExT-OE, whose answers are free: train, val or test; a second answer of some stands in a file of its own."""
    folder = Path(folder)
    more = folder / f"add_reference_answer_{split}.json"
    second = dict(named_entries(more)) if more.is_file() else {}
    questions = []
    for row, _ in _nextqa_rows(folder, split):
        answers = [row.text("answer")]
        own = second.get(row.text("video"))
        if own is not None and row.text("qid") in own:
            answers.append(own.text(row.text("qid")))
        questions.append(_nextqa_question(folder, row, answers=tuple(answers)))
    return check_unique(questions, folder / f"{split}.csv")


def _nextqa_rows(folder: Path, split: str) -> Iterator[tuple[JsonEntry, str]]:
    file = folder / f"{one_of(split, ('train', 'val', 'test'))}.csv"
    for number, fields in enumerate(records_of(file), 2):
        row = JsonEntry(fields, f"line {number} of {file}")
        yield row, row.where


def _nextqa_question(folder: Path, row: JsonEntry, **more: object) -> Question:
    video = inside(row.text("video"), f"video of {row.where}")
    kind = "TN" if row.text("type") == "TP" else row.text("type")
    place = _nextqa_places(folder).get(video, video)
    return Question(
        key=f"{video}_{row.text('qid')}",
        video=video_file(videos_of(folder), inside(place, f"the place of {video}")),
        question=row.text("question"),
        kind=kind,
        **more,  # pyright: ignore[reportArgumentType]
    )


def _nextqa_places(folder: Path) -> dict[str, str]:
    """Where in VidOR each video is, if its folders are as they were there."""
    file = folder / "map_vid_vidorID.json"
    key = (str(file), file.stat().st_mtime_ns) if file.is_file() else None
    if key is None:
        return {}
    if key not in _PLACES:
        places = read_json(file)
        if not isinstance(places, dict):
            raise BadInput(f"{file} is no object of places by video; give the official file")
        deep = any((videos_of(folder) / str(place)).parent.is_dir() and "/" in str(place) for place in places.values())
        _PLACES.clear()
        _PLACES[key] = {str(name): str(place) for name, place in places.items()} if deep else {}
    return _PLACES[key]


_PLACES: dict[tuple[str, int], dict[str, str]] = {}


def _number(row: JsonEntry, name: str) -> int:
    try:
        return int(row.text(name))
    except ValueError:
        raise BadInput(
            f"{name} of {row.where} is {row.text(name)!r}; wanted a number: give the file of several options"
        ) from None


def read_episode_questions(folder: str | Path, split: str = "all") -> list[Question]:
    """Read the questions of `tapetum scenes episodes`: all of them. `context` is the second until which the video is seen."""
    folder = Path(folder)
    one_of(split, ("all",))
    questions = []
    for number, entry in enumerate(line_entries(folder / "questions.jsonl")):
        options, right = entry.texts("options"), entry.whole("answer_id")
        if not 0 <= right < len(options):
            raise BadInput(f"answer_id of {entry.where} is {right}, of {len(options)} options; make the episodes again")
        span = entry.fields.get("span_s")
        until = str(float(span[1])) if isinstance(span, list) and len(span) == 2 else ""
        questions.append(
            Question(
                key=number,
                video=video_file(folder / "videos", entry.file_name("video")),
                question=entry.text("question"),
                options=options,
                right=right,
                kind=f"{entry.text('area')}/{entry.text('reasoning')}",
                context=until,
            )
        )
    return check_unique(questions, folder / "questions.jsonl")


@dataclass(frozen=True, kw_only=True)
class EgoQuestion:
    """One question. Raises BadInput for other than five different options."""

    uid: str
    video: str
    text: str
    options: Sequence[str]
    answer: int
    """Number of the right option."""

    def __post_init__(self) -> None:
        if len(set(self.options)) != OPTIONS or len(self.options) != OPTIONS or not 0 <= self.answer < OPTIONS:
            raise BadInput(
                f"question {self.uid} has options {list(self.options)}, number {self.answer} right; wanted five, all different"
            )


def write_egoschema(folder: str | Path, questions: Callable[[], Iterable[EgoQuestion]]) -> tuple[Path, Path]:
    """Write both files into a folder that is there. `questions` is called twice, so that they need not be in memory."""
    folder = Path(folder)
    target = write_items(folder / "questions.json", map(_entry, questions()))
    answers = write_mapping(folder / "subset_answers.json", ((q.uid, q.answer) for q in questions()))
    return target, answers


def _entry(question: EgoQuestion) -> dict[str, Any]:
    options = {f"option {number}": text for number, text in enumerate(question.options)}
    return {"q_uid": question.uid, "video_id": question.video, "question": question.text, **options}
