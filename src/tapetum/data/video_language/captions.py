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

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, csv_entries, entries, first_of, inside, named_entries, one_of, read_json
from tapetum.data.questions import Key, OfficialSplit, check_unique, reader
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
