"""Checks of a data set folder: what is present, what is missing, and whether it can be read.

For each split, this library's reader reads the official index files, the number of items is compared with the published count,
the media files they name are looked up, and some evenly spaced ones, including the first and last, are opened.

Results of readers become `Records`. Readers of layouts split over several files or formats are here; the others are drawn in
the modules that read them. If nothing fits, BadInput names the expected files.

    pairs      DIR/*.tar or DIR/train/*.tar: shards whose samples have an image, and txt, json or caption beside it
    MOVi       TFRecord files, or folders of rendered scenes: `tapetum.tracks.training.movi` draws both
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tapetum.bench.data_sets import DataSet, Part, Records
from tapetum.core.errors import BadInput, check_several
from tapetum.data.entries import Listing
from tapetum.data.files import StoredFile, opened_image, stored_file
from tapetum.data.point_clouds import read_off
from tapetum.data.questions import Question
from tapetum.data.segmentation import MaskedVideo, SegmentedImages
from tapetum.data.video_language import CaptionedVideo
from tapetum.video import open_video
from tapetum.video.images import IMAGES, VIDEOS
from tapetum.video.sound import read_sound

_TEXTS = ("txt", "json", "caption", "alt_text")


def records_of(result: Any) -> Records:
    """Convert a reader's result to a common form: listings, images with masks, videos with masks, and text records."""
    if isinstance(result, Records):
        return result
    if isinstance(result, Listing):
        columns = list(result.files.values())
        return Records(count=len(result) + result.missing, missing=result.missing, media=_Columns(columns))
    if isinstance(result, SegmentedImages):
        return Records(count=len(result), media=[*result.images, *result.masks])
    return Records(count=len(result), media=list(chain.from_iterable(map(_files, result))))


def _files(record: Any) -> Sequence[Path]:
    if isinstance(record, Question):
        return [*record.images, *([record.video] if record.video else [])]
    if isinstance(record, MaskedVideo):
        return [*record.frames, *record.masks]
    return [record.video if isinstance(record, CaptionedVideo) else record.image]


class _Columns(Sequence[StoredFile]):
    """The files of several columns, one column after the other, opened on demand."""

    def __init__(self, columns: Sequence[Any]):
        self._columns = columns

    def __len__(self) -> int:
        return sum(map(len, self._columns))

    def __getitem__(self, k: Any) -> Any:
        for column in self._columns:
            if k < len(column):
                return column[k]
            k -= len(column)
        raise IndexError(k)


def read_pairs(folder: Path, split: str) -> Records:
    """Read shards of images and texts. Raises BadInput if a sample has no image or no text."""
    from tapetum.data.layout_parquet import ShardFiles
    from tapetum.data.shards import Shards

    place = folder / split if (folder / split).is_dir() else folder
    if not any(place.glob("*.tar")):
        raise BadInput(f"{place} holds no *.tar; write shards of images and texts: tapetum data shards")
    shards = Shards(place)
    image = next((name for name in shards.fields if f".{name}" in IMAGES), None)
    if image is None or not set(shards.fields) & set(_TEXTS):
        have = ", ".join(shards.fields)
        raise BadInput(f"the samples in {place} have {have}; wanted an image and one of {', '.join(_TEXTS)}")
    import numpy as np

    return Records(count=len(shards), media=_Columns([ShardFiles(shards, image, np.arange(len(shards)))]))


def read_coco(folder: Path, split: str, annotations: str, images: str) -> Records:
    """Read boxes and masks in COCO format, from a file and a folder whose paths have {} for the split."""
    from tapetum.data.coco import read_instances

    return records_of(read_instances(folder / annotations.format(split), folder / images.format(split)))


def read_transfer(folder: Path, split: str, task: str) -> Records:
    """Read a split as the transfer `task` of PaliGemma does: official files, or JSON lines if these are not supported."""
    from tapetum.systems.paligemma.transfer.data import READERS
    from tapetum.systems.paligemma.transfer.tasks import TASKS

    return records_of(READERS[TASKS[task].reader](folder, split))


def read_perception_test(folder: Path, split: str) -> Records:
    """Read the annotations of all tasks of the Perception Test, and find their videos."""
    from tapetum.systems.perception_test.dataset import open_split

    names = [item.name for item in open_split(folder, split, cut=False, challenge=False)]
    place = folder / "videos" if (folder / "videos").is_dir() else folder
    return Records(count=len(names), media=[place / f"{name}.mp4" for name in names])


def read_tapvid(folder: Path, split: str) -> Records:
    """Count the videos in the pickles of TAP-Vid; opening one decodes the first and last frame of its first video."""
    from tapetum.hub.unpickle import open_pickle
    from tapetum.tracks.tapvid import read_entries

    files = sorted(folder.glob("*.pkl"))
    if not files:
        raise BadInput(f"{folder} holds no *.pkl; give the folder of the benchmark's pickles")
    count = 0
    for file in files:
        with open_pickle(file) as content:
            count += len(content) if isinstance(content, (dict, list, tuple)) else 0

    def decode(file: Path) -> None:
        entry = next(read_entries(file))
        for _ in entry.images():
            pass

    return Records(count=count, media=files, open=decode)


def read_itto(folder: Path, split: str) -> Records:
    """List the videos of ITTO; opening a file of annotations reads its marks and all frames."""
    from tapetum.bench.built_in import Itto

    videos = {place / f"{frames.name}_gradient.npy": (frames, place) for frames, place in Itto().items(folder).values()}

    def check(file: Path) -> None:
        Itto.read(*videos[file])

    return Records(count=len(videos), media=list(videos), open=check)


def read_movi(folder: Path, split: str) -> Records:
    """Read scenes of Kubric's MOVi sets: TFRecord files of a split, or all rendered scenes of a folder."""
    from tapetum.tracks.training import movi

    if any(folder.glob("*.tfrecord-*")):
        files = movi.list_records(folder, split)

        def first(file: Path) -> None:
            for scene in movi.read_recorded_scenes(file):
                _ignore(scene.video(), scene.object_masks())
                return
            raise BadInput(f"{file} has no scene; copy it anew")

        return Records(count=movi.count_scenes(files), media=files, open=first)
    if split != "train" and not (folder / split).is_dir():
        raise BadInput(f"{folder} has no *-{split}.tfrecord-* and no folder {split}; give the official files")
    scenes = movi.list_scenes(folder / split if (folder / split).is_dir() else folder)

    def decode(scene: Path) -> None:
        read = movi.read_scene(scene)
        _ignore(read.video(), read.object_masks())

    return Records(count=len(scenes), media=scenes, open=decode)


def read_cotracker_kubric(folder: Path, split: str) -> Records:
    """Read the point-tracking folders of CoTracker3."""
    from tapetum.tracks.training.kubric import kubric_sequences, read_sequence

    names = kubric_sequences(folder)
    return Records(
        count=len(names), media=[folder / name for name in names], open=lambda path: _ignore(read_sequence(path).video[:1])
    )


def read_tapvid3d(folder: Path, split: str) -> Records:
    """List the clips of TAPVid-3D in the official lists; opening one checks it completely."""
    from tapetum.systems.tapvid3d.check import check_clip
    from tapetum.systems.tapvid3d.data import read_clip
    from tapetum.systems.tapvid3d.folders import find_clips

    def check(path: Path) -> None:
        for kind, text in check_clip(read_clip(path)):
            raise BadInput(f"{path}: {kind}: {text}")

    clips = find_clips(folder, "minival" if split == "minival" else "full")
    return Records(count=len(clips), media=[clip.path for clip in clips], open=check)


def read_adt(folder: Path, split: str) -> Records:
    """List the sequences of Aria Digital Twin, version 2; opening one reads its tables."""
    from tapetum.systems.tapvid3d.makers.aria import read_scene

    return _sequences(folder, "*/aria_trajectory.csv", 1, read_scene)


def read_waymo(folder: Path, split: str) -> Records:
    """List the segments of a split of Waymo Open, version 2; opening one reads its cameras."""
    from tapetum.systems.tapvid3d.makers.waymo import WaymoSegment

    return _sequences(
        folder / split, "camera_image/*.parquet", 0, lambda path: _ignore(WaymoSegment(folder / split, path.stem).cameras)
    )


def read_panoptic(folder: Path, split: str) -> Records:
    """List the sequences of Panoptic Studio."""
    return _sequences(folder, "data/*/ims", 1, _ignore)


def _sequences(folder: Path, pattern: str, up: int, read: Any) -> Records:
    paths = [[path, *path.parents][up] for path in sorted(folder.glob(pattern))]
    if not paths:
        raise BadInput(f"{folder} has no {pattern}; give the folder of the official files, unpacked")
    return Records(count=len(paths), media=paths, open=read)


def read_demonstrations(folder: Path, split: str) -> Records:
    """Read demonstrations written by `tapetum data demos`, for one task or with a folder for each task."""
    from tapetum.systems.adapters.demos import read_demos

    places = sorted(path.parent for path in (*folder.glob("demos.json"), *folder.glob("*/demos.json")))
    if not places:
        raise BadInput(f"{folder} holds no demos.json; make demonstrations: tapetum data demos")
    return Records(count=sum(len(read_demos(place).seeds) for place in places), media=[])


def _ignore(*_: Any) -> None:
    """Drop values that were read only as a check."""


FindingKind = Literal["complete", "count", "missing", "unreadable", "unchecked"]
"""All is well; another number of items than was published; media files are not there; something cannot be read; no reader."""
FINE: tuple[FindingKind, ...] = ("complete", "unchecked")
"""Kinds that leave a data set complete, as far as that can be said."""
_SOUNDS = {".wav", ".flac", ".mp3", ".ogg", ".m4a"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line about a split."""

    part: str
    kind: FindingKind
    text: str


@dataclass(frozen=True, kw_only=True)
class PartReport:
    """What was found of a split."""

    part: Part
    items: int | None
    """Listed in the index files; None where these cannot be read."""
    missing: int
    """Media files, or items without one, that are listed and not there."""
    opened: int
    """Media files that were opened."""
    findings: tuple[Finding, ...]


def reader_of(data_set: DataSet) -> Callable[[Path, str], Any]:
    """Import the reader of a data set. Raises BadInput if there is none."""
    if data_set.reader is None:
        raise BadInput(f"{data_set.title} cannot be checked: {data_set.no_reader}")
    module, _, name = data_set.reader.partition(":")
    function = getattr(import_module(module), name)
    return lambda folder, split: function(folder, split, **data_set.arguments)


def unchecked(data_set: DataSet) -> PartReport:
    """Report that a data set has no reader, and why."""
    part = Part(name="all", of="items")
    finding = Finding(part=part.name, kind="unchecked", text=data_set.no_reader)
    return PartReport(part=part, items=None, missing=0, opened=0, findings=(finding,))


def choose_parts(data_set: DataSet, names: Sequence[str]) -> list[Part]:
    """Find the splits with these names, or all if none are given. Raises BadInput for an unknown split."""
    check_several(names, "splits")
    known = {part.name: part for part in data_set.parts}
    if unknown := [name for name in names if name not in known]:
        raise BadInput(f"{data_set.name} has no split {unknown[0]!r}; it has {', '.join(known)}")
    return [known[name] for name in names] if names else list(data_set.parts)


def check_part(data_set: DataSet, folder: Path, part: Part, samples: int) -> PartReport:
    """Check a split in a folder, opening `samples` of its media files. Raises BadInput if it has no reader."""
    read, findings = reader_of(data_set), list[Finding]()

    def find(kind: FindingKind, text: str) -> None:
        findings.append(Finding(part=part.name, kind=kind, text=text))

    try:
        records = records_of(read(folder, part.name))
    except (BadInput, FileNotFoundError, NotADirectoryError) as error:
        find("unreadable", _line(error))
        return PartReport(part=part, items=None, missing=0, opened=0, findings=tuple(findings))
    if part.items is not None and records.count != part.items:
        find("count", f"{records.count:,} {part.of}; {part.items:,} were published")
    lacking = [file for file in dict.fromkeys(_paths(records)) if not file.exists()]
    missing = len(lacking) + records.missing
    if lacking:
        find("missing", f"{len(lacking):,} files are not there, such as {lacking[0]}")
    if records.missing:
        find("missing", f"{records.missing:,} of {records.count:,} {part.of} have no file")
    opened, gone = 0, set(lacking)
    for file in _some(records.media, samples):
        if isinstance(_path(file), Path) and _path(file) in gone:
            continue
        try:
            (records.open or open_media)(_path(file) if records.open else file)  # pyright: ignore[reportArgumentType]
            opened += 1
        except (BadInput, OSError) as error:
            find("unreadable", _line(error))
    if not findings:
        published = "as published" if part.items is not None else "published count not known"
        find("complete", f"{records.count:,} {part.of} ({published}), {opened} files opened")
    return PartReport(part=part, items=records.count, missing=missing, opened=opened, findings=tuple(findings))


def open_media(file: Path | StoredFile) -> None:
    """Decode an image, the first frame of a video, a recording or a mesh, by its file extension.

    Raises BadInput if it is damaged or of an unknown kind.
    """
    stored = file if isinstance(file, StoredFile) else stored_file(file)
    ending = f".{stored.name.rpartition('.')[2].lower()}"
    if ending in IMAGES:
        opened_image(stored, None)
    elif ending in VIDEOS and isinstance(stored.content, Path):
        with open_video(stored.content) as video:
            video[0]
    elif ending in _SOUNDS:
        read_sound(stored.content, 16_000, name=stored.name)
    elif ending == ".off":
        read_off(stored.content, stored.name)
    else:
        raise BadInput(f"{stored.name} is neither an image, a video, a recording nor a mesh by its name; wanted one of these")


def _some(media: Sequence[Path | StoredFile], samples: int) -> list[Path | StoredFile]:
    """Evenly spaced items, including the first and the last."""
    places = np.unique(np.linspace(0, len(media) - 1, min(samples, len(media))).round().astype(int)) if len(media) else []
    return [media[int(k)] for k in places]


def _path(file: Path | StoredFile) -> Path | bytes:
    return file if isinstance(file, Path) else file.content


def _paths(records: Records) -> list[Path]:
    """Files by name; those that a reader has listed itself exist."""
    return [file for file in records.media if isinstance(file, Path)] if isinstance(records.media, list) else []


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
