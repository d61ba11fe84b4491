"""A tiny PaliGemma with random weights in a file, its tokenizer beside it, as a person has them."""

from dataclasses import replace
from pathlib import Path

from support.paligemma import GEMMA, TINY, tiny
from tapetum.systems.paligemma import weights
from tapetum.systems.paligemma.tokens import Tokens

WORDS = [
    "answer en what is it ?",
    "caption en",
    "detect all classes",
    "a red cat ; two dogs",
    "choose from: The answer is B.",
] * 9


def tiny_folder(folder: Path) -> Path:
    """Write model.safetensors and tokenizer.model into a folder; gives the former."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = Tokens.train(WORDS, 330, folder / "tokenizer.model")
    config = replace(TINY, language=replace(GEMMA, vocabulary=tokens.size), newline=tokens.newline[0])
    weights.save(tiny(config), folder / "model.safetensors")
    return folder / "model.safetensors"
