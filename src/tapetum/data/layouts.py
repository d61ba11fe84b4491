"""Data sets in their official layouts: which files there are, and what is known of each. Any system may read them.

    imagenet    DIR/train/n01440764/*.JPEG and DIR/val/n01440764/*.JPEG: one folder a class (also any other such folders)
    classes     DIR/CLASS/*.jpg: one folder a class and no parts; every fifth image of a class is held out
    audioset    DIR/balanced_train_segments.csv (or unbalanced_) and eval_segments.csv, class_labels_indices.csv, and
                recordings named by their video (--1yymn... .wav, or Y--1yymn....flac, or with _START_END) anywhere below DIR
    voc         DIR/JPEGImages, SegmentationClass, ImageSets/Segmentation/train.txt and val.txt (VOCdevkit/VOC2012)
    modelnet40  DIR/airplane/train/airplane_0001.off and DIR/airplane/test/...: one folder a class
    kinetics    DIR/train.csv and val.csv (label,youtube_id,time_start,time_end,split) and videos named ID_000010_000020.mp4
                anywhere below DIR
    parquet     train*.parquet and test*.parquet (or val) as Hugging Face writes them: image and audio are structs of bytes and
                path, label a number or a word, mask a struct; or one such file, of which every tenth example is held out
    shards      DIR/train/*.tar and DIR/val/*.tar (or test), each as `tapetum data shards` writes them: jpg, png, webp, wav,
                flac, cls, and classes.json beside them; or DIR/*.tar, of which every tenth example is held out

Nothing is decoded here; `tapetum.data.media` makes values of files. Of AudioSet and Kinetics, whose videos vanish from the web,
what is there is taken, and it is said how much is not.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.data.hints import hint
from tapetum.data.layout_folders import (
    VOC_CLASSES,
    list_audioset,
    list_classes,
    list_imagenet,
    list_kinetics,
    list_modelnet40,
    list_voc,
)
from tapetum.data.layout_parquet import list_parquet
from tapetum.data.layout_shards import list_shards
from tapetum.data.listings import Asks, Listing, Split

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

    Raises BadInput for an unknown layout, or what is not in it, and says what the data look like instead.
    """
    if layout not in LAYOUTS:
        raise BadInput(f"there is no layout {layout!r}; it is one of {', '.join(LAYOUTS)}")
    if not place.exists():
        raise BadInput(f"there is no {place}; give the folder of the data, laid out as tapetum.data.layouts says")
    try:
        return LAYOUTS[layout](place, split)
    except BadInput as error:
        raise BadInput(f"{error}{hint(place, layout)}") from error
