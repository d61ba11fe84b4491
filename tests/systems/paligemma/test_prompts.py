"""Prompts, letter by letter as the public configs have them."""

import pytest

from tapetum.core.errors import BadInput
from tapetum.systems.paligemma import prompts


def test_prompts_are_those_of_the_reference():
    assert prompts.caption() == "caption en"
    assert prompts.caption("de") == "caption de"
    assert prompts.describe() == "describe en"
    assert prompts.answer("where is it?") == "answer en where is it?"
    assert prompts.question("a dog") == "question en a dog"
    assert prompts.detect("cat;dog ") == prompts.detect(["cat", "dog"]) == "detect cat ; dog"
    assert prompts.segment("red cup") == "segment red cup"
    assert prompts.OCR == "ocr"


def test_choices_have_two_spaces_and_a_real_tab():
    assert prompts.choose("Q?", ["a", "b", "c"]) == "answer en  Q? choose from: a \t b \t c"


@pytest.mark.parametrize("things", ["", " ; ", [], [" "]])
def test_nothing_to_look_for_is_refused(things):
    with pytest.raises(BadInput, match="no thing was named"):
        prompts.detect(things)


def test_more_choices_than_letters_are_refused():
    with pytest.raises(BadInput, match="a question has 27 choices"):
        prompts.choose_letter("?", "", ["x"] * 27)
