"""Data sets used by the published recipes and evaluations of the systems, by name, and checks of folders of them.

    data_sets.toml   what is known of each: images, sound and meshes; questions and captions; videos; tracks, space and robots
    types            what the keys of that file mean, and what a reader finds in a folder of a data set
    readers          readers of layouts whose parts lie in several files or formats
    check            what of a data set is in a folder, and whether it can be read

Nothing is downloaded. Sizes and licences are those stated by the publishers, as far as this project knows them; unknown ones
are marked.
"""

import difflib
from collections.abc import Mapping
from typing import Any

from tapetum.bench.data_sets.types import DataSet, Part
from tapetum.core.errors import BadInput
from tapetum.core.files import resource
from tapetum.core.reading import parse_toml


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
