"""Descriptions of published data sets, and the results of reading a folder of one. Imports no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
