"""Captions of COCO (Chen et al., arXiv 1504.00325) and of sets in its form, such as NoCaps.

DIR/annotations/captions_val2014.json      {images: [{id, file_name}], annotations: [{image_id, caption}]}
DIR/val2014/COCO_val2014_000000000042.jpg  file_name, below a folder of the split's name

DIR/dataset_coco.json                      the split of Karpathy and Fei-Fei (arXiv 1412.2306): {images: [{filepath,
                                           filename, cocoid, split, sentences: [{raw}]}]}; restval is a split of its own

DIR/dataset_flickr30k.json                 the same split of Flickr30k (Young et al., TACL 2014), whose images lie in
                                           DIR/flickr30k-images; and dataset_flickr8k.json with flickr8k-images
DIR/results_20130124.token                 Flickr30k itself, without parts: FILE#NUMBER<tab>caption
"""

from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.core.reading import read_text
from tapetum.data.entries import JsonEntry, entries, inside, one_of
from tapetum.data.questions import CaptionedImage, check_unique

_TOKENS = "results_20130124.token"


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


def read_karpathy(folder: Path, split: str, name: str = "coco") -> list[CaptionedImage]:
    """Read the split of Karpathy: train, restval, val, test, or train+restval, which models are trained on.

    `name` is coco, flickr30k or flickr8k.
    """
    folder, file = Path(folder), Path(folder) / f"dataset_{name}.json"
    parts = one_of(split, ("train", "restval", "val", "test", "train+restval")).split("+")

    def captioned(entry: JsonEntry) -> CaptionedImage:
        place = entry.file_name("filepath") if name == "coco" else f"{name}-images"
        image = folder / place / entry.file_name("filename")
        captions = tuple(sentence.text("raw") for sentence in entry.entries("sentences"))
        return CaptionedImage(key=entry.key("cocoid" if name == "coco" else "imgid"), image=image, captions=captions)

    return check_unique((captioned(entry) for entry in entries(file, "images") if entry.text("split") in parts), file)


def read_flickr_tokens(folder: Path) -> list[CaptionedImage]:
    """Read all of Flickr30k by its own file of captions. Raises BadInput for a line that has not its form."""
    file = Path(folder) / _TOKENS
    captions: dict[str, list[str]] = {}
    for number, line in enumerate(read_text(file).splitlines(), 1):
        place, tab, caption = line.partition("\t")
        name, sign, _ = place.rpartition("#")
        if not (tab and sign and caption.strip()) or Path(name).name != name:
            raise BadInput(f"line {number} of {file} is {line[:60]!r}; it should be FILE#NUMBER, a tab and a caption")
        captions.setdefault(name, []).append(caption.strip())
    folder = Path(folder) / "flickr30k-images"
    return [CaptionedImage(key=name, image=folder / name, captions=tuple(texts)) for name, texts in captions.items()]


def read_captions(folder: Path, split: str) -> list[CaptionedImage]:
    """Read captioned images of COCO or Flickr, whichever of the layouts above the folder has.

    Raises BadInput where it has none of them.
    """
    folder = Path(folder)
    for name in ("coco", "flickr30k", "flickr8k"):
        if (folder / f"dataset_{name}.json").is_file():
            return read_karpathy(folder, split, name)
    if (folder / "annotations").is_dir():
        return read_coco_captions(folder, split)
    if (folder / _TOKENS).is_file():
        return read_flickr_tokens(folder)
    raise BadInput(
        f"{folder} has neither dataset_coco.json, dataset_flickr30k.json, annotations/ nor {_TOKENS}; give a folder of COCO or"
        " Flickr30k"
    )
