"""Videos of actions, each of one class; `tapetum.data.layouts` lists Kinetics.

    Diving48   DIR/Diving48_V2_train.json, Diving48_V2_test.json     [{vid_name, label, start_frame, end_frame}]
               DIR/Diving48_vocab.json                               [[take-off, somersaults, twists, position]], by label
               DIR/rgb/NAME.mp4, or DIR/videos; the test part is val
    SSv2       DIR/something-something-v2-train.json, -validation.json (or train.json, validation.json, below DIR or labels/)
               [{id, label, template: "Moving [something] up", placeholders}]
               DIR/something-something-v2-labels.json (or labels.json)   {"Moving something up": "94"}
               DIR/20bn-something-something-v2/ID.webm, or DIR/videos

Sources: Li et al., ECCV 2018 (Diving48, labels of the second version); Goyal et al., arXiv 1706.04261, and Mahdisoltani et al.,
arXiv 1804.09235 (the second version).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.data.entries import entries, first_of, inside, read_json
from tapetum.data.files import StoredFile, stored_file
from tapetum.data.listings import Listing, Split
from tapetum.data.video_language import video_file, videos_of


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
