"""The public files of the Perception Test, by split, task and part (README of google-deepmind/perception_test at 6bd0642).

    zip_data/NAME.zip    videos, audios, annotations and features; sizes as the README states them
    misc/NAME            id lists of the challenges (csv), frames at which videos are cut for questions (json)

A task has archives of its own for some parts, and takes those of the whole split for others; what of a split is fetched whole
is not fetched for a task again. Questions of 2025 with five options have a split of their own, of valid alone (issue 28 there).
No sums are published; the store says MD5 or CRC-32C of each file when it is fetched.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tapetum.core.errors import BadInput

SOURCE = "https://storage.googleapis.com/dm-perception-test"
"""Where the publisher keeps them."""
LICENCE = "CC-BY-4.0"
Split = Literal["train", "valid", "test", "sample"]
Task = Literal["object", "point", "action", "sound", "mcqa", "grounded", "mcqa-2025"]
Part = Literal["annotations", "lists", "videos", "audios", "features"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test", "sample")
TASKS: tuple[Task, ...] = ("object", "point", "action", "sound", "mcqa", "grounded", "mcqa-2025")
PARTS: tuple[Part, ...] = ("annotations", "lists", "videos", "audios", "features")
_MB, _GB = 10**6, 10**9


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


def _zip(name: str, part: Part, stated: float | None) -> Public:
    folder, endings = {
        "annotations": ("annotations", (".json",)),
        "videos": ("videos", (".mp4",)),
        "audios": ("audios", (".wav",)),
        "features": ("features/audio" if "audio" in name else "features/video", (".npy", ".npz")),
    }[part]
    size = None if stated is None else round(stated)
    return Public(name=f"{name}.zip", part=part, folder=folder, endings=endings, stated=size)


def _list(name: str) -> Public:
    return Public(name=name, part="lists", folder="lists")


_WHOLE: Mapping[tuple[Split, Part], Public] = {
    ("sample", "videos"): _zip("sample_videos", "videos", 214.9 * _MB),
    ("sample", "audios"): _zip("sample_audios", "audios", 83.9 * _MB),
    ("sample", "annotations"): _zip("sample_annotations", "annotations", 3 * _MB),
    ("train", "videos"): _zip("train_videos", "videos", 26.5 * _GB),
    ("train", "audios"): _zip("train_audios", "audios", 12.3 * _GB),
    ("train", "annotations"): _zip("train_annotations", "annotations", 30.6 * _MB),
    ("valid", "videos"): _zip("valid_videos", "videos", 70.2 * _GB),
    ("valid", "audios"): _zip("valid_audios", "audios", 33.1 * _GB),
    ("valid", "annotations"): _zip("valid_annotations", "annotations", 81.5 * _MB),
    ("test", "videos"): _zip("test_videos", "videos", 41.8 * _GB),
    ("test", "audios"): _zip("test_audios", "audios", 19.3 * _GB),
    ("test", "annotations"): _zip("test_annotations", "annotations", 633.9e3),
}
"""Of all tasks."""

_OWN: Mapping[tuple[Task, Split, Part], Public] = {
    ("object", "valid", "videos"): _zip("sot_valid_videos_challenge2023", "videos", 11.6 * _GB),
    ("object", "valid", "annotations"): _zip("sot_valid_annotations_challenge2023", "annotations", 9 * _MB),
    ("object", "test", "videos"): _zip("sot_test_videos_challenge2023", "videos", 12.1 * _GB),
    ("object", "test", "annotations"): _zip("sot_test_annotations_challenge2023", "annotations", 613e3),
    ("point", "train", "videos"): _zip("point_tracking_train_videos", "videos", 398.4 * _MB),
    ("point", "train", "annotations"): _zip("point_tracking_train_annotations", "annotations", 4.7 * _MB),
    ("point", "valid", "videos"): _zip("point_tracking_valid_videos", "videos", 1.1 * _GB),
    ("point", "valid", "annotations"): _zip("point_tracking_valid_annotations", "annotations", 11.1 * _MB),
    ("point", "test", "videos"): _zip("point_tracking_test_videos", "videos", 691 * _MB),
    ("point", "test", "annotations"): _zip("point_tracking_test_annotations", "annotations", 42.2e3),
    ("action", "train", "annotations"): _zip("challenge_action_localisation_train_annotations", "annotations", 217e3),
    ("action", "valid", "annotations"): _zip("challenge_action_localisation_valid_annotations", "annotations", 558e3),
    ("action", "train", "features"): _zip("action_localisation_train_video_features", "features", 81.7 * _MB),
    ("action", "valid", "features"): _zip("action_localisation_valid_video_features", "features", 219.2 * _MB),
    ("action", "test", "features"): _zip("action_localisation_test_video_features", "features", 131.7 * _MB),
    ("sound", "train", "annotations"): _zip("challenge_sound_localisation_train_annotations", "annotations", 363e3),
    ("sound", "valid", "annotations"): _zip("challenge_sound_localisation_valid_annotations", "annotations", 552e3),
    ("sound", "train", "features"): _zip("sound_localisation_train_audio_features", "features", 109.1 * _MB),
    ("sound", "valid", "features"): _zip("sound_localisation_valid_audio_features", "features", 291.4 * _MB),
    ("sound", "test", "features"): _zip("sound_localisation_test_audio_features", "features", 177.2 * _MB),
    ("mcqa", "train", "annotations"): _zip("mc_question_train_annotations", "annotations", 85e3),
    ("mcqa", "valid", "annotations"): _zip("mc_question_valid_annotations", "annotations", 200e3),
    ("mcqa", "test", "annotations"): _zip("mc_question_test_annotations", "annotations", 200e3),
    ("grounded", "train", "videos"): _zip("grounded_question_train_videos", "videos", 7.3 * _GB),
    ("grounded", "train", "audios"): _zip("grounded_question_train_audios", "audios", 3.4 * _GB),
    ("grounded", "train", "annotations"): _zip("grounded_question_train_annotations", "annotations", 6.1 * _MB),
    ("grounded", "valid", "videos"): _zip("grounded_question_valid_videos", "videos", 19.3 * _GB),
    ("grounded", "valid", "audios"): _zip("grounded_question_valid_audios", "audios", 9.1 * _GB),
    ("grounded", "valid", "annotations"): _zip("grounded_question_valid_annotations", "annotations", 16.8 * _MB),
    ("grounded", "test", "videos"): _zip("grounded_question_test_videos", "videos", 11.3 * _GB),
    ("grounded", "test", "annotations"): _zip("grounded_question_test_annotations", "annotations", 17.5e3),
    ("mcqa-2025", "valid", "videos"): _zip("unified_vqa_valid_split", "videos", None),
    ("mcqa-2025", "valid", "annotations"): _zip("mc_vqa_unified_valid", "annotations", None),
}  # fmt: skip
"""Of one task."""

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
    files: dict[str, Public] = {}
    for part in PARTS:
        if part in parts:
            files.update((file.name, file) for file in _of(split, tasks, part))
    if not files:
        requested = f"{', '.join(parts)} of {', '.join(tasks) or 'all tasks'}"
        raise BadInput(
            f"the Perception Test publishes no {requested} in the split {split}; ask for other parts, tasks or another split"
        )
    return list(files.values())


def _of(split: Split, tasks: Sequence[Task], part: Part) -> Iterator[Public]:
    everything: tuple[Task, ...] = tuple(task for task in TASKS if task != "mcqa-2025")
    if part == "lists":
        for task in tasks or everything:
            if (name := ID_LISTS.get((task, split))) is not None:
                yield _list(name)
        if split in CUTS and (not tasks or any(task.startswith("mcqa") for task in tasks)):
            yield _list(CUTS[split])
        return
    if part == "features":
        for task in tasks or everything:
            if (own := _OWN.get((task, split, part))) is not None:
                yield own
        return
    whole = _WHOLE.get((split, part))
    own = [_OWN.get((task, split, part)) for task in tasks]
    if part == "annotations" and split != "sample" and tasks:
        # Each task has its own, but for objects of train, and for segments of test, whose videos are described all the same.
        yield from (file for file in (each or whole for each in own) if file is not None)
        return
    if part == "audios" and tasks and set(tasks) <= {"object", "point"}:
        return  # these are tasks of the image alone
    if tasks and None not in own:
        yield from (each for each in own if each is not None)
    elif whole is not None:
        yield whole
