"""Transfers from lines of JSON, from end to end, tiny; rules of stages; samples and texts."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.encoders.config import DecoderConfig
from tapetum.systems.paligemma import config as configs
from tapetum.systems.paligemma import weights
from tapetum.systems.paligemma.config import PaliGemmaConfig, siglip
from tapetum.systems.paligemma.data import JsonLinesSamples, unlearned
from tapetum.systems.paligemma.locations import parse
from tapetum.systems.paligemma.model import build
from tapetum.systems.paligemma.recipes import Learning, published_stage, stage0, stage1, transfer
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.systems.paligemma.transfer.run import WithNoise, train_transfer
from tapetum.systems.paligemma.transfer.samples import detection_pair, noise_boxes
from tapetum.train.launch_config import Launch
from tapetum.types import Boxes

TINY = PaliGemmaConfig(
    vision_encoder=siglip(112, width=16, depth=1, heads=2, mlp_width=16, patch=16, stem="convolutions", stem_blocks=1),
    language=DecoderConfig(width=16, depth=1, heads=2, key_value_heads=1, head_width=8, mlp_width=16, vocabulary=1500),
    prefix_mask="blocks",
    newline=4,
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configs.NAMED, "tiny", TINY)


def launch(out: Path) -> Launch:
    return Launch(out=out, threads=1, device="cpu")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a tiny model, beside its tokenizer."""
    out = tmp_path_factory.mktemp("start")
    known = Tokens.train(["answer en what colour is it red blue"] * 9, 290, out / "tokenizer.model")
    torch.manual_seed(0)
    weights.save(build(TINY), out / "model.safetensors", torch.float32, known.identity)
    return out / "model.safetensors"


def test_rules_of_a_stage() -> None:
    run = stage1("images", vision_encoder_lr_scale=0.5)
    assert [(rule.pattern, rule.frozen) for rule in run.rules()] == [("vision_encoder.*", False)]
    patterns = [(rule.pattern, rule.frozen) for rule in replace(run, freeze="vision-encoder").rules()]
    assert patterns == [("vision_encoder.*", True), ("projector.*", True)]
    patterns = [(rule.pattern, rule.frozen) for rule in replace(run, freeze="language").rules()]
    assert patterns == [("vision_encoder.*", False), ("language.*", True)]
    with pytest.raises(BadInput, match="stage 0 learns the vision encoder alone; leave --freeze out"):
        stage0("images", freeze="language")


@pytest.mark.slow
def test_the_papers_stages_have_its_tasks_and_stage_2_more_of_text_boxes_and_masks() -> None:
    first, second = (vars(published_stage(stage).mixture) for stage in "12")
    assert {name for name in first if not first[name]} == {"descriptions", "detect_all"}  # of mixed models, and of transfers
    assert {name for name in first if second[name] > first[name]} == {"ocr", "detect", "segment"}


def lines(folder: Path, count: int = 6) -> Path:
    """A task that a model learns at once: say which of two colours the image has."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        name, rgb = ("red", (220, 20, 20)) if number % 2 else ("blue", (20, 20, 220))
        Image.new("RGB", (50 + number, 40), rgb).save(folder / f"{number}.png")
        rows.append({"image": f"{number}.png", "prefix": "answer en colour", "suffix": [name]})
    path = folder / "task.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.slow
def test_a_transfer_teaches_a_task_and_lora_leaves_the_rest(start: Path, tmp_path: Path) -> None:
    data = lines(tmp_path / "data")
    told: list[str] = []
    settings = {
        "epochs": 80,
        "batch_size": 6,
        "micro_batch": 6,
        "lr": 3e-2,
        "checks": str(data),
        "learning": Learning(length=20),
    }
    finished = train_transfer(transfer(str(data), str(start), **settings), launch(tmp_path / "all"), told.append)
    assert finished is not None
    assert finished.scores["exact"] == 1
    assert told[0] == "6 examples, 80 steps"
    adapted = train_transfer(
        transfer(str(data), str(start), **settings | {"epochs": 2}, lora_rank=2), launch(tmp_path / "lora"), told.append
    )
    assert adapted is not None
    before, after = (weights.load(path).state_dict() for path in (start, adapted.weights))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("language.blocks.") for name in changed)


@pytest.mark.slow
def test_freezing_the_eye_freezes_the_projector(start: Path, tmp_path: Path) -> None:
    data = lines(tmp_path / "data")
    few = {"epochs": 1, "batch_size": 6, "lr": 1e-2}
    moved = {}
    for freeze in ("vision-encoder", "vision-encoder-alone", "language"):
        found = train_transfer(
            transfer(str(data), str(start), freeze=freeze, **few), launch(tmp_path / freeze), lambda text: None
        )
        assert found is not None
        before, after = (weights.load(path).state_dict() for path in (start, found.weights))
        moved[freeze] = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {
        "vision-encoder": {"language"},
        "vision-encoder-alone": {"language", "projector"},
        "language": {"vision_encoder", "projector"},
    }


def test_samples_of_a_file_are_functions_of_seed_and_number(tmp_path: Path) -> None:
    data = JsonLinesSamples(lines(tmp_path), 28)
    order = [data.draw(4, n).pairs[0].suffix for n in range(12)]
    assert order == [data.draw(4, n).pairs[0].suffix for n in range(12)]
    assert order[:6].count("red") == order[6:].count("red") == 3  # each epoch sees each once
    assert data.draw(4, 0).pixels.shape == (1, 3, 28, 28)
    sample, answers = data.read(1)
    assert answers == (("red",),)
    np.testing.assert_allclose(sample.pixels[0, :, 0, 0], np.array([220, 20, 20]) / 127.5 - 1, atol=1e-6)


def test_lines_about_one_image_are_learned_together(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    rows = [{"image": "a.png", "prefix": f"p{n}", "suffix": "s"} for n in range(3)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(JsonLinesSamples(path, 14)) == 3
    together = JsonLinesSamples(path, 14, per_image=2)
    assert len(together) == 1
    assert len({pair.prefix for pair in together.draw(0, 0).pairs}) == 2


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"image": "a.png", "prefix": "p"}, "has no image, prefix and suffix"),
        ({"image": "a.png", "prefix": "p", "suffix": 3}, "suffix is 3"),
        ({"image": [], "prefix": "p", "suffix": "s"}, "image is"),
        ({"image": "a.png", "prefix": ["p"], "suffix": "s"}, "prefix is"),
    ],
)
def test_lines_that_cannot_be_used_are_named(tmp_path: Path, row: dict, told: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(BadInput, match=f"line 1.*{told}"):
        JsonLinesSamples(path, 14)


def tokens(path: Path) -> Tokens:
    return Tokens.train(
        ["answer en what colour is it", "detect all classes noise cat dog ; "] * 9, 290, path / "tokenizer.model"
    )


def test_places_of_noise_carry_no_loss_and_its_name_does(tmp_path: Path) -> None:
    known = tokens(tmp_path)
    boxes = Boxes(xyxy=np.array([[0, 0, 50, 40], [30, 30, 80, 90.0]]), labels=["cat", "dog"])
    pair = detection_pair(boxes, 100, 100, 5, np.random.default_rng(0))
    found = parse(pair.suffix, 100, 100)
    assert sorted(found.boxes.labels) == ["cat", "dog", "noise", "noise", "noise"]
    assert found.malformed == 0
    numbers = known.encode_suffix(pair.suffix)
    marks = unlearned(numbers, known, pair.unlearned)
    drawn = "".join("L" if known.is_location(n) else "w" for n, m in zip(numbers, marks, strict=True) if m)
    assert drawn.count("L") == 2 * 4
    silent = [n for n, m in zip(numbers, marks, strict=True) if not m]
    assert len(silent) == 3 * 4
    assert all(known.is_location(n) for n in silent)
    with pytest.raises(BadInput, match="noise"):
        detection_pair(Boxes(xyxy=boxes.xyxy[:1], labels=["noise"]), 100, 100, 2, np.random.default_rng(0))


def test_boxes_of_noise_lie_in_the_image() -> None:
    made = noise_boxes(np.array([[10, 10, 20, 30.0]]), 500, 100, 60, np.random.default_rng(1))
    assert (made[:, :2] < made[:, 2:]).all()
    assert made.min() >= 0
    assert made[:, [0, 2]].max() <= 100.2
    near = np.abs(made - [10, 10, 20, 30]).max(1) < 20
    assert 150 < near.sum() < 400
    assert made[:, 2].max() > 95
    assert 55 < made[:, 3].max() <= 60.2
    cat = Boxes(xyxy=np.array([[10, 10, 20, 30.0]]), labels=["cat"])
    wide = parse(detection_pair(cat, 400, 50, 60, np.random.default_rng(2)).suffix, 400, 50).boxes
    assert 350 < wide.xyxy[:, 2].max() <= 400
    assert 1 < np.median(wide.xyxy[1:, 3]) < 49


def test_lists_of_a_file_are_filled_up(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    path = tmp_path / "rows.jsonl"
    row = {"image": "a.png", "prefix": "detect all classes", "suffix": "<loc0000><loc0000><loc0500><loc0500> cat"}
    path.write_text(json.dumps(row) + "\n")
    filled = WithNoise(JsonLinesSamples(path, 14), 4)
    [pair] = filled.draw(0, 0).pairs
    assert pair.suffix.count("noise") == 3
    assert "<loc0000><loc0000><loc0500><loc0500> cat" in pair.suffix
    assert filled.draw(0, 0).pairs == filled.draw(0, 0).pairs
