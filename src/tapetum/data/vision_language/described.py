"""Captions of screens, figures, photographs with text, and long descriptions: Screen2Words (Wang et al., arXiv 2108.03353),
SciCap (Hsu et al., arXiv 2110.11624), TextCaps (Sidorov et al., arXiv 2003.12462), DOCCI (Onoe et al., arXiv 2404.19753).

    Screen2Words   DIR/split/train_screens.txt           a number of a screen each line; dev, test
                   DIR/screen_summaries.csv              screenId, summary: five of each screen
                   DIR/combined/12.jpg                   images of Rico (unique_uis)
    SciCap         DIR/List-of-Files-for-Each-Experiments/First-Sentence/No-Subfig/train/file_idx.json   ["ID.png"]; val, test
                   DIR/SciCap-Caption-All/train/ID.json  {1-lowercase-and-token-and-remove-figure-index: {caption}}
                   DIR/SciCap-No-Subfig-Img/train/ID.png
    TextCaps       DIR/TextCaps_0.1_train.json           {data: [{image_id, image_name, caption_str}]}; val, test (without)
                   DIR/train_images/ID.jpg               of train and val; test_images of test
    DOCCI          DIR/docci_descriptions.jsonlines      a line each: {example_id, split, image_file, description}
                   DIR/images/train_00001.jpg
"""

from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.data.entries import JsonEntry, entries, inside, line_entries, one_of, read_json
from tapetum.data.listings import records_of, text_of
from tapetum.data.questions import CaptionedImage, check_unique

_FIRST_SENTENCE = "List-of-Files-for-Each-Experiments/First-Sentence/No-Subfig"
_NORMALISED = "1-lowercase-and-token-and-remove-figure-index"


def read_screen2words(folder: Path, split: str) -> list[CaptionedImage]:
    """Read Screen2Words: train, dev or test."""
    folder, file = Path(folder), Path(folder) / "screen_summaries.csv"
    screens = folder / "split" / f"{one_of(split, ('train', 'dev', 'test'))}_screens.txt"
    summaries: dict[str, list[str]] = {}
    for number, row in enumerate(records_of(file), 2):
        entry = JsonEntry(row, f"line {number} of {file}")
        summaries.setdefault(entry.text("screenId"), []).append(entry.text("summary"))

    def screen(name: str) -> CaptionedImage:
        if not name.isdecimal() or name not in summaries:
            raise BadInput(f"{screens} has the screen {name[:40]!r}, of which {file} has no summary; give the official files")
        image = folder / "combined" / f"{name}.jpg"
        return CaptionedImage(key=int(name), image=image, captions=tuple(summaries[name]))

    return check_unique((screen(line.strip()) for line in text_of(screens).splitlines() if line.strip()), screens)


def read_scicap(folder: Path, split: str) -> list[CaptionedImage]:
    """Read the figures without parts of the experiment First-Sentence of SciCap: train, val or test.

    A caption is in lower case, in tokens, and without the number of its figure, as the reference learns it.
    """
    folder, part = Path(folder), one_of(split, ("train", "val", "test"))
    file = folder / _FIRST_SENTENCE / part / "file_idx.json"
    names = read_json(file)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadInput(f"{file} is no list of names of files; give the official file")

    def figure(name: str) -> CaptionedImage:
        place = folder / "SciCap-Caption-All" / part / f"{Path(inside(name, f'a name in {file}')).stem}.json"
        fields = JsonEntry(read_json(place), str(place)).fields.get(_NORMALISED)
        caption = JsonEntry(fields, f"{_NORMALISED} of {place}").text("caption")
        image = folder / "SciCap-No-Subfig-Img" / part / name
        return CaptionedImage(key=Path(name).stem, image=image, captions=(caption,))

    return check_unique(map(figure, names), file)


def read_textcaps(folder: Path, split: str) -> list[CaptionedImage]:
    """Read TextCaps: train, val or test, whose captions are hidden."""
    folder, file = Path(folder), Path(folder) / f"TextCaps_0.1_{one_of(split, ('train', 'val', 'test'))}.json"
    images = folder / ("test_images" if split == "test" else "train_images")
    captions: dict[str, list[str]] = {}
    for entry in entries(file, "data"):
        of_image = captions.setdefault(entry.file_name("image_id"), [])
        if "caption_str" in entry:
            of_image.append(entry.text("caption_str"))
    return check_unique(
        (CaptionedImage(key=name, image=images / f"{name}.jpg", captions=tuple(texts)) for name, texts in captions.items()),
        file,
    )


def read_docci(folder: Path, split: str) -> list[CaptionedImage]:
    """Read DOCCI: train, test, qual_dev or qual_test; a long description of each image."""
    folder, file = Path(folder), Path(folder) / "docci_descriptions.jsonlines"
    one_of(split, ("train", "test", "qual_dev", "qual_test"))

    def described(entry: JsonEntry) -> CaptionedImage:
        image = folder / "images" / entry.file_name("image_file")
        return CaptionedImage(key=entry.text("example_id"), image=image, captions=(entry.text("description"),))

    return check_unique((described(entry) for entry in line_entries(file) if entry.text("split") == split), file)
