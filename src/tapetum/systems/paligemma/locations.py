"""Boxes and masks as text, text as boxes and masks, and the boxes that a prompt named.

Source: PaliGemma (arXiv 2407.07726, 3.2.5), the evaluators of its public code, and the parser of its public demo.

    detect cat ; dog       <loc0123><loc0045><loc0789><loc0456> cat ; <loc0001><loc0002><loc1000><loc1023> dog
    segment cat            <loc0123><loc0045><loc0789><loc0456><seg017> ... 16 of them ... <seg099> cat
                             y1       x1       y2       x2

A location is a coordinate from 0 to 1 along an edge of the image, rounded to a number from 0 to 1023; n / 1023 converts it
back, exact at both edges. Masks are laid on boxes rounded to pixels.

Text that does not follow the grammar is skipped, and counted if it contains location or mask tokens. A label may be missing.
A model that knows few nouns may answer `detect cat` with the box of a cup, labelled "cup": `keep_requested` keeps a box
only if all words of its label are among those of a requested object.

Differs from the public code: its evaluator cuts corners of masks to pixels, its demo divides by 1024.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from tapetum.core.errors import BadInput
from tapetum.systems.paligemma.prompts import BETWEEN, DETECT_ALL, split_things
from tapetum.types import Boxes, Masks

PLACES, MASK_TOKENS, CODES = 1024, 16, 128
"""Locations along an edge, tokens of a mask, and codes that each can be."""
Unpack = Callable[[Int[np.ndarray, "n 16"]], Float32[np.ndarray, "n s s"]]
"""Makes masks of their codes, above 0 where the thing is; `MaskCodec.decode` does."""

_TOKEN = re.compile(r"<(?:loc|seg)(\d*)>")
_RUN = re.compile(r"(?=<(?:loc|seg)\d*>)((?:<loc\d*>\s*)*)((?:<seg\d*>\s*)*)")
"""Locations, then codes of a mask; not both are missing."""
_LABEL = re.compile(r"([^;<]*)(?:;|(?=<)|$)")


@dataclass(frozen=True, kw_only=True, eq=False)
class ParsedRegions:
    """Boxes and masks in a text of a model, in its order."""

    boxes: Boxes
    """All boxes, those that have masks too, in pixels of the image."""
    masks: Masks
    """All masks, (n, height, width)."""
    of_box: Int[np.ndarray, " n"]
    """For each mask the number of its box."""
    text: str
    """The rest of the text: words that belong to no box."""
    malformed: int
    """Groups of tokens that followed no grammar and were skipped."""
    unasked: tuple[str, ...] = ()
    """Labels of boxes of objects that the prompt did not name, which were left out."""


def box_numbers(xyxy: Float[np.ndarray, "n 4"], width: float, height: float) -> Int[np.ndarray, "n 4"]:
    """Quantize boxes (x1, y1, x2, y2) in pixels to locations y1, x1, y2, x2, 0 to 1023; outside ones are clamped.

    Halves are rounded to even, as in the reference, which takes coordinates as float32 numbers from 0 to 1.
    """
    _check_size(width, height)
    xyxy = np.asarray(xyxy, np.float32).reshape(-1, 4)
    if not np.isfinite(xyxy).all():
        raise BadInput("a box holds NaN or infinity; give finite pixels")
    share = xyxy[:, [1, 0, 3, 2]] / np.array([height, width, height, width], np.float32)
    return np.clip(np.round(share * np.float32(PLACES - 1)), 0, PLACES - 1).astype(np.int64)


def box_pixels(numbers: Int[np.ndarray, "n 4"], width: float, height: float) -> Float32[np.ndarray, "n 4"]:
    """Convert locations y1, x1, y2, x2 to boxes (x1, y1, x2, y2) in pixels of an image."""
    _check_size(width, height)
    share = np.asarray(numbers, np.float64).reshape(-1, 4)[:, [1, 0, 3, 2]] / (PLACES - 1)
    return (share * [width, height, width, height]).astype(np.float32)


def box_text(xyxy: Sequence[float] | np.ndarray, width: float, height: float) -> str:
    """Write one box as four tokens.

    >>> box_text([0, 10, 40, 20], 40, 20)
    '<loc0512><loc0000><loc1023><loc1023>'
    """
    return "".join(f"<loc{n:04d}>" for n in box_numbers(np.asarray(xyxy, np.float32)[None], width, height)[0])


def mask_text(codes: Sequence[int] | np.ndarray) -> str:
    """Write the 16 codes of a mask as tokens. Raises BadInput for any other number of codes.

    >>> mask_text([1] * 16)[:16]
    '<seg001><seg001>'
    """
    codes = [int(code) for code in codes]
    if len(codes) != MASK_TOKENS or min(codes) < 0 or max(codes) >= CODES:
        raise BadInput(f"a mask has {len(codes)} codes {codes}; wanted {MASK_TOKENS} from 0 to {CODES - 1}")
    return "".join(f"<seg{code:03d}>" for code in codes)


def suffix(boxes: Boxes, width: float, height: float, codes: Int[np.ndarray, "n 16"] | None = None) -> str:
    """Write boxes with their labels, and with `codes` their masks, in the form a model should.

    >>> suffix(Boxes(xyxy=[[0, 0, 8, 8]], labels=["cat"]), 8, 8)
    '<loc0000><loc0000><loc1023><loc1023> cat'
    """
    if codes is not None and len(codes) != len(boxes):
        raise BadInput(f"there are {len(boxes)} boxes and codes of {len(codes)} masks; give as many")
    parts = []
    for k, label in enumerate(boxes.labels):
        if ";" in label or "<" in label:
            raise BadInput(f"the label {label!r} holds ; or <, which end a label; give another")
        mask = "" if codes is None else mask_text(codes[k])
        parts.append(box_text(boxes.xyxy[k], width, height) + mask + f" {label}" * bool(label))
    return BETWEEN.join(parts)


def parse(
    text: str, width: int, height: int, unpack: Unpack | None = None, *, chances: Sequence[float] | None = None
) -> ParsedRegions:
    """Parse boxes and masks in a model's text, in pixels of an image. Without `unpack`, masks are read as boxes only.

    Labels run up to the next `;` or `<`. Malformed parts are skipped and counted. `chances` are the probabilities of all
    location and mask tokens in the text, in order: the score of a box, and of its mask, is the geometric mean of its own.
    Raises BadInput if their number differs from that of the tokens.

    >>> found = parse("here: <loc0000><loc0000><loc1023><loc0511> cat ; <loc0001><loc0002>", 1023, 1023)
    >>> found.boxes.xyxy.tolist(), found.boxes.labels, found.text, found.malformed
    ([[0.0, 0.0, 511.0, 1023.0]], ('cat',), 'here:', 1)
    """
    _check_size(width, height)
    objects, words, malformed = _objects(text)
    scores = _scores(objects, text, chances)
    numbers = np.array([each.box for each in objects], np.int64).reshape(-1, 4)
    boxes = Boxes(xyxy=box_pixels(numbers, width, height), labels=[each.label for each in objects], scores=scores)
    of_box = [k for k, each in enumerate(objects) if each.mask and unpack is not None]
    made = np.zeros((len(of_box), height, width), bool)
    if unpack is not None and of_box:
        soft = unpack(np.array([objects[k].mask for k in of_box], np.int64))
        for mask, each, k in zip(made, soft, of_box, strict=True):
            mask[:] = paste(each, numbers[k], (height, width))
    masks = Masks(masks=made, labels=[objects[k].label for k in of_box], scores=scores[of_box])
    return ParsedRegions(boxes=boxes, masks=masks, of_box=np.array(of_box, np.int64), text=words, malformed=malformed)


def paste(
    soft: Float32[np.ndarray, "s s"], numbers: Sequence[int] | np.ndarray, size: tuple[int, int]
) -> Bool[np.ndarray, "h w"]:
    """Paste a mask into the box y1, x1, y2, x2 of an image of `size` (height, width).

    Corners are rounded to pixels, the numbers stretched with Pillow's bilinear filter, above 0 is the thing. A box of no pixel
    leaves an empty mask.
    """
    from PIL import Image

    height, width = size
    y1, x1, y2, x2 = (int(v) for v in np.round(np.asarray(numbers, np.float64) / (PLACES - 1) * [height, width, height, width]))
    mask = np.zeros(size, bool)
    if y2 > y1 and x2 > x1:
        stretched = Image.fromarray(np.asarray(soft, np.float32)).resize((x2 - x1, y2 - y1), Image.Resampling.BILINEAR)
        mask[y1:y2, x1:x2] = np.asarray(stretched) > 0
    return mask


@dataclass
class _Object:
    """One box of a text, y1, x1, y2, x2, with the codes of its mask, if it has one, and its label."""

    box: list[int]
    mask: list[int]
    first: int
    """Index of its first token among all tokens of locations and masks."""
    label: str = ""

    @property
    def valid(self) -> bool:
        """Check that it has pixels, and known tokens in the right number."""
        y1, x1, y2, x2 = self.box
        right = len(self.mask) in (0, MASK_TOKENS) and max(self.mask, default=0) < CODES
        return y1 < y2 and x1 < x2 and max(self.box) < PLACES and right


def _objects(text: str) -> tuple[list[_Object], str, int]:
    """The boxes of a text, the words between them, and how many parts were malformed."""
    objects: list[_Object] = []
    words: list[str] = []
    malformed = at = before = 0
    while run := _RUN.search(text, at):
        words.append(text[at : run.start()])
        places, mask = (
            [int(v) if len(v) == digits else PLACES for v in _TOKEN.findall(part)]
            for part, digits in zip(run.groups(), (4, 3), strict=True)
        )
        boxes = [places[k : k + 4] for k in range(0, len(places), 4)] if len(places) % 4 == 0 else []
        read = [_Object(box, [], before + 4 * k) for k, box in enumerate(boxes)]
        if read:
            read[-1].mask = mask
        good = [each for each in read if each.valid]
        malformed += max(len(read), 1) - len(good)
        label = _LABEL.match(text, run.end())
        assert label is not None  # it matches the empty text too
        if read and read[-1].valid:
            read[-1].label = label[1].strip()
        else:
            words.append(label[1])
        objects += good
        before += len(places) + len(mask)
        at = label.end()
    words.append(text[at:])
    return objects, " ".join(part for word in words if (part := word.strip(" ;\n"))), malformed


def _scores(objects: list[_Object], text: str, chances: Sequence[float] | None) -> Float32[np.ndarray, " n"]:
    if chances is None:
        return np.ones(len(objects), np.float32)
    if len(chances) != (count := len(_TOKEN.findall(text))):
        raise BadInput(f"there are {len(chances)} probabilities of {count} tokens of places and masks; give one for each")
    logs = np.log(np.maximum(np.asarray(chances, np.float64), 1e-30))
    return np.array([np.exp(logs[o.first : o.first + 4 + len(o.mask)].mean()) for o in objects], np.float32).reshape(-1)


def _check_size(width: float, height: float) -> None:
    if not (width > 0 and height > 0):
        raise BadInput(f"the image is {width}x{height}; both must be above 0")


def requested_objects(prompt: str) -> list[str] | None:
    """List the objects that a prompt of `detect` or `segment` names; None for other prompts and for all objects.

    >>> requested_objects("detect cat ; red dog"), requested_objects("detect all classes"), requested_objects("caption en")
    (['cat', 'red dog'], None, None)
    """
    kind, _, rest = prompt.partition(" ")
    return split_things(rest) if kind in ("detect", "segment") and prompt != DETECT_ALL else None


def keep_requested(parsed: ParsedRegions, things: Sequence[str] | None) -> ParsedRegions:
    """Select boxes and masks of `things`, and list the labels of the others as `unasked`."""
    if things is None:
        return parsed
    words = [set(thing.casefold().split()) for thing in things]
    keep = np.array([any(set(label.casefold().split()) <= each for each in words) for label in parsed.boxes.labels], bool)
    if keep.all():
        return parsed
    mine = keep[parsed.of_box]
    return replace(
        parsed,
        boxes=_selected(parsed.boxes, "xyxy", keep),
        masks=_selected(parsed.masks, "masks", mine),
        of_box=(np.cumsum(keep) - 1)[parsed.of_box[mine]],
        unasked=tuple(label for label, kept in zip(parsed.boxes.labels, keep, strict=True) if not kept),
    )


def _selected(regions: Any, name: str, keep: np.ndarray) -> Any:
    labels = [label for label, kept in zip(regions.labels, keep, strict=True) if kept]
    return replace(regions, **{name: getattr(regions, name)[keep]}, labels=labels, scores=regions.scores[keep])
