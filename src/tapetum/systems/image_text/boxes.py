"""Boxes that families of image-text-to-text models write in their answers, and the words that ask for them.

qwen3_vl   JSON, a list of {"bbox_2d": [x1, y1, x2, y2], "label": ...} in thousandths of the image's sides (Qwen3-VL,
           arXiv 2511.21631; its cookbooks), often in a Markdown fence
florence2  `label<loc_x1><loc_y1><loc_x2><loc_y2>`, in thousandths, several boxes after one label (arXiv 2311.06242)
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tapetum.systems.paligemma.answers import Reply
from tapetum.systems.paligemma.locations import ParsedRegions, keep_requested
from tapetum.types import Boxes, Masks

ParsedBoxes = ParsedRegions
_Row = tuple[str, list[float]]
_SIDES = 1000
"""Parts of an image's side in which both families count."""
_PLACES = re.compile(r"([^<>]*)((?:<loc_\d{1,4}>){4,})")


@dataclass(frozen=True, kw_only=True)
class BoxFamily:
    """How a family is asked for boxes, and how it writes them."""

    detect: str
    """Prompt, with {} for the things."""
    rows: Callable[[str], tuple[list[_Row], int]]
    """Reads labels and corners, in thousandths, and counts what follows no grammar."""
    words: dict[str, str] = field(default_factory=dict)
    """Prompts of other tasks, where the family has its own."""
    special_tokens: bool = False
    """Boxes are special tokens of its tokenizer, which the text must keep."""

    def parse(self, reply: Reply, width: int, height: int, things: Sequence[str] | None) -> ParsedBoxes:
        """Read the boxes of an answer in pixels; with `things`, only theirs."""
        rows, malformed = self.rows(reply.text)
        score = math.exp(min(0.0, float(np.mean(reply.log_probabilities or [0.0]))))
        places = np.array([corners for _, corners in rows], np.float32).reshape(-1, 4)
        boxes = Boxes(
            xyxy=places * np.array([width, height, width, height], np.float32) / _SIDES,
            labels=[label for label, _ in rows],
            scores=np.full(len(rows), score, np.float32),
        )
        none = Masks(np.zeros((0, height, width), bool), (), np.zeros(0, np.float32))
        regions = ParsedRegions(boxes=boxes, masks=none, of_box=np.zeros(0, int), text="", malformed=malformed)
        return keep_requested(regions, things)


def read_json_boxes(text: str) -> tuple[list[_Row], int]:
    """Read a JSON list of boxes, also one that was cut; counts what is no box.

    >>> read_json_boxes('```json\\n[{"bbox_2d": [1, 2, 30, 40], "label": "cat"}, {"bbox_2d": [1, 2')
    ([('cat', [1.0, 2.0, 30.0, 40.0])], 1)
    """
    rows, malformed, decoder = [], 0, json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        try:
            content, end = decoder.raw_decode(text, start)
            corners = [float(value) for value in content["bbox_2d"]]
            if not _is_box(corners):
                raise ValueError
            rows.append((str(content.get("label", "")), corners))
        except (ValueError, KeyError, TypeError, RecursionError):
            malformed, end = malformed + 1, start + 1
        start = text.find("{", end)
    return rows, malformed


def read_location_boxes(text: str) -> tuple[list[_Row], int]:
    """Read labels, each followed by groups of four locations; counts groups that are no box.

    >>> read_location_boxes("</s><s>cat<loc_1><loc_2><loc_30><loc_40></s>")
    ([('cat', [1.0, 2.0, 30.0, 40.0])], 0)
    """
    rows, malformed = [], 0
    for label, places in _PLACES.findall(re.sub(r"</?s>|<pad>", "", text)):
        values = [float(value) for value in re.findall(r"\d+", places)]
        groups = [values[k : k + 4] for k in range(0, len(values), 4)]
        boxes = [group for group in groups if len(group) == 4 and _is_box(group)]
        malformed += len(groups) - len(boxes)
        rows += [(label.strip(), box) for box in boxes]
    return rows, malformed


def _is_box(corners: list[float]) -> bool:
    x1, y1, x2, y2 = corners
    return 0 <= x1 < x2 <= _SIDES and 0 <= y1 < y2 <= _SIDES


_QWEN = BoxFamily(
    detect='Locate every instance that belongs to the following categories: "{}". Report bbox coordinates in JSON format.',
    rows=read_json_boxes,
)
FAMILIES = {
    "qwen3_vl": _QWEN,
    "qwen3_vl_moe": _QWEN,
    "florence2": BoxFamily(
        detect="<OPEN_VOCABULARY_DETECTION>{}", rows=read_location_boxes, words={"caption": "<CAPTION>"}, special_tokens=True
    ),
}
"""By model_type in config.json."""
