"""A tiny WordNet in the files of the real one (wndb(5WN)): index, data and exceptions of four parts of speech."""

from collections.abc import Mapping, Sequence
from pathlib import Path

LETTERS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
LICENCE = "  1 A licence stands in lines that begin with two spaces.  \n"
SYNSETS: Mapping[str, Sequence[tuple[str, ...]]] = {
    "noun": (
        ("entity",),
        ("animal", "entity"),
        ("dog hound", "animal"),
        ("cat", "animal"),
        ("person", "entity"),
        ("adult", "person"),
        ("woman lady", "adult"),
        ("pet", "entity"),
        ("lapdog", "pet", "dog"),  # two ways to the root, of 2 and of 3 steps
        ("puppy", "lapdog"),
        ("lapcat", "pet", "cat"),
        ("Rex", "dog"),
        ("cat", "person"),  # the second sense
    ),
    "verb": (("move",), ("walk", "move"), ("run", "move"), ("run", "walk"), ("think",), ("guess", "think")),
    "adj": (("red",), ("blue",), ("big",)),
    "adv": (("slowly",),),
}
"""Words of each synset, then the first words of its hypernyms; Rex is an instance."""
EXCEPTIONS = {"noun": "women woman\n", "verb": "ran run\nthought think\n", "adj": "", "adv": ""}


def write_wordnet(folder: Path, **parts: Sequence[tuple[str, ...]]) -> Path:
    """Write the twelve files, of `SYNSETS` but for `parts`; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, synsets in {**SYNSETS, **parts}.items():
        lines = _data_lines(part, synsets, [0] * len(synsets))
        offsets = [len(LICENCE) + sum(map(len, lines[:number])) for number in range(len(lines))]
        lines = _data_lines(part, synsets, offsets)
        (folder / f"data.{part}").write_text(LICENCE + "".join(lines))
        senses: dict[str, list[int]] = {}
        for synset, offset in zip(synsets, offsets, strict=True):
            for word in synset[0].lower().split():
                senses.setdefault(word, []).append(offset)
        index = "".join(
            f"{word} {LETTERS[part]} {len(its)} 1 @ {len(its)} 0 {' '.join(f'{each:08}' for each in its)}  \n"
            for word, its in sorted(senses.items())
        )
        (folder / f"index.{part}").write_text(LICENCE + index)
        (folder / f"{part}.exc").write_text(EXCEPTIONS[part])
    return folder


def _data_lines(part: str, synsets: Sequence[tuple[str, ...]], offsets: Sequence[int]) -> list[str]:
    letter, first, lines = LETTERS[part], [each[0].split()[0] for each in synsets], []
    for offset, (words, *hypernyms) in zip(offsets, synsets, strict=True):
        symbol = "@i" if words == "Rex" else "@"
        pointers = "".join(f" {symbol} {offsets[first.index(each)]:08} {letter} 0000" for each in hypernyms)
        named = " ".join(f"{word} 0" for word in words.split())
        lines.append(f"{offset:08} 03 {letter} {len(words.split()):02x} {named} {len(hypernyms):03}{pointers} | a gloss  \n")
    return lines
