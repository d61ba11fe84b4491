"""The detection transfer's other half: boxes are asked for without noise and without an end, and scored by their class."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from support.paligemma import GEMMA, TINY, tiny
from support.question_sets import make_set
from tapetum.bench.paligemma_tasks import make_answers
from tapetum.core.errors import BadInput
from tapetum.systems.paligemma.answers import Answerer
from tapetum.systems.paligemma.tokens import EOS, Tokens
from tapetum.systems.paligemma.transfer.samples import NOISE, first_boxes, forbidden_ids, label_chances
from tapetum.systems.paligemma.transfer.tasks import TASKS

BOX = "<loc0001><loc0002><loc0300><loc0400>"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    """A tokenizer that writes " noise", " cat", " ;" as one piece each, and " red cup" as two."""
    path = tmp_path_factory.mktemp("tokens") / "tokenizer.model"
    return Tokens.train(["a noise cat ; red cup ; cat ; noise red cup"] * 40, 285, path)


def test_chances_are_those_of_the_class(tokens: Tokens) -> None:
    """Of all of its pieces, whatever stands between boxes; places count for nothing, and a box without a name is sure."""
    ids = tokens.encode(f"{BOX} red cup ; {BOX}{BOX} cat ; {BOX}")
    named = {number: 0.5 for text in (" red cup", " cat") for number in tokens.encode(text)}
    values = [math.log(named.get(number, 0.3 if tokens.is_location(number) else 0.2)) for number in ids]
    cup, cat = (0.5 ** len(tokens.encode(text)) for text in (" red cup", " cat"))
    assert label_chances(tokens, ids, values) == pytest.approx([cup] * 4 + [cat] * 8 + [1.0] * 4)
    assert label_chances(tokens, tokens.encode("cat"), [-1.0]) == []


def test_the_first_boxes_of_an_answer(tokens: Tokens) -> None:
    ids = tokens.encode(f"{BOX} cat ; {BOX} red cup ; {BOX} cat")
    assert tokens.decode(ids[: first_boxes(tokens, ids, 2)]).strip() == f"{BOX} cat ; {BOX} red cup ;"
    assert first_boxes(tokens, ids, 3) == first_boxes(tokens, ids, 9) == len(ids)


def test_what_is_forbidden(tokens: Tokens) -> None:
    assert forbidden_ids(tokens, ["cat", "red cup"]) == (tokens.encode(f" {NOISE}")[0], EOS)
    with pytest.raises(BadInput, match=r"the class 'noises' begins with .* ask without --noise-boxes"):
        forbidden_ids(tokens, ["cat", "noises"])


def test_a_model_names_as_many_boxes_and_never_ends(tokens: Tokens, tmp_path: Path) -> None:
    language = replace(GEMMA, vocabulary=tokens.size)
    answerer = Answerer(tiny(replace(TINY, language=language, newline=tokens.newline[0])), tokens)
    task, examples, file = TASKS["coco-detection"], make_set("coco-detection", tmp_path / "data"), tmp_path / "said.jsonl"
    found = make_answers(answerer, task, examples, noise_boxes=2, save=file)
    assert "noise_boxes" in file.read_text()
    for key, text in found.texts.items():
        ids = tokens.encode(text)
        assert not set(ids) & set(forbidden_ids(tokens, ["cup", "cat"]))
        assert sum(map(tokens.is_location, ids)) <= 8
        assert len(found.chances[key]) == sum(tokens.is_location(n) or tokens.is_segment(n) for n in ids)
    heard: list[str] = []
    make_answers(answerer, task, examples, save=file, longest=2, note=heard.append)
    assert "in longest and noise boxes" in heard[0]


def test_a_sum_of_rounded_logarithms_is_no_chance_above_one(tokens: Tokens) -> None:
    ids = tokens.encode(f"{BOX} cat")
    for text in (ids, [*ids, tokens.encode("x ;")[-1]]):
        assert label_chances(tokens, text, [1e-6] * len(text)) == [1.0] * 4
