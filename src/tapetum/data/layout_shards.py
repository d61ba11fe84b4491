"""The layout `shards`: tar files as `tapetum data shards` writes them. See `tapetum.data.layouts`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.reading import parse_json
from tapetum.data.fields import IMAGES, last
from tapetum.data.listings import Listing, Split, numbered_classes, text_of
from tapetum.data.media import Files, StoredFile
from tapetum.data.shards import Shards


@dataclass(frozen=True)
class _Members:
    """One field of all samples of shards, as files."""

    shards: Shards
    field: str
    rows: np.ndarray
    """Numbers of the samples that are taken."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, k: int) -> StoredFile:
        k = int(self.rows[k])
        tar, key = self.shards.locate(k)
        return StoredFile(f"{tar}: {key}.{self.field}", self.shards.read(k)[self.field])


def list_shards(place: Path, split: Split) -> Listing:
    """List images and recordings in tar files, with classes where there are some.

    Raises BadInput where there are no such fields, or classes without names.
    """
    folders = [place / name for name in (("train",) if split == "train" else ("val", "test"))]
    whole = not (place / "train").is_dir() and any(place.glob("*.tar"))
    folder = place if whole else next((f for f in folders if f.is_dir()), None)
    if folder is None:
        raise BadInput(f"there is no {folders[0]}; put the shards of each part into a folder of its own, train and val")
    opened = Shards(folder)
    there, rows = opened.fields, np.arange(len(opened))
    if whole:
        rows = rows[(rows % 10 == 0) == (split == "val")]
    columns: dict[str, Files] = {}
    for name in there:
        ending, members = last(name), _Members(Shards(folder, fields=[name]), name, rows)
        if ending in IMAGES:
            columns.setdefault("image", members)
        elif ending in ("wav", "flac"):
            columns.setdefault("audio", members)
    if not columns:
        raise BadInput(f"{folder} has the fields {', '.join(there)}; wanted jpg, png, webp, wav or flac")
    if "cls" not in there:
        return Listing(columns, None, (), "nothing")
    column = Shards(folder, fields=["cls"]).column("cls")
    labels = np.array([int(column[int(k)]) for k in rows])
    try:
        names = tuple(map(str, parse_json(text_of(folder / "classes.json")))) if (folder / "classes.json").is_file() else ()
    except (ValueError, TypeError) as error:
        raise BadInput(f"{folder / 'classes.json'} is no list of names; write it anew") from error
    names = names or numbered_classes(int(labels.max()), folder)
    if labels.min() < 0 or labels.max() >= len(names):
        raise BadInput(
            f"{folder} has classes from {labels.min()} to {labels.max()}, and names for {len(names)}; mend one of them"
        )
    return Listing(columns, labels, names, "class")
