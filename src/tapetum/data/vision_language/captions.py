"""Captions of photographs, screens and figures.

    COCO           DIR/annotations/captions_val2014.json      {images: [{id, file_name}], annotations: [{image_id, caption}]};
                   DIR/val2014/COCO_val2014_000000000042.jpg  file_name, below a folder of the split's name; NoCaps too
    Karpathy       DIR/dataset_coco.json                      {images: [{filepath, filename, cocoid, split,
                                                              sentences: [{raw}]}]}; restval is a split of its own
                   DIR/dataset_flickr30k.json                 the same of Flickr30k, whose images lie in DIR/flickr30k-images;
                                                              and dataset_flickr8k.json with flickr8k-images
    Flickr30k      DIR/results_20130124.token                 without splits: FILE#NUMBER<tab>caption
    Screen2Words   DIR/split/train_screens.txt                a number of a screen each line; dev, test
                   DIR/screen_summaries.csv                   screenId, summary: five of each screen
                   DIR/combined/12.jpg                        images of Rico (unique_uis)
    SciCap         DIR/List-of-Files-for-Each-Experiments/First-Sentence/No-Subfig/train/file_idx.json   ["ID.png"]; val, test
                   DIR/SciCap-Caption-All/train/ID.json       {1-lowercase-and-token-and-remove-figure-index: {caption}}
                   DIR/SciCap-No-Subfig-Img/train/ID.png
    TextCaps       DIR/TextCaps_0.1_train.json                {data: [{image_id, image_name, caption_str}]}; val, test (without)
                   DIR/train_images/ID.jpg                    of train and val; test_images of test
    DOCCI          DIR/docci_descriptions.jsonlines           a line each: {example_id, split, image_file, description}
                   DIR/images/train_00001.jpg

Sources: arXiv 1504.00325 (COCO), 1412.2306 (Karpathy's split), 2108.03353 (Screen2Words), 2110.11624 (SciCap), 2003.12462
(TextCaps), 2404.19753 (DOCCI); Young et al., TACL 2014 (Flickr30k).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.core.reading import read_text
from tapetum.data.entries import JsonEntry, csv_entries, entries, inside, line_entries, one_of, read_json
from tapetum.data.listings import text_of
from tapetum.data.questions import CaptionedImage, OfficialSplit, check_unique, reader

_TOKENS = "results_20130124.token"
_FIRST_SENTENCE = "List-of-Files-for-Each-Experiments/First-Sentence/No-Subfig"
_NORMALISED = "1-lowercase-and-token-and-remove-figure-index"


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


def _read_flickr_tokens(folder: Path) -> list[CaptionedImage]:
    file = folder / _TOKENS
    captions: dict[str, list[str]] = {}
    for number, line in enumerate(read_text(file).splitlines(), 1):
        place, tab, caption = line.partition("\t")
        name, sign, _ = place.rpartition("#")
        if not (tab and sign and caption.strip()) or Path(name).name != name:
            raise BadInput(f"line {number} of {file} is {line[:60]!r}; it should be FILE#NUMBER, a tab and a caption")
        captions.setdefault(name, []).append(caption.strip())
    return list(_grouped(captions, {name: folder / "flickr30k-images" / name for name in captions}))


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
        return _read_flickr_tokens(folder)
    raise BadInput(
        f"{folder} has neither dataset_coco.json, dataset_flickr30k.json, annotations/ nor {_TOKENS}; give a folder of COCO or"
        " Flickr30k"
    )


def _screens(file: Path) -> list[JsonEntry]:
    names = [line.strip() for line in text_of(file).splitlines()]
    return [JsonEntry({}, str(file), name) for name in names if name]


@reader("train dev test", "split/{split}_screens.txt", read=_screens)
def read_screen2words(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[CaptionedImage]:
    """Read Screen2Words: train, dev or test."""
    file = at.folder / "screen_summaries.csv"
    summaries: dict[str, list[str]] = {}
    for entry in csv_entries(file):
        summaries.setdefault(entry.text("screenId"), []).append(entry.text("summary"))
    for name in (str(entry.name) for entry in listed):
        if not name.isdecimal() or name not in summaries:
            raise BadInput(f"{at.file} has the screen {name[:40]!r}, of which {file} has no summary; give the official files")
        image = at.folder / "combined" / f"{name}.jpg"
        yield CaptionedImage(key=int(name), image=image, captions=tuple(summaries[name]))


def _figures(file: Path) -> list[JsonEntry]:
    names = read_json(file)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadInput(f"{file} is no list of names of files; give the official file")
    return [JsonEntry({}, str(file), inside(name, f"a name in {file}")) for name in names]


@reader("train val test", f"{_FIRST_SENTENCE}/{{split}}/file_idx.json", read=_figures)
def read_scicap(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[CaptionedImage]:
    """Read the figures without parts of the experiment First-Sentence of SciCap: train, val or test.

    A caption is in lower case, in tokens, and without the number of its figure, as the reference learns it.
    """
    for name in (Path(str(entry.name)) for entry in listed):
        place = at.folder / "SciCap-Caption-All" / at.split / f"{name.stem}.json"
        caption = JsonEntry(read_json(place), str(place)).entry(_NORMALISED).text("caption")
        image = at.folder / "SciCap-No-Subfig-Img" / at.split / name
        yield CaptionedImage(key=name.stem, image=image, captions=(caption,))


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


@reader("train test qual_dev qual_test", "docci_descriptions.jsonlines", read=line_entries)
def read_docci(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[CaptionedImage]:
    """Read DOCCI: train, test, qual_dev or qual_test; a long description of each image."""
    for entry in listed:
        if entry.text("split") == at.split:
            image = at.folder / "images" / entry.file_name("image_file")
            yield CaptionedImage(key=entry.text("example_id"), image=image, captions=(entry.text("description"),))
