"""Prompts, character for character as in the reference.

Source: PaliGemma (arXiv 2407.07726, 3.2.5 and appendix J) and the public configs of its transfers. There is no template and no
system prompt; case and spaces matter. The paper prints one space after `en` in multiple-choice prompts; the released configs
have two, and a real tab between the options, as does `choose`. BOS and the final newline are added by the tokenizer.
"""

from collections.abc import Sequence

from tapetum.core.errors import BadInput, check_several

OCR = "ocr"
"""All text in the image, line by line."""
DETECT_ALL = "detect all classes"
"""The prompt of the detection transfer (PaliGemma 2, 3.2)."""
BETWEEN = " ; "
"""Separator of objects, in prompts and in answers."""


def caption(language: str = "en") -> str:
    """Write the prompt for a caption. Languages are codes such as en, de, zh."""
    return f"caption {language}"


def describe(language: str = "en") -> str:
    """Write the prompt for a longer description, as in models trained on a mix of tasks."""
    return f"describe {language}"


def caption_region(places: str) -> str:
    """Write the prompt for a caption of the region given by four location tokens, as written by `locations.box_text`.

    >>> caption_region("<loc0000><loc0000><loc0511><loc1023>")
    'caption <loc0000><loc0000><loc0511><loc1023>'
    """
    return f"caption {places}"


def answer(question: str, language: str = "en") -> str:
    """Write the prompt of a question; `language` is the answer's.

    >>> answer("how many cats ?")
    'answer en how many cats ?'
    """
    return f"answer {language} {question}"


def question(answer: str, language: str = "en") -> str:
    """Write the prompt for a question that has this answer."""
    return f"question {language} {answer}"


def detect(things: str | Sequence[str]) -> str:
    """Write the prompt to detect objects: a list of them, or a text such as "cat ; dog". Raises BadInput if there is none.

    >>> detect(["cat", "red dog"])
    'detect cat ; red dog'
    """
    return f"detect {_joined(things)}"


def segment(things: str | Sequence[str]) -> str:
    """Write the prompt to segment objects, given as for `detect`."""
    return f"segment {_joined(things)}"


def choose(question: str, choices: Sequence[str], language: str = "en") -> str:
    """Write the prompt of a question with choices, as for A-OKVQA and AI2D.

    >>> choose("what is it?", ["a cat", "a dog"])
    'answer en  what is it? choose from: a cat \\t a dog'
    """
    check_several(choices, "choices")
    return f"answer {language}  {question} choose from: " + " \t ".join(choices)


def choose_letter(question: str, hint: str, choices: Sequence[str]) -> str:
    """Write the prompt of ScienceQA, whose answer is a letter: "The answer is B.". Raises BadInput for more than 26 choices.

    >>> choose_letter("Which?", "", ["this", "that"])
    'Question: Which?\\nContext: \\nOptions: (A) this, (B) that\\nAnswer:'
    """
    check_several(choices, "choices")
    if len(choices) > 26:
        raise BadInput(f"a question has {len(choices)} choices; there are letters for 26: give fewer")
    options = ", ".join(f"({chr(65 + k)}) {choice}" for k, choice in enumerate(choices))
    return f"Question: {question}\nContext: {hint}\nOptions: {options}\nAnswer:"


def split_things(things: str) -> list[str]:
    """Split the objects of a text such as "cat ; dog", without empty ones.

    >>> split_things("cat;red dog ; ")
    ['cat', 'red dog']
    """
    return [part.strip() for part in things.split(";") if part.strip()]


def _joined(things: str | Sequence[str]) -> str:
    names = split_things(things) if isinstance(things, str) else [part for thing in things for part in split_things(thing)]
    if not names:
        raise BadInput('no thing was named; say what to look for, such as "cat ; dog"')
    return BETWEEN.join(names)
