"""Captions of photographs, screens and figures.

    COCO           DIR/annotations/captions_val2014.json      {images: [{id, file_name}], annotations: [{image_id, caption}]};
                   DIR/val2014/COCO_val2014_000000000042.jpg  file_name, below a folder of the split's name; NoCaps too
    Karpathy       DIR/dataset_coco.json                      {images: [{filepath, filename, cocoid, split,
                                                              sentences: [{raw}]}]}; restval is a split of its own
                   DIR/dataset_flickr30k.json                 the same of Flickr30k, whose images lie in DIR/flickr30k-images
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

Captions and questions in many languages.

    COCO-35L   DIR/coco_mt_train.jsonl, coco_mt_dev.jsonl   a line a translation: {image_id: "IMAGE_k", trg_lang,
                                                            caption_tokenized (English), translation_tokenized}
               DIR/dataset_coco.json                        where each image lies, as Karpathy's split has it
    XM3600     DIR/captions.jsonl                           a line an image: {image/key, LANGUAGE: {caption: [...]}}
               DIR/images/KEY.jpg
    xGQA       DIR/testdev_balanced_questions_bn.json       {ID: {question, imageId, answer}}; or in annotations/zero_shot
               DIR/images/2354786.jpg                       those of GQA
    MaRVL      DIR/id/annotations/marvl-id.jsonl            a line each: {id, concept, language, caption, left_img, right_img,
               DIR/id/images/CONCEPT/FILE                   label}

Sources: COCO-35L and Crossmodal-3600 (arXiv 2205.12522), xGQA (2109.06082), MaRVL (2109.13238).

Each record has the language as its kind, and "LANGUAGE/ID" as its key. English captions of COCO-35L are the sources of the
German ones, as the reference takes them. All answers of xGQA are English.

Questions about videos: MSRVTT-QA (Xu et al., ACM Multimedia 2017), ActivityNet-QA (Yu et al., arXiv 1906.02467); and, as
questions without words, captions of MSR-VTT, VATEX and ActivityNet, whose folders `tapetum.data.video_language` draws.

    MSRVTT-QA        DIR/train_qa.json                [{id, video_id, question, answer, category_id}]; val, test
                     DIR/TrainValVideo/video0.mp4     of train and val, TestVideo of test; or all of them in DIR/videos
    ActivityNet-QA   DIR/train_q.json                 [{question_id, video_name, question}]; val, test
                     DIR/train_a.json                 [{question_id, answer, type}]
                     DIR/videos/v_NAME.mp4            or NAME.mp4

Videos vanish from the web: `missing` asks which are there.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.data.entries import (
    JsonEntry,
    csv_entries,
    entries,
    first_of,
    inside,
    line_entries,
    named_entries,
    one_of,
    read_json,
    read_lines,
    text_of,
)
from tapetum.data.questions import CaptionedImage, OfficialSplit, Question, ask, check_unique, reader
from tapetum.data.video_language import CaptionedVideo, read_activitynet, read_msrvtt, read_vatex, video_file, videos_of

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


XGQA = "bn", "de", "id", "ko", "pt", "ru", "zh"
"""Languages of xGQA that are translated."""
MARVL = "id", "sw", "ta", "tr", "zh"
"""Languages of MaRVL."""
_SOURCE_OF_ENGLISH = "de"


def _streamed(file: Path) -> Iterator[JsonEntry]:
    """Lines of a file of some gigabytes."""
    return (JsonEntry(row, f"line {number} of {file}") for number, row in enumerate(read_lines(file), 1))


@reader("train dev", "coco_mt_{split}.jsonl", read=_streamed)
def read_coco35l(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read COCO-35L: train or dev; one record for an image and a language, with all its captions as answers."""
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
        if language == _SOURCE_OF_ENGLISH:
            captions.setdefault(("en", int(name)), []).append(entry.text("caption_tokenized"))
    for (language, image), texts in captions.items():
        yield _of_language(language, image, images[image], answers=tuple(texts))


@reader("test", "captions.jsonl", read=line_entries)
def read_xm3600(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read Crossmodal-3600, which has one split; one record for an image and a language."""
    for entry in listed:
        key = entry.file_name("image/key")
        languages = [name for name, value in entry.fields.items() if isinstance(value, dict)]
        if not languages:
            raise BadInput(f"{entry.where} has no captions of any language; give the official file")
        for language in languages:
            captions = entry.entry(language).texts("caption")
            yield _of_language(language, key, at.folder / "images" / f"{key}.jpg", answers=captions)


def read_xgqa(folder: Path, split: str = "test") -> list[Question]:
    """Read the questions of xGQA without any training (zero_shot), which are one split, in its seven other languages."""
    one_of(split, ("test",))

    def questions(language: str) -> Iterator[Question]:
        name = f"testdev_balanced_questions_{language}.json"
        for entry in named_entries(first_of(Path(folder), (name, f"annotations/zero_shot/{name}"))):
            image = Path(folder) / "images" / f"{entry.file_name('imageId')}.jpg"
            answers = (entry.text("answer"),)
            yield _of_language(language, entry.name, image, question=entry.text("question"), answers=answers)

    return check_unique((question for language in XGQA for question in questions(language)), folder)


def read_marvl(folder: Path, split: str = "test") -> list[Question]:
    """Read MaRVL, which has one split; two images, left and right, and a sentence that is True or False of them."""
    one_of(split, ("test",))

    def questions(language: str) -> Iterator[Question]:
        places = (f"{language}/annotations/marvl-{language}.jsonl", f"zero_shot/annotations/marvl-{language}.jsonl")
        for entry in line_entries(first_of(Path(folder), places)):
            place = Path(folder) / language / "images" / entry.file_name("concept")
            images = place / entry.file_name("left_img"), place / entry.file_name("right_img")
            answers = ("True" if entry.truth("label") else "False",)
            yield _of_language(language, entry.key("id"), *images, question=entry.text("caption"), answers=answers)

    return check_unique((question for language in MARVL for question in questions(language)), folder)


def _of_language(language: str, key: str | int, *images: Path, question: str = "", answers: tuple[str, ...]) -> Question:
    return Question(key=f"{language}/{key}", images=images, question=question, answers=answers, kind=language)


ACTIVITYNET_KINDS = "motion", "spatial", "temporal", "yes/no", "colour", "object", "location", "number", "other"
"""Types of ActivityNet-QA, by number."""


@reader("train val test", "{split}_qa.json")
def read_msrvtt_qa(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read MSRVTT-QA: train, val or test; the kind is the first word of the question (what, who, how, when, where)."""
    place = at.folder / ("TestVideo" if at.split == "test" else "TrainValVideo")
    place = at.folder / "videos" if (at.folder / "videos").is_dir() else place
    for entry in listed:
        kind, answers = entry.text("question").split(" ")[0].lower(), (entry.text("answer"),)
        yield ask(entry, key="id", video=place / f"video{entry.whole('video_id')}.mp4", answers=answers, kind=kind)


@reader("train val test", "{split}_q.json")
def read_activitynet_qa(listed: Iterable[JsonEntry], at: OfficialSplit) -> Iterator[Question]:
    """Read ActivityNet-QA: train, val or test; the kind is the name of the type of question or answer."""
    place, name_of_answers = videos_of(at.folder), f"{at.split}_a.json"
    answered = {entry.key("question_id"): entry for entry in entries(at.folder / name_of_answers)}
    for entry in listed:
        key, name = entry.key("question_id"), entry.file_name("video_name")
        if (answer := answered.get(key)) is None:
            raise BadInput(f"question {key} of {at.file} has no answer in {name_of_answers}; give the files of one split")
        kind = answer.whole("type")
        if not 0 <= kind < len(ACTIVITYNET_KINDS):
            raise BadInput(f"type of {answer.where} is {kind}; wanted 0 to {len(ACTIVITYNET_KINDS) - 1}")
        plain = video_file(place, name)
        video = plain if plain.is_file() else video_file(place, f"v_{name}")
        yield ask(entry, video=video, answers=(answer.text("answer"),), kind=ACTIVITYNET_KINDS[kind])


def read_msrvtt_captions(folder: Path, split: str) -> list[Question]:
    """Read the captions of MSR-VTT: train, val or test, about twenty for each video."""
    return _captions(read_msrvtt(folder, "validate" if one_of(split, ("train", "val", "test")) == "val" else split))


def read_vatex_captions(folder: Path, split: str) -> list[Question]:
    """Read the English captions of VATEX: train, val or test, ten for each video."""
    names = {"train": "training", "val": "validation", "test": "test"}
    return _captions(read_vatex(folder, names[one_of(split, names)]))


def read_activitynet_captions(folder: Path, split: str) -> list[Question]:
    """Read ActivityNet Captions: train, val_1 or val_2; a part of a video with its sentence each."""
    return _captions(read_activitynet(folder, split, whole=False))


def _captions(videos: Sequence[CaptionedVideo]) -> list[Question]:
    return [
        Question(key=v.key, video=v.video, start_s=v.start_s, stop_s=v.stop_s, question="", answers=v.captions) for v in videos
    ]


def missing(questions: Sequence[Question]) -> list[Question]:
    """List the questions of which a file is not there; each file is looked for once."""
    there: dict[Path, bool] = {}

    def absent(path: Path) -> bool:
        if path not in there:
            there[path] = path.is_file()
        return not there[path]

    return [q for q in questions if any(map(absent, (*q.images, *([q.video] if q.video else []))))]
