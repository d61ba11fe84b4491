"""Images of a folder made by `tapetum scenes images`, with their ground truth, drawn by number, and texts about them.

    DIR/images/NAME.jpg   DIR/masks/NAME.png   DIR/truth/NAME.json

A draw may mirror the image (swapping `left` and `right` in its texts, and dropping text written on objects) and shift it by a
few pixels if that pushes nothing over the edge. All is a function of (seed, number).

The texts are the pre-training tasks of PaliGemma (arXiv 2407.07726, 3.2.5), in a small world:

    answer en {question}        answer          of all questions that could be asked, rare answers more often than they come
    caption en                  short caption
    describe en                 long caption
    caption {four locations}    caption of the object there (LocCa, arXiv 2403.19596)
    detect all classes          boxes and nouns of all things, from left to right
    detect {noun} ; {noun}      of some, one of which may not be there
    segment {noun}              the same with masks, where a codec is given
    ocr                         all written text, by rows, then from left to right
    question en {answer}        the questions of the image that have this answer
    answer en {question}        about objects: what is there, whether one or several are there, how many

Differs from the paper, which does not print its questions about objects: their wording is ours. Objects are listed from left to
right, which a small model learns sooner than a random order. (Top to bottom is worse: half of all objects begin within 6 of 112
rows of the one above, and which is first cannot be seen.)
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe, read_json
from tapetum.data.samples import Shuffle, sample_generator
from tapetum.systems.paligemma import prompts
from tapetum.systems.paligemma.data import ImageTexts, TextPair
from tapetum.systems.paligemma.locations import box_text, suffix
from tapetum.systems.paligemma.recipes import TextMixture
from tapetum.types import Boxes
from tapetum_world.physics.props import PROPS
from tapetum_world.words.captions import object_question

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


LEAST_PIXELS = 12
"""Of an object that is listed among boxes."""
NOUNS = (*PROPS, "hand")
Encode = Callable[[Float[np.ndarray, "n h w"], Float[np.ndarray, "n 4"]], Int[np.ndarray, "n 16"]]
"""Makes codes of masks (n, h, w) and their boxes x1, y1, x2, y2."""

TEMPLATES: Mapping[str, float] = {
    "colour": 3.0,
    "shape": 3.0,
    "count": 3.0,
    "material": 1.0,
    "relation": 1.0,
    "neighbour": 1.0,
    "inside": 0.5,
    "same-colour": 0.3,
    "larger": 0.3,
    "nearest": 0.5,
    "read": 0.7,
    "present": 1.0,
}
"""Weights of the templates of questions, where an image has some of each."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneSample(ImageTexts):
    """A sample with the truth of its image."""

    image: SceneImage


class SceneTexts:
    """Images of a folder with texts, drawn by number."""

    def __init__(self, folder: SceneFolder, mixture: TextMixture, encode: Encode | None = None):
        self.folder, self.mixture, self.encode = folder, mixture, encode

    def __len__(self) -> int:
        return len(self.folder)

    def draw(self, seed: int, number: int) -> SceneSample:
        """Draw sample `number` of the endless shuffled stream of a seed."""
        return self.sample(*self.folder.draw(seed, number))

    def sample(self, image: SceneImage, rng: np.random.Generator) -> SceneSample:
        """Draw texts about an image with `rng`."""
        return SceneSample(pixels=normalize_pixels(image.rgb)[None], pairs=tuple(self.pairs(image, rng)), image=image)

    def pairs(self, image: SceneImage, rng: np.random.Generator) -> list[TextPair]:
        """Draw texts about an image."""
        mix = self.mixture
        texts = [_answer(question) for question in self._draw_questions(image, _count(rng, mix.answers), rng)]
        clear = [t for t in image.things if t.caption]
        for i in rng.permutation(len(clear))[: _count(rng, mix.regions)]:
            place = box_text(clear[i].box, image.ids.shape[1], image.ids.shape[0])
            texts.append(
                TextPair(prefix=prompts.caption_region(place), suffix=clear[i].caption, kind="region", about=(clear[i].id,))
            )
        for _ in range(_count(rng, mix.captions)):
            texts.append(TextPair(prefix=prompts.caption(), suffix=image.short))
        for _ in range(_count(rng, mix.descriptions) if image.long else 0):
            texts.append(TextPair(prefix=prompts.describe(), suffix=image.long, long=True))
        for _ in range(_count(rng, mix.detect_all)):
            texts.append(_boxes(image, prompts.DETECT_ALL, visible_objects(image)))
        for _ in range(_count(rng, mix.detect)):
            nouns = _some_nouns(image, rng)
            things = [t for t in visible_objects(image) if t.noun in nouns]
            texts.append(_boxes(image, prompts.detect(nouns), things))
        for _ in range(_count(rng, mix.segment) if self.encode else 0):
            nouns = _some_nouns(image, rng, most=1)
            things = [t for t in visible_objects(image) if t.noun in nouns][:3]
            texts.append(_boxes(image, prompts.segment(nouns), things, self.encode))
        for _ in range(_count(rng, mix.ocr) if (written := written_text(image)) else 0):
            texts.append(TextPair(prefix=prompts.OCR, suffix=written))
        for one in self._draw_questions(image, _count(rng, mix.questions), rng):
            texts.append(TextPair(prefix=prompts.question(one.answer), suffix=one.text))
        for _ in range(_count(rng, mix.objects)):
            nouns = [t.noun for t in image.things], [t.noun for t in visible_objects(image)]
            question, answer = object_question(*nouns, NOUNS, rng)
            texts.append(TextPair(prefix=prompts.answer(question), suffix=answer, kind="objects"))
        return texts

    def _draw_questions(self, image: SceneImage, count: int, rng: np.random.Generator) -> list[Any]:
        """Draw questions: a template first, then one of its answers, rarer ones with higher probability."""
        by_template: dict[str, list[Any]] = {}
        for question in image.questions:
            if question.template in TEMPLATES:
                by_template.setdefault(question.template, []).append(question)
        chosen: list[Any] = []
        while by_template and len(chosen) < count:
            names = sorted(by_template)
            name = str(rng.choice(names, p=_shares([TEMPLATES[n] for n in names])))
            pool = by_template[name]
            rare = _shares([self.folder.answer_counts.get((name, a.answer), 1) ** -0.7 for a in pool])
            chosen.append(pool.pop(int(rng.choice(len(pool), p=rare))))
            if not pool:
                del by_template[name]
        return chosen

    def about(self) -> Mapping[str, Any]:
        """Describe, for checkpoints."""
        return {"images": len(self), "mixture": vars(self.mixture), "masks": self.encode is not None}


def _answer(question: Any) -> TextPair:
    return TextPair(prefix=prompts.answer(question.text), suffix=question.answer, kind=question.template)


def _boxes(image: SceneImage, prefix: str, things: Sequence[SceneObject], encode: Encode | None = None) -> TextPair:
    about = tuple(thing.id for thing in things)
    return TextPair(prefix=prefix, suffix=format_objects(image, things, encode), long=True, about=about)


def _count(rng: np.random.Generator, mean: float) -> int:
    return int(mean + rng.random())


def _shares(weights: Sequence[float]) -> Float[np.ndarray, " n"]:
    values = np.asarray(weights, float)
    return values / values.sum()


def visible_objects(image: SceneImage) -> list[SceneObject]:
    """List the sufficiently visible objects, from left to right."""
    sizes = np.bincount(image.ids.ravel(), minlength=256)
    things = [t for t in image.things if sizes[t.id] >= LEAST_PIXELS]
    return sorted(things, key=lambda t: (t.box[0], t.box[1]))


def _some_nouns(image: SceneImage, rng: np.random.Generator, most: int = 2) -> list[str]:
    """Draw nouns to detect: mostly of objects in the image."""
    there = sorted({t.noun for t in visible_objects(image)})
    count = min(int(rng.integers(1, most + 1)), max(len(there), 1))
    nouns = [there[i] for i in rng.permutation(len(there))[:count]]
    if rng.random() < 0.2 or not nouns:
        nouns = [*nouns[:-1], str(rng.choice(NOUNS))]
    return list(dict.fromkeys(nouns))


def written_text(image: SceneImage) -> str:
    """Join what is written on objects, by rows, then from left to right; empty where not every object's text is known."""
    captions = [t.caption for t in sorted(image.things, key=lambda t: (t.box[1], t.box[0])) if t.noun != "hand"]
    return " ".join(re.findall('that says "([^"]*)"', " ".join(captions))) if all(captions) else ""


def format_objects(image: SceneImage, things: Sequence[SceneObject], encode: Encode | None = None) -> str:
    """Write boxes with nouns, and with `encode` masks, as target answers."""
    height, width = image.ids.shape
    boxes = Boxes(xyxy=np.array([t.box for t in things], float).reshape(-1, 4), labels=[t.noun for t in things])
    codes = None
    if encode is not None and things:
        codes = encode(np.stack([image.ids == t.id for t in things]), np.array([t.box for t in things], float))
    return suffix(boxes, width, height, codes)
