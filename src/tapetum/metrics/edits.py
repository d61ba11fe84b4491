"""Edit distances: the minimum number of insertions, deletions and replacements that turn one sequence into another."""

from collections.abc import Hashable, Sequence


def levenshtein(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Compute the Levenshtein distance of two texts, or of two lists of words.

    >>> levenshtein("kitten", "sitting"), levenshtein(["a", "cat"], ["cat"])
    (3, 1)
    """
    begin, end = 0, 0
    least = min(len(a), len(b))
    while begin < least and a[begin] == b[begin]:
        begin += 1
    while end < least - begin and a[-1 - end] == b[-1 - end]:
        end += 1
    a, b = a[begin : len(a) - end], b[begin : len(b) - end]
    if len(a) > len(b):
        a, b = b, a
    row = list(range(len(a) + 1))
    for j, other in enumerate(b, 1):
        corner, row[0] = row[0], j
        left = j
        for i, item in enumerate(a, 1):
            above = row[i]
            if item == other:
                left = corner
            else:
                left = 1 + (corner if corner < above and corner < left else above if above < left else left)
            row[i], corner = left, above
    return row[-1]
