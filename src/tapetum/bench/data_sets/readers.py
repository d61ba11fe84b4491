"""The results of readers, as `Records`; and readers of layouts split over several files or formats.

    pairs      DIR/*.tar or DIR/train/*.tar: shards whose samples have an image, and txt, json or caption beside it
    MOVi       TFRecord files, or folders of rendered scenes: `tapetum.tracks.training.movi` draws both

The other layouts are drawn in the modules that read them. If nothing fits, BadInput names the expected files.
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from tapetum.bench.data_sets.types import Records
from tapetum.core.errors import BadInput
from tapetum.data.entries import Listing
from tapetum.data.files import StoredFile
from tapetum.data.questions import Question
from tapetum.data.segmentation import MaskedVideo, SegmentedImages
from tapetum.data.video_language import CaptionedVideo
from tapetum.video.images import IMAGES

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
    from tapetum.systems.tapvid3d.format.check import check_clip
    from tapetum.systems.tapvid3d.format.data import read_clip
    from tapetum.systems.tapvid3d.format.folders import find_clips

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
    """List the sequences of Panoptic Studio; opening one reads its cameras and the images of the first."""
    from tapetum.systems.tapvid3d.makers.pstudio import read_cameras, read_images

    def read(sequence: Path) -> None:
        read_images(sequence, read_cameras(sequence / "train_meta.json")[0].name)

    return _sequences(folder, "data/*/train_meta.json", 1, read)


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
