"""Questions about long videos, of which one option is right, read from their official files.

    Video-MME        DIR/videomme/test-00000-of-00001.parquet (or in DIR): video_id, videoID, duration (short, medium, long),
                     domain, sub_category, question_id (001-1), task_type, question, options ["A. Apples.", ...], answer "C"
                     DIR/data/VIDEOID.mp4, or DIR/videos
    LVBench          DIR/video_info.meta.jsonl   {key, type, qa: [{uid, question: "What ...?\\n(A) 1636\\n(B) 1366 ...",
                     answer: "D", question_type: ["summarization", ...], time_reference}]}; DIR/videos/KEY.mp4
    LongVideoBench   DIR/lvb_val.json, lvb_test_wo_gt.json   [{id, video_path, question, candidates, correct_choice,
                     duration_group (15, 60, 600, 3600 seconds), question_category}]; DIR/videos/VIDEO_PATH

Sources: arXiv 2405.21075 (Video-MME), 2406.08035 (LVBench), 2407.15754 (LongVideoBench). `kind` has all the groups in which a
question is counted, joined by ";". Options are without their letters.

Differs from the public code: subtitles are left out, as in the setting without them that papers report beside the other.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.tables import parquet_file, pyarrow_for
from tapetum.data.entries import JsonEntry, inside, line_entries
from tapetum.data.questions import OfficialSplit, Question, reader
from tapetum.data.video_language import video_file, videos_of

LETTERS = "ABCDEFGHIJ"
_OPTION = re.compile(r"^\(?([A-J])[.)]\s*", re.MULTILINE)


def _rows(file: Path) -> list[JsonEntry]:
    work = "reading parquet"
    arrow, parquet = pyarrow_for(work)
    try:
        rows = parquet.read_table(parquet_file(file, work)).to_pylist()
    except (arrow.ArrowException, OSError) as error:
        raise BadInput(f"{file} cannot be read as parquet ({str(error)[:100]}); copy it again") from error
    return [JsonEntry(row, f"row {k} of {file}", k) for k, row in enumerate(rows)]


def _right(entry: JsonEntry, options: Sequence[str]) -> int:
    """The number of the right option, from its letter."""
    letter = entry.text("answer").strip()
    if len(letter) != 1 or letter not in LETTERS[: len(options)]:
        raise BadInput(f"answer of {entry.where} is {letter!r}, of {len(options)} options; give the official file")
    return LETTERS.index(letter)


@reader("test", "videomme/test-00000-of-00001.parquet", "test-00000-of-00001.parquet", read=_rows)
def read_video_mme(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read Video-MME, of one split."""
    place = at.folder / "data" if (at.folder / "data").is_dir() else videos_of(at.folder)
    for entry in listed:
        options = tuple(_OPTION.sub("", text, count=1) for text in entry.texts("options"))
        yield Question(
            key=entry.text("question_id"),
            video=video_file(place, entry.file_name("videoID")),
            question=entry.text("question"),
            options=options,
            right=_right(entry, options),
            kind=";".join(entry.text(name) for name in ("duration", "domain", "sub_category", "task_type")),
        )


@reader("test", "video_info.meta.jsonl", read=line_entries)
def read_lvbench(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read LVBench, of one split."""
    for video in listed:
        path = video_file(videos_of(at.folder), video.file_name("key"))
        for entry in video.entries("qa"):
            question, *parts = _OPTION.split(entry.text("question"))
            options = tuple(text.strip() for text in parts[1::2])
            if "".join(parts[::2]) != LETTERS[: len(options)]:
                raise BadInput(f"question of {entry.where} lists the options {parts[::2]}; wanted A, B, C and so on, in order")
            yield Question(
                key=str(entry.key("uid")),
                video=path,
                question=question.strip(),
                options=options,
                right=_right(entry, options),
                kind=";".join(entry.texts("question_type")) + ";",
            )


@reader("val test_wo_gt", "lvb_{split}.json")
def read_longvideobench(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read LongVideoBench: val, or test_wo_gt, whose answers only its server knows."""
    for entry in listed:
        options = entry.texts("candidates")
        right = entry.whole("correct_choice") if "correct_choice" in entry else None
        if right is not None and not 0 <= right < len(options):
            raise BadInput(f"correct_choice of {entry.where} is {right}, of {len(options)} candidates; give the official file")
        yield Question(
            key=entry.text("id"),
            video=videos_of(at.folder) / inside(entry.text("video_path"), f"video_path of {entry.where}"),
            question=entry.text("question"),
            options=options,
            right=right,
            kind=f"{entry.key('duration_group')};{entry.text('question_category')}",
        )


def official_predictions(task: str, questions: Sequence[Question], chosen: Mapping[Any, int]) -> dict[str, Any] | list[Any]:
    """Put chosen options, by key, into the form that the benchmark's own program or server reads."""
    if task == "nextqa":  # its program reads what is right from the same file
        return {str(each.key): {"prediction": chosen[each.key], "answer": each.right} for each in questions}
    if task in ("lvbench", "longvideobench"):
        return {str(each.key): LETTERS[chosen[each.key]] for each in questions}
    if task != "video-mme":
        return {str(each.key): chosen[each.key] for each in questions}
    videos: dict[str, dict[str, Any]] = {}
    for each in questions:
        name = str(each.key).rpartition("-")[0]
        duration, domain, sub_category, task_type = each.kind.split(";")
        about = {"video_id": name, "duration": duration, "domain": domain, "sub_category": sub_category, "questions": []}
        options = [f"{letter}. {text}" for letter, text in zip(LETTERS, each.options, strict=False)]
        letters = {"answer": LETTERS[each.right or 0], "response": LETTERS[chosen[each.key]]}
        row = {"question_id": each.key, "task_type": task_type, "question": each.question, "options": options}
        videos.setdefault(name, about)["questions"].append(row | letters)
    return list(videos.values())
