"""TEDS, the similarity of two HTML tables (Zhong, ShafieiBavani, Jimeno Yepes, arXiv 1911.10683, section 5).

    <table> ─ <tr> ─ <td colspan rowspan> content       a tree: every other element a node, a cell a leaf with its content

    TEDS = 1 - (edit distance of the trees) / (nodes of the larger one)

To insert or delete a node costs 1; to replace one costs 1 where tag or spans differ, else between cells the edit distance of
their contents by the longer one (characters, and tags within a cell, are one unit each), else 0.

Unusual, kept from the public code: the nodes counted are the elements below <table>, without it and with those inside cells;
<th> is a node like <tr>, not a cell. S-TEDS ignores the contents of cells. Where either text holds no table, TEDS is 0.

Differs: the trees' distance is the algorithm of Zhang and Shasha (SIAM J. Comput. 1989), not APTED: the least cost is the same.
The parser is Python's own, which closes what HTML lets open (td, tr, thead, tbody) and else takes tags as they come; lxml mends
broken HTML in ways of its own. A span that is no whole number from 1 on counts as 1, where the public code fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

import numpy as np

from tapetum.metrics.text import levenshtein

_VOID = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"))
_CLOSES = {
    "tr": ("td", "th", "tr"),
    "td": ("td", "th"),
    "th": ("td", "th"),
    "thead": ("td", "th", "tr", "thead", "tbody", "tfoot"),
    "tbody": ("td", "th", "tr", "thead", "tbody", "tfoot"),
    "tfoot": ("td", "th", "tr", "thead", "tbody", "tfoot"),
}
"""Elements that one of these ends, where they are open in the same table."""


@dataclass
class _Node:
    tag: str
    spans: tuple[int, int] | None = None
    """Columns and rows, of cells."""
    content: list[str] = field(default_factory=list)
    children: "list[_Node]" = field(default_factory=list)
    elements: int = 0
    """All elements below."""


def teds(prediction: str, target: str, structure: bool = False) -> float:
    """Compute the likeness of two tables, each the first one in an HTML text, 0..1. `structure`: contents don't count (S-TEDS).

    >>> teds("<table><tr><td>ab</td></tr></table>", "<table><tr><td>ac</td></tr></table>")
    0.75
    """
    predicted, expected = _table(prediction, structure), _table(target, structure)
    if predicted is None or expected is None:
        return 0.0
    nodes = max(predicted.elements, expected.elements)
    return 1 - _tree_distance(predicted, expected) / nodes if nodes else 1.0


class _Reader(HTMLParser):
    """Builds the tree of the first table."""

    def __init__(self, structure: bool):
        super().__init__(convert_charrefs=True)
        self.structure = structure
        self.table: _Node | None = None
        self.open: list[_Node] = []
        self.inside: list[str] = []
        """Open tags within the cell that is open."""
        self.done = False

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if self.done or (not self.open and tag != "table"):
            return
        if not self.open:
            self.table = _Node(tag)
            self.open = [self.table]
            return
        if self._cell() and tag not in _CLOSES:
            self._top().elements += 1
            self._write(f"<{tag}>")
            if tag in _VOID:
                self._write(f"</{tag}>")
            else:
                self.inside.append(tag)
            return
        while len(self.open) > 1 and self._top().tag in _CLOSES.get(tag, ()):
            self._close()
        node = _Node(tag, _spans(dict(attrs)) if tag == "td" else None)
        self._top().children.append(node)
        if tag not in _VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)  # HTML has no empty elements but those of _VOID: <td/> opens a cell

    def handle_endtag(self, tag: str) -> None:
        if not self.open:
            return
        if tag in self.inside:
            while (last := self.inside.pop()) != tag:
                self._write(f"</{last}>")
            self._write(f"</{tag}>")
        elif any(node.tag == tag for node in self.open):
            while self._top().tag != tag:
                self._close()
            self._close()

    def handle_data(self, data: str) -> None:
        if self._cell() and not self.structure:
            self._top().content.extend(data)

    def close(self) -> None:
        super().close()
        while self.open:
            self._close()

    def _top(self) -> _Node:
        return self.open[-1]

    def _cell(self) -> bool:
        return bool(self.open) and self._top().tag == "td"

    def _write(self, token: str) -> None:
        if not self.structure:
            self._top().content.append(token)

    def _close(self) -> None:
        while self.inside:
            self._write(f"</{self.inside.pop()}>")
        node = self.open.pop()
        node.elements += sum(child.elements + 1 for child in node.children)
        self.done |= not self.open


def _table(html: str, structure: bool) -> _Node | None:
    reader = _Reader(structure)
    reader.feed(html)
    reader.close()
    return reader.table


def _spans(attributes: dict[str, str | None]) -> tuple[int, int]:
    columns, rows = (attributes.get(name) or "1" for name in ("colspan", "rowspan"))
    return int(columns) if _whole(columns) else 1, int(rows) if _whole(rows) else 1


def _whole(digits: str) -> bool:
    return digits.isascii() and digits.isdigit() and len(digits) < 10 and int(digits) > 0


def _post_order(root: _Node) -> tuple[list[_Node], list[int]]:
    """Nodes from the leaves up, and the number of each one's leftmost leaf."""
    nodes: list[_Node] = []
    left: list[int] = []
    stack: list[tuple[_Node, int, int]] = [(root, 0, 0)]
    while stack:
        node, child, first = stack.pop()
        if child == 0:
            first = len(nodes)
        if child < len(node.children):
            stack += [(node, child + 1, first), (node.children[child], 0, 0)]
        else:
            nodes.append(node)
            left.append(first)
    return nodes, left


def _tree_distance(a: _Node, b: _Node) -> float:
    """The least cost of edits that make one tree the other (Zhang and Shasha): of subtrees from the leaves up."""
    (nodes, left), (others, other_left) = _post_order(a), _post_order(b)
    costs = np.array([[_cost(one, two) for two in others] for one in nodes])
    trees = np.zeros((len(nodes), len(others)))
    for i in _roots(left):
        for j in _roots(other_left):
            _forests(i, j, left, other_left, costs, trees)
    return float(trees[-1, -1])


def _roots(left: list[int]) -> list[int]:
    """The last node for each leftmost leaf, rising."""
    return sorted({first: node for node, first in enumerate(left)}.values())


def _forests(i: int, j: int, left: list[int], other_left: list[int], costs: np.ndarray, trees: np.ndarray) -> None:
    """Puts in the distances of all subtrees on the left paths of nodes i and j."""
    begin, other = left[i], other_left[j]
    n, m = i - begin + 1, j - other + 1
    forest = [[float(y) for y in range(m + 1)]] + [[float(x)] + [0.0] * m for x in range(1, n + 1)]
    for x in range(1, n + 1):
        node, row, above = begin + x - 1, forest[x], forest[x - 1]
        on_path, known, cost = left[node] == begin, trees[node], costs[node]
        jump = forest[left[node] - begin]
        for y in range(1, m + 1):
            at = other + y - 1
            least = (above[y] if above[y] < row[y - 1] else row[y - 1]) + 1
            if on_path and other_left[at] == other:
                row[y] = min(least, above[y - 1] + cost[at])
                known[at] = row[y]
            else:
                row[y] = min(least, jump[other_left[at] - other] + known[at])


def _cost(a: _Node, b: _Node) -> float:
    if a.tag != b.tag or a.spans != b.spans:
        return 1.0
    if a.tag == "td" and (a.content or b.content):
        return levenshtein(a.content, b.content) / max(len(a.content), len(b.content))
    return 0.0
