"""Write the table of words of `tapetum.encoders.wordnet` from WordNet 3.0 (on Debian: package wordnet-base).

    python docs/tools/wordnet_table.py /usr/share/wordnet src/tapetum/encoders/wordnet.txt

A line per synset that is an ImageNet class or a hypernym of one: number, parents, words, gloss. Then words of several senses
with the most frequent one, words whose most frequent sense is a thing outside the table, with its gloss, words of things that
are a kind of one of the table, and irregular plurals.
"""

import sys
from pathlib import Path

from tapetum.encoders.imagenet import synsets

HEADER = """\
# Words of WordNet 3.0, Copyright 2006 by Princeton University, whose licence (WordNet 3.0 license) follows in brief:
# permission to use, copy, modify and distribute this database for any purpose and without fee is granted, provided that
# this notice appears on all copies. It is provided "as is", without warranty of any kind; Princeton University's name may not
# be used in advertising. Title to copyright remains with Princeton University.
# Written by docs/tools/wordnet_table.py, which says what the lines are."""
CONCRETE = {"05", "06", "08", "13", "17", "20"}
"""Files of WordNet's lexicographers whose nouns can be seen: animal, artifact, body, food, object, plant."""


def main(source: Path, out: Path) -> None:
    nouns = read_nouns(source / "data.noun")
    numbers: set[str] = set()
    waiting = [number[1:] for number in synsets()]
    while waiting:
        if (number := waiting.pop()) not in numbers:
            numbers.add(number)
            waiting += nouns[number][2]
    lines = [HEADER]
    for number in sorted(numbers):
        _, words, parents, gloss = nouns[number]
        lines.append("\t".join([number, ",".join(parents), ",".join(words), gloss.partition(";")[0]]))
    known = {word.lower() for number in numbers for word in nouns[number][1]}
    for word, (first, *more) in sorted(read_index(source / "index.noun").items()):
        kind, _, _, gloss = nouns[first]
        if word in known and first in numbers and numbers.intersection(more):
            lines.append(f"first\t{word}\t{first}")
        elif word in known and first not in numbers and kind in CONCRETE:
            lines.append(f"other\t{word}\t{gloss.partition(';')[0]}")
        elif word not in known and word.isalpha() and kind in CONCRETE:
            lines += [f"kind\t{word}\t{parent}" for parent in nouns[first][2][:1] if parent in numbers]
    for line in (source / "noun.exc").read_text().splitlines():
        plural, *singulars = line.replace("_", " ").split()
        if len(singulars) == 1 and singulars[0] in known and plural not in known:
            lines.append(f"plural\t{plural}\t{singulars[0]}")
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_nouns(file: Path) -> dict[str, tuple[str, list[str], list[str], str]]:
    """Read WordNet's data.noun (wndb(5WN)): file of the lexicographer, words, hypernyms, gloss, by synset."""
    nouns = {}
    for line in file.read_text().splitlines():
        if line.startswith("  "):  # the licence
            continue
        head, _, gloss = line.partition(" | ")
        number, kind, _, count, *fields = head.split()
        words = [word.replace("_", " ") for word in fields[: 2 * int(count, 16) : 2]]
        pointers = fields[2 * int(count, 16) + 1 :]
        parents = [pointers[k + 1] for k in range(0, len(pointers), 4) if pointers[k] in ("@", "@i")]
        nouns[number] = kind, words, parents, gloss.strip()
    return nouns


def read_index(file: Path) -> dict[str, list[str]]:
    """Read WordNet's index.noun: synsets by word, the most frequent sense first."""
    index = {}
    for line in file.read_text().splitlines():
        if not line.startswith("  "):
            word, _, senses, pointers, *fields = line.split()
            index[word.replace("_", " ")] = fields[int(pointers) + 2 :][: int(senses)]
    return index


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
