"""Which scripts a text encoder cannot read, measured by what its tokenizer makes of words in them. Imports no torch.

A tokenizer refuses no text: SentencePiece puts one unknown token in place of a run of letters that it does not know, or its
bytes; byte pairs make bytes of it. The network then sees next to nothing of the words. So a script counts as unread where

    SentencePiece   more than half of the tokens of its words are unknown, or single bytes
    byte pairs      its words have more than `MOST_TOKENS` tokens a letter

With OpenAI CLIP's vocabulary, sentences in German, French, Spanish, Polish and Turkish have 0.4 to 0.8 tokens a letter, and
those in Russian, Arabic, Greek, Hebrew, Hindi, Thai, Korean, Chinese and Japanese 0.95 to 3: each letter is spelled. The Latin
script is not looked at: of a language in it that the model has not learned, the tokens say nothing.
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
    """Find the scripts of texts that a text encoder cannot read, in the order in which they come."""
    words: dict[str, list[str]] = {}
    for text in texts:
        for script, word in words_of(text):
            words.setdefault(script, []).append(word)
    return tuple(script for script, some in words.items() if _is_unread(tokenizer, some))


def words_of(text: str) -> Iterator[tuple[str, str]]:
    """Yield the words of a text that are not in the Latin script, each with the name of its script.

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
