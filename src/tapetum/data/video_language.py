"""Sets of questions, captions and actions about videos, read from their official files; `tapetum.data.layouts` lists Kinetics.

Videos, or parts of them, and what people wrote about each (`whole` reads whole videos, whose text is all their sentences in
their order: paragraphs of ActivityNet, and summaries):

    MSR-VTT      DIR/MSRVTT_data.json (or videodatainfo.json)  {videos: [{video_id, split}], sentences: [{video_id, caption}]}
                 DIR/MSRVTT_JSFUSION_test.csv                  key,vid_key,video_id,sentence: the split 1k-A, a caption each
                 videos/video0.mp4
    VATEX        DIR/vatex_training_v1.0.json, vatex_validation_v1.0.json, vatex_public_test_english_v1.1.json
                 [{videoID: ID_000010_000020, enCap: [ten texts]}]; videos/ID_000010_000020.mp4
    YouCook2     DIR/youcookii_annotations_trainval.json       {database: {ID: {duration, subset, recipe_type,
                 annotations: [{segment: [from, to], id, sentence}]}}}; videos/ID.mp4, or raw_videos/SUBSET/TYPE/ID.mp4
    ActivityNet  DIR/train.json, val_1.json, val_2.json        {v_ID: {duration, timestamps: [[from, to]], sentences: [...]}};
                 videos/v_ID.mp4

Actions, of one class each:

    Diving48     DIR/Diving48_V2_train.json, Diving48_V2_test.json     [{vid_name, label, start_frame, end_frame}]
                 DIR/Diving48_vocab.json                               [[take-off, somersaults, twists, position]], by label
                 DIR/rgb/NAME.mp4, or DIR/videos; the test part is val
    SSv2         DIR/something-something-v2-train.json, -validation.json (or train.json, validation.json, below DIR or labels/)
                 [{id, label, template: "Moving [something] up", placeholders}]
                 DIR/something-something-v2-labels.json (or labels.json)   {"Moving something up": "94"}
                 DIR/20bn-something-something-v2/ID.webm, or DIR/videos

Questions of which one option is right, or whose answers are free:

    EgoSchema    DIR/questions.json            [{q_uid, google_drive_id, question, "option 0" ... "option 4"}]
                 DIR/subset_answers.json       {q_uid: number of the right option}: 500 are public
                 DIR/videos/Q_UID.mp4          (an entry `video_id` names another video: those of `tapetum scenes episodes`)
    NExT-QA      DIR/train.csv, val.csv, test.csv       video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4
                 (NExT-OE: answer is a text, a0 to a4 are missing; add_reference_answer_test.json beside test.csv)
                 DIR/map_vid_vidorID.json      {video: folder/name}, if there is one; DIR/videos/...
    episodes     DIR/questions.jsonl, DIR/videos/NAME.mp4 of `tapetum scenes episodes`; the kind is area/reasoning

Sources: Xu et al., CVPR 2016, and Yu et al., ECCV 2018 for 1k-A (MSR-VTT); arXiv 1904.03493 (VATEX), 1703.09788 (YouCook2),
1705.00754 (ActivityNet); Li et al., ECCV 2018 (Diving48, labels of the second version); 1706.04261 and 1804.09235
(Something-Something v2); 2308.09126 (EgoSchema), 2105.08276 (NExT-QA).

No video is opened here. Videos vanish from the web: `video_file` finds what is there under any usual ending, and whoever opens
a file that is not there says so. `write_egoschema` writes EgoSchema's files, with `video_id`, since one video may have several
questions. Unusual, and kept: questions of what comes before (TP) count as what comes after (TN), as in the official evaluation;
an id of NExT-QA is VIDEO_QID, for a qid is of its video alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.data.entries import (
    JsonEntry,
    Listing,
    Split,
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
from tapetum.data.files import StoredFile, stored_file
from tapetum.data.questions import Key, OfficialSplit, Question, check_unique, reader

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


@dataclass(frozen=True, kw_only=True)
class CaptionedVideo:
    """A video, or a part of one, and what people wrote about it."""

    key: Key
    video: Path
    captions: tuple[str, ...]
    """One or more, all of them right."""
    start_s: float | None = None
    """Where the part begins; None for a whole video."""
    stop_s: float | None = None


def read_msrvtt(folder: str | Path, split: str = "1k-A", whole: bool = False) -> list[CaptionedVideo]:
    """Read MSR-VTT: 1k-A (a caption each), or train, validate or test with twenty each."""
    folder = Path(folder)
    texts: dict[str, list[str]] = {}
    if one_of(split, ("1k-A", "train", "validate", "test")) == "1k-A":
        file = folder / "MSRVTT_JSFUSION_test.csv"
        for entry in csv_entries(file):
            texts.setdefault(entry.text("video_id"), []).append(entry.text("sentence"))
    else:
        file = first_of(folder, ("MSRVTT_data.json", "videodatainfo.json", "train_val_videodatainfo.json"))
        splits = {entry.text("video_id"): entry.text("split") for entry in entries(file, "videos")}
        for entry in entries(file, "sentences"):
            if splits.get(entry.text("video_id")) == split:
                texts.setdefault(entry.text("video_id"), []).append(entry.text("caption"))
    return _videos(texts, folder, file)


def read_vatex(folder: str | Path, split: str = "validation", whole: bool = False) -> list[CaptionedVideo]:
    """Read the English captions of VATEX: training, validation or test."""
    names = {
        "training": ("vatex_training_v1.0.json",),
        "validation": ("vatex_validation_v1.0.json",),
        "test": ("vatex_public_test_english_v1.1.json", "vatex_public_test_english_v1.0.json"),
    }
    file = first_of(Path(folder), names[one_of(split, names)])
    return _videos({entry.text("videoID"): [*entry.texts("enCap")] for entry in entries(file)}, Path(folder), file)


def _videos(texts: Mapping[str, list[str]], folder: Path, file: Path) -> list[CaptionedVideo]:
    if not all(texts.values()):
        raise BadInput(f"{file} has videos without captions; give the official file")
    files = {name: video_file(videos_of(folder), inside(name, f"a name in {file}")) for name in texts}
    return check_unique((CaptionedVideo(key=n, video=files[n], captions=tuple(texts[n])) for n in texts), file)


def _database(file: Path) -> list[JsonEntry]:
    content = read_json(file)
    content = content.get("database") if isinstance(content, Mapping) else None
    if not isinstance(content, Mapping):
        raise BadInput(f"{file} has no object under database; give the official file")
    return [JsonEntry(fields, f"{name} of {file}", str(name)) for name, fields in content.items()]


@reader("validation training", "youcookii_annotations_trainval.json", read=_database)
def read_youcook2(listed: Iterable[JsonEntry], at: OfficialSplit, whole: bool = False) -> Iterator[CaptionedVideo]:
    """Read YouCook2: training or validation; steps of recipes, or whole videos with all their steps."""
    for entry in listed:
        if entry.text("subset") == at.split:
            place = at.folder / "raw_videos" / at.split / str(entry.fields.get("recipe_type", ""))
            steps = entry.entries("annotations")
            sentences, spans = [step.text("sentence") for step in steps], [step.fields.get("segment") for step in steps]
            yield from _parts(entry, place if place.is_dir() else videos_of(at.folder), sentences, spans, whole)


@reader("val_1 train val_2", "{split}.json", read=named_entries)
def read_activitynet(listed: Iterable[JsonEntry], at: OfficialSplit, whole: bool = True) -> Iterator[CaptionedVideo]:
    """Read ActivityNet Captions: train, val_1 or val_2; whole videos with their paragraph, or their parts."""
    for entry in listed:
        sentences, spans = [text.strip() for text in entry.texts("sentences")], entry.fields.get("timestamps")
        if not isinstance(spans, list) or len(spans) != len(sentences):
            raise BadInput(f"{entry.where} has {len(sentences)} sentences and other timestamps; give the official file")
        yield from _parts(entry, videos_of(at.folder), sentences, spans, whole)


def _parts(entry: JsonEntry, place: Path, sentences: list[str], spans: list, whole: bool) -> Iterator[CaptionedVideo]:
    video = video_file(place, inside(str(entry.name), f"a name of {entry.where}"))
    if whole:
        yield CaptionedVideo(key=entry.name, video=video, captions=(" ".join(sentences),))
        return
    for number, (span, text) in enumerate(zip(spans, sentences, strict=True)):
        if not (isinstance(span, list) and len(span) == 2 and all(isinstance(v, int | float) for v in span)):
            raise BadInput(f"{entry.where} has the times {span!r}; wanted from and to in seconds: give the official file")
        start, stop = sorted(map(float, span))  # some of ActivityNet are the wrong way round
        yield CaptionedVideo(key=f"{entry.name}_{number}", video=video, captions=(text,), start_s=start, stop_s=stop)


def list_diving48(place: Path, split: Split) -> Listing:
    """List dives, of 48 classes in the official file."""
    part = {"train": "train", "val": "test"}[split]
    file = place / f"Diving48_V2_{part}.json"
    words = read_json(place / "Diving48_vocab.json")
    if not isinstance(words, list) or not all(isinstance(each, list) for each in words):
        raise BadInput(f"{place / 'Diving48_vocab.json'} is no list of lists of words; give the official file")
    classes = tuple(" ".join(map(str, each)) for each in words)
    folder = place / "rgb" if (place / "rgb").is_dir() else videos_of(place)
    videos = [(entry.text("vid_name"), entry.whole("label")) for entry in entries(file)]
    return _listed(videos, classes, folder, file)


def list_ssv2(place: Path, split: Split) -> Listing:
    """List clips of Something-Something v2; a class is a template without its brackets."""
    part = {"train": "train", "val": "validation"}[split]
    names = (f"something-something-v2-{part}.json", f"{part}.json", f"labels/{part}.json")
    file = first_of(place, names)
    labels = first_of(place, ("something-something-v2-labels.json", "labels.json", "labels/labels.json"))
    templates = read_json(labels)
    try:
        numbers = {str(name): int(number) for name, number in templates.items()}
        classes = tuple(sorted(numbers, key=numbers.__getitem__))
        good = [numbers[name] for name in classes] == list(range(len(classes)))
    except (AttributeError, TypeError, ValueError):
        good, numbers, classes = False, {}, ()
    if not good:
        raise BadInput(f"{labels} is no object of numbers 0, 1, 2 ... by template; give the official file")
    folder = place / "20bn-something-something-v2"
    folder = folder if folder.is_dir() else videos_of(place)
    videos = []
    for entry in entries(file):
        name = entry.text("template").replace("[", "").replace("]", "")
        if name not in numbers:
            raise BadInput(
                f"{entry.where} has the template {name!r}, which {labels} does not know; give files that belong together"
            )
        videos.append((str(entry.key("id")), numbers[name]))
    return _listed(videos, classes, folder, file)


def _listed(videos: Sequence[tuple[str, int]], classes: tuple[str, ...], folder: Path, file: Path) -> Listing:
    """List those of them that are there."""
    files: list[StoredFile] = []
    truth: list[int] = []
    for name, label in videos:
        if not 0 <= label < len(classes):
            raise BadInput(f"{name} in {file} has the class {label}, of {len(classes)}; give files that belong together")
        path = video_file(folder, inside(name, f"a name in {file}"))
        if path.is_file():
            files.append(stored_file(path))
            truth.append(label)
    if not files:
        example = videos[0][0] if videos else "?"
        raise BadInput(f"{folder} has none of the {len(videos)} videos in {file}, such as {example}.mp4")
    return Listing({"video": files}, np.array(truth), classes, "class", len(videos) - len(files))


OPTIONS = 5
NEXTQA_KINDS = {"CW": "why", "CH": "how", "TN": "before and after", "TC": "when", "DC": "count", "DL": "place", "DO": "other"}
"""Kinds of NExT-QA; their first letters are causal, temporal, descriptive. Open questions have DB, yes or no, too."""


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
