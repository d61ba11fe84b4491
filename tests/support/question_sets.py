"""Tiny sets of questions, captions and places in their official form, with real images, for tasks of PaliGemma."""

import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tapetum.systems.paligemma.transfer.data import TransferExample, read_examples
from tapetum.systems.paligemma.transfer.tasks import TASKS

HEIGHT, WIDTH = 31, 33
"""Whole pixels are whole numbers of the 1,023 steps along an edge."""


def write(folder: Path, files: Mapping[str, Any]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _vqa() -> dict[str, Any]:
    asked = [{"image_id": k, "question": f"What is {k}?", "question_id": 10 + k} for k in (1, 2)]
    told = [
        {"question_id": 10 + k, "answer_type": kind, "answers": [{"answer": said}] * 10}
        for k, said, kind in ((1, "red", "other"), (2, "yes", "yes/no"))
    ]
    return {
        "v2_OpenEnded_mscoco_val2014_questions.json": {"questions": asked},
        "v2_mscoco_val2014_annotations.json": {"annotations": told},
    }


def _science() -> dict[str, Any]:
    problem = {"question": "Which?", "choices": ["a", "b", "c"], "answer": 1, "hint": "Look.", "image": "image.png"}
    problem |= {"subject": "x"}
    splits = {"train": ["1"], "val": [], "test": ["2", "3"]}
    return {"problems.json": {"1": problem, "2": problem, "3": problem | {"answer": 0}}, "pid_splits.json": splits}


def _chart() -> dict[str, Any]:
    row = {"imgname": "2.png", "query": "How many?", "label": "14"}
    return {
        "test/test_human.json": [row, row | {"imgname": "3.png", "label": "Blue"}],
        "test/test_augmented.json": [row | {"imgname": "4.png"}],
    }


def _document() -> dict[str, Any]:
    rows = [{"questionId": k, "question": "What date?", "image": f"a/{k}.png", "answers": ["1/8/93", "1993"]} for k in (1, 2)]
    return {"val_v1.0.json": {"data": rows}}


def _text() -> dict[str, Any]:
    rows = [{"question": "what brand?", "image_id": f"i{k}", "answers": ["nokia"] * 10, "question_id": k} for k in (1, 2)]
    return {"TextVQA_0.5.1_val.json": {"data": rows}}


def _gqa() -> dict[str, Any]:
    row = {"question": "Is it red?", "imageId": "1", "answer": "yes", "types": {"structural": "verify"}}
    return {
        "testdev_balanced_questions.json": {
            "a": row,
            "b": row | {"imageId": "2", "answer": "cup", "types": {"structural": "query"}},
        }
    }


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


def _textcaps() -> dict[str, Any]:
    rows = [
        {"image_id": f"i{k}", "image_name": f"i{k}", "caption_str": f"A sign that says {n} stop"} for k in (1, 2) for n in "ab"
    ]
    return {"TextCaps_0.1_val.json": {"data": rows}}


def _msrvtt_captions() -> dict[str, Any]:
    videos = [{"video_id": f"video{k}", "split": split} for k, split in ((1, "test"), (2, "test"), (3, "validate"))]
    told = [{"video_id": f"video{k}", "caption": f"a man {said} here now"} for k in (1, 2, 3) for said in ("cooks", "eats")]
    return {"MSRVTT_data.json": {"videos": videos, "sentences": told}}


def _vatex() -> dict[str, Any]:
    rows = [{"videoID": f"v{k}_000001_000011", "enCap": [f"a man {said} over there" for said in "abc"]} for k in (1, 2)]
    return {"vatex_public_test_english_v1.1.json": rows}


_FILES: Mapping[str, Callable[[], dict[str, Any]]] = {
    "vqav2": _vqa,
    "gqa": _gqa,
    "textvqa": _text,
    "docvqa": _document,
    "chartqa": _chart,
    "scienceqa": _science,
    "coco": lambda: _coco("val"),
    "coco-35l": _coco35l,
    "textcaps": _textcaps,
    "msrvtt-cap": _msrvtt_captions,
    "vatex": _vatex,
    "coco-karpathy": _karpathy,
    "coco-instances": lambda: _instances("annotations/instances_val2017.json"),
    "doclaynet": lambda: _instances("COCO/test.json"),
}
"""By reader: its files, of the splits that are scored."""


def _lines(question: str, *several: str, kinds: Sequence[str] = (), **more: Any) -> list[dict[str, Any]]:
    """A line for each answer, about an image of its own."""
    rows = [{"id": k, "image": f"{k}.jpg", "question": question, "answers": [said]} for k, said in enumerate(several, 1)]
    return [row | more | {"kind": kind} for row, kind in zip(rows, kinds or [""] * len(rows), strict=True)]


_LINES: Mapping[str, list[dict[str, Any]]] = {
    "tallyqa": _lines("How many?", "4", "0", kinds=("simple", "complex")),
    "pope": _lines("Is there a dog?", "yes", "no"),
    "mmvp": _lines("Open?", "Open", "Shut", kinds=("0", "0")),
    "rsvqa-lr": _lines("Is it?", "Yes", "no", "12", kinds=("presence", "comp", "count")),
    "nlvr2": [
        line | {"image": [f"{line['id']}-img{k}.png" for k in (0, 1)]} for line in _lines("One is open.", "True", "False")
    ],
    "xgqa": _lines("Ist es rot?", "yes", "yes", language="de"),
    "aokvqa-mc": [
        line | {"options": ["cat", "dog", "cup"], "right": line["id"]} for line in _lines("What is it?", "dog", "cup")
    ],
    "msrvtt-qa": [
        {"id": k, "video": f"video{k}.mp4", "question": "what is it?", "answers": [said]}
        for k, said in ((1, "dog"), (2, "cat"))
    ],
    "activitynet-cap": [
        {"id": f"v_a_{k}", "video": "v_a.mp4", "start_s": start, "stop_s": stop, "answers": [said]}
        for k, (start, stop, said) in enumerate(((0, 0.4, "a man runs over there"), (0.4, 1.0, "he stops and rests now")))
    ],
}
"""By task: lines of JSON of each of its splits."""
OFFICIAL = [task.name for task in TASKS.values() if task.reader in (*_FILES, "refcoco") or task.name in _LINES]
"""Tasks of which `make_set` makes examples: official files where they are read, else lines."""


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
    elif task in _LINES:
        write(folder, {f"{split}.jsonl": lines(*_LINES[task]) for split in (*found.scored, *found.train)})
    else:
        write(folder, _FILES[found.reader]())
    examples = read_examples(found, folder)
    fill(examples)
    return examples


def fill(examples: list[TransferExample]) -> None:
    rng = np.random.default_rng(0)
    for path in sorted({path for example in examples for path in example.images}):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(path)
    for path in {example.video for example in examples} - {None}:
        from tapetum.video import write_video

        assert path is not None
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, rng.integers(0, 256, (12, 32, 32, 3), np.uint8), frame_rate=10)
