"""Lists beside the annotations of the Perception Test: videos of a challenge, and the times at which videos are cut.

    *_id_list.csv              ids, in one line or many; a word such as video_id at the head is no id
    cut_frame_mapping_*.json   {video id: frame}: the end of a cup game or of a tower gives the answer away, so whoever answers
                               sees the frames before that one, and hears until the same moment. Videos that are not in it, or
                               with a number that is not above 0, are seen whole; those of the test split are cut already.

That the frame itself is the first one that is not seen is our reading: "the frame where the cut should be made" is all that the
publisher says (README).
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tapetum.core import reading
from tapetum.core.errors import BadInput
from tapetum.core.reading import read_text
from tapetum.systems.perception_test.public_files import CUTS, ID_LISTS
from tapetum.systems.perception_test.types import AnnotatedVideo

_HEADS = {"", "id", "ids", "video", "videos", "video_id", "video_ids"}


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON file that holds an object. Raises BadInput for one that is missing, damaged, or something else."""
    try:
        content = reading.read_json(path)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as JSON ({error}); give a file of the Perception Test") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} holds a {type(content).__name__}; wanted an object with a key for each video")
    return content


def read_ids(path: str | Path) -> list[str]:
    """Read a list of ids, each once, in their order. Raises BadInput for a file that is none."""
    try:
        text = read_text(path, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as a list of ids ({error}); fetch it again") from error
    cells = [cell.strip().strip("\"'") for line in text.splitlines() for cell in re.split("[,;\t]", line)]
    ids = [cell for cell in dict.fromkeys(cells) if cell.lower() not in _HEADS]
    if not ids or any(len(each) > 200 or "\0" in each for each in ids):
        raise BadInput(f"{path} is no list of ids: {'it is empty' if not ids else 'it has other text'}; fetch it again")
    return ids


def read_cuts(path: str | Path) -> dict[str, int]:
    """Read at which frame videos end for questions. Raises BadInput for what is not a whole number."""
    cuts = {}
    for name, value in read_json(path).items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise BadInput(f"{path} says that {name} ends at {value!r}; wanted the number of a frame [no-number]")
        if value > 0:
            cuts[name] = int(value)
    return cuts


def find_cuts(annotations: Path, split: str) -> Path | None:
    """Find the file of cuts of a split for a file of annotations."""
    return find_list(annotations.parent, CUTS.get(split.lower()))


def find_ids(folder: Path, task: str, split: str) -> Path | None:
    """Find the list of a challenge's videos, in a folder, its lists/ or the one beside it."""
    return find_list(folder, ID_LISTS.get((task, split)))


def find_list(folder: Path, name: str | None) -> Path | None:
    """Find a list by its public name."""
    places = (folder, folder / "lists", folder.parent / "lists", folder / "misc", folder.parent / "misc")
    return next((place / name for place in places if (place / name).is_file()), None) if name else None


def with_cuts(annotations: Mapping[str, AnnotatedVideo], cuts: Mapping[str, int]) -> dict[str, AnnotatedVideo]:
    """Set where the videos of questions end, where that is before their own end and before what they say themselves."""
    return {name: _cut(video, cuts.get(name)) for name, video in annotations.items()}


def _cut(video: AnnotatedVideo, end: int | None) -> AnnotatedVideo:
    if end is None or end >= video.metadata.frames or not video.questions:
        return video
    questions = tuple(replace(each, cut=end if each.cut is None else min(each.cut, end)) for each in video.questions)
    return replace(video, questions=questions)
