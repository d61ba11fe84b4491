"""Data sets in their official layouts: their files, and the annotations of each. Any system may read them.

    imagenet    DIR/train/n01440764/*.JPEG and DIR/val/n01440764/*.JPEG: one folder a class (also any other such folders);
                or as ILSVRC 2012 is unpacked (`tapetum.data.layout_folders`): DIR/train/n01440764.tar, DIR/val/*.JPEG
    classes     DIR/CLASS/*.jpg: one folder a class and no parts; every fifth image of a class is held out
    audioset    DIR/balanced_train_segments.csv (or unbalanced_) and eval_segments.csv, class_labels_indices.csv, and
                recordings named by their video (--1yymn... .wav, or Y--1yymn....flac, or with _START_END) anywhere below DIR
    voc         DIR/JPEGImages, SegmentationClass, ImageSets/Segmentation/train.txt and val.txt (VOCdevkit/VOC2012)
    modelnet40  DIR/airplane/train/airplane_0001.off and DIR/airplane/test/...: one folder a class; or clouds of points,
                modelnet40_normal_resampled or modelnet40_ply_hdf5_2048 (`tapetum.data.point_clouds`)
    kinetics    DIR/train.csv and val.csv (label,youtube_id,time_start,time_end,split) and videos named ID_000010_000020.mp4
                anywhere below DIR
    parquet     train*.parquet and test*.parquet (or val) as Hugging Face writes them: image and audio are structs of bytes and
                path, label a number or a word, mask a struct; or one such file, of which every tenth example is held out
    shards      DIR/train/*.tar and DIR/val/*.tar (or test), each as `tapetum data shards` writes them: jpg, png, webp, wav,
                flac, cls, and classes.json beside them; or DIR/*.tar, of which every tenth example is held out

Nothing is decoded here; `tapetum.data.media` decodes files. For AudioSet and Kinetics, whose videos vanish from the web,
existing files are used, and the number of missing ones is reported. If a folder does not match its layout, the message says
which one it resembles and which command to use.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.data.layout_folders import (
    VOC_CLASSES,
    list_audioset,
    list_classes,
    list_imagenet,
    list_kinetics,
    list_modelnet40,
    list_voc,
)
from tapetum.data.layout_parquet import list_parquet, list_shards
from tapetum.data.listings import Asks, Listing, Split
from tapetum.data.point_clouds import is_point_cloud_folder
from tapetum.video.folders import IMAGES

__all__ = ["LAYOUTS", "VOC_CLASSES", "Asks", "Listing", "Split", "listing"]

LAYOUTS: Mapping[str, Callable[[Path, Split], Listing]] = {
    "imagenet": list_imagenet,
    "classes": list_classes,
    "audioset": list_audioset,
    "voc": list_voc,
    "modelnet40": list_modelnet40,
    "kinetics": list_kinetics,
    "parquet": list_parquet,
    "shards": list_shards,
}
"""By name."""


def listing(layout: str, place: Path, split: Split) -> Listing:
    """List one split of the data set at `place`.

    Raises BadInput for an unknown layout, or data that do not match it, and says what they look like instead.
    """
    if layout not in LAYOUTS:
        raise BadInput(f"there is no layout {layout!r}; it is one of {', '.join(LAYOUTS)}")
    if not place.exists():
        raise BadInput(f"there is no {place}; give the folder of the data, laid out as tapetum.data.layouts says")
    try:
        return LAYOUTS[layout](place, split)
    except BadInput as error:
        raise BadInput(f"{error}{hint(place, layout)}") from error


_SOUNDS = {".wav", ".flac", ".mp3", ".ogg", ".m4a"}
_MANY = 2000
"""Names of a folder that are looked at; more would only take longer."""


def hint(place: Path, layout: str) -> str:
    """Describe briefly what the data at `place` look like and what to do, if that is not `layout`; otherwise return nothing.

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
    """The layout whose marks a folder has."""
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
    meshes = any(path.suffix == ".off" for folder in _folders(place) for path in _inside(folder / "train"))
    if meshes or is_point_cloud_folder(place):
        return "modelnet40"
    if sum("image" in _kinds(_inside(folder)) for folder in _folders(place)) > 1:
        return "classes"
    return None


def _kinds(files: Iterable[Path]) -> list[str]:
    """Find what is among files: images, recordings."""
    endings = {path.suffix.lower() for path in files if not path.name.startswith(".")}
    return [kind for kind, known in (("image", IMAGES | {".gif"}), ("recording", _SOUNDS)) if endings & known]


def _inside(folder: Path) -> Iterator[Path]:
    try:
        yield from islice(folder.iterdir(), _MANY)
    except OSError:
        return


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in _inside(place) if path.is_dir() and not path.name.startswith("."))[:50]
