"""Data sets used by the published recipes and evaluations of the systems, by name, and checks of folders of them.

    data_sets.toml   what is known of each: images, sound and meshes; questions and captions; videos; tracks, space and robots
    check            what of a data set is in a folder, and whether it can be read

Here: what the keys of that file mean, and what a reader finds in a folder of a data set. Nothing is downloaded. Sizes and
licences are those stated by the publishers, as far as this project knows them; unknown ones are marked. Imports no torch.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.files import resource
from tapetum.core.reading import parse_toml
from tapetum.data.files import StoredFile

NOT_KNOWN = "not known"
"""Stands where this project is not sure of a fact."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A split of a data set."""

    name: str
    """As the reader takes it."""
    of: str
    """What is counted, in the plural: images, questions."""
    items: int | None = None
    """Published count; None where this project is not sure of it, or videos vanish from the web."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set that a published recipe wants."""

    name: str
    """As presets and commands call it."""
    title: str
    what: str
    """One line: what is in it."""
    address: str
    """Official page or bucket; "not published" where there is none."""
    licence: str
    size: str = NOT_KNOWN
    """Items, and bytes where they are known."""
    layout: str = ""
    """The files as they are published, in a line; the module of the reader draws all of them."""
    reader: str | None = None
    """module:function that reads a split of a folder."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of the reader, beyond folder and split."""
    no_reader: str = ""
    """Why there is no reader, or what the reader leaves out."""
    parts: tuple[Part, ...] = ()
    """Splits that are checked."""
    used_by: tuple[str, ...] = ()
    """Systems of whose published recipes or evaluations it is."""


@dataclass(frozen=True, kw_only=True)
class Records:
    """What a reader finds in a folder: how much, and the files to open."""

    count: int
    """Items that the index files list."""
    media: Sequence[Path | StoredFile]
    """Files of the items, in their order; a file may come twice."""
    missing: int = 0
    """Items of `count` of which the reader itself found no file."""
    open: Callable[[Path], None] | None = None
    """Opens one file of `media`; raises BadInput where it is damaged. None: by the ending of its name."""


def _data_set(name: str, entry: dict[str, Any]) -> DataSet:
    of = entry.pop("of", "")
    reader = entry.pop("reader", None)
    parts = tuple(Part(name=split, of=of, items=items[0] if items else None) for split, *items in entry.pop("parts", ()))
    used_by = tuple(entry.pop("used_by"))
    return DataSet(name=name, reader=reader and f"tapetum.{reader}", parts=parts, used_by=used_by, **entry)


DATA_SETS: Mapping[str, DataSet] = {
    name: _data_set(name, entry) for name, entry in parse_toml(resource(__name__, "data_sets.toml")).items()
}
"""By name."""


def find_data_set(name: str) -> DataSet:
    """Look up a data set.

    Raises BadInput with the nearest name.

    >>> find_data_set("vqa-v2")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: there is no data set 'vqa-v2'; did you mean vqav2?
    """
    if name not in DATA_SETS:
        near = difflib.get_close_matches(name, DATA_SETS, n=1)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(DATA_SETS)}"
        raise BadInput(f"there is no data set {name!r}; {advice}")
    return DATA_SETS[name]
