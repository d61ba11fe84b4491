"""Teaching all tasks on images of `scenes/`, and scoring answers about images that were never seen.

Beside the loss of texts stands that of stage 0 (`places`), which costs next to nothing: the vision encoder's tokens are there
already; and that on where the decoder looks (`looking`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from tapetum.layers.linear import linear
from tapetum.systems.paligemma.data import Rows, Sample, collate
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.nano.attention_supervision import Looks, layer_of, looking_loss, looks_of, watched
from tapetum.systems.paligemma.nano.dense_task import CELL, Cells, by_cell, cells_of, places_loss, teller
from tapetum.systems.paligemma.nano.scene_images import SceneFolder
from tapetum.systems.paligemma.nano.scene_texts import ScenePairs, SceneSample
from tapetum.systems.paligemma.recipes import Mixture
from tapetum.systems.paligemma.task import Checks, PaliGemmaTask, Step, begin, text_loss
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.train import StepContext


@dataclass(frozen=True)
class SceneStep(Step):
    """A micro-batch, with what is at the images' places."""

    cells: Cells | None
    looks: Looks | None


class ScenesTask(PaliGemmaTask):
    """A model learns from images of `scenes/`. What it needs for `places` is its attribute `tell`, which is not saved."""

    def __init__(self, *about: Any, places: float = 0.0, looking: float = 0.0, **more: Any):
        """`places`: weight of the loss of stage 0; `looking`: of that of `looking`, where texts share an image;
        the rest as for `PaliGemmaTask`, with `ScenePairs` for samples."""
        super().__init__(*about, **more)
        self.places, self.looking = places, looking

    def model(self) -> PaliGemma:
        """Make a model that can tell of places."""
        model = PaliGemma(self.config)
        if self.places:
            model.tell = teller(self.config.vision_encoder)
        if self.start is not None:
            begin(model, self.start)
        return model

    def collate(self, items: Sequence[Sample]) -> SceneStep:
        """Make a micro-batch."""
        plain = super().collate(items)
        images = [item.image for item in items if isinstance(item, SceneSample)]
        looks = None
        if self.looking and plain.packed is not None:
            texts, ids = [item.pairs for item in items], [image.ids for image in images]
            looks = looks_of(texts, ids, plain.packed, self.tokens, self.config.vision_encoder.patch, self.config.image_tokens)
        return SceneStep(plain.batch, plain.packed, cells_of(images) if self.places else None, looks)

    def loss(self, model: nn.Module, batch: SceneStep, context: StepContext) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Measure the loss of texts, and of places."""
        assert isinstance(model, PaliGemma)
        pixels = batch.batch.pixels
        features = model.vision_encoder(pixels.flatten(0, 1))
        images = linear(features.tokens, model.projector).unflatten(0, pixels.shape[:2]).flatten(1, 2)
        attention = layer_of(model.language)
        with watched(attention) as given:
            text, told = text_loss(model, images, batch, self.learning, self.nearby)
        loss, told = text, {"text": text.detach(), **told}
        if batch.looks is not None:
            looked, told["looking"] = looking_loss(attention, **given, looks=batch.looks)
            loss = loss + self.looking * looked
        if batch.cells is None:
            return loss, told
        grid = by_cell(cast(nn.Linear, model.tell)(features.tokens), features.grid, self.config.vision_encoder.patch // CELL)
        where, parts = places_loss(grid, batch.cells)
        return loss + self.places * where, {**told, **parts}

    def describe(self) -> Mapping[str, Any]:
        """Describe what decides what is learned."""
        return {**super().describe(), "places": self.places, "looking": self.looking}


@dataclass(frozen=True)
class AnswerChecks(Checks):
    """How many answers about images that were never seen are right, written freely, and how likely the right ones are."""

    folder: SceneFolder
    tokens: Tokens

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        """Ask each image a few questions."""

        assert isinstance(model, PaliGemma)
        pairs = ScenePairs(self.folder, Mixture(answers=6, regions=1, captions=0, detect_all=0, detect=0))
        right: dict[str, list[float]] = {}
        for start in range(0, len(self.folder), 32):
            images = [self.folder.read(i) for i in range(start, min(start + 32, len(self.folder)))]
            items = [pairs.sample(p, np.random.default_rng((start, k))) for k, p in enumerate(images)]
            batch = collate(items, self.tokens)
            with torch.no_grad():
                seen = model.embed_images(batch.pixels)
                [rows] = batch.groups
                whole = _whole(model, seen, rows)
            kinds = [pair.kind for item in items for pair in item.pairs]
            for kind, found in zip(kinds, whole, strict=True):
                right.setdefault(kind, []).append(float(found))
        return {kind: float(np.mean(found)) for kind, found in sorted(right.items())}


def _whole(model: PaliGemma, seen: Tensor, rows: Rows) -> list[bool]:
    """Whether each answer would be written letter for letter."""
    logits = model.language.logits(model.read(seen[rows.of], rows.prefix, rows.suffix))
    return ((logits.argmax(-1) == rows.suffix) | (rows.suffix == 0)).all(1).tolist()
