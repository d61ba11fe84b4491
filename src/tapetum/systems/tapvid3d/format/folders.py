"""Folders of TAPVid-3D clips: the official layout, one source alone, or clips of any kind.

    DIR/adt/*.npz, DIR/drivetrack/*.npz, DIR/pstudio/*.npz      official: some or all of the three
    adt/*.npz                                                   one source, in the folder that is named after it
    DIR/*.npz                                                   anything: official names go to their source, others to "clips"
    DIR/tapvid3d/*.npz                                          what `tapetum scenes make` writes

Depth maps that lie beside a clip (`*.depth.npz`) are no clips.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.format.data import DEPTH
from tapetum.systems.tapvid3d.splits import SOURCES, Source, Split, files, source_of

OTHER = "clips"
"""What stands for the source where a clip is of none of the three."""
MADE = "tapvid3d"
"""Folder of clips in what `tapetum scenes make` writes."""


@dataclass(frozen=True)
class ClipPath:
    """Where a clip is, or ought to be."""

    source: str
    """adt, drivetrack, pstudio, or `OTHER`."""
    path: Path
    """The npz file."""

    def within(self, folder: Path) -> Path:
        """Return the file of the same name in another folder of either layout; the official one where neither is there."""
        official, flat = folder / self.source / self.path.name, folder / self.path.name
        return flat if self.source == OTHER or (flat.is_file() and not official.is_file()) else official


def find_clips(folder: str | os.PathLike[str], split: Split | None = None) -> list[ClipPath]:
    """Find the clips of a folder, by source and name.

    With a split, the clips that its lists name, there or not, of every source of which the folder has anything.

    Raises:
        BadInput: there is no such folder, or no clip in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}; give one with npz files, or with adt, drivetrack and pstudio in it")
    if not any(_npz(folder)) and any(_npz(folder / MADE)):
        folder /= MADE
    here: list[Source] = [source for source in SOURCES if (folder / source).is_dir()]
    if here:
        found = [ClipPath(source, path) for source in here for path in _npz(folder / source)]
    else:
        found = [ClipPath(_source(path), path) for path in _npz(folder)]
        found.sort(key=lambda place: ([*SOURCES, OTHER].index(place.source), place.path.name))
    if split is not None:
        present = here or [source for source in SOURCES if any(place.source == source for place in found)]
        found = [
            ClipPath(source, (folder / source if here else folder) / name)
            for source in present
            for name in files(split, source)
        ]
    if not found:
        wanted = "clip of the official lists" if split else "npz file"
        raise BadInput(f"{folder} holds no {wanted}; give a folder with npz files, or with adt, drivetrack and pstudio in it")
    return found


def _npz(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.glob("*.npz") if not path.name.endswith(DEPTH) and not path.name.startswith("."))


def _source(path: Path) -> str:
    parent = path.absolute().parent.name
    return parent if parent in SOURCES else source_of(path.name) or OTHER
