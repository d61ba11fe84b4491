"""Images of a folder made by `tapetum scenes images`, with their ground truth, drawn by number.

    DIR/images/NAME.jpg   DIR/masks/NAME.png   DIR/truth/NAME.json

A draw may mirror the image (swapping `left` and `right` in its texts, and dropping text written on objects) and shift it by a
few pixels if that pushes nothing over the edge. All is a function of (seed, number).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe, read_json
from tapetum.data.samples import Shuffle, sample_generator

SHIFT = 8
"""Pixels, at most."""
_SIDES = {"left": "right", "right": "left"}


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """One object, or the hand, of which a part is visible."""

    id: int
    """Its value in the mask."""
    noun: str
    colour: str
    """Empty where nobody would say one."""
    material: str
    box: tuple[int, int, int, int]
    """Around its visible part: x1, y1, x2, y2 in raster pixels."""
    seen_share: float
    """Share of its outline that is visible."""
    caption: str
    """Its caption; empty where it is ambiguous."""


@dataclass(frozen=True, kw_only=True)
class ImageQuestion:
    """A question with its answer."""

    template: str
    text: str
    answer: str


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneImage:
    """An image and its truth."""

    name: str
    rgb: UInt8[np.ndarray, "h w 3"]
    ids: UInt8[np.ndarray, "h w"]
    """Id of the object that each pixel shows; 0 for what is fixed."""
    things: tuple[SceneObject, ...]
    short: str
    long: str
    """Captions."""
    questions: tuple[ImageQuestion, ...]


class SceneFolder:
    """Images of a folder. Raises BadInput if there are none."""

    def __init__(self, folder: str | Path, limit: int | None = None):
        """`limit`: use only the first images."""
        self.folder = Path(folder)
        if not (self.folder / "truth").is_dir():
            raise BadInput(f"{folder} has no folder truth; make one with tapetum scenes images {folder} --n 1000 --size 112")
        self.names = sorted(path.stem for path in (self.folder / "truth").glob("*.json"))[:limit]
        if not self.names:
            raise BadInput(f"{folder}/truth is empty; make images with tapetum scenes images")

    def __len__(self) -> int:
        return len(self.names)

    def truth(self, index: int) -> dict[str, Any]:
        """Read the ground truth of an image."""
        path = self.folder / "truth" / f"{self.names[index]}.json"
        try:
            return read_json(path)
        except (OSError, ValueError) as error:
            raise BadInput(f"{path} cannot be read ({error}); make the images again") from error

    def read(self, index: int) -> SceneImage:
        """Read an image."""
        from PIL import Image

        row = self.truth(index)
        try:
            with Image.open(no_pipe(self.folder / row["file"])) as image:
                rgb = np.asarray(image.convert("RGB"))
            with Image.open(no_pipe(self.folder / row["masks"])) as masks:
                ids = np.asarray(masks.convert("L"))
        except OSError as error:
            raise BadInput(f"{self.folder / row['file']} or its mask cannot be read ({error}); make it again") from error
        return SceneImage(
            name=self.names[index],
            rgb=rgb,
            ids=ids,
            things=tuple(_thing(each) for each in row["objects"]),
            short=row["captions"]["short"],
            long=row["captions"]["long"],
            questions=tuple(
                ImageQuestion(template=c["template"], text=c["text"], answer=c["answer"]) for c in row.get("candidates", ())
            ),
        )

    def draw(self, seed: int, number: int) -> tuple[SceneImage, np.random.Generator]:
        """Draw sample `number` of the endless shuffled stream, mirrored or shifted, and the generator for later draws."""
        rng = sample_generator(seed, number)
        image = self.read(self._order(seed)(number))
        if rng.random() < 0.5:
            image = mirrored(image)
        return shifted(image, rng), rng

    def _order(self, seed: int) -> Shuffle:
        return Shuffle(len(self), seed)

    @cached_property
    def answer_counts(self) -> Mapping[tuple[str, str], int]:
        """Count the questions of all images by template and answer."""
        counts: dict[tuple[str, str], int] = {}
        for index in range(len(self)):
            for question in self.truth(index).get("candidates", ()):
                key = question["template"], question["answer"]
                counts[key] = counts.get(key, 0) + 1
        return counts


def _thing(row: Mapping[str, Any]) -> SceneObject:
    names = "id", "noun", "colour", "material", "seen_share", "caption"
    return SceneObject(box=tuple(row["box"]), **{name: row[name] for name in names})


def mirrored(image: SceneImage) -> SceneImage:
    """Mirror an image, and swap left and right in its texts; questions about letters are dropped.

    Captions that quote written text become empty.
    """
    width = image.rgb.shape[1]

    def mirrored_text(text: str) -> str:
        return "" if "that says" in text else re.sub(r"\b(left|right)\b", lambda match: _SIDES[match[0]], text)

    return SceneImage(
        name=image.name,
        rgb=image.rgb[:, ::-1],
        ids=image.ids[:, ::-1],
        things=tuple(
            replace(t, box=(width - t.box[2], t.box[1], width - t.box[0], t.box[3]), caption=mirrored_text(t.caption))
            for t in image.things
        ),
        short=image.short,
        long=mirrored_text(image.long),
        questions=tuple(
            replace(q, text=mirrored_text(q.text), answer=mirrored_text(q.answer))
            for q in image.questions
            if q.template != "read"
        ),
    )


def shifted(image: SceneImage, rng: np.random.Generator) -> SceneImage:
    """Shift an image by up to `SHIFT` pixels; its edge is repeated. Only the hand, which comes from outside, is cut."""
    height, width = image.ids.shape
    boxes = np.array([t.box for t in image.things if t.noun != "hand"]).reshape(-1, 4)
    low = -np.minimum(boxes[:, :2].min(0, initial=SHIFT), SHIFT)
    high = np.minimum(np.array([width, height]) - boxes[:, 2:].max(0, initial=0), SHIFT)
    dx, dy = (int(v) for v in rng.integers(low, np.maximum(high, low) + 1))
    if not (dx or dy):
        return image
    rows = np.clip(np.arange(height) - dy, 0, height - 1)
    columns = np.clip(np.arange(width) - dx, 0, width - 1)
    ids = image.ids[rows][:, columns]
    things = []
    for thing in image.things:
        x1, y1, x2, y2 = (v + d for v, d in zip(thing.box, (dx, dy, dx, dy), strict=True))
        if thing.noun == "hand":
            where = np.argwhere(ids == thing.id)
            if not len(where):
                continue
            (y1, x1), (y2, x2) = where.min(0).tolist(), (where.max(0) + 1).tolist()
        things.append(replace(thing, box=(x1, y1, x2, y2)))
    return replace(image, rgb=image.rgb[rows][:, columns], ids=ids, things=tuple(things))


def normalize_pixels(rgb: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "3 h w"]:
    """Normalize pixels to -1..1, the input range of the vision encoder."""
    return np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32) / 127.5 - 1
