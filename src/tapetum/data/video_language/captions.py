"""Videos, or parts of them, and what people wrote about each.

    MSR-VTT      DIR/MSRVTT_data.json (or videodatainfo.json)  {videos: [{video_id, split}], sentences: [{video_id, caption}]}
                 DIR/MSRVTT_JSFUSION_test.csv                  key,vid_key,video_id,sentence: the split 1k-A, a caption each
                 videos/video0.mp4
    VATEX        DIR/vatex_training_v1.0.json, vatex_validation_v1.0.json, vatex_public_test_english_v1.1.json
                 [{videoID: ID_000010_000020, enCap: [ten texts]}]; videos/ID_000010_000020.mp4
    YouCook2     DIR/youcookii_annotations_trainval.json       {database: {ID: {duration, subset, recipe_type,
                 annotations: [{segment: [from, to], id, sentence}]}}}; videos/ID.mp4, or raw_videos/SUBSET/TYPE/ID.mp4
    ActivityNet  DIR/train.json, val_1.json, val_2.json        {v_ID: {duration, timestamps: [[from, to]], sentences: [...]}};
                 videos/v_ID.mp4

Sources: Xu et al., CVPR 2016 (and Yu et al., ECCV 2018 for 1k-A); Wang et al., arXiv 1904.03493; Zhou et al., arXiv 1703.09788;
Krishna et al., arXiv 1705.00754.

`whole` reads whole videos, whose text is all their sentences in their order: paragraphs of ActivityNet, and summaries.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, entries, first_of, inside, named_entries, one_of, read_json
from tapetum.data.listings import records_of
from tapetum.data.questions import Key
from tapetum.data.video_language import video_file, videos_of


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
    one_of(split, ("1k-A", "train", "validate", "test"))
    texts: dict[str, list[str]] = {}
    if split == "1k-A":
        file = folder / "MSRVTT_JSFUSION_test.csv"
        for number, row in enumerate(records_of(file), 2):
            entry = JsonEntry(row, f"line {number} of {file}")
            texts.setdefault(entry.text("video_id"), []).append(entry.text("sentence"))
    else:
        file = first_of(folder, ("MSRVTT_data.json", "videodatainfo.json", "train_val_videodatainfo.json"))
        of = {entry.text("video_id"): entry.text("split") for entry in entries(file, "videos")}
        for entry in entries(file, "sentences"):
            if of.get(entry.text("video_id")) == split:
                texts.setdefault(entry.text("video_id"), []).append(entry.text("caption"))
    return _videos(texts, folder, file)


def read_vatex(folder: str | Path, split: str = "validation", whole: bool = False) -> list[CaptionedVideo]:
    """Read the English captions of VATEX: training, validation or test."""
    folder = Path(folder)
    names = {
        "training": ("vatex_training_v1.0.json",),
        "validation": ("vatex_validation_v1.0.json",),
        "test": ("vatex_public_test_english_v1.1.json", "vatex_public_test_english_v1.0.json"),
    }
    file = first_of(folder, names[one_of(split, names)])
    return _videos({entry.text("videoID"): [*entry.texts("enCap")] for entry in entries(file)}, folder, file)


def read_youcook2(folder: str | Path, split: str = "validation", whole: bool = False) -> list[CaptionedVideo]:
    """Read YouCook2: training or validation; steps of recipes, or whole videos with all their steps."""
    folder, file = Path(folder), Path(folder) / "youcookii_annotations_trainval.json"
    one_of(split, ("training", "validation"))
    database = read_json(file)
    database = database.get("database") if isinstance(database, Mapping) else None
    if not isinstance(database, Mapping):
        raise BadInput(f"{file} has no object under database; give the official file")
    videos = []
    for name, fields in database.items():
        entry = JsonEntry(fields, f"{name} of {file}")
        if entry.text("subset") != split:
            continue
        place = folder / "raw_videos" / split / str(entry.fields.get("recipe_type", ""))
        place = place if place.is_dir() else videos_of(folder)
        video = video_file(place, inside(str(name), f"a name in {file}"))
        steps = entry.entries("annotations")
        if whole:
            texts = " ".join(step.text("sentence") for step in steps)
            videos.append(CaptionedVideo(key=str(name), video=video, captions=(texts,)))
            continue
        for number, step in enumerate(steps):
            start, stop = _span(step.fields.get("segment"), step.where)
            videos.append(
                CaptionedVideo(
                    key=f"{name}_{number}", video=video, captions=(step.text("sentence"),), start_s=start, stop_s=stop
                )
            )
    return _some(videos, file)


def read_activitynet(folder: str | Path, split: str = "val_1", whole: bool = True) -> list[CaptionedVideo]:
    """Read ActivityNet Captions: train, val_1 or val_2; whole videos with their paragraph, or their parts."""
    folder = Path(folder)
    file = folder / f"{one_of(split, ('train', 'val_1', 'val_2'))}.json"
    videos = []
    for name, entry in named_entries(file):
        video = video_file(videos_of(folder), inside(name, f"a name in {file}"))
        sentences = [text.strip() for text in entry.texts("sentences")]
        spans = entry.fields.get("timestamps")
        if not isinstance(spans, list) or len(spans) != len(sentences):
            raise BadInput(f"{entry.where} has {len(sentences)} sentences and other timestamps; give the official file")
        if whole:
            videos.append(CaptionedVideo(key=name, video=video, captions=(" ".join(sentences),)))
            continue
        for number, (span, text) in enumerate(zip(spans, sentences, strict=True)):
            start, stop = _span(span, entry.where)
            videos.append(CaptionedVideo(key=f"{name}_{number}", video=video, captions=(text,), start_s=start, stop_s=stop))
    return _some(videos, file)


def _videos(texts: Mapping[str, list[str]], folder: Path, file: Path) -> list[CaptionedVideo]:
    videos = [
        CaptionedVideo(
            key=name, video=video_file(videos_of(folder), inside(name, f"a name in {file}")), captions=tuple(captions)
        )
        for name, captions in texts.items()
    ]
    if any(not each.captions for each in videos):
        raise BadInput(f"{file} has videos without captions; give the official file")
    return _some(videos, file)


def _some(videos: list[CaptionedVideo], file: Path) -> list[CaptionedVideo]:
    if not videos:
        raise BadInput(f"{file} has nothing to read in that split; copy it anew, or choose another split")
    return videos


def _span(value: object, where: str) -> tuple[float, float]:
    good = isinstance(value, list) and len(value) == 2 and all(isinstance(v, int | float) for v in value)
    if not good:
        raise BadInput(f"{where} has the times {value!r}; wanted from and to in seconds: give the official file")
    start, stop = sorted(map(float, value))  # pyright: ignore[reportArgumentType]; some of ActivityNet stand the wrong way round
    return start, stop
