"""Transfer tasks from end to end: a tiny random model answers, answers are kept, read and scored."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import tapetum
from support.paligemma_folder import tiny_folder
from support.question_sets import OFFICIAL, make_set
from tapetum.app.score.evaluate.paligemma import PaliGemmaEvalOptions
from tapetum.app.verb import Listener
from tapetum.bench import BENCHMARKS, paligemma_tasks
from tapetum.bench.own import make_benchmark
from tapetum.bench.paligemma_tasks import Answers, make_answers, read_answers
from tapetum.core.errors import BadInput
from tapetum.systems.paligemma.answers import Answerer
from tapetum.systems.paligemma.locations import suffix
from tapetum.systems.paligemma.masks.codec import MaskCodec
from tapetum.systems.paligemma.masks.config import SMALL
from tapetum.systems.paligemma.transfer.data import TransferExample
from tapetum.systems.paligemma.transfer.scores import score
from tapetum.systems.paligemma.transfer.tasks import TASKS
from tapetum.types import Boxes


class Notes(Listener):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def answerer(weights: Path) -> Answerer:
    made = Answerer.load(weights)
    torch.manual_seed(0)
    made._codec = MaskCodec(SMALL).eval()
    return made


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_model_that_knows_nothing(name: str, answerer: Answerer, tmp_path: Path) -> None:
    task, examples = TASKS[name], make_set(name, tmp_path)[:3]
    answers = make_answers(answerer, task, examples, longest=4, batch=2)
    assert set(answers.texts) == {e.id for e in examples}
    assert bool(answers.chances) == (task.metric == "detection")
    if task.metric == "none":  # answers are kept, and scored elsewhere
        return
    unpack = answerer.codec.unpack if task.metric == "referred" else None
    if task.metric == "pairs":
        examples = examples[:2]
    first, *_ = score(task, examples, answers.texts, chances=answers.chances, unpack=unpack)
    assert 0 <= first.value < 1


def _right(example: TransferExample) -> str:
    if example.referred is not None:
        return "<loc0000><loc0000><loc0500><loc0900>" + "<seg005>" * 16
    if example.things is not None:
        things = example.things.things
        boxes = Boxes(xyxy=np.array([thing.xyxy for thing in things]), labels=[thing.label for thing in things])
        return suffix(boxes, *example.things.size[::-1])
    return example.references[0]


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name in OFFICIAL])
def test_a_benchmark_scores_answers_as_the_task_does(
    name: str, answerer: Answerer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two answers of four are right, and so of kinds and splits different shares."""
    task, examples = TASKS[name], make_set(name, tmp_path)
    right = {e.id: _right(e) for e in examples}
    texts = {key: text if k % 4 < 2 else "neither" for k, (key, text) in enumerate(right.items())}
    answers = Answers(texts=texts, chances={key: [0.9] * text.count("<loc") for key, text in texts.items()})
    monkeypatch.setattr(paligemma_tasks, "make_answers", lambda model, task, items: answers)
    benchmark: Any = make_benchmark(name)
    items = benchmark.items(tmp_path)
    assert [each for group in items.values() for each in group] == examples
    assert len(items) == len(examples) or task.metric in ("cider", "pairs", "detection")
    total = benchmark.summary([benchmark.score(answerer, each) for each in items.values()])
    unpack = answerer.codec.unpack if task.metric == "referred" else None
    expected = score(task, examples, answers.texts, chances=answers.chances, unpack=unpack)[0].value
    assert expected > 0 or task.metric == "cider"  # of words that all captions share, the weight is 0
    assert next(iter(total.values())) == pytest.approx(expected)
    benchmark.limit = 1
    assert len(items) > 1 or len(benchmark.items(tmp_path)["all"]) == 1


def test_what_was_answered_is_not_asked_again(answerer: Answerer, tmp_path: Path) -> None:
    task, examples, file = TASKS["vqav2"], make_set("vqav2", tmp_path / "d"), tmp_path / "said.jsonl"
    make_answers(answerer, task, examples[:1], save=file, longest=3)
    kept = file.read_text().replace(json.dumps(first_answer(file)), json.dumps("red"))
    file.write_text(kept)
    heard: list[tuple[int, int]] = []
    found = make_answers(answerer, task, examples, save=file, longest=3, progress=lambda *at: heard.append(at))
    assert found.texts[examples[0].id] == "red"
    assert heard == [(1, 2), (2, 2)]
    again = read_answers(file, examples)
    assert again.texts == found.texts
    assert score(task, examples, again.texts)[0].value == 0.5
    said: list[str] = []
    make_answers(answerer, task, examples[:1], save=file, longest=4, note=said.append)
    assert said == [f"{file}: 2 results that were kept there differ in longest; they are computed again"]
    with pytest.raises(BadInput, match="1 of 2 examples have no answer"):  # of the last settings there is one answer, not two
        score(task, examples, read_answers(file, examples).texts)
    assert make_answers(answerer, task, examples, save=file, longest=3).texts == found.texts


def test_answers_of_other_weights_images_or_precision_are_made_again(weights: Path, tmp_path: Path) -> None:
    own, place, file = tmp_path / "own", tmp_path / "data", tmp_path / "said.jsonl"
    shutil.copytree(weights.parent, own)
    make_set("nlvr2", place)
    asked: dict[str, Any] = {"task": "nlvr2", "data": place, "model": str(own / weights.name), "tokens": 3, "save": file}
    heard = Notes()

    def made(**more: Any) -> tuple[dict[str, Any], list[str]]:
        heard.notes.clear()
        table = tapetum.evaluate_paligemma.run(PaliGemmaEvalOptions(**{**asked, **more}), heard).table
        return table, [note for note in heard.notes if "again" in note]

    first, notes = made()
    assert (notes, made()) == ([], (first, []))
    image = next(path for path in sorted(place.rglob("*.png")))
    Image.fromarray(255 - np.asarray(Image.open(image))).save(image)
    _, [line] = made()
    assert "in images" in line
    _, [line] = made(dtype="bfloat16")
    assert line == f"{file}: 2 results that were kept there differ in dtype; they are computed again"
    changed = own / weights.name
    tensors = load_file(changed)
    with safe_open(changed, "pt") as stored:
        save_file({name: -tensor for name, tensor in tensors.items()}, changed, stored.metadata())
    _, [line] = made()
    assert "in weights" in line
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert sum("row" in line for line in lines) >= 2 + 1 + 2 + 2


def first_answer(file: Path) -> str:
    return json.loads(file.read_text().splitlines()[1])["row"]["answer"]


def test_answers_of_others(tmp_path: Path) -> None:
    examples, file = make_set("vqav2", tmp_path), tmp_path / "said.json"
    file.write_text(json.dumps([{"question_id": 11, "answer": "red"}, {"question_id": 12, "answer": "no"}]))
    assert read_answers(file, examples).texts == {("val", 11): "red", ("val", 12): "no"}
    file.write_text('{"id": 11, "answer": "red"}\n{"id": 11, "answer": "blue"}\n')
    with pytest.raises(BadInput, match="answers 11 a second time"):
        read_answers(file, examples)
    file.write_text('{"id": 99, "answer": "red"}\n')
    with pytest.raises(BadInput, match="answers 99, which is not asked"):
        read_answers(file, examples)
    file.write_text("{")
    with pytest.raises(BadInput, match="neither JSON lines nor a list"):
        read_answers(file, examples)
    pope = make_set("pope", tmp_path / "pope")
    file.write_text('{"id": 1, "answer": "yes"}\n')
    with pytest.raises(BadInput, match="of several splits; write its split"):
        read_answers(file, pope)
    file.write_text('{"id": 1, "split": "popular", "answer": "yes"}\n')
    assert read_answers(file, pope).texts == {("popular", 1): "yes"}


def test_as_a_function(weights: Path, tmp_path: Path) -> None:
    make_set("nlvr2", tmp_path)
    asked: dict[str, Any] = {"task": "nlvr2", "data": tmp_path}
    found = tapetum.evaluate_paligemma(**asked, model=str(weights), tokens=3, save=tmp_path / "said.jsonl").table
    assert (found["examples"], found["scores"][0]["count"], found["published"]["paligemma-3b"]) == (2, 2, "90.0/88.9")
    again = tapetum.evaluate_paligemma(**asked, predictions=tmp_path / "said.jsonl")
    assert again.table["scores"] == found["scores"]
    assert again.as_json()["scores"][0]["name"] == "accuracy"
    for more, words in (
        ({"save": "y"}, "--save is for a model"),
        ({"limit": 0}, "--limit is 0"),
        ({"task": ""}, "name it with --task"),
    ):
        with pytest.raises(BadInput, match=words):
            tapetum.evaluate_paligemma(**{**asked, "predictions": "x", **more})
