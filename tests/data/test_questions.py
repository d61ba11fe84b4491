"""Readers of questions, captions and expressions, on small files in the official form, and on hostile ones."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.question_sets import write
from tapetum.core.errors import BadInput
from tapetum.data.coco import read_instances
from tapetum.data.questions import Question
from tapetum.data.rle import segmentation_mask
from tapetum.data.vision_language import read_refcoco
from tapetum.data.vision_language.captions import read_coco_captions, read_karpathy
from tapetum.data.vision_language.questions import read_chartqa, read_docvqa, read_gqa, read_scienceqa, read_textvqa, read_vqav2


def vqa(before: str, part: str, answers: list[str]) -> dict[str, Any]:
    info = {"info": {}, "license": {}, "data_subtype": part, "data_type": "mscoco"}
    asked = {"image_id": 42, "question": "What color is it?", "question_id": 42000}
    given = [{"answer": a, "answer_confidence": "yes", "answer_id": k} for k, a in enumerate(answers, 1)]
    told = {"question_type": "what color", "multiple_choice_answer": answers[0], "answers": given, "answer_type": "other"}
    return {
        f"{before}OpenEnded_mscoco_{part}_questions.json": {**info, "task_type": "Open-Ended", "questions": [asked]},
        f"{before}mscoco_{part}_annotations.json": {**info, "annotations": [{**told, "image_id": 42, "question_id": 42000}]},
    }


def test_vqav2(tmp_path: Path) -> None:
    answers = ["red"] * 7 + ["dark red"] * 3
    [asked] = read_vqav2(write(tmp_path, vqa("v2_", "val2014", answers)), "val")
    image = tmp_path / "val2014" / "COCO_val2014_000000000042.jpg"
    assert asked == Question(key=42000, images=(image,), question="What color is it?", answers=tuple(answers), kind="other")
    write(
        tmp_path, {"v2_OpenEnded_mscoco_test-dev2015_questions.json": vqa("", "x", ["a"])["OpenEnded_mscoco_x_questions.json"]}
    )
    [hidden] = read_vqav2(tmp_path, "test-dev")
    assert (hidden.answers, hidden.images[0].name) == ((), "COCO_test2015_000000000042.jpg")


def test_coco_captions_and_karpathy(tmp_path: Path) -> None:
    images = [
        {"filepath": "val2014", "filename": f"COCO_val2014_00000000000{k}.jpg", "cocoid": k, "imgid": k, "split": split}
        | {"sentids": [k], "sentences": [{"tokens": ["a"], "raw": "A dog.", "imgid": k, "sentid": k}]}
        for k, split in enumerate(["train", "restval", "test"])
    ]
    write(
        tmp_path,
        {
            "annotations/captions_val2017.json": {
                "info": {},
                "licenses": [],
                "images": [
                    {"id": 9, "file_name": "000000000009.jpg", "height": 4, "width": 5},
                    {"id": 8, "file_name": "8.jpg"},
                ],
                "annotations": [{"image_id": 9, "id": 1, "caption": "A cat."}, {"image_id": 9, "id": 2, "caption": "One cat"}],
            },
            "dataset_coco.json": {"dataset": "coco", "images": images},
        },
    )
    [found] = read_coco_captions(tmp_path, "val2017")
    assert (found.key, found.captions, found.image) == (9, ("A cat.", "One cat"), tmp_path / "val2017" / "000000000009.jpg")
    assert [c.key for c in read_karpathy(tmp_path, "train+restval")] == [0, 1]
    assert read_karpathy(tmp_path, "test")[0].image == tmp_path / "val2014" / "COCO_val2014_000000000002.jpg"


def refcoco(folder: Path, references: Any = None) -> Path:
    """REFER's files: the reference is a pickle of protocol 0, as Python 2 wrote it."""
    mask = np.zeros((20, 30), bool)
    mask[5:9, 3:7] = True
    runs = [int(n) for n in np.diff([0, *np.flatnonzero(np.diff(mask.ravel("F"))) + 1, mask.size])]
    entry = {"image_id": 42, "category_id": 1, "bbox": [3, 5, 4, 4], "area": 16}
    things = [
        entry | {"id": 1, "iscrowd": 0, "segmentation": [[3, 5, 7, 5, 7, 9, 3, 9]]},
        entry | {"id": 2, "iscrowd": 1, "segmentation": {"size": [20, 30], "counts": runs}},
    ]
    images = [{"id": 42, "file_name": "COCO_train2014_000000000042.jpg", "height": 20, "width": 30}]
    write(folder, {"refcoco/instances.json": {"images": images, "annotations": things, "categories": []}})
    if references is None:
        about = {"category_id": 1, "image_id": 42, "file_name": "COCO_train2014_000000000042_0.jpg"}
        said = {"sent": "left cat", "raw": "Left cat", "tokens": ["left", "cat"]}
        references = [
            about | {"ref_id": k, "ann_id": k, "split": split, "sent_ids": [k], "sentences": [said | {"sent_id": k}]}
            for k, split in ((1, "val"), (2, "testA"))
        ]
    (folder / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(references, protocol=0))
    return folder


def test_refcoco(tmp_path: Path) -> None:
    [found] = read_refcoco(refcoco(tmp_path), "val")
    assert (found.key, found.expressions, found.xyxy, found.size) == (1, ("left cat",), (3, 5, 7, 9), (20, 30))
    assert found.image == tmp_path / "train2014" / "COCO_train2014_000000000042.jpg"
    [runs] = read_refcoco(tmp_path, "testA")
    assert found.mask().sum() == 16
    assert np.array_equal(found.mask(), runs.mask())
    with pytest.raises(BadInput, match="train, val, testA, testB"):
        read_refcoco(tmp_path, "test")


def test_a_pickle_never_runs_code(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "ran",)

    for references in ([Bomb()], [{"ref_id": Bomb()}], np.zeros(3)):
        with pytest.raises(BadInput, match=r"refs\(unc\)\.p is no pickle of plain data"):
            read_refcoco(refcoco(tmp_path, references), "val")
    assert not (tmp_path / "ran").exists()
    for damage in (b"", b"not a pickle", pickle.dumps([{}])[:-3], b"I00\n" * 9):
        (tmp_path / "refcoco" / "refs(unc).p").write_bytes(damage)
        with pytest.raises(BadInput):
            read_refcoco(tmp_path, "val")
    for references in ({"a": 1}, [3], [{"ref_id": 1, "ann_id": 99, "image_id": 42, "split": "val", "sentences": []}]):
        with pytest.raises(BadInput):
            read_refcoco(refcoco(tmp_path, references), "val")


def test_polygons_are_filled_as_pycocotools_does() -> None:
    public = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for _ in range(300):
        h, w = (int(n) for n in rng.integers(3, 40, 2))
        polygons = [
            (rng.uniform(-5, 45, 2 * n) if rng.random() < 0.7 else rng.integers(0, 40, 2 * n) / 2).tolist()
            for n in rng.integers(3, 9, rng.integers(1, 3))
        ]
        theirs = public.decode(public.merge(public.frPyObjects(polygons, h, w))).astype(bool)
        assert np.array_equal(segmentation_mask(polygons, (h, w)), theirs), polygons


def test_documents(tmp_path: Path) -> None:
    document = {"questionId": 337, "question": "what is the date?", "image": "documents/xnbl0037_1.png", "answers": ["1/8/93"]}
    document |= {"docId": 279, "ucsf_document_id": "xnbl0037", "ucsf_document_page_no": "1", "data_split": "train"}
    hidden = {k: v for k, v in document.items() if k != "answers"}
    text = {"question": "what brand?", "question_id": 0, "image_id": "0054c91397f2fe05", "answers": ["nokia"] * 10}
    text |= {"image_classes": ["Camera"], "question_tokens": ["what"], "image_width": 9, "image_height": 9, "set_name": "train"}
    chart = [{"imgname": "2.png", "query": "How many?", "label": "14"}]
    write(
        tmp_path,
        {
            "train_v1.0_withQT.json": {"dataset_name": "docvqa", "dataset_version": "1.0", "data": [document]},
            "test_v1.0.json": {"data": [hidden]},
            "TextVQA_0.5.1_val.json": {"dataset_type": "val", "data": [text]},
            "test/test_human.json": chart,
            "test/test_augmented.json": chart * 2,
        },
    )
    [found] = read_docvqa(tmp_path, "train")
    assert (found.answers, found.images) == (("1/8/93",), (tmp_path / "documents" / "xnbl0037_1.png",))
    assert read_docvqa(tmp_path, "test")[0].answers == ()
    [words] = read_textvqa(tmp_path, "val")
    assert (len(words.answers), words.images) == (10, (tmp_path / "train_images" / "0054c91397f2fe05.jpg",))
    charts = read_chartqa(tmp_path, "test")
    assert [(q.key, q.kind) for q in charts] == [
        ("human/0", "human"),
        ("augmented/0", "augmented"),
        ("augmented/1", "augmented"),
    ]
    assert charts[0].images == (tmp_path / "test" / "png" / "2.png",)


def test_gqa(tmp_path: Path) -> None:
    types = {"detailed": "existAttr", "semantic": "attr", "structural": "verify"}
    scene = {"question": "Is it red?", "imageId": "n161313", "answer": "yes", "fullAnswer": "Yes, it is.", "types": types}
    write(tmp_path, {"testdev_balanced_questions.json": {"201307251": scene}})
    [scened] = read_gqa(tmp_path, "testdev")
    assert (scened.key, scened.kind, scened.answers) == ("201307251", "verify", ("yes",))
    assert scened.images == (tmp_path / "images" / "n161313.jpg",)


def test_science(tmp_path: Path) -> None:
    problem: dict[str, Any] = dict.fromkeys(("hint", "category", "skill", "lecture", "solution"), "")
    problem |= {"question": "Which is farthest north?", "choices": ["West Virginia", "Louisiana"], "answer": 0}
    problem |= {"split": "train", "image": "image.png", "task": "closed choice", "grade": "grade2", "subject": "social science"}
    problems = {"1": problem, "2": problem | {"image": None}, "3": problem | {"hint": "Read."}}
    write(
        tmp_path, {"problems.json": problems, "pid_splits.json": {"train": ["1", "2"], "val": ["3"], "test": [], "minival": []}}
    )
    [found] = read_scienceqa(tmp_path, "train")
    assert (found.right, found.answers, found.kind) == (0, ("West Virginia",), "social science")
    assert found.images == (tmp_path / "train" / "1" / "image.png",)
    (tmp_path / "images").mkdir()
    [hinted] = read_scienceqa(tmp_path, "val")
    assert (hinted.context, hinted.images) == ("Read.", (tmp_path / "images" / "val" / "3" / "image.png",))
    with pytest.raises(BadInput, match="nothing to read"):
        read_scienceqa(tmp_path, "test")


def test_instances(tmp_path: Path) -> None:
    entry = {"id": 1, "image_id": 7, "category_id": 2, "bbox": [1, 2, 3, 1], "iscrowd": 0, "area": 2.5}
    entry["segmentation"] = [[1, 2, 4, 2, 4, 3, 1, 3]]
    told = {
        "images": [
            {"id": 7, "file_name": "a/7.jpg", "height": 5, "width": 6},
            {"id": 8, "file_name": "8.jpg", "height": 5, "width": 6},
        ],
        "categories": [{"id": 2, "name": "cup", "supercategory": "thing"}],
        "annotations": [entry],
    }
    first, second = read_instances(write(tmp_path, {"i.json": told}) / "i.json", tmp_path / "val")
    [cup] = first.things
    assert (cup.label, cup.xyxy, cup.area, cup.crowd) == ("cup", (1, 2, 4, 3), 2.5, False)
    assert (first.image, second.things) == (tmp_path / "val" / "a" / "7.jpg", ())
    assert (first.masks().sum(), second.masks().shape) == (3, (0, 5, 6))
    for change, words in [
        ({"image_id": 9}, "image 9"),
        ({"bbox": [1, 2, -3, 1]}, "wanted x, y, width, height"),
        ({"bbox": [1, 2, float("nan"), 1]}, "wanted x, y, width, height"),
        ({"segmentation": 3}, "polygons or runs"),
    ]:
        write(tmp_path, {"i.json": told | {"annotations": [entry | change]}})
        with pytest.raises(BadInput, match=words):
            read_instances(tmp_path / "i.json", tmp_path)
    bare = {k: v for k, v in entry.items() if k not in ("segmentation", "area")}
    [only, _] = read_instances(write(tmp_path, {"i.json": told | {"annotations": [bare]}}) / "i.json", tmp_path)
    assert only.things[0].area == 3
    with pytest.raises(BadInput, match="no segmentation"):
        only.masks()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[" * 100_000, "is no JSON"),
        ({"a": 1}, "has no list"),
        ({"data": []}, "nothing to read"),
        ({"data": [3]}, "entry 0 of .* is 3"),
        ({"data": [{"questionId": 1, "question": None, "image": "a.jpg"}]}, "question of entry 0 of .* is None; wanted a text"),
        ({"data": [{"questionId": 1, "question": "q", "image": "a.jpg", "answers": True}]}, "answers of .* is True"),
        ({"data": [{"questionId": 1, "question": "q", "image": "../a.jpg"}]}, "no name of a file below the data"),
        ({"data": [{"questionId": 1, "question": "q", "image": "a.jpg"}] * 2}, "id 1 twice"),
    ],
)
def test_hostile_files(content: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        read_docvqa(write(tmp_path, {"train_v1.0.json": content}), "train")
    assert "\n" not in str(caught.value)
