"""What a folder that does not fit its layout looks like, and the command that goes on from there."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from tapetum.video.folders import IMAGES

_SOUNDS = {".wav", ".flac", ".mp3", ".ogg", ".m4a"}
_MANY = 2000
"""Names of a folder that are looked at; more would only take longer."""


def hint(place: Path, layout: str) -> str:
    """Say in a few words what the data at `place` look like and what to do, where that is not `layout`; else say nothing.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (Path(folder) / "JPEGImages").mkdir()
    ...     hint(Path(folder), "parquet")
    '; it looks like the layout voc: give --layout voc'
    """
    if place.is_file():
        kinds = _kinds([place])
        return f"; it is one {next(iter(kinds))}: give a folder of them" if kinds else ""
    looks = _layout(place)
    if looks is not None:
        return "" if looks == layout else f"; it looks like the layout {looks}: give --layout {looks}"
    shards = f"tapetum data shards {place} --out {place.resolve().name}-shards --shuffle 1"
    give = f"give --data {place.resolve().name}-shards --layout shards"
    if kinds := _kinds(_inside(place)):
        return f"; it holds {' and '.join(kinds)}s without classes: run {shards}, then {give} --steps 0"
    below = [kinds for folder in _folders(place) if (kinds := _kinds(_inside(folder)))]
    if below:
        return f"; it holds a folder of {' and '.join(below[0])}s for each class: run {shards}, then {give}"
    return ""


def _layout(place: Path) -> str | None:
    """The layout that a folder has the marks of."""
    names = {path.name for path in _inside(place)}
    folders = {folder.name for folder in _folders(place)}
    if "JPEGImages" in folders:
        return "voc"
    if any(name.endswith("_segments.csv") for name in names):
        return "audioset"
    if "train.csv" in names:
        return "kinetics"
    if any(name.endswith(".parquet") for name in names):
        return "parquet"
    train = [*_inside(place / "train")] if "train" in folders else []
    if any(path.suffix == ".tar" for path in (*train, *_inside(place))):
        return "shards"
    if "train" in folders and any("image" in _kinds(_inside(folder)) for folder in _folders(place / "train")):
        return "imagenet"
    if any(path.suffix == ".off" for folder in _folders(place) for path in _inside(folder / "train")):
        return "modelnet40"
    if sum("image" in _kinds(_inside(folder)) for folder in _folders(place)) > 1:
        return "classes"
    return None


def _kinds(files: Iterable[Path]) -> list[str]:
    """What is among files: images, recordings."""
    endings = {path.suffix.lower() for path in files if not path.name.startswith(".")}
    return [kind for kind, known in (("image", IMAGES | {".gif"}), ("recording", _SOUNDS)) if endings & known]


def _inside(folder: Path) -> Iterator[Path]:
    try:
        yield from islice(folder.iterdir(), _MANY)
    except OSError:
        return


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in _inside(place) if path.is_dir() and not path.name.startswith("."))[:50]
