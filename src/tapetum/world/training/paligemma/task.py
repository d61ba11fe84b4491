"""Stages 1 and 2 on images of `scenes/`: the text loss with dense losses, and the scores of answers.

The dense loss of stage 0 (`dense_task`) costs almost nothing here, since the vision encoder's tokens are already computed;
`attention_supervision` adds a loss on the decoder's attention.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from tapetum.core.devices import to_device
from tapetum.systems.paligemma.data import ImageTexts, TextRows, collate
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.recipes import TextMixture
from tapetum.systems.paligemma.task import Checks, PaliGemmaTask, Step, begin, text_loss
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.train import StepContext
from tapetum.world.training.paligemma.attention_supervision import (
    AttentionTargets,
    attention_loss,
    attention_targets,
    record_inputs,
    supervised_attention,
)
from tapetum.world.training.paligemma.dense_task import CELL, CellTargets, collate_cells, dense_head, dense_loss, unfold_cells
from tapetum.world.training.paligemma.scene_images import SceneFolder
from tapetum.world.training.paligemma.scene_texts import SceneSample, SceneTexts


@dataclass(frozen=True)
class SceneStep(Step):
    """A micro-batch, with the targets of cells and of attention."""

    cells: CellTargets | None
    attention: AttentionTargets | None


class SceneTextTask(PaliGemmaTask):
    """Trains on images of `scenes/`. The head of the dense loss is the model's attribute `dense_head`, which is not saved."""

    def __init__(self, *about: Any, dense_weight: float = 0.0, attention_weight: float = 0.0, **more: Any):
        """`dense_weight`: of the loss of stage 0; `attention_weight`: of that on attention, where texts share an image;
        the rest as for `PaliGemmaTask`, with `SceneTexts` for samples."""
        super().__init__(*about, **more)
        self.dense_weight, self.attention_weight = dense_weight, attention_weight

    def model(self) -> PaliGemma:
        """Build a model, with a dense head if the loss needs one."""
        model = PaliGemma(self.config)
        if self.dense_weight:
            model.dense_head = dense_head(self.config.vision_encoder)
        if self.start is not None:
            begin(model, self.start)
        return model

    def collate(self, items: Sequence[ImageTexts]) -> SceneStep:
        """Build a micro-batch."""
        plain = super().collate(items)
        images = [item.image for item in items if isinstance(item, SceneSample)]
        attention = None
        if self.attention_weight and plain.packed is not None:
            texts, ids = [item.pairs for item in items], [image.ids for image in images]
            side, count = self.config.token_side, self.config.image_tokens
            attention = attention_targets(texts, ids, plain.packed, self.tokens, side, count)
        return SceneStep(plain.batch, plain.packed, collate_cells(images) if self.dense_weight else None, attention)

    def loss(self, model: nn.Module, batch: SceneStep, context: StepContext) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the text loss and the dense losses."""
        assert isinstance(model, PaliGemma)
        pixels = batch.batch.pixels
        features = model.vision_encoder(pixels.flatten(0, 1))
        images = model.project_features(features).unflatten(0, pixels.shape[:2]).flatten(1, 2)
        attention = supervised_attention(model.language)
        with record_inputs(attention) as inputs:
            text, logged = text_loss(model, images, batch, self.learning, self.soft_locations)
        loss, logged = text, {"text": text.detach(), **logged}
        if batch.attention is not None:
            loss_of_attention, logged["attention"] = attention_loss(attention, **inputs, targets=batch.attention)
            loss = loss + self.attention_weight * loss_of_attention
        if batch.cells is None:
            return loss, logged
        predicted = cast(nn.Linear, model.dense_head)(features.tokens)
        grid = unfold_cells(predicted, features.grid, self.config.vision_encoder.patch // CELL)
        loss_of_cells, parts = dense_loss(grid, batch.cells)
        return loss + self.dense_weight * loss_of_cells, {**logged, **parts}

    def describe(self) -> Mapping[str, Any]:
        """Describe the run, for checkpoints."""
        return {**super().describe(), "dense_weight": self.dense_weight, "attention_weight": self.attention_weight}


@dataclass(frozen=True)
class AnswerChecks(Checks):
    """Scores how many answers about held-out images would be written letter for letter."""

    folder: SceneFolder
    tokens: Tokens

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        """Score a few questions about each image."""
        assert isinstance(model, PaliGemma)
        pairs = SceneTexts(self.folder, TextMixture(answers=6, regions=1, captions=0, detect_all=0, detect=0))
        right: dict[str, list[float]] = {}
        for start in range(0, len(self.folder), 32):
            images = [self.folder.read(i) for i in range(start, min(start + 32, len(self.folder)))]
            items = [pairs.sample(p, np.random.default_rng((start, k))) for k, p in enumerate(images)]
            batch = to_device(collate(items, self.tokens), model.projector.weight.device)
            with torch.no_grad():
                image_tokens = model.embed_images(batch.pixels)
                [rows] = batch.groups
                whole = _whole(model, image_tokens, rows)
            kinds = [pair.kind for item in items for pair in item.pairs]
            for kind, correct in zip(kinds, whole, strict=True):
                right.setdefault(kind, []).append(float(correct))
        return {kind: float(np.mean(correct)) for kind, correct in sorted(right.items())}


def _whole(model: PaliGemma, image_tokens: Tensor, rows: TextRows) -> list[bool]:
    """Check whether each answer would be generated verbatim."""
    logits = model.language.logits(model.read(image_tokens[rows.of], rows.prefix, rows.suffix))
    return ((logits.argmax(-1) == rows.suffix) | (rows.suffix == 0)).all(1).tolist()
