"""Folders of TAPVid-3D clips: the official layout, one source alone, or clips of any kind.

    DIR/adt/*.npz, DIR/drivetrack/*.npz, DIR/pstudio/*.npz      official: some or all of the three
    adt/*.npz                                                   one source, in the folder that is named after it
    DIR/*.npz                                                   anything: official names go to their source, others to "clips"
    DIR/tapvid3d/*.npz                                          what `tapetum scenes make` writes

Depth maps next to a clip (`*.depth.npz`) are not clips. Of the official lists (arXiv 2407.05921) minival has 50 clips of each
source, and full_eval 1,906 of adt, 2,407 of drivetrack and 106 of pstudio. They share no clip, but minival's scenes are all in
full_eval too: it is no held-out set. `splits.txt` holds the names of release v1.0, a line for each recording, an asterisk
behind the clips of minival. `tests/golden/make_tapvid3d_splits.py` wrote it from the public lists.

Differs from the public code: names are sorted by recording, which affects no score; and an unlisted name has no source, while
the public code calls it pstudio.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from tapetum.core.errors import BadInput

Source = Literal["adt", "drivetrack", "pstudio"]
SOURCES: tuple[Source, ...] = get_args(Source)
"""The three sources, which are also the names of their folders."""

Split = Literal["minival", "full", "all"]
"""minival, full (the public full_eval) or both together."""

SIZES: dict[Source, tuple[int, int]] = {"adt": (512, 512), "drivetrack": (1280, 1920), "pstudio": (360, 640)}
"""Height and width of the images of each source, for files that come without them."""


def files(split: Split, source: Source | None = None) -> tuple[str, ...]:
    """List file names of a split, of one source or of all three. Raises `BadInput` for another split or source.

    >>> [len(files("full", source)) for source in SOURCES], files("minival", "pstudio")[0]
    ([1906, 2407, 106], 'basketball_3.npz')
    """
    if split not in get_args(Split):
        raise BadInput(f"there is no split {split!r}; it is one of {', '.join(get_args(Split))}")
    if source not in (None, *SOURCES):
        raise BadInput(f"there is no source {source!r}; it is one of {', '.join(SOURCES)}")
    parts = {"minival": ("minival",), "full": ("full",), "all": ("minival", "full")}[split]
    return tuple(name for name, (where, part) in _catalogue().items() if part in parts and source in (None, where))


def source_of(name: str) -> Source | None:
    """Look up the source of an official file name, or None if the name is not in the lists.

    >>> source_of("basketball_5.npz"), source_of("scene-00000.npz")
    ('pstudio', None)
    """
    return _catalogue().get(name, (None, None))[0]


@cache
def _catalogue() -> dict[str, tuple[Source, Split]]:
    catalogue: dict[str, tuple[Source, Split]] = {}
    text = (resources.files("tapetum.systems.tapvid3d") / "splits.txt").read_text()
    blocks = re.split(r"^\[(\w+)\]\n", text, flags=re.MULTILINE)
    for source, block in zip(SOURCES, blocks[2::2], strict=True):
        for line in block.splitlines():
            group, *members = line.split()
            for member in members:
                name = f"{'tapvid3d_' if source == 'drivetrack' else ''}{group}_{member.removesuffix('*')}.npz"
                catalogue[name] = source, "minival" if member.endswith("*") else "full"
    return catalogue


DEPTH = ".depth.npz"
"""Ending of a clip's depth maps, in place of .npz."""
OTHER = "clips"
"""What stands for the source where a clip is of none of the three."""
MADE = "tapvid3d"
"""Folder of clips in what `tapetum scenes make` writes."""


@dataclass(frozen=True)
class ClipPath:
    """Path of a clip that is there, or ought to be."""

    source: str
    """adt, drivetrack, pstudio, or `OTHER`."""
    path: Path

    def within(self, folder: Path) -> Path:
        """Find the file of the same name in another folder of either layout; the official one if neither exists."""
        official, flat = folder / self.source / self.path.name, folder / self.path.name
        return flat if self.source == OTHER or (flat.is_file() and not official.is_file()) else official


def find_clips(folder: str | os.PathLike[str], split: Split | None = None) -> list[ClipPath]:
    """Find the clips of a folder, by source and name.

    With a split, the clips in its lists, present or not, for every source that the folder has anything of.

    Raises BadInput: there is no such folder, or no clip in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}; give one with npz files, or with adt, drivetrack and pstudio in it")
    if not any(_npz(folder)) and any(_npz(folder / MADE)):
        folder /= MADE
    here: list[Source] = [source for source in SOURCES if (folder / source).is_dir()]
    if here:
        clips = [ClipPath(source, path) for source in here for path in _npz(folder / source)]
    else:
        clips = [ClipPath(_source(path), path) for path in _npz(folder)]
        clips.sort(key=lambda place: ([*SOURCES, OTHER].index(place.source), place.path.name))
    if split is not None:
        present = here or [source for source in SOURCES if any(place.source == source for place in clips)]
        names = ((source, name) for source in present for name in files(split, source))
        clips = [ClipPath(source, (folder / source if here else folder) / name) for source, name in names]
    if not clips:
        expected = "clip of the official lists" if split else "npz file"
        raise BadInput(f"{folder} holds no {expected}; give a folder with npz files, or with adt, drivetrack and pstudio in it")
    return clips


def _npz(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.glob("*.npz") if not path.name.endswith(DEPTH) and not path.name.startswith("."))


def _source(path: Path) -> str:
    parent = path.absolute().parent.name
    return parent if parent in SOURCES else source_of(path.name) or OTHER
