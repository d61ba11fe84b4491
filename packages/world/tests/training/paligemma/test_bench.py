"""Scores on images of scenes: options weighed by hand, boxes with scores, tables, and what the blind are shown."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tapetum.core.errors import BadInput
from tapetum.encoders.config import DecoderConfig
from tapetum.systems.paligemma.config import PaliGemmaConfig, siglip
from tapetum.systems.paligemma.model import PaliGemma, build
from tapetum.systems.paligemma.tokens import Tokens
from tapetum_world.commands.evaluate import SceneScores
from tapetum_world.training.paligemma.bench import (
    SceneTestSet,
    embed_images,
    evaluate,
    greedy_answers,
    score_questions,
    scored_boxes,
    summarize_by_template,
)
from world_support.scene_folder import write_scene_folder


@pytest.fixture(scope="module")
def test_set(tmp_path_factory: pytest.TempPathFactory) -> SceneTestSet:
    return SceneTestSet(write_scene_folder(tmp_path_factory.mktemp("test_set") / "made", count=4))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    lines = ["answer en What colour is the block? red green blue", "detect all classes ; box ball two three"] * 9
    return Tokens.train(lines, 310, tmp_path_factory.mktemp("tokens") / "tokenizer.model")


@pytest.fixture(scope="module")
def model(tokens: Tokens) -> PaliGemma:
    language = DecoderConfig(width=16, depth=1, heads=2, key_value_heads=1, head_width=8, mlp_width=16, vocabulary=tokens.size)
    sight = siglip(112, width=16, depth=1, heads=2, mlp_width=16, patch=16)
    return build(PaliGemmaConfig(vision_encoder=sight, language=language, newline=tokens.newline[0]))


def test_the_likeliest_option_is_chosen(test_set: SceneTestSet, tokens: Tokens, model: PaliGemma) -> None:
    rows = score_questions(model, tokens, test_set, embed_images(model, test_set))
    assert len(rows) == len(test_set.questions) == 16
    for q, row in zip(test_set.questions[:6], rows, strict=False):
        prefix = torch.tensor([tokens.encode_prefix(f"answer en {q.text}")])
        image = test_set.folder.read(q.image)
        pixels = torch.from_numpy(image.rgb.copy()).permute(2, 0, 1)[None, None] / 127.5 - 1
        sure = []
        for option in q.options:
            suffix = torch.tensor([tokens.encode_suffix(option)])
            with torch.no_grad():
                told = model.logits(pixels, prefix, suffix).log_softmax(-1)
            sure.append(float(told.gather(-1, suffix[..., None]).sum()))
        assert row["chosen"] == (q.options[int(np.argmax(sure))] == q.answer)
        answer = tokens.decode(model.generate_ids(pixels, prefix, 24)[0])
        assert row["text"] == answer
        assert row["greedy_answers"] == (answer == q.answer)


def test_what_is_written_comes_with_how_likely_it_was(test_set: SceneTestSet, tokens: Tokens, model: PaliGemma) -> None:
    seen = embed_images(model, test_set)
    prefix = torch.tensor([tokens.encode_prefix("detect all classes")])
    [(ids, sure)] = greedy_answers(model, seen[:1], prefix, 5)
    assert ids == greedy_answers(model, seen[:1], prefix, 5)[0][0]
    assert len(ids) == len(sure) > 0
    told = model.language.logits(model.read(seen[:1], prefix, torch.tensor([ids]))).log_softmax(-1)
    by_hand = told[0].gather(-1, torch.tensor(ids)[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(sure), by_hand.detach(), atol=1e-4, rtol=1e-4)


def test_each_box_has_the_mean_of_its_tokens(tokens: Tokens) -> None:
    text = "<loc0000><loc0000><loc0512><loc1023> ball ; <loc0100><loc0100><loc0200><loc0300> box"
    ids = tokens.encode(text)
    cut = ids.index(tokens.encode(" ;")[-1])
    sure = [np.log(0.5)] * cut + [0.0] + [np.log(0.25)] * (len(ids) - cut - 1)
    boxes = scored_boxes(tokens, ids, sure, 1023, 1023)
    assert boxes.labels == ("ball", "box")
    np.testing.assert_allclose(boxes.xyxy, [[0, 0, 1023, 512], [100, 100, 300, 200]], atol=0.01)
    np.testing.assert_allclose(boxes.scores, [0.5, 0.25])
    assert len(scored_boxes(tokens, [], [], 10, 10)) == 0


def test_tables_say_what_was_counted(test_set: SceneTestSet) -> None:
    rows = [
        {"template": "colour", "options": 4, "answer": a, "chosen": c, "greedy_answers": w}
        for a, c, w in (("red", True, True), ("red", True, False), ("blue", False, False))
    ] + [{"template": "count", "options": 2, "answer": "two", "chosen": True, "greedy_answers": True}]
    table = summarize_by_template(rows, test_set)
    assert table["colour"]["chosen"] == pytest.approx(2 / 3)
    assert table["colour"]["greedy_answers"] == pytest.approx(1 / 3)
    assert table["colour"]["chance"] == 0.25
    assert table["colour"]["common"] == pytest.approx(2 / 3)
    assert table["all"]["questions"] == 4
    assert table["all"]["chance"] == pytest.approx((3 / 4 + 1 / 2) / 4)
    low, high = table["all"]["chosen_interval"]
    assert low < 0.75 < high


def test_the_blind_see_other_images_or_none(test_set: SceneTestSet, model: PaliGemma) -> None:
    true, shuffled, grey = (embed_images(model, test_set, sight) for sight in ("true", "shuffled", "grey"))
    torch.testing.assert_close(shuffled, true[[2, 3, 0, 1]])
    torch.testing.assert_close(grey[0], grey[1])
    assert not torch.allclose(true[0], true[1])


def test_everything_is_scored(test_set: SceneTestSet, tokens: Tokens, model: PaliGemma) -> None:
    found = evaluate(model, tokens, test_set, unpack=lambda codes: np.ones((len(codes), 64, 64), np.float32))
    assert found["images"] == 4
    assert {"questions", "questions_shuffled", "questions_grey", "detection", "segmentation"} <= found.keys()
    assert found["detection"]["ap50"] == 0
    assert found["segmentation"]["things"] == 8


def test_the_table_is_printed(test_set: SceneTestSet, tokens: Tokens, model: PaliGemma) -> None:
    table = evaluate(model, tokens, test_set)
    first, *rows = SceneScores(model="small", table=table).as_text().splitlines()
    assert first.split()[:5] == ["questions", "asked", "chance", "written", "chosen"]
    for name, scores in table["questions"].items():
        [row] = [row.split() for row in rows if row.startswith(f"{name} ")]
        assert row[1:5] == [str(scores["questions"])] + [f"{scores[key]:.3f}" for key in ("chance", "greedy_answers", "chosen")]


def test_a_folder_that_is_not_finished_is_refused(test_set: SceneTestSet, tmp_path: Path) -> None:
    folder = write_scene_folder(tmp_path / "half", count=1)
    (folder / "images.jsonl").unlink()
    with pytest.raises(BadInput, match="not finished"):
        SceneTestSet(folder)


def test_images_without_a_question_are_refused(tmp_path: Path) -> None:
    folder = write_scene_folder(tmp_path / "made", count=2)
    rows = [json.loads(row) for row in (folder / "images.jsonl").read_text().splitlines()]
    (folder / "images.jsonl").write_text("".join(json.dumps({**row, "questions": []}) + "\n" for row in rows))
    with pytest.raises(BadInput, match=r"none of the 2 images of .* has a question"):
        SceneTestSet(folder)
