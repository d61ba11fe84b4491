"""Scores of transfer tasks: an oracle has the best number, one that is wrong the worst, others what a hand derives."""

from pathlib import Path

import numpy as np
import pytest

from support.question_sets import HEIGHT, OFFICIAL, WIDTH, lines, make_set, write
from tapetum.core.errors import BadInput
from tapetum.metrics.statistics import wilson_interval
from tapetum.systems.paligemma.locations import box_text
from tapetum.systems.paligemma.transfer.data import Id, TransferExample, read_examples
from tapetum.systems.paligemma.transfer.samples import suffix_of
from tapetum.systems.paligemma.transfer.scores import ScoreRow, first_mask, score
from tapetum.systems.paligemma.transfer.tasks import TASKS

CODES = "<seg000>" * 16


def full(codes: np.ndarray) -> np.ndarray:
    """Masks that fill their boxes."""
    return np.ones((len(codes), 64, 64), np.float32)


def oracle(name: str, examples: list[TransferExample]) -> dict[Id, str]:
    rng, said = np.random.default_rng(0), {}
    for example in examples:
        if example.referred is not None:
            height, width = example.referred.size
            said[example.id] = box_text(example.referred.xyxy, width, height) + CODES
        else:
            said[example.id] = suffix_of(TASKS[name], example, rng)
    return said


def rows_of(name: str, examples: list[TransferExample], said: dict[Id, str], **more: object) -> dict[str, ScoreRow]:
    return {row.name: row for row in score(TASKS[name], examples, said, unpack=full, **more)}  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [n for n in OFFICIAL if TASKS[n].metric not in ("cider", "none")])
def test_an_oracle_and_one_who_is_wrong(name: str, tmp_path: Path) -> None:
    examples = make_set(name, tmp_path)
    if name == "refcoco":  # of its eight splits two, for the time that intervals take
        examples = [example for example in examples if example.id[0] in ("refcoco/val", "refcocog/test")]
    best, *_ = score(TASKS[name], examples, oracle(name, examples), unpack=full)
    worst, *_ = score(TASKS[name], examples, {e.id: "zebra" for e in examples}, unpack=full)
    assert (best.value, worst.value) == (pytest.approx(1), 0)
    if best.low is not None and worst.high is not None:
        assert worst.high < 1 <= best.value <= best.high  # type: ignore[operator]


def test_captions(tmp_path: Path) -> None:
    examples = make_set("coco-captions", tmp_path)
    good = rows_of("coco-captions", examples, {e.id: e.references[0] for e in examples})
    bad = rows_of("coco-captions", examples, {e.id: "zebra" for e in examples})
    assert list(good) == ["CIDEr", "BLEU-4", "ROUGE-L"]
    assert good["CIDEr"].value > 5 > bad["CIDEr"].value == 0
    assert (good["BLEU-4"].value, good["ROUGE-L"].value) == (pytest.approx(1), pytest.approx(1))


def test_languages_are_scored_apart(tmp_path: Path) -> None:
    said = {"en": "a red cat sits", "de": "eine rote Katze sitzt", "fr": "un chat rouge dort"}
    rows = [
        {"image": f"{k}.png", "answers": [f"{text} {k}"], "language": tongue} for k in range(2) for tongue, text in said.items()
    ]
    write(tmp_path, {"dev.jsonl": lines(*rows)})
    examples = read_examples(TASKS["coco-35l"], tmp_path)
    right = {e.id: e.references[0] if e.kind != "fr" else "zebra" for e in examples}
    found = rows_of("coco-35l", examples, right)
    assert list(found)[:2] == ["en CIDEr", "CIDEr, mean of 2 languages but en"]
    assert found["CIDEr, mean of 2 languages but en"].value == pytest.approx(found["de CIDEr"].value / 2)
    assert found["en CIDEr"].value == pytest.approx(found["de CIDEr"].value)


def test_kinds(tmp_path: Path) -> None:
    """Numbers by hand: ChartQA's human half right, augmented all wrong."""
    examples = make_set("chartqa", tmp_path)
    found = rows_of("chartqa", examples, {examples[0].id: "14.5", examples[1].id: "red", examples[2].id: "20"})
    assert [found[n].value for n in ("accuracy, mean of kinds", "accuracy", "human", "augmented")] == [
        0.25,
        pytest.approx(1 / 3),
        0.5,
        0,
    ]
    assert (found["human"].count, found["human"].low, found["human"].high) == (2, *wilson_interval(1, 2))
    science = make_set("scienceqa", tmp_path / "s")
    told = {science[0].id: "The answer is B.", science[1].id: "B"}
    read = rows_of("scienceqa", science, told)
    assert (read["accuracy"].value, read["without a letter"].value) == (0.5, 0.5)
    counts = make_set("tallyqa", tmp_path / "t")
    counted = rows_of("tallyqa", counts, {counts[0].id: "four", counts[1].id: "1"})
    assert {n: r.value for n, r in counted.items()} == {"accuracy": 0.5, "complex": 0, "simple": 1, "count 0": 0, "count 4": 1}


def test_pope_of_three_splits_and_pairs(tmp_path: Path) -> None:
    examples = make_set("pope", tmp_path)
    said = {e.id: "yes" if e.id[0] != "random" else e.references[0] for e in examples}
    found = rows_of("pope", examples, said)
    assert found["accuracy, mean of 3 splits"].value == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert found["random: f1"].value == 1
    assert found["popular: f1"].value == pytest.approx(2 / 3)
    assert found["popular: yes"].value == 1
    pair = make_set("mmvp", tmp_path / "m")
    half = rows_of("mmvp", pair, {pair[0].id: "open", pair[1].id: "open"})
    assert (half["accuracy of pairs"].value, half["accuracy of questions"].value) == (0, 0.5)


def test_expressions_by_the_rule_of_the_reference(tmp_path: Path) -> None:
    whole = "<loc0000><loc0000><loc1023><loc1023>"
    cases = {
        whole + CODES: True,
        "a cat: " + whole + CODES + "<seg000>" * 4 + " ; " + whole: True,
        whole: False,
        whole + "<seg000>" * 15: False,
        whole + "<seg128>" * 16: False,
        "<loc1024><loc0000><loc1023><loc1023>" + CODES: False,
        "<loc0500><loc0000><loc0500><loc1023>" + CODES: False,
        "<loc0000><loc0000><loc0001><loc1023>" + CODES: False,  # less than a pixel
        CODES + whole: False,
    }
    for text, valid in cases.items():
        assert (first_mask(text, WIDTH, HEIGHT, full) is not None) == valid, text
    mask, box = first_mask(whole + CODES, WIDTH, HEIGHT, full) or (None, None)
    assert mask is not None
    assert mask.all()
    assert box is not None
    assert box.tolist() == [[0, 0, WIDTH, HEIGHT]]
    examples = [e for e in make_set("refcoco", tmp_path) if e.id[0] == "refcoco/testA"]
    said = oracle("refcoco", examples)
    [first, *_] = examples
    said[first.id] = "<loc0000><loc0000><loc0363><loc0682>" + CODES  # twice as wide: half of it is the thing
    found = rows_of("refcoco", examples, said)
    assert found["mask IoU"].value == pytest.approx((len(examples) - 0.5) / len(examples))
    assert found["box accuracy at 0.5"].value == 1
    assert found["box accuracy at 0.75"].value == (len(examples) - 1) / len(examples)
    with pytest.raises(BadInput, match="name it with --masks"):
        score(TASKS["refcoco"], examples, said)


def test_detection_goes_by_the_chances_of_places(tmp_path: Path) -> None:
    examples = make_set("coco-detection", tmp_path)
    cup, cat = (box_text(box, WIDTH, HEIGHT) for box in ((1, 2, 21, 22), (5, 5, 14, 14)))
    wrong = box_text((0, 25, 5, 30), WIDTH, HEIGHT)
    said = {examples[0].id: f"{cup} cup ; {wrong} cup ; {cat} cat ; <loc0001> cat", examples[1].id: ""}
    sure, unsure = ([0.9] * 4 + [w] * 4 + [0.5] * 4 + [0.5] for w in (0.1, 0.95))
    good = rows_of("coco-detection", examples, said, chances={examples[0].id: sure})
    bad = rows_of("coco-detection", examples, said, chances={examples[0].id: unsure})
    assert good["AP cup"].value == pytest.approx(51 / 101)  # one of two, found first
    assert bad["AP cup"].value == pytest.approx(51 / 101 / 2)
    assert good["AP cat"].value == pytest.approx(1)
    assert good["malformed boxes an image"].value == 0.5
    for most in (1, 10, 100):  # of each class: one of two cups, the cat
        assert good[f"recall, {most} boxes"].value == pytest.approx((1 / 2 + 1) / 2)
    assert bad["recall, 1 boxes"].value == pytest.approx((0 + 1) / 2)  # the one cup that it is surest of is wrong


def test_spotting_tables_music(tmp_path: Path) -> None:
    words = {"image": "d.png", "width": 33, "height": 31, "boxes": [[0, 0, 11, 11], [11, 11, 22, 22]], "labels": ["stop", "go"]}
    write(tmp_path, {"test.jsonl": lines(words | {"question": "ocr"})})
    spotted = read_examples(TASKS["icdar15"], tmp_path)
    half = rows_of("icdar15", spotted, {spotted[0].id: "<loc0000><loc0000><loc0363><loc0341> stop"})
    assert {n: r.value for n, r in half.items()} == {"F1": pytest.approx(2 / 3), "precision": 1, "recall": 0.5}
    table = "<table><tr><td>a</td></tr></table>"
    write(tmp_path, {"test.jsonl": lines({"image": "d.png", "question": "table", "answers": [table]})})
    tables = read_examples(TASKS["pubtabnet"], tmp_path)
    found = rows_of("pubtabnet", tables, {tables[0].id: table.replace(">a<", ">b<")})
    assert (found["TEDS of structure"].value, found["TEDS"].value < 1) == (1, True)
    write(tmp_path, {"test.jsonl": lines({"image": "d.png", "question": "music", "answers": ["a b\nc d"]})})
    notes = read_examples(TASKS["grandstaff"], tmp_path)
    rates = rows_of("grandstaff", notes, {notes[0].id: "a b\nc x"})
    assert {n: r.value for n, r in rates.items()} == {"CER": pytest.approx(1 / 7), "SER": pytest.approx(1 / 5), "LER": 0.5}


def test_whole_images_are_drawn_where_one_is_asked_about_twice(tmp_path: Path) -> None:
    rows = [{"image": f"{k // 10}.png", "question": "q", "answers": ["a"]} for k in range(40)]
    write(tmp_path, {"test.jsonl": lines(*rows)})
    examples = read_examples(TASKS["ocr-vqa"], tmp_path)
    said = {e.id: "a" if e.id[1] < 20 else "b" for e in examples}  # type: ignore[operator]
    row = rows_of("ocr-vqa", examples, said)["accuracy"]
    low, high = wilson_interval(20, 40)
    assert row.value == 0.5
    assert row.low is not None
    assert row.high is not None
    assert row.low < low < high < row.high


def test_what_is_not_scored(tmp_path: Path) -> None:
    examples = make_set("docvqa", tmp_path)
    with pytest.raises(BadInput, match="1 of 2 examples have no answer"):
        score(TASKS["docvqa"], examples, {examples[0].id: "x"})
    write(tmp_path, {"test.jsonl": lines({"image": "a.png", "question": "q"})})
    hidden = read_examples(TASKS["ocr-vqa"], tmp_path)
    with pytest.raises(BadInput, match="right answers of test are hidden on a server"):
        score(TASKS["ocr-vqa"], hidden, {hidden[0].id: "x"})
    report = read_examples(TASKS["mimic-cxr"], tmp_path)
    with pytest.raises(BadInput, match=r"MIMIC-CXR is not scored here.*RadGraph"):
        score(TASKS["mimic-cxr"], report, {report[0].id: "x"})
