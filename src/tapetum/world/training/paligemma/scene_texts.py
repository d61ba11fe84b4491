"""Texts about images of `scenes/`: the pre-training tasks of PaliGemma (arXiv 2407.07726, 3.2.5), in a small world.

    answer en {question}        answer          of all questions that could be asked, rare answers more often than they come
    caption en                  short caption
    describe en                 long caption
    caption {four locations}    caption of the object there (LocCa, arXiv 2403.19596)
    detect all classes          boxes and nouns of all things, from left to right
    detect {noun} ; {noun}      of some, one of which may not be there
    segment {noun}              the same with masks, where a codec is given

Differs from the paper: objects are listed from left to right, which a small model learns sooner than a random order. (Top to
bottom is worse: half of all objects begin within 6 of 112 rows of the one above, and which is first cannot be seen.)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tapetum.systems.paligemma import prompts
from tapetum.systems.paligemma.data import ImageTexts, TextPair
from tapetum.systems.paligemma.locations import box_text, suffix
from tapetum.systems.paligemma.recipes import TextMixture
from tapetum.types import Boxes
from tapetum.world.physics.props import PROPS
from tapetum.world.training.paligemma.scene_images import SceneFolder, SceneImage, SceneObject, normalize_pixels

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


def format_objects(image: SceneImage, things: Sequence[SceneObject], encode: Encode | None = None) -> str:
    """Write boxes with nouns, and with `encode` masks, as target answers."""
    height, width = image.ids.shape
    boxes = Boxes(xyxy=np.array([t.box for t in things], float).reshape(-1, 4), labels=[t.noun for t in things])
    codes = None
    if encode is not None and things:
        codes = encode(np.stack([image.ids == t.id for t in things]), np.array([t.box for t in things], float))
    return suffix(boxes, width, height, codes)
