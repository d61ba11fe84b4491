"""Training by the name of a task, tiny: official files in, weights and the task's own score out."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tapetum
from support.paligemma_folder import WORDS, tiny_folder
from support.question_sets import fill, make_set
from tapetum.app.shell.main import parse
from tapetum.app.shell.settings import settings_of
from tapetum.core.errors import BadInput
from tapetum.systems.paligemma.masks import codec as mask_codec
from tapetum.systems.paligemma.masks.codec import MaskCodec
from tapetum.systems.paligemma.masks.config import SMALL
from tapetum.systems.paligemma.recipes import PaliGemmaTransfer
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.systems.paligemma.transfer.data import read_examples
from tapetum.systems.paligemma.transfer.run import train_transfer
from tapetum.systems.paligemma.transfer.tasks import TASKS, task_run
from tapetum.systems.paligemma.weights import save
from tapetum.train.launch_config import Launch


def parsed(words: str) -> PaliGemmaTransfer:
    return parse(["train", "paligemma-transfer", *words.split()]).recipe


def test_the_numbers_of_a_task_are_the_defaults() -> None:
    assert parsed("--data d --out o") == PaliGemmaTransfer(data="d")
    assert parsed("--task vqav2 --data d --out o") == task_run("vqav2", data="d")
    assert parsed("--task vqav2 --data d --out o --image-size 448") == task_run("vqav2", 448, data="d")
    mine = parsed("--task refcoco --data d --out o --image-size 448 --lr 1e-4 --length 40 --freeze vision-encoder")
    common = task_run("refcoco", 448, data="d", lr=1e-4, freeze="vision-encoder")
    assert mine == replace(common, learning=replace(common.learning, length=40))
    with pytest.raises(BadInput, match="invalid choice 'pope'"):
        parsed("--task pope --data d --out o")


def test_a_run_repeats_itself_by_its_settings(tmp_path: Path) -> None:
    made = parse(
        ["train", "paligemma-transfer", "--task", "icdar15", "--data", "d", "--out", "o", "--image-size", "448", "--lr", "3e-5"]
    )
    (tmp_path / "run.toml").write_text(settings_of(made, "paligemma-transfer", "tapetum train paligemma-transfer"))
    assert parsed(f"--config {tmp_path / 'run.toml'} --out other") == made.recipe


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["aokvqa-mc", "refcoco", "coco-detection", "msrvtt-qa", "activitynet-cap"])
def test_a_task_is_learned(name: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = tmp_path / "codec.safetensors"
    mask_codec.save(MaskCodec(SMALL).eval(), codec)
    make_set(name, tmp_path / "d")
    splits = {"coco-detection": "val2017", "msrvtt-qa": "test", "activitynet-cap": "val_1"}
    train = splits.get(name, "train")
    fill(read_examples(TASKS[name], tmp_path / "d", [train]))
    few = {"splits": train, "steps": 2, "batch_size": 2, "micro_batch": 2, "codec": str(codec)}
    if name == "coco-detection":
        few["noise_boxes"] = 4
    run = task_run(
        name, data=str(tmp_path / "d"), start=str(weights), checks="" if name == "refcoco" else str(tmp_path / "d"), **few
    )
    said: list[str] = []
    finished = train_transfer(run, Launch(out=tmp_path / "run", threads=1, device="cpu"), said.append)
    assert finished is not None
    assert "2 steps" in said[0]
    before, after = (tapetum.load(path).state_dict() for path in (weights, finished.weights))
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    frozen = name in ("msrvtt-qa", "activitynet-cap")
    assert any(key.startswith("language.") for key in changed)
    assert any(key.startswith(("vision_encoder.", "projector.")) for key in changed) != frozen
    if name != "refcoco":
        first = {"coco-detection": "AP", "activitynet-cap": "CIDEr"}.get(name, "accuracy")
        assert next(iter(finished.scores)) == first


def test_what_cannot_be_learned(weights: Path, tmp_path: Path) -> None:
    launch = Launch(out=tmp_path / "run", threads=1, device="cpu")
    make_set("docvqa", tmp_path / "d")
    for changes, words in (
        ({"task": "docvqua"}, "did you mean docvqa"),
        ({"splits": "dev"}, "no split 'dev'"),
        ({"data": str(tmp_path / "none")}, "no folder"),
    ):
        run = replace(task_run("docvqa", data=str(tmp_path / "d"), start=str(weights), splits="val"), **changes)
        with pytest.raises(BadInput, match=words):
            train_transfer(run, launch, lambda text: None)


def test_a_tokenizer_of_another_model_is_refused_before_the_first_step(weights: Path, tmp_path: Path) -> None:
    start, launch = tmp_path / "model.safetensors", Launch(out=tmp_path / "run", threads=1, device="cpu")
    save(tapetum.load(weights), start, tokenizer=Tokens.beside(weights).identity)
    (tmp_path / "d.jsonl").write_text("")
    larger, other = r"the tokenizer has \d+ tokens and the weights \d+", "the tokenizer is another one"
    for pieces, begun, words in ((350, weights, larger), (330, start, other)):
        tokens = tmp_path / f"{pieces}.model"
        Tokens.train([*WORDS, "unheard words"] * 2, pieces, tokens)
        run = PaliGemmaTransfer(data=str(tmp_path / "d.jsonl"), start=str(begun), tokenizer=str(tokens))
        with pytest.raises(BadInput, match=words):
            train_transfer(run, launch, lambda text: None)
    assert not launch.out.exists()
