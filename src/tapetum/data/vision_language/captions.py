"""Captions of COCO (Chen et al., arXiv 1504.00325) and of sets in its form, such as NoCaps.

DIR/annotations/captions_val2014.json      {images: [{id, file_name}], annotations: [{image_id, caption}]}
DIR/val2014/COCO_val2014_000000000042.jpg  file_name, below a folder of the split's name

DIR/dataset_coco.json                      the split of Karpathy and Fei-Fei (arXiv 1412.2306): {images: [{filepath,
                                           filename, cocoid, split, sentences: [{raw}]}]}; restval is a split of its own
"""

from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, entries, inside, one_of
from tapetum.data.questions import CaptionedImage, check_unique


def read_coco_captions(folder: Path, split: str) -> list[CaptionedImage]:
    """Read the captions of a split by its official name, such as train2014 or val2017; images without one are left out."""
    folder, split = Path(folder), inside(split, "the split")
    file = folder / "annotations" / f"captions_{split}.json"
    captions: dict[str | int, list[str]] = {}
    for entry in entries(file, "annotations"):
        captions.setdefault(entry.key("image_id"), []).append(entry.text("caption"))
    images = {entry.key("id"): entry for entry in entries(file, "images")}
    for key in captions:
        if key not in images:
            raise BadInput(f"a caption of {file} is of image {key}, which is not among its images; copy it anew")
    return check_unique(
        (
            CaptionedImage(key=key, image=folder / split / images[key].file_name("file_name"), captions=tuple(grouped))
            for key, grouped in captions.items()
        ),
        file,
    )


def read_karpathy(folder: Path, split: str) -> list[CaptionedImage]:
    """Read the split of Karpathy: train, restval, val, test, or train+restval, which models are trained on."""
    folder, file = Path(folder), Path(folder) / "dataset_coco.json"
    parts = one_of(split, ("train", "restval", "val", "test", "train+restval")).split("+")

    def captioned(entry: JsonEntry) -> CaptionedImage:
        image = folder / entry.file_name("filepath") / entry.file_name("filename")
        captions = tuple(sentence.text("raw") for sentence in entry.entries("sentences"))
        return CaptionedImage(key=entry.key("cocoid"), image=image, captions=captions)

    return check_unique((captioned(entry) for entry in entries(file, "images") if entry.text("split") in parts), file)
