"""Tiny sets of questions, captions and places in their official form, with real images, for tasks of PaliGemma."""

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tapetum.data.vision_language.captions import MARVL, XGQA
from tapetum.systems.paligemma.transfer.data import TransferExample, read_examples
from tapetum.systems.paligemma.transfer.tasks import TASKS

HEIGHT, WIDTH = 31, 33
"""Whole pixels are whole numbers of the 1,023 steps along an edge."""


def write(folder: Path, files: Mapping[str, Any]) -> Path:
    """Write texts as they are, all else as JSON."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _vqa(before: str, part: str, kinds: tuple[str, str], field: str) -> dict[str, Any]:
    asked = [{"image_id": k, "question": f"What is {k}?", "question_id": 10 + k} for k in (1, 2)]
    told = [
        {"question_id": 10 + k, "question_type": "what", "answer_type": "other", "answers": [{"answer": said}] * 10}
        | {field: kind}
        for k, said, kind in ((1, "red", kinds[0]), (2, "yes", kinds[1]))
    ]
    return {
        f"{before}OpenEnded_mscoco_{part}_questions.json": {"questions": asked},
        f"{before}mscoco_{part}_annotations.json": {"annotations": told},
    }


def _aokvqa() -> dict[str, Any]:
    rows = [
        {
            "image_id": k, "question_id": f"q{k}", "question": "What is it?", "choices": ["cat", "dog", "cup"],
            "correct_choice_idx": k, "direct_answers": ["dog"] * 10,
        }
        for k in (1, 2)
    ]  # fmt: skip
    return {"aokvqa_v1p0_val.json": rows, "aokvqa_v1p0_train.json": rows}


def _science() -> dict[str, Any]:
    problem = {
        "question": "Which?",
        "choices": ["a", "b", "c"],
        "answer": 1,
        "hint": "Look.",
        "image": "image.png",
        "subject": "x",
    }
    splits = {"train": ["1"], "val": [], "test": ["2", "3"]}
    return {"problems.json": {"1": problem, "2": problem, "3": problem | {"answer": 0}}, "pid_splits.json": splits}


def _rsvqa(before: str, split: str) -> dict[str, Any]:
    kinds = {1: ("presence", "Yes"), 2: ("comp", "no"), 3: ("count", "12")}
    asked = [
        {"id": k, "img_id": k, "type": kind, "question": "Is it?", "answers_ids": [k], "active": True}
        for k, (kind, _) in kinds.items()
    ]
    told = [{"id": k, "question_id": k, "answer": said, "active": True} for k, (_, said) in kinds.items()]
    return {
        f"{before}_split_{split}_questions.json": {"questions": asked},
        f"{before}_split_{split}_answers.json": {"answers": told},
    }


def _chart() -> dict[str, Any]:
    row = {"imgname": "2.png", "query": "How many?", "label": "14"}
    return {
        "test/test_human.json": [row, row | {"imgname": "3.png", "label": "Blue"}],
        "test/test_augmented.json": [row | {"imgname": "4.png"}],
    }


def _tally() -> dict[str, Any]:
    row = {"image": "VG_100K/1.jpg", "question": "How many?", "question_id": 1, "answer": 4, "issimple": True}
    return {"test.json": [row, row | {"image": "VG_100K/2.jpg", "question_id": 2, "answer": 0, "issimple": False}]}


def _document(image: str, file: str) -> dict[str, Any]:
    rows = [{"questionId": k, "question": "What date?", image: f"a/{k}.png", "answers": ["1/8/93", "1993"]} for k in (1, 2)]
    return {file: {"data": rows}}


def _text() -> dict[str, Any]:
    rows = [{"question": "what brand?", "image_id": f"i{k}", "answers": ["nokia"] * 10, "question_id": k} for k in (1, 2)]
    return {"TextVQA_0.5.1_val.json": {"data": rows}}


def _pope() -> dict[str, str]:
    rows = [
        {"question_id": k, "image": f"COCO_val2014_{k}.jpg", "text": "Is there a dog?", "label": said}
        for k, said in ((1, "yes"), (2, "no"))
    ]
    return {f"coco_pope_{split}.json": lines(*rows) for split in ("random", "popular", "adversarial")}


def _gqa() -> dict[str, Any]:
    row = {"question": "Is it red?", "imageId": "1", "answer": "yes", "types": {"structural": "verify"}}
    return {
        "testdev_balanced_questions.json": {
            "a": row,
            "b": row | {"imageId": "2", "answer": "cup", "types": {"structural": "query"}},
        }
    }


def _nlvr2() -> dict[str, str]:
    row = {"sentence": "One is open.", "identifier": "test1-850-0-0", "label": "True"}
    return {"test1.json": lines(row, row | {"identifier": "test1-851-0-0", "label": "False"})}


def _coco(part: str) -> dict[str, Any]:
    images = [{"id": k, "file_name": f"{k}.jpg"} for k in (1, 2)]
    told = [
        {"image_id": k, "caption": said}
        for k, said in ((1, "a red cat sits here"), (1, "one cat on a mat"), (2, "two dogs run past"))
    ]
    return {f"annotations/captions_{part}.json": {"images": images, "annotations": told}}


def _karpathy() -> dict[str, Any]:
    said = {
        1: ("train", "a cat"),
        2: ("restval", "a dog"),
        3: ("val", "a red cup stands here"),
        4: ("val", "two dogs run past"),
    }
    images = [
        {
            "filepath": "val2014",
            "filename": f"{k}.jpg",
            "cocoid": k,
            "split": split,
            "sentences": [{"raw": text}, {"raw": "one " + text}],
        }
        for k, (split, text) in said.items()
    ]
    return {"dataset_coco.json": {"images": images}}


def _vizwiz() -> dict[str, Any]:
    rows = [
        {"image": f"{k}.jpg", "question": "What is it?", "answers": [{"answer": "basil"}] * 10, "answer_type": "other"}
        for k in (1, 2)
    ]
    return {"Annotations/val.json": rows}


def _mmvp() -> dict[str, str]:
    head = "Index,Question,Options,Correct Answer\n"
    return {"Questions.csv": head + "1,Open?,(a) Open (b) Shut,(a)\n2,Open?,(a) Open (b) Shut,(b)\n"}


def _vsr() -> dict[str, str]:
    row = {"image": "1.jpg", "caption": "The bed is under the cup.", "label": 0, "relation": "under"}
    return {"test.jsonl": lines(row, row | {"image": "2.jpg", "label": 1, "relation": "over"})}


def _msrvtt() -> dict[str, Any]:
    rows = [
        {"id": k, "video_id": k, "question": "what is it?", "answer": said, "category_id": 1}
        for k, said in ((1, "dog"), (2, "cat"))
    ]
    return {"test_qa.json": rows}


def _instances(file: str) -> dict[str, Any]:
    images = [{"id": k, "file_name": f"{k}.jpg", "height": HEIGHT, "width": WIDTH} for k in (1, 2)]
    things = [
        {"image_id": 1, "category_id": c, "bbox": box, "iscrowd": 0}
        for c, box in ((1, [1, 2, 20, 20]), (2, [5, 5, 9, 9]), (1, [22, 1, 8, 8]))
    ]
    return {file: {"images": images, "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "cat"}], "annotations": things}}


def _coco35l() -> dict[str, Any]:
    rows = [
        {"image_id": f"{k}_{n}", "trg_lang": to, "caption_tokenized": f"a cat {n}", "translation_tokenized": f"{said} {n}"}
        for k in (3, 4) for to, said in (("de", "eine Katze sitzt"), ("fr", "un chat assis")) for n in (0, 1)
    ]  # fmt: skip
    return {"coco_mt_dev.jsonl": lines(*rows), **_karpathy()}


def _xm3600() -> dict[str, str]:
    said = {"de": {"caption": ["eine Katze sitzt", "die Katze"]}, "quz": {"caption": ["huk misi tiyachkan"]}}
    return {"captions.jsonl": lines(*({"image/key": f"k{k}", "image/locale": "de", **said} for k in (1, 2)))}


def _screens() -> dict[str, str]:
    summaries = "screenId,summary\n" + "".join(f"{k},list of songs {n}\n" for k in (12, 13, 14) for n in range(5))
    return {"split/test_screens.txt": "12\n13\n", "screen_summaries.csv": summaries}


def _scicap() -> dict[str, Any]:
    place = "List-of-Files-for-Each-Experiments/First-Sentence/No-Subfig/test/file_idx.json"
    said = {
        "0-originally-extracted": "Figure 2: Loss .",
        "1-lowercase-and-token-and-remove-figure-index": {"caption": "loss of"},
    }
    return {place: ["a-Figure2-1.png", "b-Figure1-1.png"]} | {
        f"SciCap-Caption-All/test/{name}.json": said for name in ("a-Figure2-1", "b-Figure1-1")
    }


def _textcaps() -> dict[str, Any]:
    rows = [
        {"image_id": f"i{k}", "image_name": f"i{k}", "caption_str": f"A sign that says {n} stop"} for k in (1, 2) for n in "ab"
    ]
    return {"TextCaps_0.1_val.json": {"data": rows}}


def _docci() -> dict[str, str]:
    row = {"example_id": "test_1", "split": "test", "image_file": "test_1.jpg", "description": "A long text."}
    return {
        "docci_descriptions.jsonlines": lines(
            row, row | {"example_id": "test_2"}, row | {"example_id": "train_1", "split": "train"}
        )
    }


def _xgqa() -> dict[str, Any]:
    row = {"question": "Ist es rot?", "imageId": "1", "answer": "yes"}
    return {f"testdev_balanced_questions_{one}.json": {"a": row, "b": row | {"imageId": "2"}} for one in XGQA}


def _marvl() -> dict[str, str]:
    row = {"id": "x-0", "concept": "1-A", "caption": "Moja iko wazi.", "left_img": "1-1.jpg", "right_img": "1-2.jpg"}
    rows = row | {"label": True}, row | {"id": "x-1", "left_img": "1-3.jpg", "label": False}
    return {f"{one}/annotations/marvl-{one}.jsonl": lines(*rows) for one in MARVL}


def _ocrvqa() -> dict[str, Any]:
    row = {"imageURL": "http://x.example/51.jpg", "questions": ["Who wrote it?", "Genre?"], "answers": ["A. Man", "Law"]}
    return {"dataset.json": {"0761": row | {"split": 3}, "0762": row | {"split": 1}}}


def _stvqa() -> dict[str, Any]:
    row = {"question": "What brand?", "answers": ["nokia", "n"]}
    places = "coco-text/COCO_train2014_1.jpg", "iiit_text/b.jpg", "vizwiz/c.jpg"
    rows = [row | {"question_id": k, "file_path": place} for k, place in enumerate(places)]
    return {"train_task_3.json": {"data": rows}, "val_images.txt": "iiit_text/b.jpg\ncoco-text/COCO_train2014_1.jpg\n"}


def _msrvtt_captions() -> dict[str, Any]:
    videos = [{"video_id": f"video{k}", "split": split} for k, split in ((1, "test"), (2, "test"), (3, "validate"))]
    told = [{"video_id": f"video{k}", "caption": f"a man {said} here now"} for k in (1, 2, 3) for said in ("cooks", "eats")]
    return {"MSRVTT_data.json": {"videos": videos, "sentences": told}}


def _activitynet_qa() -> dict[str, Any]:
    asked = [{"question_id": f"a_{k}", "video_name": f"a{k}", "question": "is it red?"} for k in (1, 2)]
    told = [{"question_id": f"a_{k}", "answer": said, "type": kind} for k, said, kind in ((1, "yes", 3), (2, "red", 4))]
    return {"test_q.json": asked, "test_a.json": told}


def _activitynet() -> dict[str, Any]:
    said = ["a man runs over there", "he stops and rests now"]
    return {"val_1.json": {"v_a": {"duration": 1.0, "timestamps": [[0, 0.4], [0.4, 1.0]], "sentences": said}}}


def _vatex() -> dict[str, Any]:
    rows = [{"videoID": f"v{k}_000001_000011", "enCap": [f"a man {said} over there" for said in "abc"]} for k in (1, 2)]
    return {"vatex_public_test_english_v1.1.json": rows}


_FILES: Mapping[str, Callable[[], dict[str, Any]]] = {
    "vqav2": lambda: _vqa("v2_", "val2014", ("other", "yes/no"), "answer_type"),
    "okvqa": lambda: _vqa("", "val2014", ("one", "two"), "question_type"),
    "aokvqa": _aokvqa,
    "gqa": _gqa,
    "nlvr2": _nlvr2,
    "tallyqa": _tally,
    "textvqa": _text,
    "docvqa": lambda: _document("image", "val_v1.0.json"),
    "infovqa": lambda: _document("image_local_name", "infographicsVQA_val_v1.0.json"),
    "chartqa": _chart,
    "scienceqa": _science,
    "rsvqa-lr": lambda: _rsvqa("LR", "test"),
    "rsvqa-hr": lambda: _rsvqa("USGS", "test") | _rsvqa("USGS", "test_phili"),
    "msrvtt-qa": _msrvtt,
    "pope": _pope,
    "mmvp": _mmvp,
    "vsr": _vsr,
    "vizwiz": _vizwiz,
    "coco": lambda: _coco("val"),
    "coco-35l": _coco35l,
    "xm3600": _xm3600,
    "screen2words": _screens,
    "scicap": _scicap,
    "textcaps": _textcaps,
    "docci": _docci,
    "xgqa": _xgqa,
    "marvl": _marvl,
    "ocr-vqa": _ocrvqa,
    "st-vqa": _stvqa,
    "msrvtt-cap": _msrvtt_captions,
    "activitynet-qa": _activitynet_qa,
    "activitynet-cap": _activitynet,
    "vatex": _vatex,
    "coco-karpathy": _karpathy,
    "coco-instances": lambda: _instances("annotations/instances_val2017.json"),
    "doclaynet": lambda: _instances("COCO/test.json"),
}
"""By reader: its files, of the splits that are scored."""
OFFICIAL = [task.name for task in TASKS.values() if task.reader in (*_FILES, "refcoco")]
"""Tasks whose official files are read."""


def _refcoco(folder: Path) -> None:
    """Two things in each of three images. Those of image 1 are of train, of 2 of val, of 3 of both, and so not learned."""
    places = {1: (0, 0, 11, 11), 2: (11, 3, 22, 30)}
    for name, by, splits in (
        ("refcoco", "unc", ("val", "testA", "testB")),
        ("refcoco+", "unc", ("val", "testA", "testB")),
        ("refcocog", "umd", ("val", "test")),
    ):
        things, references = [], []
        images = [{"id": k, "file_name": f"{k}.jpg", "height": HEIGHT, "width": WIDTH} for k in (1, 2, 3)]
        parts = [(1, "train"), (3, "train"), *((2, split) for split in splits), (3, splits[0])]
        for number, (image, split) in enumerate(parts):
            for which, (x1, y1, x2, y2) in places.items():
                key = 10 * number + which
                outline = [[x1, y1, x2, y1, x2, y2, x1, y2]]
                things.append({"id": key, "image_id": image, "bbox": [x1, y1, x2 - x1, y2 - y1], "segmentation": outline})
                said = [{"sent": f"the {word} thing {which}"} for word in ("left", "small")]
                references.append({"ref_id": key, "ann_id": key, "image_id": image, "split": split, "sentences": said})
        write(folder, {f"{name}/instances.json": {"images": images, "annotations": things}})
        (folder / name / f"refs({by}).p").write_bytes(pickle.dumps(references, protocol=0))


def make_set(task: str, folder: Path) -> list[TransferExample]:
    """Write the official files of a task, with images and videos of noise, and read the splits that are scored."""
    found = TASKS[task]
    folder.mkdir(parents=True, exist_ok=True)
    if found.reader == "refcoco":
        _refcoco(folder)
    else:
        write(folder, _FILES[found.reader]())
    examples = read_examples(found, folder)
    fill(examples)
    return examples


def fill(examples: list[TransferExample]) -> None:
    """Make the images and videos that examples name."""
    rng = np.random.default_rng(0)
    for path in sorted({path for example in examples for path in example.images}):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(path)
    for path in {example.video for example in examples} - {None}:
        from tapetum.video import write_video

        assert path is not None
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, rng.integers(0, 256, (12, 32, 32, 3), np.uint8), frame_rate=10)
