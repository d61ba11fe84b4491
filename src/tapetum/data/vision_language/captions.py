"""Captions of photographs.

    COCO        DIR/annotations/captions_val2014.json      {images: [{id, file_name}], annotations: [{image_id, caption}]};
                DIR/val2014/COCO_val2014_000000000042.jpg  file_name, below a folder of the split's name; NoCaps too
    Karpathy    DIR/dataset_coco.json                      {images: [{filepath, filename, cocoid, split,
                                                           sentences: [{raw}]}]}; restval is a split of its own
                DIR/dataset_flickr30k.json                 the same of Flickr30k, whose images lie in DIR/flickr30k-images
    TextCaps    DIR/TextCaps_0.1_train.json                {data: [{image_id, caption_str}]}; val, test (without captions)
                DIR/train_images/ID.jpg                    of train and val; test_images of test
    COCO-35L    DIR/coco_mt_train.jsonl, coco_mt_dev.jsonl a line a translation: {image_id: "IMAGE_k", trg_lang,
                                                           caption_tokenized (English), translation_tokenized}
                DIR/dataset_coco.json                      where each image lies

Sources: arXiv 1504.00325 (COCO), 1412.2306 (Karpathy's split), 2003.12462 (TextCaps), 2205.12522 (COCO-35L); Young et al., TACL
2014 (Flickr30k). English captions of COCO-35L are the sources of the German ones, as PaliGemma's public code takes them.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, entries, inside, one_of, read_lines
from tapetum.data.questions import CaptionedImage, OfficialSplit, Question, check_unique, reader


def read_coco_captions(folder: Path, split: str) -> list[CaptionedImage]:
    """Read the captions of a split by its official name, such as train2014 or val2017; images without one are left out."""
    place = Path(folder) / inside(split, "the split")
    file = Path(folder) / "annotations" / f"captions_{split}.json"
    captions: dict[str | int, list[str]] = {}
    for entry in entries(file, "annotations"):
        captions.setdefault(entry.key("image_id"), []).append(entry.text("caption"))
    images = {entry.key("id"): entry for entry in entries(file, "images")}
    for key in captions:
        if key not in images:
            raise BadInput(f"a caption of {file} is of image {key}, which is not among its images; copy it again")
    return check_unique(_grouped(captions, {key: place / images[key].file_name("file_name") for key in captions}), file)


def _grouped(captions: dict, images: dict) -> Iterator[CaptionedImage]:
    return (CaptionedImage(key=key, image=images[key], captions=tuple(texts)) for key, texts in captions.items())


def read_karpathy(folder: Path, split: str, name: str = "coco") -> list[CaptionedImage]:
    """Read the split of Karpathy: train, restval, val, test, or train+restval, which models are trained on.

    `name` is coco or flickr30k.
    """
    folder, file = Path(folder), Path(folder) / f"dataset_{name}.json"
    parts = one_of(split, ("train", "restval", "val", "test", "train+restval")).split("+")

    def captioned(entry: JsonEntry) -> CaptionedImage:
        place = entry.file_name("filepath") if name == "coco" else f"{name}-images"
        image = folder / place / entry.file_name("filename")
        captions = tuple(sentence.text("raw") for sentence in entry.entries("sentences"))
        return CaptionedImage(key=entry.key("cocoid" if name == "coco" else "imgid"), image=image, captions=captions)

    return check_unique((captioned(entry) for entry in entries(file, "images") if entry.text("split") in parts), file)


def read_captions(folder: Path, split: str) -> list[CaptionedImage]:
    """Read captioned images of COCO or Flickr, whichever of the layouts above the folder has."""
    folder = Path(folder)
    for name in ("coco", "flickr30k"):
        if (folder / f"dataset_{name}.json").is_file():
            return read_karpathy(folder, split, name)
    if (folder / "annotations").is_dir():
        return read_coco_captions(folder, split)
    raise BadInput(
        f"{folder} has neither dataset_coco.json, dataset_flickr30k.json nor annotations/; give a folder of COCO or Flickr30k"
    )


@reader("train val test", "TextCaps_0.1_{split}.json", under="data")
def read_textcaps(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[CaptionedImage]:
    """Read TextCaps: train, val or test, whose captions are hidden."""
    images = at.folder / ("test_images" if at.split == "test" else "train_images")
    captions: dict[str, list[str]] = {}
    for entry in listed:
        of_image = captions.setdefault(entry.file_name("image_id"), [])
        if "caption_str" in entry:
            of_image.append(entry.text("caption_str"))
    return _grouped(captions, {name: images / f"{name}.jpg" for name in captions})


def _streamed(file: Path) -> Iterator[JsonEntry]:
    """Lines of a file of some gigabytes."""
    return (JsonEntry(row, f"line {number} of {file}") for number, row in enumerate(read_lines(file), 1))


@reader("train dev", "coco_mt_{split}.jsonl", read=_streamed)
def read_coco35l(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read COCO-35L: train or dev; a record for an image and a language, its kind, with all captions as answers."""
    place = at.folder / "dataset_coco.json"
    images = {
        entry.whole("cocoid"): at.folder / entry.file_name("filepath") / entry.file_name("filename")
        for entry in entries(place, "images")
    }
    captions: dict[tuple[str, int], list[str]] = {}
    for entry in listed:
        name, language = entry.text("image_id").partition("_")[0], entry.text("trg_lang")
        if not name.isdecimal() or int(name) not in images:
            raise BadInput(f"image_id of {entry.where} is {name!r}, which is no image of {place}; give the official files")
        captions.setdefault((language, int(name)), []).append(entry.text("translation_tokenized"))
        if language == "de":
            captions.setdefault(("en", int(name)), []).append(entry.text("caption_tokenized"))
    for (language, image), texts in captions.items():
        key, answers = f"{language}/{image}", tuple(texts)
        yield Question(key=key, images=(images[image],), question="", answers=answers, kind=language)
