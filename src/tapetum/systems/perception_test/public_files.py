"""The public files of the Perception Test, by split, task and part (README of google-deepmind/perception_test at 6bd0642).

    zip_data/NAME.zip    videos, audios, annotations and features (public_files.csv); sizes as the README states them
    misc/NAME            id lists of the challenges (csv), frames at which videos are cut for questions (json)

A task has archives of its own for some parts, and takes those of the whole split for others; what of a split is fetched whole
is not fetched for a task again. Questions of 2025 with five options have a split of their own, of valid alone (issue 28 there).
No sums are published; the store says MD5 or CRC-32C of each file when it is fetched.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tapetum.core.errors import BadInput
from tapetum.core.files import resource

SOURCE = "https://storage.googleapis.com/dm-perception-test"
LICENCE = "CC-BY-4.0"
Split = Literal["train", "valid", "test", "sample"]
Task = Literal["object", "point", "action", "sound", "mcqa", "grounded", "mcqa-2025"]
Part = Literal["annotations", "lists", "videos", "audios", "features"]
SPLITS: tuple[Split, ...] = get_args(Split)
TASKS: tuple[Task, ...] = get_args(Task)
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, kw_only=True)
class Public:
    """A file of the publisher's."""

    name: str
    part: Part
    folder: str
    """In which its contents, or itself, are put."""
    endings: tuple[str, ...] = ()
    """Of members that are wanted; none: it is no zip, and wanted as it is."""
    stated: int | None = None
    """Bytes, roughly, as the README has it."""

    @property
    def below(self) -> str:
        """Build the file's path below `SOURCE`."""
        return f"{'zip_data' if self.endings else 'misc'}/{self.name}"


_PLACES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "annotations": ("annotations", (".json",)),
    "videos": ("videos", (".mp4",)),
    "audios": ("audios", (".wav",)),
    "features": ("features/video", (".npy",)),
}
"""Folder and wanted endings by part; features of sounds are in features/audio."""


def _archive(row: Mapping[str, Any]) -> Public:
    folder, endings = _PLACES[row["part"]]
    folder = "features/audio" if "audio_features" in row["archive"] else folder
    name, stated = f"{row['archive']}.zip", int(row["bytes"] or 0) or None
    return Public(name=name, part=row["part"], folder=folder, endings=endings, stated=stated)


_ARCHIVES: Mapping[tuple[str, str, str], Public] = {
    (row["task"], row["split"], row["part"]): _archive(row)
    for row in csv.DictReader(resource(__name__.rpartition(".")[0], "public_files.csv").splitlines())
}
"""Archives by task, split and part; those of all tasks have an empty task."""
_LABELLED: tuple[Split, ...] = ("train", "valid", "test")
ID_LISTS: Mapping[tuple[str, str], str] = {
    ("object", "train"): "object_tracking_train_id_list.csv",
    ("object", "valid"): "object_tracking_valid_subset_id_list.csv",
    ("object", "test"): "object_tracking_test_subset_id_list.csv",
    ("action", "train"): "action_localisation_train_id_list.csv",
    ("sound", "train"): "sound_localisation_train_id_list.csv",
    **{(task, split): f"localisation_challenge_{split}_id_list.csv" for task in ("action", "sound") for split in _LABELLED[1:]},
    **{("point", split): f"point_tracking_{split}_id_list.csv" for split in _LABELLED},
    **{("mcqa", split): f"mc_question_{split}_id_list.csv" for split in _LABELLED},
    **{("grounded", split): f"grounded_question_{split}_id_list.csv" for split in _LABELLED},
}
"""Task and split to the list of the challenge's videos."""
CUTS: Mapping[str, str] = {split: f"cut_frame_mapping_{split}.json" for split in ("train", "valid")}
"""Split to the frames at which videos are cut for questions; test videos are cut already."""


def choose(split: Split, tasks: Sequence[Task], parts: Sequence[Part]) -> list[Public]:
    """List the files of a split that tasks need, small ones first; of all tasks where none is named.

    Raises BadInput for names that there are not, and where there is nothing.
    """
    for what, known, given in (("split", SPLITS, [split]), ("task", TASKS, tasks), ("part", PARTS, parts)):
        for name in given:
            if name not in known:
                raise BadInput(f"the Perception Test has no {what} {name!r}; it has {', '.join(known)}")
    if "mcqa-2025" in tasks and split != "valid":
        raise BadInput(f"the questions of 2025 are public of the split valid alone, not of {split}; leave out mcqa-2025")
    chosen = (file for part in PARTS if part in parts for file in _of(split, tasks, part) if file is not None)
    files = {file.name: file for file in chosen}
    if not files:
        requested = f"{', '.join(parts)} of {', '.join(tasks) or 'all tasks'}"
        raise BadInput(
            f"the Perception Test publishes no {requested} in the split {split}; ask for other parts, tasks or another split"
        )
    return list(files.values())


def _of(split: Split, tasks: Sequence[Task], part: Part) -> Iterable[Public | None]:
    every = tasks or TASKS[:-1]  # the questions of 2025 are fetched where they are asked for
    if part == "lists":
        names = [ID_LISTS.get((task, split)) for task in every]
        names += [CUTS.get(split)] if any(task.startswith("mcqa") for task in every) else []
        return [Public(name=name, part="lists", folder="lists") for name in names if name]
    whole, own = _ARCHIVES.get(("", split, part)), [_ARCHIVES.get((task, split, part)) for task in every]
    if part == "features":
        return own
    if part == "annotations" and split != "sample" and tasks:
        # Each task has its own, but for objects of train, and for segments of test, whose videos are described all the same.
        return [each or whole for each in own]
    if part == "audios" and tasks and set(tasks) <= {"object", "point"}:
        return []  # these are tasks of the image alone
    return own if tasks and None not in own else [whole]
