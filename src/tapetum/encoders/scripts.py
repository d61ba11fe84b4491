"""Which scripts a text encoder cannot read, measured by how its tokenizer splits words in them. Imports no torch.

A tokenizer rejects no text: SentencePiece replaces a run of unknown letters by one unknown token, or by its bytes; byte pairs
fall back to bytes. The network then gets next to nothing of the words. So a script counts as unread if

    SentencePiece   more than half of the tokens of its words are unknown, or single bytes
    byte pairs      its words have more than `MOST_TOKENS` tokens per letter

With OpenAI CLIP's vocabulary, sentences in German, French, Spanish, Polish and Turkish have 0.4 to 0.8 tokens per letter, and
those in Russian, Arabic, Greek, Hebrew, Hindi, Thai, Korean, Chinese and Japanese 0.95 to 3: each letter is spelled out. The
Latin script is not checked: tokens do not show whether the model has learned a language written in it.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from itertools import groupby

from tapetum.encoders.tokenizers import Tokenizer

MOST_TOKENS = 0.9
_MOST_UNKNOWN = 0.5
_NAMES = {"CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}
_READ_BY_ALL = "LATIN", "FULLWIDTH", "MODIFIER", "COMBINING", "MASCULINE", "FEMININE", "MICRO"


def unread_scripts(tokenizer: Tokenizer, texts: Iterable[str]) -> tuple[str, ...]:
    """Find the scripts of texts that a text encoder cannot read, in order of appearance."""
    words: dict[str, list[str]] = {}
    for text in texts:
        for script, word in words_of(text):
            words.setdefault(script, []).append(word)
    return tuple(script for script, some in words.items() if _is_unread(tokenizer, some))


def words_of(text: str) -> Iterator[tuple[str, str]]:
    """Yield the words of a text that are not in the Latin script, with the names of their scripts.

    >>> list(words_of("a photo of a кошка, 猫が"))
    [('Cyrillic', 'кошка'), ('Chinese', '猫'), ('Japanese', 'が')]
    """
    script = ""

    def script_of(letter: str) -> str:
        nonlocal script
        kind = unicodedata.category(letter)[0]
        if kind != "M":  # marks belong to the letter before them
            script = unicodedata.name(letter, "").partition(" ")[0] if kind == "L" else ""
        return script

    for name, letters in groupby(text, script_of):
        if name and name not in _READ_BY_ALL:
            yield _NAMES.get(name, name.capitalize()), "".join(letters)


def _is_unread(tokenizer: Tokenizer, words: list[str]) -> bool:
    if tokenizer.kind == "clip":
        return sum(map(tokenizer.count, words)) > MOST_TOKENS * sum(map(len, words))
    unknown = [each for word in words for each in tokenizer.unknown(word)]
    return bool(unknown) and sum(unknown) > _MOST_UNKNOWN * len(unknown)
