"""Transfer tasks as data: a handful of rows against the papers, and what has to hold of all."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tapetum.core.errors import BadInput
from tapetum.data.questions import Question
from tapetum.systems.paligemma.recipes import TRANSFER
from tapetum.systems.paligemma.transfer.data import READERS
from tapetum.systems.paligemma.transfer.tasks import RESULTS, TASKS, task_named, task_run

ASKED = Question(key=1, question="what?", options=("a", "b"), right=1, kind="de", context="Look.")


def numbers(name: str, size: int) -> tuple:
    """Epochs, batch, rate, the papers' decay, dropout, smoothing, frozen: as appendix J of PaliGemma writes them."""
    recipe = TASKS[name].recipes[size]
    return (*dataclasses.astuple(recipe)[:1], *dataclasses.astuple(recipe)[2:])


@pytest.mark.parametrize(
    ("name", "size", "wanted"),
    [
        ("coco-captions", 224, (5, 256, 1e-5, 1e-6, 0, 0, False)),
        ("screen2words", 448, (10, 256, 1e-5, 0, 0.3, 0.2, False)),
        ("widgetcap", 224, (4, 64, 3e-6, 3e-7, 0.1, 0.1, False)),
        ("vqav2", 224, (10, 256, 1e-5, 1e-6, 0, 0, False)),
        ("vqav2", 448, (10, 256, 1e-5, 0, 0, 0, False)),
        ("gqa", 448, (1, 256, 1e-5, 0, 0, 0, True)),
        ("nlvr2", 448, (10, 256, 3e-6, 3e-7, 0, 0, False)),
        ("rsvqa-lr", 224, (3, 256, 3e-6, 0, 0, 0.2, False)),
        ("chartqa", 448, (30, 256, 1e-5, 1e-6, 0.1, 0.2, False)),
        ("textvqa", 224, (5, 256, 3e-6, 0, 0, 0, False)),
        ("textvqa", 448, (10, 256, 3e-6, 3e-7, 0, 0, False)),
        ("infovqa", 896, (3, 32, 3e-6, 3e-7, 0, 0.4, False)),
        ("refcoco", 224, (100, 256, 3e-5, 0, 0.1, 0.3, False)),
        ("refcoco", 896, (100, 64, 1e-5, 0, 0, 0.3, False)),
        ("msrvtt-cap", 224, (20, 128, 1e-5, 0, 0, 0, True)),
    ],
)
def test_rows(name: str, size: int, wanted: tuple) -> None:
    assert numbers(name, size) == wanted


def test_prompts_and_other_quirks() -> None:
    def said(name: str) -> str:
        return TASKS[name].prompt_of(ASKED)

    assert said("docvqa") == said("chartqa") == said("refcoco") == "what?"
    assert said("vqav2") == said("xgqa") == "answer en what?"
    assert said("aokvqa-mc") == said("ai2d") == "answer en  what? choose from: a \t b"
    assert said("scienceqa") == "Question: what?\nContext: Look.\nOptions: (A) a, (B) b\nAnswer:"
    assert (said("coco-captions"), said("coco-35l"), said("coco-detection")) == (
        "caption en",
        "caption de",
        "detect all classes",
    )
    assert [TASKS[name].beams for name in ("coco-captions", "textcaps", "vqav2")] == [2, 3, 1]
    frames = {name: (task.frames.count, task.frames.stride) for name, task in TASKS.items() if task.frames}
    assert frames == {
        "msrvtt-cap": (16, 9), "msrvtt-qa": (16, 9), "activitynet-cap": (16, 30), "activitynet-qa": (16, 70), "vatex": (16, 7),
        "msvd-qa": (8, 26),
    }  # fmt: skip
    plain = {name for name, task in TASKS.items() if task.resize == "reference-plain"}
    assert {"coco-captions", "gqa", "nlvr2", "scienceqa", "refcoco", "pope", "scicap", "textcaps"} <= plain
    assert not {"vqav2", "okvqa", "chartqa", "docvqa", "widgetcap", "ai2d", "rsvqa-hr"} & plain
    assert {name for name, task in TASKS.items() if task.evaluation_resize} == {"ai2d", "rsvqa-lr", "rsvqa-hr", "vizwiz"}
    assert [TASKS[name].length for name in ("vsr", "scienceqa", "grandstaff", "fintabnet")] == [18, 512, 1024, 4096]


def test_all_of_them() -> None:
    assert len(TASKS) >= 50
    for name, task in TASKS.items():
        assert task.name == name
        assert task.reader in READERS
        assert bool(task.recipes) != bool(task.start)
        assert task.start in ("", *TASKS)
        assert not task.recipes or task.train
        assert set(task.recipes) <= {224, 448, 896}
        assert not set(task.local) & set(task.evaluate)
        assert task.prompt_of(ASKED)
        assert name in RESULTS
        for recipe in task.recipes.values():
            assert recipe.epochs is None or recipe.steps is None
            assert recipe.weight_decay == 0 or recipe.decay == pytest.approx(0.1)  # all the papers have, or none
            assert 0 <= recipe.dropout < 1
            assert 0 <= recipe.smoothing < 1
    assert set(RESULTS) <= set(TASKS)


def test_the_page_has_them_all() -> None:
    page = (Path(__file__).parents[4] / "docs" / "systems" / "paligemma-tasks.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (.*)$", page, re.MULTILINE))
    assert list(rows) == list(TASKS)
    assert all(task.prompt in rows[name] and f"| {task.metric} |" in rows[name] for name, task in TASKS.items())


def test_a_run_has_the_numbers_of_its_size() -> None:
    run = task_run("refcoco", 448, seed=3)
    assert (run.task, run.image_size, run.epochs, run.lr, run.seed) == ("refcoco", 448, 100, 1e-5, 3)
    assert (run.learning.length, run.learning.smoothing, run.learning.mean) == (48, 0.3, "examples")
    assert (task_run("refcoco").lr, task_run("refcoco").image_size) == (3e-5, None)
    assert task_run("docvqa", 900) == dataclasses.replace(task_run("docvqa", 896), image_size=900)
    assert task_run("gqa", 448).freeze == "vision-encoder"
    assert (task_run("icdar15").steps, task_run("vsr").epochs) == (15_000, TRANSFER.epochs)
    for name, words in (("vqa2", "did you mean vqav2"), ("nothing like it", "it is one of")):
        with pytest.raises(BadInput, match=words):
            task_named(name)
    with pytest.raises(BadInput, match="a model that learned vqav2 is tried on it"):
        task_run("pope")


def test_tasks_are_known_without_torch() -> None:
    modules = "tapetum.systems.paligemma.transfer.tasks, tapetum.systems.paligemma.transfer.data"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
