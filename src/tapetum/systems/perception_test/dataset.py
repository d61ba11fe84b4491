"""A folder of the Perception Test, as `tapetum data perception-test` or `tapetum scenes episodes` makes it: typed, lazy.

    videos = open_split("pt", "valid", "mcqa")
    for item in videos:
        for question in item.truth.questions:
            frames = item.open(question)          # ends where the question lets it
            sound = item.sound(16000, question)

With a task, only videos that have something of it, and of these the challenge's where its list of ids is there.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from tapetum.core.errors import BadInput
from tapetum.core.files import named_path
from tapetum.systems.perception_test.annotations import BESIDE, find_cuts, find_list, read_annotations, read_ids
from tapetum.systems.perception_test.footage import AlignedVideo, find_videos, footage_sound, open_footage
from tapetum.systems.perception_test.public_files import CUTS, ID_LISTS
from tapetum.systems.perception_test.types import KEYS, AnnotatedVideo, ChoiceQuestion

_OWN = {"object": ("object_tracking", "sot"), "mcqa": ("mc_question", "mc_vqa")}
"""Task to parts of the names of its own files of annotations, where that is not its key."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkVideo:
    """A video, and all that is known of it."""

    name: str
    truth: AnnotatedVideo
    folder: Path
    cut: bool = True
    """Whether a question sees its video only as far as it may."""

    def open(self, question: ChoiceQuestion | None = None) -> AlignedVideo:
        """Open its images, to the end that a question lets be seen. Raises BadInput where there are none."""
        path, _ = self._files
        return open_footage(path, self.truth.metadata, self._end(question))

    def sound(self, sample_rate: int, question: ChoiceQuestion | None = None) -> Float32[np.ndarray, " n"]:
        """Read its sound, to the end that a question lets be heard; none of a silent video."""
        return footage_sound(*self._files, self.truth.metadata, sample_rate, self._end(question))

    @property
    def _files(self) -> tuple[Path, Path | None]:
        return find_videos(self.folder, [self.name])[self.name]

    def _end(self, question: ChoiceQuestion | None) -> int | None:
        return question.cut if self.cut and question is not None else None


class PerceptionTest(list[BenchmarkVideo]):
    """Videos of a split; see `open_split`."""

    remarks: tuple[str, ...] = ()
    """What a person should know, such as that a list is missing."""


def open_split(
    root: str | Path, split: str = "valid", task: str | None = None, *, cut: bool = True, challenge: bool = True
) -> PerceptionTest:
    """Open a split of the benchmark in a folder.

    `root` has annotations/, videos/, audios/ and lists/, or the annotations themselves. With a `task`, only videos that have
    something of it are kept, and with `challenge` of these the challenge's, where the list of their ids is there. With `cut`,
    questions see their videos only until the frame at which they are cut. Raises BadInput for damaged or missing annotations.
    """
    root = named_path(root)
    if task is not None and task not in KEYS:
        raise BadInput(f"the Perception Test has no task {task!r}; it has {', '.join(KEYS)}")
    file = find_annotations(root, split, task)
    remarks = []
    videos = read_annotations(file, BESIDE if cut else None)
    gives_away = any(v.metadata.cup_game and v.questions and not any(q.cut for q in v.questions) for v in videos.values())
    if cut and gives_away and task in (None, "mcqa") and split in CUTS and find_cuts(file, split) is None:
        remarks.append(
            f"there is no {CUTS[split]} beside {file}: questions see the ends of cup games, which give the answers away; "
            "fetch it with --parts lists"
        )
    if task is not None:
        videos = {name: video for name, video in videos.items() if video.of(task) or split == "test"}
        ids = find_list(file.parent, ID_LISTS.get((task, split))) if challenge else None
        if ids is not None:
            listed = set(read_ids(ids))
            lacking = len(listed - videos.keys())
            videos = {name: video for name, video in videos.items() if name in listed}
            if lacking:
                remarks.append(f"{lacking} of {len(listed)} videos in {ids.name} are not in {file.name}")
        elif challenge:
            remarks.append(
                f"there is no list of the challenge's videos beside {file}; all {len(videos)} with the task are taken"
            )
    if not videos:
        raise BadInput(f"{file} has no video of the task {task}; give another split or folder")
    made = PerceptionTest(BenchmarkVideo(name=name, truth=video, folder=root, cut=cut) for name, video in videos.items())
    made.remarks = tuple(remarks)
    return made


def find_annotations(root: Path, split: str, task: str | None = None) -> Path:
    """Find a split's annotations: the task's own, else those of all tasks. Raises BadInput where there are none.

    A file is known by its name, such as mc_question_valid.json, challenge_action_localisation_valid.json or all_valid.json.
    """
    files = [path for folder in (root / "annotations", root) for path in sorted(folder.glob("*.json"))]
    own = _OWN.get(task, (KEYS[task],)) if task is not None else ()
    for part in (*own, "all", "sample" if split == "sample" else "all"):
        for path in files:
            words = path.stem.lower()
            if part in words and (split in words.split("_")) and "cut_frame" not in words:
                return path
    raise BadInput(
        f"there are no annotations of the split {split} in {root}; fetch them: tapetum data perception-test --split {split} "
        f"--parts annotations lists --out {root}"
    )
